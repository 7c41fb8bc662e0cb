//! The load generator against the native logging application, both as real processes.

use crate::{running::RunningSandbox, shell, verdicts};
use std::process::Command;

#[test]
fn the_standard_workload_runs_clean_and_its_ledger_verifies() {
    let program = shell::sibling("logging");
    let sandbox = RunningSandbox::start(&["--package", program.to_str().unwrap()]);
    let bench = |line: &str| -> serde_json::Value {
        let mut command = Command::new(shell::ccf());
        command.args([
            "bench",
            "--json",
            "--host",
            &sandbox.address,
            "--pid",
            &sandbox.node_pid().to_string(),
        ]);
        command.args(line.split(' ')).current_dir(sandbox.folder.path());
        let output = shell::output(&mut command);
        assert!(output.status.success(), "{line}: {}", shell::told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let closed = bench("-c 4 -p 50 -n 4000 --warmup 100ms --write-ratio 0.5 --keys 50 --commit-latency");
    assert!(closed["succeeded"].as_u64().unwrap() >= 4000, "{closed}");
    assert!(closed["server"]["resident_bytes"].as_u64().unwrap() > 1 << 20, "{closed}");
    let open = bench("-c 2 --rate 200 -d 1s --warmup 0s --commit-latency");
    let rate = open["throughput_per_s"].as_f64().unwrap();
    assert!((150.0..=210.0).contains(&rate), "{open}");
    assert_eq!(open["commits_missed"], 0, "{open}");
    assert!(open["commit_latency_us"]["count"].as_u64().unwrap() >= 1, "{open}");

    let stopped = sandbox.stop();
    stopped.must_be_clean();
    verdicts::must_be_accepted(&stopped);
}
