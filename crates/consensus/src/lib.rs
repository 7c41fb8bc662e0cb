//! The replicated log: crash-fault-tolerant consensus as CCF does it, sans-I/O. Being built: messages and view history.
#![forbid(unsafe_code)]

mod message;
mod view_history;

pub use message::{AppendEntries, AppendEntriesResponse, ElectionForm, Message, MessageError, RequestVote, VoteResponse};
pub use view_history::{OutOfOrder, ViewHistory};
