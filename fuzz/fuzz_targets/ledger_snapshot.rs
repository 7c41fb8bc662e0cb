//! See `ccf_cli::fuzzing::ledger_snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::ledger_snapshot(data));
