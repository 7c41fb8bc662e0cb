//! See `ccf_cli::fuzzing::http_target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::http_target(data));
