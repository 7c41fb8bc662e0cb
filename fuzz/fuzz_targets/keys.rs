//! See `ccf_cli::fuzzing::keys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::keys(data));
