//! The `ccf` command line as a library, so that tests, fuzz targets and `main` share it.
//!
//! One module per subcommand; [`terminal`], [`tls`] and [`units`] serve them all.
#![forbid(unsafe_code)]

pub mod bench;
pub mod terminal;
pub mod tls;
pub mod units;
