//! See `ccf_cli::fuzzing::join_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::join_request(data));
