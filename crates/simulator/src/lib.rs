//! A whole network of replicas in one thread, driven by one seed.
//!
//! The replicas are the production ones of `ccf-consensus`; network, clocks, disks and clients are simulated. A seed decides
//! everything, including which faults exist in a run: loss, duplication, reordering, delay, partitions (also one-way),
//! crashes, clock skew, slow nodes, reconfigurations. After every step the invariants of the formal model are checked;
//! once the faults stop, progress is demanded. The same seed gives the same run, to the digest.
//!
//! [`walk`] has no clock at all: at every step anything that is possible may happen next. That finds the schedules that real
//! time makes rare. [`Cluster`] is the same network moved by hand, for scenarios and regression tests.
#![forbid(unsafe_code)]

mod checks;
mod cluster;
mod faults;
mod memory_log;
mod node;
pub mod payload;
mod random;
mod run;
mod walk;
mod world;

pub use checks::{Checks, Violation};
pub use cluster::Cluster;
pub use memory_log::{Decode, LogCall, MemoryLog, Payload, StoredEntry};
pub use node::Node;
pub use random::Random;
pub use run::{Failure, Report, simulate};
pub use walk::walk;
