//! Whole nodes in one thread, driven by one seed: the production replicator with its store, Merkle tree, ledger secrets,
//! signatures and ledger files, consensus below it and encrypted channels between the nodes. Only threads, sockets and clocks
//! are simulated, and the disk decides when it writes and what is left of it after a crash.
//!
//! A seed decides everything: loss, duplication, reordering and tampering with frames, partitions, pauses, crashes with torn
//! ledgers, elections, rekeys, nodes that join and retire by rows of the table of nodes. After each turn of a node the
//! [`history`] of all entries judges it; once the faults stop, progress is demanded; at the end the whole network dies and
//! the service is recovered from one torn ledger. The same seed gives the same run, to the digest: keys differ from one
//! process to the next, but nothing that a run depends on.
//!
//! `ccf-simulator` runs consensus alone, a thousand times faster.
#![forbid(unsafe_code)]

mod disk;
mod files;
mod history;
mod identities;
mod node;
mod recovery;
mod run;
mod tamper;
mod transactions;
mod versions;
mod world;

pub use run::{Failure, Report, simulate_stack};
