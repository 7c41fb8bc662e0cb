//! A whole state to a snapshot and back (ledger specification, sections 14.1 and 14.6).

use crate::{DuplicateMap, State, StateBuilder};
use ccf_ledger::{
    files::{FileError, SnapshotWriter},
    secrets::LedgerSecrets,
    snapshot::{Snapshot, SnapshotContent, SnapshotError, SnapshotMap, SnapshotSource, entry_bytes},
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

    /// The state in a snapshot: its public maps and, if the ledger secrets are given, the private ones. Its view is
    /// unknown. Takes as much memory as the state, and one block of the snapshot.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn from_snapshot<S: SnapshotSource>(
        snapshot: &Snapshot<S>,
        secrets: Option<&LedgerSecrets>,
    ) -> Result<State, StateError> {
        let last = snapshot.seqno();
        let mut builder = StateBuilder::new(TxId { view: View::UNKNOWN, seqno: last });
        let mut content = snapshot.content(secrets)?;
        // What is wrong with decrypted bytes does not matter if they are not authentic.
        let mut wrong = None;
        while let Some(map) = content.next_map()? {
            if wrong.is_none() {
                wrong = add(&mut builder, &map, &mut content, last)?.err();
            }
        }
        wrong.map_or_else(|| Ok(builder.finish()), Err)
    }

    /// The same state, of the last transaction in this view.
    #[must_use]
    pub fn in_view(mut self, view: View) -> State {
        self.tx_id.view = view;
        self
    }
}

/// Adds a map, or says why it makes no state.
fn add<S: SnapshotSource>(
    builder: &mut StateBuilder,
    map: &SnapshotMap,
    content: &mut SnapshotContent<'_, S>,
    last: SeqNo,
) -> Result<Result<(), StateError>, SnapshotError> {
    let name = MapName::of_ledger(&map.name).ok().filter(|name| name.domain() == map.domain);
    let Some(name) = name else {
        return Ok(Err(StateError::Name(map.name.chars().take(NAME_SHOWN).collect())));
    };
    let mut records = match builder.map(&name, map.version) {
        Ok(records) => records,
        Err(duplicate) => return Ok(Err(duplicate.into())),
    };
    while let Some(entry) = content.next_entry()? {
        if entry.version > last || !records.insert(entry.key, entry.version, entry.value) {
            return Ok(Err(StateError::Key(name)));
        }
    }
    Ok(Ok(()))
}

/// Characters of a bad name that an error message repeats.
const NAME_SHOWN: usize = 64;
