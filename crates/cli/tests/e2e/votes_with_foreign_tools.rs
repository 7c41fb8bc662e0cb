//! Members need nothing of ours: proposals and votes made with the PyPI package's `ccf_cose_sign1` and curl alone.

use crate::{running::RunningSandbox, shell, verdicts};
use ccf_cli::http_client::Protocol;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

const API: &str = "api-version=2024-07-01";

struct Member<'a> {
    sandbox: &'a RunningSandbox,
    name: String,
}

impl Member<'_> {
    fn id(&self) -> String {
        let text = fs::read_to_string(self.sandbox.common(&format!("{}_cert.pem", self.name))).unwrap();
        ccf_crypto::cert::Certificate::from_pem(&text).unwrap().member_id().to_string()
    }

    /// Signs `payload` with the foreign tool and posts it with curl.
    fn post(&self, path: &str, message_type: &str, proposal: Option<&str>, payload: &Value) -> (u16, Value) {
        let folder = self.sandbox.folder.path();
        let (content, signed) = (folder.join("content.json"), folder.join("request.cose"));
        fs::write(&content, payload.to_string()).unwrap();
        let now = shell::run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
        let mut tool = Command::new(shell::python_tool("ccf_cose_sign1"));
        tool.arg("--content").arg(&content);
        tool.arg("--signing-key").arg(self.sandbox.common(&format!("{}_privk.pem", self.name)));
        tool.arg("--signing-cert").arg(self.sandbox.common(&format!("{}_cert.pem", self.name)));
        tool.args(["--ccf-gov-msg-type", message_type, "--ccf-gov-msg-created-at", now.trim()]);
        if let Some(proposal) = proposal {
            tool.args(["--ccf-gov-msg-proposal-id", proposal]);
        }
        let message = shell::output(&mut tool);
        assert!(message.status.success(), "{}", shell::told(&message));
        fs::write(&signed, message.stdout).unwrap();
        let line = format!(
            "curl --cacert {} -X POST 'https://{}{path}?{API}' -H 'content-type: application/cose' --data-binary @{}",
            self.sandbox.common("service_cert.pem").display(),
            self.sandbox.address,
            signed.display()
        );
        let (body, status) = shell::curl(&line, folder);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

#[test]
fn a_majority_adds_a_user_with_the_python_tool_and_curl() {
    let constitution = shell::root().join("constitutions/default");
    let sandbox =
        RunningSandbox::start(&["--members", "3", "--constitution-dir", constitution.to_str().unwrap()]);
    let members: Vec<Member<'_>> =
        (0..3).map(|n| Member { sandbox: &sandbox, name: format!("member{n}") }).collect();
    let newcomer = new_user(sandbox.folder.path());
    let actions = json!({"actions": [{"name": "set_user", "args": {"cert": newcomer}}]});
    let (status, proposal) = members[0].post("/gov/members/proposals:create", "proposal", None, &actions);
    assert_eq!((status, &proposal["proposalState"]), (200, &json!("Open")), "{proposal}");
    let id = proposal["proposalId"].as_str().unwrap().to_owned();

    let ballot = json!({"ballot": format!(
        "export function vote (proposal, proposerId) {{ return proposerId === \"{}\" && JSON.parse(proposal).actions.length === 1 }}",
        members[0].id()
    )});
    let mut states = Vec::new();
    for member in &members[..2] {
        let path = format!("/gov/members/proposals/{id}/ballots/{}:submit", member.id());
        let (status, answer) = member.post(&path, "ballot", Some(&id), &ballot);
        assert_eq!(status, 200, "{answer}");
        states.push(answer["proposalState"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["Open", "Accepted"]);

    // A vote after the decision, a message of the wrong type and a stranger are refused.
    let path = format!("/gov/members/proposals/{id}/ballots/{}:submit", members[2].id());
    let (status, answer) = members[2].post(&path, "ballot", Some(&id), &ballot);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("ProposalNotOpen")), "{answer}");
    let (status, _) = members[2].post("/gov/members/proposals:create", "ack", None, &actions);
    assert_eq!(status, 401);
    let stranger = Member { sandbox: &sandbox, name: "user0".to_owned() };
    let (status, _) = stranger.post("/gov/members/proposals:create", "proposal", None, &actions);
    assert_eq!(status, 401);

    let users = sandbox.client("", Protocol::Http1).get(&format!("/gov/service/users?{API}")).unwrap().json();
    assert_eq!(users["value"].as_array().unwrap().len(), 2, "{users}");
    let stopped = sandbox.stop();
    stopped.must_be_clean();
    verdicts::must_be_accepted(&stopped);
}

/// A certificate made by the PyPI package's own script.
fn new_user(folder: &Path) -> String {
    shell::run(
        Command::new("bash")
            .arg(shell::python_tool("keygenerator.sh"))
            .args(["--name", "newcomer"])
            .current_dir(folder),
    );
    fs::read_to_string(folder.join("newcomer_cert.pem")).unwrap()
}
