//! See `ccf_cli::fuzzing::ledger_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ccf_cli::fuzzing::ledger_entry(data));
