//! Indexes over committed transactions (applications specification, section 9).
//!
//! A [`Strategy`] is shown every committed transaction once, in order, by a thread of the node, some time after the
//! commit. After a restart it sees all of them again: indexes are not kept. Provided are [`SeqnosByKey`], in memory, and
//! [`SeqnosByKeyBucketed`], which moves what is old into encrypted files; [`Lazy`] holds either back until somebody asks.

mod bucketed;
mod lazy;
mod memory;

pub use bucketed::{Buckets, SeqnosByKeyBucketed};
pub use lazy::Lazy;
pub use memory::SeqnosByKey;

use crate::historical::HistoricalState;
use ccf_types::{SeqNo, TxId};
use serde_json::{Map, Value};
use std::sync::Arc;

/// An index.
pub trait Strategy: Send + Sync {
    /// Its name, by which it is installed once.
    fn name(&self) -> String;

    /// The transaction that it wants to see next; none if it wants none now.
    fn next_requested(&self) -> Option<SeqNo>;

    /// The transaction it wanted. Called by one thread at a time, with one after another.
    fn handle_committed(&self, state: &HistoricalState);

    /// Members of its description beside `name` and `next_requested_seqno`.
    fn describe(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// The indexes of a node.
pub trait Indexing: Send + Sync {
    /// Adds an index; false if there is one of this name.
    fn install(&self, strategy: Arc<dyn Strategy>) -> bool;

    /// Removes the index of this name; whether there was one.
    fn uninstall(&self, name: &str) -> bool;

    /// All of them.
    fn installed(&self) -> Vec<Arc<dyn Strategy>>;

    /// Where they may put what is too large for memory.
    fn files(&self) -> Arc<dyn LargeFiles>;
}

/// Encrypted files for indexes. They end with the process.
pub trait LargeFiles: Send + Sync {
    /// Stores content under a name. Only called from [`Strategy::handle_committed`].
    fn store(&self, name: &str, content: &[u8]);

    /// What is stored under a name. Returns at once: [`LargeFile::Loading`] means to ask again.
    fn fetch(&self, name: &str) -> LargeFile;
}

/// What is known of a large file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LargeFile {
    /// It is being read.
    Loading,
    /// Its content, exactly as it was stored.
    Ready(Arc<Vec<u8>>),
    /// It is not there, or not what was stored.
    Lost,
}

/// A range that ends before it begins, or is longer than an index answers at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRange {
    /// It ends before it begins.
    #[error("the range ends at {1}, before it begins at {0}")]
    Backwards(SeqNo, SeqNo),
    /// It is too long.
    #[error("the range is longer than {0} transactions")]
    TooLong(u64),
}

/// Description of an index, as `/node/index/strategies` gives it.
#[must_use]
pub fn describe(strategy: &dyn Strategy) -> Value {
    let mut members = strategy.describe();
    members.insert("name".to_owned(), strategy.name().into());
    if let Some(next) = strategy.next_requested() {
        members.insert("next_requested_seqno".to_owned(), next.0.into());
    }
    Value::Object(members)
}

fn watermark(last: TxId) -> Value {
    last.to_string().into()
}
