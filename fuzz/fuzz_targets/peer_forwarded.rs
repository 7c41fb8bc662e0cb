//! See `ccf_cli::fuzzing::peer_forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::peer_forwarded(data));
