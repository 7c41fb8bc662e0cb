//! See `ccf_cli::fuzzing::merkle_tree`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::merkle_tree(data));
