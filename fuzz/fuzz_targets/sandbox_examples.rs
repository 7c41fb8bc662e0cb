//! See `ccf_cli::fuzzing::sandbox_examples`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::sandbox_examples(data));
