//! Tests of the public interface: vectors of the specification, real ledgers, and properties against models.

mod entries;
mod files;
mod golden;
mod merkle;
mod prefix;
mod renaming;
mod signatures;
mod snapshots;
mod support;
