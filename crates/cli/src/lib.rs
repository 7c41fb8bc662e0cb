//! The `ccf` command line as a library, so that tests, fuzz targets and `main` share it.
//!
//! One module per subcommand: [`sandbox`], [`ledger`], [`bench`], [`keys`], [`member`], [`node`]. The others serve them.
#![forbid(unsafe_code)]

pub mod bench;
#[doc(hidden)]
pub mod fuzzing;
pub mod governance_client;
pub mod http_client;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod member;
pub mod node;
pub mod receipt;
pub mod sandbox;
pub mod terminal;
pub mod tls;
pub mod units;
