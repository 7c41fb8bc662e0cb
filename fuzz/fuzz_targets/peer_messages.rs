//! See `ccf_node::replication::hostile::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((_, target)) = ccf_cli::fuzzing::TARGETS.iter().find(|(name, _)| *name == "peer_messages") {
        target(data);
    }
});
