//! Which transactions wrote a key, old ones in files.

use super::{InvalidRange, LargeFile, LargeFiles, Strategy, watermark};
use crate::historical::HistoricalState;
use ccf_kv::SmallBytes;
use ccf_types::{MapName, SeqNo, TxId};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Sizes of a bucketed index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Transactions of the ledger that one bucket spans.
    pub seqnos_per_bucket: u64,
    /// Buckets of old transactions kept in memory once they were read back; a query may span one less.
    pub max_buckets: usize,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets { seqnos_per_bucket: 1000, max_buckets: 10 }
    }
}

/// The transactions that wrote each key of a map. Of each key the newest bucket is in memory, those before are in
/// encrypted files; memory keeps eight bytes for each of them. Removals do not count.
pub struct SeqnosByKeyBucketed {
    map: MapName,
    buckets: Buckets,
    files: Arc<dyn LargeFiles>,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    last: TxId,
    keys: HashMap<SmallBytes, Key>,
    /// Buckets read back, by key and start; the longest unused first.
    old: VecDeque<((SmallBytes, u64), Arc<Vec<SeqNo>>)>,
}

#[derive(Default)]
struct Key {
    /// Starts of the buckets in files, ascending.
    stored: Vec<u64>,
    start: u64,
    seqnos: Vec<SeqNo>,
}

impl SeqnosByKeyBucketed {
    /// An index of this map.
    #[must_use]
    pub fn new(map: MapName, buckets: Buckets, files: Arc<dyn LargeFiles>) -> SeqnosByKeyBucketed {
        let buckets = Buckets {
            seqnos_per_bucket: buckets.seqnos_per_bucket.max(1),
            max_buckets: buckets.max_buckets.max(2),
        };
        SeqnosByKeyBucketed { map, buckets, files, index: Mutex::default() }
    }

    /// The last transaction that was looked at.
    #[must_use]
    pub fn watermark(&self) -> TxId {
        self.index.lock().last
    }

    /// The longest range that can be asked for.
    #[must_use]
    pub fn max_range(&self) -> u64 {
        (self.buckets.max_buckets as u64 - 1).saturating_mul(self.buckets.seqnos_per_bucket)
    }

    /// The transactions from `from` to `to` that wrote `key`, which is encoded as in the store. None if not all of them
    /// were looked at yet, or a file is being read: ask again. A file that is lost makes the index begin anew.
    ///
    /// # Errors
    /// [`InvalidRange`].
    pub fn seqnos(&self, key: &[u8], from: SeqNo, to: SeqNo) -> Result<Option<Vec<SeqNo>>, InvalidRange> {
        if to < from {
            return Err(InvalidRange::Backwards(from, to));
        }
        if to.0 - from.0 > self.max_range() {
            return Err(InvalidRange::TooLong(self.max_range()));
        }
        let mut index = self.index.lock();
        if to > index.last.seqno {
            return Ok(None);
        }
        let Some(known) = index.keys.get(key) else { return Ok(Some(Vec::new())) };
        let (first, current) = (self.start_of(from), (known.start, known.seqnos.clone()));
        let stored: Vec<u64> =
            known.stored.iter().copied().filter(|start| (first..=to.0).contains(start)).collect();
        let mut all = Vec::new();
        let mut loading = false;
        for start in stored {
            match self.stored(&mut index, key, start) {
                LargeFileSeqnos::Ready(seqnos) => all.extend(seqnos.iter().copied()),
                LargeFileSeqnos::Loading => loading = true,
                LargeFileSeqnos::Lost => {
                    *index = Index::default();
                    return Ok(None);
                }
            }
        }
        if loading {
            return Ok(None);
        }
        all.extend(current.1);
        Ok(Some(all.into_iter().filter(|seqno| (from..=to).contains(seqno)).collect()))
    }

