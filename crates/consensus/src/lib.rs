//! The replicated log: crash-fault-tolerant consensus as CCF does it, sans-I/O.
//!
//! A [`Replica`] decides who is primary, which entries are replicated to whom and what is committed. It never meets a
//! key-value type, a request, a clock, a socket or a lock. Time comes in as elapsed milliseconds, randomness as a
//! seed, messages as values; what it wants done comes out as [`Output`]s, in order. What it needs of ledger and
//! store it asks of a [`Log`].
//!
//! What is different from textbook Raft: only signature entries can be committed; several configurations may
//! be active and each needs its own quorum; nodes retire in four phases; a new view begins at the last signature.
//! Sections cited are those of the consensus specification.
//!
//! Invariants are assertions that stay on: commit is a signature, commit never decreases, no rollback below it, an
//! agreement never lies beyond the log, a view begins where it says. What a peer sends can break none of them: it is
//! refused with [`Output::Refused`].
#![forbid(unsafe_code)]

mod batch;
mod configuration;
pub mod limits;
mod log;
mod message;
mod output;
mod peers;
mod replica;
mod rng;
mod trace;
mod view_history;

pub use batch::Batching;
pub use configuration::{Configuration, Configurations, Nodes, quorum};
pub use log::{EntryFacts, LocalEntry, Log, NodeChange, Reconfiguration, Rejected};
pub use message::{
    AppendEntries, AppendEntriesResponse, ElectionForm, Message, MessageError, RequestVote, VoteResponse,
};
pub use output::{Output, Refusal};
pub use peers::Peer;
pub use replica::{
    BackupStart, Input, Leadership, NotPrimary, Replica, RetirementPhase, Settings, Status, TxStatus,
};
pub use trace::{TraceEvent, TraceState, Traced};
pub use view_history::{OutOfOrder, ViewHistory};
