//! `ccf bench --kill-primary` against a sandbox of three nodes.

use crate::{running::RunningSandbox, shell};
use serde_json::Value;
use std::{path::Path, process::Command};

#[test]
fn the_gap_in_writes_is_measured_and_nothing_committed_is_lost() {
    let logging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/logging-js");
    let other_nodes = ["--node", "local://127.0.0.1:0", "--node", "local://127.0.0.1:0"];
    let sandbox = RunningSandbox::start(&[&["--app", logging.to_str().unwrap()], &other_nodes[..]].concat());
    let primary = sandbox.node_pid();
    let output = Command::new(shell::ccf())
        .args([
            "bench",
            "--kill-primary",
            "--rate",
            "100",
            "-d",
            "12s",
            "--warmup",
            "0s",
            "-c",
            "4",
            "--json",
        ])
        .current_dir(sandbox.folder.path())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["killed_pid"], primary, "{report:#}");
    assert_eq!(report["hosts"].as_array().unwrap().len(), 3);
    let ms = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name}: {report:#}"));
    assert!(ms("last_before_ms") <= 0.0 && ms("first_after_ms") > 0.0, "{report:#}");
    // A write is committed after it was executed; its answer may come later than the news of its commit.
    assert!(ms("first_commit_ms") > 0.0, "{report:#}");
    assert!((ms("gap_ms") - (ms("first_after_ms") - ms("last_before_ms"))).abs() < 1.0, "{report:#}");
    // In an open loop the first write after the gap was due before it ended.
    assert!(report["latency_us"]["max"].as_f64().unwrap() / 1e3 > ms("gap_ms") / 2.0, "{report:#}");
    assert!(report["errors"].as_object().unwrap().keys().any(|kind| kind.contains("refused")), "{report:#}");
    sandbox.stop();
}
