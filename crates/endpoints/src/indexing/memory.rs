//! Which transactions wrote a key, in memory.

use super::{InvalidRange, Strategy, watermark};
use crate::historical::HistoricalState;
use ccf_kv::SmallBytes;
use ccf_types::{MapName, SeqNo, TxId};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The transactions that wrote each key of a map. Removals do not count.
#[derive(Debug)]
pub struct SeqnosByKey {
    map: MapName,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    last: TxId,
    keys: HashMap<SmallBytes, Vec<SeqNo>>,
}

impl SeqnosByKey {
    /// An index of this map.
    #[must_use]
    pub fn new(map: MapName) -> SeqnosByKey {
        SeqnosByKey { map, index: Mutex::default() }
    }

    /// The last transaction that was looked at.
    #[must_use]
    pub fn watermark(&self) -> TxId {
        self.index.lock().last
    }

    /// The transactions from `from` to `to`, at most the first `max`, that wrote `key`, which is encoded as in the store.
    /// None if not all of them were looked at yet.
    ///
    /// # Errors
    /// [`InvalidRange`].
    pub fn seqnos(
        &self,
        key: &[u8],
        from: SeqNo,
        to: SeqNo,
        max: usize,
    ) -> Result<Option<Vec<SeqNo>>, InvalidRange> {
        if to < from {
            return Err(InvalidRange::Backwards(from, to));
        }
        let index = self.index.lock();
        if to > index.last.seqno {
            return Ok(None);
        }
        let Some(all) = index.keys.get(key) else { return Ok(Some(Vec::new())) };
        let first = all.partition_point(|seqno| *seqno < from);
        Ok(Some(all[first..].iter().take_while(|seqno| **seqno <= to).take(max).copied().collect()))
    }
}

impl Strategy for SeqnosByKey {
    fn name(&self) -> String {
        format!("SeqnosByKey {}", self.map)
    }

    fn next_requested(&self) -> Option<SeqNo> {
        Some(self.index.lock().last.seqno.next())
    }

    fn handle_committed(&self, state: &HistoricalState) {
        let mut index = self.index.lock();
        if let Some(writes) = state.writes().map(&self.map) {
            for (key, value) in writes {
                if value.is_some() {
                    index.keys.entry(key.clone()).or_default().push(state.tx_id().seqno);
                }
            }
        }
        index.last = state.tx_id();
    }

    fn describe(&self) -> Map<String, Value> {
        Map::from_iter([
            ("target_map".to_owned(), self.map.as_str().into()),
            ("indexed_watermark".to_owned(), watermark(self.watermark())),
        ])
    }
}
