//! Tests of the command line's library, in one binary.

mod bench;
mod test_server;
