//! Runs every scenario file and compares the end with what its first line says: `# final V.S (N)`, the last committed entry
//! of the N nodes that are not retired. The same run twice prints the same text.

use raft_driver::{Output, run};
use std::{collections::BTreeSet, path::Path};

#[test]
fn scenarios_end_as_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut commands = BTreeSet::new();
    let mut functions = BTreeSet::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(&path).unwrap();
        let mut output = Output::new(true);
        count += 1;
        let outcome = match run(&script, &mut output) {
            Ok(outcome) => outcome,
            Err(error) => {
                failures.push(format!("{}\n{name}: {error}", output.text()));
                continue;
            }
        };
        let last: BTreeSet<_> = outcome.active.values().map(ToString::to_string).collect();
        let last = last.into_iter().collect::<Vec<_>>().join(" ");
        let ending = format!("# final {last} ({})", outcome.active.len());
        if script.lines().next() != Some(ending.as_str()) {
            failures.push(format!("{name}: {ending}"));
        }
        let mut again = Output::new(true);
        run(&script, &mut again).unwrap();
        assert_eq!(output.text(), again.text(), "{name}");
        for line in script.lines().filter(|line| !line.starts_with('#')) {
            commands.insert(line.split([',', '#']).next().unwrap_or_default().trim_end().to_owned());
        }
        check_trace(&name, output.text(), &mut functions);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(count >= 10, "{count} scenarios");
    for command in COMMANDS {
        assert!(commands.contains(*command), "no scenario uses {command}");
    }
    for function in FUNCTIONS {
        assert!(functions.contains(*function), "no scenario shows {function}");
    }
}

/// A service begins with these events, once an entry that adds a configuration is merged with it: what the preprocessing of
/// trace validation expects.
#[test]
fn traces_begin_with_the_bootstrap() {
    let mut output = Output::new(true);
    run("start_node,0\nemit_signature,2\n", &mut output).expect("it is a good scenario");
    let mut events: Vec<serde_json::Value> = Vec::new();
    for line in output.text().lines().filter(|line| line.starts_with('{')) {
        let event: serde_json::Value = serde_json::from_str(line).expect("events are JSON");
        let Some(message) = event.get("msg") else { continue };
        if message["function"] == "add_configuration" {
            assert_eq!(events.pop().expect("an entry before it")["function"], "replicate");
        }
        events.push(message.clone());
    }
    let functions: Vec<_> = events.iter().take(4).map(|event| event["function"].clone()).collect();
    assert_eq!(functions, ["become_leader", "add_configuration", "replicate", "commit"]);
    assert_eq!(events[1]["args"]["configuration"]["nodes"], serde_json::json!({ "0": { "address": ":" } }));
    assert_eq!(events[2]["globally_committable"], true);
    assert_eq!(events[3]["args"]["idx"], 2);
    assert_eq!(events[3]["state"]["committable_indices"], serde_json::json!([2]));
}

/// Every event has a state and a clock that increases, and configurations are added right after their entry.
fn check_trace(name: &str, text: &str, functions: &mut BTreeSet<String>) {
    let mut clock = 0;
    let mut previous = std::collections::BTreeMap::<String, String>::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let event: serde_json::Value = serde_json::from_str(line).expect("events are JSON");
        assert_eq!(event["tag"], "raft_trace");
        let Some(message) = event.get("msg") else { continue };
        let now: u64 = event["h_ts"].as_str().and_then(|text| text.parse().ok()).expect("a decimal string");
        assert!(now > clock, "{name}: {line}");
        clock = now;
        let function = message["function"].as_str().expect("a name").to_owned();
        let node = message["state"]["node_id"].as_str().expect("a name").to_owned();
        if function == "add_configuration" {
            let before = previous.get(&node).map(String::as_str);
            assert!(matches!(before, Some("replicate" | "execute_append_entries_sync")), "{name}: {line}");
        }
        functions.insert(function.clone());
        previous.insert(node, function);
    }
}

#[test]
fn failures_are_reported_with_their_line() {
    let cases = [
        ("start_node,0\nfoo,1\n", "line 2: foo,1: unknown command"),
        ("start_node,0\nemit_signature,3\n", "line 2: emit_signature,3: there is no primary of view 3"),
        (
            "start_node,0\nassert_commit_idx,0,1\n",
            "line 2: assert_commit_idx,0,1: node 0 has committed 0, not 1",
        ),
        (
            "start_node,0\nassert_detail,0,nothing,1\n",
            "line 2: assert_detail,0,nothing,1: node 0 has no detail nothing",
        ),
        (
            "start_node,0\nassert_!detail,0,nothing,1\n",
            "line 2: assert_!detail,0,nothing,1: node 0 has no detail",
        ),
        ("start_node,0\nperiodic_one,0\n", "line 2: periodic_one,0: unknown command, or wrong number"),
        ("start_node,0\nstart_node,1\n", "line 2: start_node,1: start_node is for the first node only"),
        ("create_new_node,0\n====\nfoo\n", "at the end: there is no primary"),
    ];
    for (script, expected) in cases {
        let error = run(script, &mut Output::new(false)).unwrap_err();
        assert!(error.starts_with(expected), "{script}: {error}");
    }
}

const COMMANDS: &[&str] = &[
    "assert_!detail",
    "assert_absent_config",
    "assert_commit_idx",
    "assert_commit_safety",
    "assert_config",
    "assert_detail",
    "assert_last_txid",
    "assert_state_sync",
    "cleanup_nodes",
    "connect",
    "create_new_node",
    "disconnect",
    "disconnect_node",
    "dispatch_all",
    "dispatch_all_once",
    "dispatch_one",
    "dispatch_single",
    "drop_pending",
    "drop_pending_to",
    "emit_signature",
    "loop_until_sync",
    "nominate_successor",
    "periodic_all",
    "periodic_one",
    "pre_vote_enabled",
    "reconnect",
    "reconnect_node",
    "replicate",
    "replicate_new_configuration",
    "shuffle_all",
    "shuffle_one",
    "start_node",
    "state_all",
    "state_one",
    "summarise_log",
    "summarise_logs_all",
    "summarise_messages",
    "swap_node",
    "swap_nodes",
    "trust_node",
    "trust_nodes",
];

const FUNCTIONS: &[&str] = &[
    "add_configuration",
    "become_candidate",
    "become_follower",
    "become_leader",
    "become_pre_vote_candidate",
    "commit",
    "drop_pending_to",
    "execute_append_entries_sync",
    "recv_append_entries",
    "recv_append_entries_response",
    "recv_propose_request_vote",
    "recv_request_vote",
    "recv_request_vote_response",
    "replicate",
    "send_append_entries",
    "send_append_entries_response",
    "send_request_vote",
    "step_down_and_nominate_successor",
];