    fn stored(&self, index: &mut Index, key: &[u8], start: u64) -> LargeFileSeqnos {
        if let Some(at) = index.old.iter().position(|((of, at), _)| *at == start && **of == *key)
            && let Some(found) = index.old.remove(at)
        {
            let seqnos = Arc::clone(&found.1);
            index.old.push_back(found);
            return LargeFileSeqnos::Ready(seqnos);
        }
        match self.files.fetch(&self.file(key, start)) {
            LargeFile::Loading => LargeFileSeqnos::Loading,
            LargeFile::Lost => LargeFileSeqnos::Lost,
            LargeFile::Ready(bytes) => {
                let (numbers, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return LargeFileSeqnos::Lost;
                }
                let seqnos: Vec<SeqNo> = numbers.iter().map(|n| SeqNo(u64::from_le_bytes(*n))).collect();
                let seqnos = Arc::new(seqnos);
                index.old.push_back(((SmallBytes::from(key), start), Arc::clone(&seqnos)));
                while index.old.len() > self.buckets.max_buckets {
                    index.old.pop_front();
                }
                LargeFileSeqnos::Ready(seqnos)
            }
        }
    }

    fn start_of(&self, seqno: SeqNo) -> u64 {
        seqno.0 - seqno.0 % self.buckets.seqnos_per_bucket
    }

    fn file(&self, key: &[u8], start: u64) -> String {
        let end = start + self.buckets.seqnos_per_bucket;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}: {start} -> {end} for {key}", self.name())
    }
}

enum LargeFileSeqnos {
    Loading,
    Ready(Arc<Vec<SeqNo>>),
    Lost,
}

impl Strategy for SeqnosByKeyBucketed {
    fn name(&self) -> String {
        format!("SeqnosByKey {}", self.map)
    }

    fn next_requested(&self) -> Option<SeqNo> {
        Some(self.index.lock().last.seqno.next())
    }

    fn handle_committed(&self, state: &HistoricalState) {
        let seqno = state.tx_id().seqno;
        let start = self.start_of(seqno);
        let mut index = self.index.lock();
        if index.last.seqno.next() != seqno {
            // A query has found a file lost since this transaction was asked for: the index begins anew.
            return;
        }
        let Some(writes) = state.writes().map(&self.map) else {
            index.last = state.tx_id();
            return;
        };
        let written = || writes.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
        let full: Vec<(String, Vec<u8>)> = written()
            .filter_map(|name| Some((name, index.keys.get(name)?)))
            .filter(|(_, key)| key.start != start && !key.seqnos.is_empty())
            .map(|(name, key)| {
                let bytes = key.seqnos.iter().flat_map(|seqno| seqno.0.to_le_bytes()).collect();
                (self.file(name, key.start), bytes)
            })
            .collect();
        if !full.is_empty() {
            // Nobody who asks waits for files; and this is the only thread that adds to the index.
            drop(index);
            full.iter().for_each(|(name, content)| self.files.store(name, content));
            index = self.index.lock();
            if index.last.seqno.next() != seqno {
                return;
            }
        }
        for name in written() {
            let key = index.keys.entry(name.clone()).or_default();
            if key.start != start {
                if !key.seqnos.is_empty() {
                    key.seqnos.clear();
                    key.stored.push(key.start);
                }
                key.start = start;
            }
            key.seqnos.push(seqno);
        }
        index.last = state.tx_id();
    }

    fn describe(&self) -> Map<String, Value> {
        let index = self.index.lock();
        let current: usize = index.keys.values().map(|key| key.seqnos.len()).sum();
        Map::from_iter([
            ("target_map".to_owned(), self.map.as_str().into()),
            ("indexed_watermark".to_owned(), watermark(index.last)),
            ("seqnos_per_bucket".to_owned(), self.buckets.seqnos_per_bucket.into()),
            ("old_results_max_size".to_owned(), self.buckets.max_buckets.into()),
            ("old_results_current_size".to_owned(), index.old.len().into()),
            ("current_results_size".to_owned(), current.into()),
        ])
    }
}
