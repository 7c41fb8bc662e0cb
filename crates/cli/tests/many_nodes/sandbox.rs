//! `ccf sandbox --nodes 3` as a person uses it: the primary's process dies, and the service goes on.

use crate::{
    running::{RunningSandbox, is_running},
    service::wait_for,
    shell,
};
use serde_json::Value;
use std::{path::Path, process::Command};

#[test]
fn the_sandbox_serves_on_when_the_primary_is_killed() {
    let sandbox = RunningSandbox::start(&["--node", "local://127.0.0.1:0", "--node", "local://127.0.0.1:0"]);
    let nodes = printed_nodes(&sandbox.printed);
    assert_eq!(nodes.len(), 3, "{:#?}", sandbox.printed);
    // The printed lines hold as long as all is well.
    for line in sandbox.curl_lines() {
        let (body, status) = shell::curl(&line, sandbox.folder.path());
        assert!((200..300).contains(&status), "{line}\n{status} {body}");
    }

    let ask = |address: &str, path: &str| -> Option<Value> {
        let line = format!(
            "curl -f -m 5 --cacert workspace/sandbox_common/service_cert.pem https://{address}{path}"
        );
        let output =
            Command::new("sh").args(["-c", &line]).current_dir(sandbox.folder.path()).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap_or_default())
    };
    let primary = wait_for("a primary", || {
        nodes.iter().position(|node| ask(&node.address, "/node/primary").is_some()).ok_or("none".to_owned())
    });
    assert!(is_running(nodes[primary].process));
    shell::run(Command::new("kill").args(["-KILL", &nodes[primary].process.to_string()]));

    // Deposits of the bank, by a node that is left.
    let left = &nodes[(primary + 1) % 3].address;
    let deposit = format!(
        "curl -m 10 --cacert workspace/sandbox_common/service_cert.pem \
         --cert workspace/sandbox_common/user0_cert.pem --key workspace/sandbox_common/user0_privk.pem \
         -X PUT https://{left}/app/account/after"
    );
    wait_for("a write after the primary's death", || {
        let line = deposit.replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
        let output =
            Command::new("sh").args(["-c", &line]).current_dir(sandbox.folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.rsplit_once('\n') {
            Some((_, "200" | "204")) => Ok(()),
            _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    });
    // The printed lines hold at the nodes that are left, too.
    for line in sandbox.curl_lines() {
        let line = line.replace(&sandbox.address, left);
        wait_for("a printed line to hold", || {
            let (body, status) = shell::curl(&line, sandbox.folder.path());
            if (200..300).contains(&status) { Ok(()) } else { Err(format!("{line}\n{status} {body}")) }
        });
    }
    let network = ask(left, "/node/network").unwrap();
    assert_eq!(network["service_status"], "Open", "{network}");
    assert!(network["current_view"].as_u64() > Some(2), "{network}");

    let stopped = sandbox.stop();
    assert!(stopped.status.success(), "{}", stopped.complaints);
    let ended = format!("Node [{primary}] has ended");
    assert!(stopped.printed.iter().any(|line| line.contains(&ended)), "{:#?}", stopped.printed);
    for node in &nodes {
        assert!(!is_running(node.process), "a node outlived its sandbox");
    }
}

/// A node as the sandbox prints it.
struct PrintedNode {
    address: String,
    process: u32,
}

fn printed_nodes(lines: &[String]) -> Vec<PrintedNode> {
    let after = |index: usize, words: &str| {
        let text = words.replace('#', &index.to_string());
        lines.iter().find_map(|line| Some(line.split_once(&text)?.1.to_owned()))
    };
    let mut nodes = Vec::new();
    while let Some(address) = after(nodes.len(), "Node [#] = https://") {
        let process = after(nodes.len(), "Process of node [#]: ").unwrap();
        let process: u32 = process.split(',').next().unwrap().parse().unwrap();
        assert!(Path::new("/proc").join(process.to_string()).exists());
        nodes.push(PrintedNode { address, process });
    }
    nodes
}
