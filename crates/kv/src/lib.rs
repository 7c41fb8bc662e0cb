//! The transactional key-value store: everything a service knows.
//!
//! A [`Store`] maps byte strings to byte strings in named maps, at one version at a time. A [`Tx`] works on
//! the immutable state it took when it first looked, notes what it read and what it writes, and commits if nobody
//! changed what it read (ledger specification, section 4). Tables are constants of type [`TypedMap`],
//! [`TypedValue`] or [`TypedSet`]; scripts use maps by name ([`Tx::raw`]).
//!
//! ```
//! use ccf_kv::{Store, TypedMap};
//! use ccf_types::{SeqNo, View};
//!
//! const ACCOUNTS: TypedMap<String, u64> = TypedMap::new("accounts");
//!
//! let store = Store::new();
//! store.set_primary(View::FIRST);
//!
//! let tx = store.begin();
//! let accounts = tx.rw(&ACCOUNTS);
//! let balance = accounts.get(&"alice".to_owned())?.unwrap_or(0);
//! accounts.put(&"alice".to_owned(), &(balance + 10))?;
//! let committed = tx.commit()?.into_written().expect("it wrote");
//! assert_eq!(committed.tx_id.to_string(), "2.1");
//!
//! store.compact(SeqNo(1)); // consensus says that it can never be lost
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is deliberately absent: entry bytes, encryption and hashing (the ledger crate; a commit returns the
//! [`WriteSet`] that is encoded outside every lock), order of replication, persistence, and any clock, file or thread.
#![forbid(unsafe_code)]

mod change_set;
mod codec;
mod commit;
mod decode;
mod error;
mod handle;
mod hooks;
mod raw;
mod small_bytes;
mod snapshot;
mod state;
mod store;
mod sync;
mod table;
mod tree;
mod tx;
mod write_set;

pub use codec::{Codec, Encoded, Json, Raw, UNIT};
pub use commit::{Committed, Reserved, Written};
pub use decode::DecodeError;
pub use error::{ApplyError, CodecError, CommitError, DuplicateMap, KvError, Part, Refusal, RollbackError};
pub use handle::{MapHandle, MapReader, SetHandle, SetReader, ValueHandle, ValueReader};
pub use hooks::{Action, CommitContext, GlobalHook, HookContext, LocalHook};
pub use raw::RawHandle;
pub use small_bytes::SmallBytes;
pub use snapshot::StateError;
pub use state::{MapBuilder, MapState, State, StateBuilder};
pub use store::Store;
pub use table::{TypedMap, TypedSet, TypedValue};
pub use tree::{Iter, Record};
pub use tx::{Table, Tx};
pub use write_set::{MapWrites, MapWritesIter, WriteSet};
