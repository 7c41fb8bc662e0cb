//! See `ccf_cli::fuzzing::js_bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::js_bundle(data));
