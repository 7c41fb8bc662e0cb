//! What people get wrong ends with one readable message and a failure code, and leaves nothing running.

use crate::{running::RunningSandbox, shell};
use std::{fs, net::TcpListener, process::Command};

fn sandbox_fails(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output =
        shell::output(Command::new(shell::ccf()).arg("sandbox").args(args).current_dir(folder.path()));
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", shell::told(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{args:?}: {text}");
    text
}

#[test]
fn mistakes_are_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("local://{}", taken.local_addr().unwrap());
    assert!(sandbox_fails(&["--node", &address]).contains("is in use"));
    assert!(sandbox_fails(&["--nodes", "16"]).contains("1 to 15 nodes"));
    let nowhere = sandbox_fails(&["--recover", "--ledger-dir", "no/ledger", "--common-dir", "no/common"]);
    assert!(nowhere.contains("no/ledger"), "{nowhere}");
    assert!(sandbox_fails(&["--app", "nowhere"]).contains("nowhere"));
    assert!(sandbox_fails(&["--package", "nowhere"]).contains("nowhere"));
    assert!(sandbox_fails(&["--constitution", "nowhere.js"]).contains("nowhere.js"));
}

#[test]
fn a_broken_application_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/x.js"), "").unwrap();
    fs::write(folder.path().join("app.json"), r#"{"endpoints":{"/x":{"get":{"js_module":"absent.js"}}}}"#)
        .unwrap();
    let text = sandbox_fails(&["--app", folder.path().to_str().unwrap()]);
    assert!(text.contains("/x"), "{text}");
}

#[test]
fn what_the_service_refuses_is_told_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let constitution = folder.path().join("constitution.js");
    // Refuses every proposal.
    let text = "export function validate(i) { return { valid: false, description: 'never, ' + i.length }; }\n\
                export function resolve(p, i, v) { return 'Open'; }\nexport function apply(p, i) {}\n";
    fs::write(&constitution, text).unwrap();
    let text =
        sandbox_fails(&["--node", "local://127.0.0.1:0", "--constitution", constitution.to_str().unwrap()]);
    assert!(text.contains("cannot add the users") && text.contains("ProposalFailedToValidate"), "{text}");
    assert!(text.contains("never, "), "{text}");
}

#[test]
fn a_damaged_ledger_is_refused_with_the_position_of_the_damage() {
    let sandbox = RunningSandbox::start(&[]);
    let stopped = sandbox.stop();
    stopped.must_be_clean();
    let verify = || {
        let mut command = Command::new(shell::ccf());
        shell::output(command.args(["ledger", "verify", "--uncommitted"]).arg(&stopped.ledger))
    };
    assert_eq!(verify().status.code(), Some(0));
    let file = fs::read_dir(&stopped.ledger).unwrap().flatten().map(|e| e.path()).min().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 0x10;
    fs::write(&file, bytes).unwrap();
    let refused = verify();
    let text = shell::told(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("REFUSED") && text.contains("offset") && text.contains("transaction"), "{text}");
}

/// Runs a node with this configuration; what it said, and its exit code.
fn node(folder: &std::path::Path, configuration: &serde_json::Value) -> (String, Option<i32>) {
    fs::write(folder.join("node.json"), configuration.to_string()).unwrap();
    fs::write(
        folder.join("constitution.js"),
        "export function validate() {}\nexport function resolve() {}\nexport function apply() {}\n",
    )
    .unwrap();
    let mut command = Command::new(shell::ccf());
    let output = shell::output(
        command
            .args(["node", "--config", "node.json"])
            .current_dir(folder)
            .env("CCF_PLATFORM_OVERRIDE", "Virtual"),
    );
    (shell::told(&output), output.status.code())
}

#[test]
fn a_bad_certificate_of_a_member_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = serde_json::json!({
        "network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
            "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0"}},
        },
        "command": {"type": "Start", "start": {
            "members": [{"certificate_file": "alice.pem"}], "constitution_files": ["constitution.js"],
        }},
    });
    fs::write(
        folder.path().join("alice.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let (text, code) = node(folder.path(), &configuration);
    assert_eq!(code, Some(1), "{text}");
    let fatal: Vec<&str> = text.lines().filter(|line| line.contains("[fatal]")).collect();
    assert!(
        matches!(fatal.as_slice(), [one] if one.contains("| alice.pem: ") && !one.contains("..") && one.ends_with(". Exiting.")),
        "{text}"
    );
    assert!(!folder.path().join("ledger").exists(), "nothing was begun");

    configuration["ledger"] = serde_json::json!({"chunk_size": 5});
    configuration["tick"] = serde_json::json!(1);
    let (text, code) = node(folder.path(), &configuration);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error #1\n  context: <root>") && text.contains("error #2\n"), "{text}");
}
