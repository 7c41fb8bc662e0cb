//! The writes of a received entry (ledger specification, section 4.10).

use crate::{DuplicateMap, MapWrites, SmallBytes, WriteSet};
use ccf_ledger::entry::{Entry, EntryError, PrivateDomain, Record, Records};
use ccf_types::MapName;

/// An entry whose records are no write set.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A record is malformed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A map has a name that no map can have.
    #[error("{0:?} is not the name of a map")]
    Name(String),
    /// A map stands twice in the entry.
    #[error(transparent)]
    Duplicate(#[from] DuplicateMap),
}

impl WriteSet {
    /// What `entry` writes: its public records and, if given, those of its decrypted private domain.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(entry: &Entry<'_>, private: Option<&PrivateDomain>) -> Result<WriteSet, DecodeError> {
        let mut maps = Vec::new();
        collect(entry.public_records(), &mut maps)?;
        if let Some(private) = private {
            collect(private.records(), &mut maps)?;
        }
        Ok(WriteSet::new(maps)?)
    }
}

fn collect(records: Records<'_>, maps: &mut Vec<MapWrites>) -> Result<(), DecodeError> {
    let mut current: Option<MapWrites> = None;
    for record in records {
        match (record?, &mut current) {
            (Record::Map { name, .. }, _) => {
                let name = MapName::of_ledger(name).map_err(|_| DecodeError::Name(name.to_owned()))?;
                maps.extend(current.replace(MapWrites::new(name)));
            }
            (Record::Write { key, value }, Some(map)) => {
                map.put(SmallBytes::from(key), SmallBytes::from(value));
            }
            (Record::Remove { key }, Some(map)) => map.remove(SmallBytes::from(key)),
            // The reader of records names a map before anything else.
            (Record::Write { .. } | Record::Remove { .. }, None) => {
                return Err(DecodeError::Name(String::new()));
            }
        }
    }
    maps.extend(current);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_ledger::{
        entry::{DomainEncoder, EntryContext, Flags, seal},
        secrets::{LedgerSecret, LedgerSecrets},
    };
    use ccf_types::{Digest, SeqNo, TxId};

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut public = MapWrites::new(MapName::parse("public:a").expect("name"));
        public.put("k".into(), "v".into());
        let mut private = MapWrites::new(MapName::parse("b").expect("name"));
        private.put("x".into(), "y".into());
        private.remove("z".into());
        let written = WriteSet::new(vec![private, public]).expect("distinct");
        let secret = LedgerSecret::random(SeqNo(1), None).expect("random");
        let mut encoder = DomainEncoder::new();
        written.encode(&mut encoder);
        let tx_id = TxId::new(2, 1);
        let context =
            EntryContext { tx_id, flags: Flags::NONE, claims_digest: Digest::ZERO, secret: &secret };
        let sealed = seal(&mut encoder, &context).expect("sealed");
        let entry = Entry::parse(&sealed.bytes).expect("entry");
        let secrets = LedgerSecrets::new([secret]).expect("one");
        let opened = entry.decrypt(&secrets).expect("opens");
        let decoded = WriteSet::decode(&entry, Some(&opened)).expect("decodes");
        assert_eq!(format!("{decoded:?}"), format!("{written:?}"));
        let public_only = WriteSet::decode(&entry, None).expect("decodes");
        assert_eq!(public_only.maps().len(), 1);
    }
}
