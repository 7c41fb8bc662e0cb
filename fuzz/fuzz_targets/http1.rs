//! See `ccf_cli::fuzzing::http1`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::http1(data));
