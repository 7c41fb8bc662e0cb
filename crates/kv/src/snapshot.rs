//! A whole state to a snapshot and back (ledger specification, sections 14.1 and 14.6).

use crate::{DuplicateMap, State, StateBuilder};
use ccf_ledger::{
    files::{FileError, SnapshotWriter},
    snapshot::{MapSnapshots, PrivateMaps, Snapshot, SnapshotError, entry_bytes},
};
use ccf_types::{Domain, MapName, SeqNo, TxId, View};

/// A snapshot whose maps make no state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A map is malformed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A map has a name that no map can have, or stands in the wrong domain.
    #[error("the snapshot has a map named {0:?} in the wrong place")]
    Name(String),
    /// A map stands twice in it.
    #[error(transparent)]
    Duplicate(#[from] DuplicateMap),
    /// A key stands twice in a map, or was written after the map.
    #[error("the snapshot has a key of {0} twice, or from the future")]
    Key(MapName),
}

impl State {
    /// Writes every map, public ones first. Takes 48 bytes of memory for each key of the map at hand.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_to(&self, writer: &mut SnapshotWriter) -> Result<(), FileError> {
        for domain in [Domain::Public, Domain::Private] {
            for (name, map) in self.maps().into_iter().filter(|(name, _)| name.domain() == domain) {
                let records = map.in_snapshot_order();
                let bytes = records.iter().map(|r| entry_bytes(r.key.len(), r.value.len())).sum();
                writer.map(name, map.version(), bytes)?;
                for record in records {
                    writer.entry(record.key, record.version, record.value)?;
                }
            }
        }
        Ok(())
    }

    /// The state in a snapshot: its public maps and, if given, the decrypted private ones. Its view is unknown.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_snapshot(
        snapshot: &Snapshot<'_>,
        private: Option<&PrivateMaps>,
    ) -> Result<State, StateError> {
        let tx_id = TxId { view: View::UNKNOWN, seqno: snapshot.seqno() };
        let mut builder = StateBuilder::new(tx_id);
        add(&mut builder, snapshot.public_maps(), Domain::Public, tx_id.seqno)?;
        if let Some(private) = private {
            add(&mut builder, private.maps(), Domain::Private, tx_id.seqno)?;
        }
        Ok(builder.finish())
    }

    /// The same state, of the last transaction in this view.
    #[must_use]
    pub fn in_view(mut self, view: View) -> State {
        self.tx_id.view = view;
        self
    }
}

fn add(
    builder: &mut StateBuilder,
    maps: MapSnapshots<'_>,
    domain: Domain,
    last: SeqNo,
) -> Result<(), StateError> {
    for map in maps {
        let map = map?;
        let name = MapName::of_ledger(map.name)
            .ok()
            .filter(|name| name.domain() == domain)
            .ok_or_else(|| StateError::Name(map.name.chars().take(NAME_SHOWN).collect()))?;
        let version = map.version;
        let mut records = builder.map(&name, version)?;
        for entry in map {
            let entry = entry?;
            if entry.version > last || !records.insert(entry.key, entry.version, entry.value) {
                return Err(StateError::Key(name));
            }
        }
    }
    Ok(())
}

/// Characters of a bad name that an error message repeats.
const NAME_SHOWN: usize = 64;
