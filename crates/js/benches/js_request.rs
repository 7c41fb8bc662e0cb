//! One JavaScript request through dispatcher and store, and what its parts cost.
#![allow(missing_docs)]

fn main() {}
