//! A service whose nodes seal, its lives one after the other: started, killed, recovered from what is left on disk.

use crate::{
    messages,
    service::{copy_files, wait_for},
    shell, verdicts,
};
use ccf_cli::{
    governance_client::{BALLOT_YES, GovernanceClient},
    http_client::{HttpClient, Protocol},
    identity::{Identity, IdentityFiles},
    sandbox::{
        node_configuration::{Command, NodeSettings},
        node_process::{NodeProcess, NodeProgram},
        opening,
    },
    tls::TlsFiles,
};
use ccf_crypto::{cert::Certificate, key::Curve};
use ccf_governance::constitution_texts;
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};
use tempfile::TempDir;
use time::{OffsetDateTime, macros::format_description};

/// Name of the file with the certificate of the service before.
const PREDECESSOR: &str = "predecessor.pem";

/// The consortium and the folder of everything.
pub(crate) struct Consortium {
    members: Vec<Identity>,
    root: TempDir,
    snapshot_tx_interval: u64,
}

/// One node of one life. Dropping it stops its process.
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    pub(crate) address: String,
    process: NodeProcess,
}

/// What a node runs, and what its configuration has beyond the usual.
pub(crate) struct Plan<'a> {
    /// The program: `logging` or `js_generic`.
    pub(crate) program: &'a str,
    /// Value of `sealing_recovery`.
    pub(crate) sealing: Value,
    /// `host:port`.
    pub(crate) address: &'a str,
}

/// `sealing_recovery` with nothing but a location.
pub(crate) fn location(name: &str) -> Value {
    json!({"location": {"name": name, "address": "127.0.0.1:1"}})
}

/// `host:port` of `count` ports that are free now, and stay so between the lives of a node: every call has
/// a loopback address of its own, where nobody else looks for a port.
pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let host = Ipv4Addr::new(127, 0, 77, CALLS.fetch_add(1, Ordering::Relaxed));
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind((host, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

impl Consortium {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let make = |name: String, is_member: bool| {
            let identity = Identity::generate(&name, Curve::P384, is_member, now, 1).unwrap();
            identity.write(root.path(), &name).unwrap();
            identity
        };
        let members = (0..2).map(|index| make(format!("member{index}"), true)).collect();
        make("user0".to_owned(), false);
        Consortium { members, root, snapshot_tx_interval: 1_000_000 }
    }

    /// The same, whose nodes take snapshots after so many transactions.
    pub(crate) fn with_snapshots(snapshot_tx_interval: u64) -> Self {
        Consortium { snapshot_tx_interval, ..Consortium::new() }
    }

    /// Gives a node that is still to join the files that another one has left.
    pub(crate) fn give(&self, name: &str, remains: &Remains) {
        for folder in ["0.ledger", "0.snapshots"] {
            copy_files(&remains.folder.join(folder), &self.root.path().join(name).join(folder));
        }
    }

    fn launch(&self, name: &str, command: Command<'_>, plan: &Plan<'_>) -> Node {
        let folder = self.root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let copied = |index: usize, file: PathBuf| {
            let name = format!("member{index}_{}", file.file_name().unwrap().to_str().unwrap());
            fs::copy(self.root.path().join(&file), folder.join(&name)).unwrap();
            name
        };
        let members: Vec<(String, Option<String>)> = (0..self.members.len())
            .map(|index| {
                let files = IdentityFiles::new(Path::new(""), &format!("member{index}"));
                (copied(index, files.certificate), Some(copied(index, files.encryption_public_key)))
            })
            .collect();
        let constitution: Vec<String> = constitution_texts::DEFAULT_VIRTUAL
            .iter()
            .enumerate()
            .map(|(index, (name, text))| {
                let name = format!("constitution_{index}_{name}");
                fs::write(folder.join(&name), text).unwrap();
                name
            })
            .collect();
        let settings = NodeSettings {
            index: 0,
            rpc_address: plan.address,
            protocol: Protocol::Http1,
            command,
            constitution_files: &constitution,
            members: &members,
            signature_interval: Duration::from_millis(50),
            validity_days: 1,
            ledger_chunk_bytes: 20_000,
            snapshot_tx_interval: self.snapshot_tx_interval,
            worker_threads: Some(1),
        };
        let mut configuration = settings.to_json();
        configuration["sealing_recovery"] = plan.sealing.clone();
        fs::write(folder.join("config.json"), configuration.to_string()).unwrap();
        let program = NodeProgram { path: shell::sibling(plan.program), first_words: Vec::new() };
        let process = NodeProcess::start(&program, &folder, "config.json", "info").unwrap();
        Node { folder, address: plan.address.to_owned(), process }
    }

    /// A new service of one node, open, with a user.
    pub(crate) fn start(&self, name: &str, plan: &Plan<'_>) -> Node {
        let mut node = self.launch(name, Command::Start, plan);
        let certificate = node.certificate();
        let user = Identity::load_named(self.root.path(), "user0").unwrap();
        let mut client = node.client_as("");
        for member in &self.members {
            wait_for("a member's acknowledgement", || {
                GovernanceClient::new(&mut client).acknowledge(member).map_err(|e| e.to_string())
            });
        }
        let mut actions = opening::set_users(std::slice::from_ref(&user));
        actions.push(opening::open_service(&certificate));
        self.decide(&node, &actions).unwrap();
        node.wait_until_open();
        node
    }

    /// One more node of a running service; the members trust it.
    pub(crate) fn join(&self, name: &str, target: &Node, plan: &Plan<'_>) -> Node {
        let folder = self.root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(target.folder.join("service_cert.pem"), folder.join("service_cert.pem")).unwrap();
        let mut node = self.launch(name, Command::Join(&target.address), plan);
        let id = Certificate::from_pem(&node.file("0.pem")).unwrap().public_key().unwrap().node_id();
        self.trust(target, id.as_str());
        node.wait_until_open();
        node
    }

    /// The members trust a node that waits for it.
    pub(crate) fn trust(&self, at: &Node, id: &str) {
        wait_for("a node to ask to join", || {
            let node =
                at.client_as("").get(&format!("/node/network/nodes/{id}")).map_err(|e| e.to_string())?;
            if node.json()["status"] == "Pending" { Ok(()) } else { Err(node.refusal()) }
        });
        let format = format_description!("[year][month][day][hour][minute][second]Z");
        let valid_from = (OffsetDateTime::now_utc() - time::Duration::HOUR).format(format).unwrap();
        let args = json!({"node_id": id, "valid_from": valid_from, "validity_period_days": 1});
        self.decide(at, &[json!({"name": "transition_node_to_trusted", "args": args})]).unwrap();
    }

    /// A node that recovers what a killed one has left.
    pub(crate) fn recover(&self, name: &str, before: &Remains, plan: &Plan<'_>) -> Node {
        let folder = self.root.path().join(name);
        fs::create_dir_all(folder.join("0.ledger")).unwrap();
        for entry in fs::read_dir(before.folder.join("0.ledger")).unwrap().flatten() {
            fs::copy(entry.path(), folder.join("0.ledger").join(entry.file_name())).unwrap();
        }
        fs::copy(before.folder.join("service_cert.pem"), folder.join(PREDECESSOR)).unwrap();
        self.launch(name, Command::Recover(PREDECESSOR), plan)
    }

    /// The members open a recovered service, and hand in no share.
    pub(crate) fn reopen(&self, node: &mut Node) -> Result<(), String> {
        let next = node.certificate();
        let previous = fs::read_to_string(node.folder.join(PREDECESSOR)).unwrap();
        wait_for("governance of the recovered service", || {
            let reply = node.client_as("").get("/gov/service/members?api-version=2024-07-01");
            let reply = reply.map_err(|e| e.to_string())?;
            if reply.status.is_success() { Ok(()) } else { Err(reply.refusal()) }
        });
        let args = json!({"previous_service_identity": previous, "next_service_identity": next});
        self.decide(node, &[json!({"name": "transition_service_to_open", "args": args})])
    }

    fn decide(&self, node: &Node, actions: &[Value]) -> Result<(), String> {
        let mut client = node.client_as("");
        let mut governance = GovernanceClient::new(&mut client);
        let proposal = governance.propose(&self.members[0], &json!({"actions": actions}));
        let mut proposal = proposal.map_err(|e| e.to_string())?;
        for member in &self.members {
            if proposal.state == "Open" {
                proposal = governance.vote(member, &proposal.id, BALLOT_YES).map_err(|e| e.to_string())?;
            }
        }
        if proposal.state == "Accepted" { Ok(()) } else { Err(proposal.state) }
    }
}

/// The folder of a node that is no more.
pub(crate) struct Remains {
    folder: PathBuf,
}

impl Remains {
    /// Names of the files of one of its folders.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        names(&self.folder.join(folder))
    }

    /// Judges accept its ledger, of all lives, as that of the last service.
    pub(crate) fn must_be_accepted(&self) {
        verdicts::must_be_accepted(&self.folder.join("0.ledger"), &[], &self.folder.join("service_cert.pem"));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().flatten();
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

impl Node {
    /// Names of the files of one of its folders.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        names(&self.folder.join(folder))
    }

    /// A file the node writes when it starts.
    pub(crate) fn file(&mut self, name: &str) -> String {
        self.process.wait_for_file(name, || false).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The certificate of its service, which it has written.
    pub(crate) fn certificate(&mut self) -> String {
        let text = self.file("service_cert.pem");
        wait_for("the node to answer", || {
            let reply = self.client_as("").get("/node/state").map_err(|e| e.to_string())?;
            if reply.status.is_success() { Ok(()) } else { Err(reply.refusal()) }
        });
        text
    }

    /// A client that trusts whoever answers; with the user's certificate if asked for.
    pub(crate) fn client_as(&self, who: &str) -> HttpClient {
        let file = |suffix: &str| self.folder.parent().unwrap().join(format!("{who}_{suffix}"));
        let identity = (!who.is_empty()).then(|| (file("cert.pem"), file("privk.pem")));
        let files = TlsFiles { service_certificate: None, identity };
        HttpClient::new(&self.address, &files, Protocol::Http1)
            .unwrap()
            .with_patience(Duration::from_secs(20))
    }

    /// Waits until it serves the application.
    pub(crate) fn wait_until_open(&mut self) {
        let folder = self.folder.display().to_string();
        wait_for(&format!("{folder} to serve the application"), || {
            self.process.must_run()?;
            let reply = self.client_as("").get("/app/commit").map_err(|e| e.to_string())?;
            if reply.status == 200 { Ok(()) } else { Err(reply.refusal()) }
        });
    }

    /// What the node answers to a request that must succeed.
    pub(crate) fn get(&self, path: &str) -> Value {
        let reply = self.client_as("").get(path).unwrap();
        assert!(reply.status.is_success(), "{path}: {}", reply.refusal());
        reply.json()
    }

    pub(crate) fn write(&self, id: u64, message: &str) {
        messages::write(&mut self.client_as("user0"), id, message);
    }

    pub(crate) fn must_hold(&self, id: u64, message: &str) {
        assert_eq!(messages::read(&mut self.client_as("user0"), id).as_deref(), Some(message));
    }

    /// Waits for its own end.
    pub(crate) fn wait_for_end(&mut self) -> String {
        wait_for("the node to end", || self.process.exit_status().ok_or_else(|| "it runs".to_owned()));
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap()
    }

    /// Fails with its last words if it has ended.
    pub(crate) fn must_run(&mut self) -> Result<(), String> {
        self.process.must_run()
    }

    /// SIGTERM, and a proper end.
    pub(crate) fn stop(self) -> Remains {
        self.process.stop().unwrap_or_else(|reason| panic!("{reason}"));
        Remains { folder: self.folder }
    }

    /// SIGKILL.
    pub(crate) fn kill(self) -> Remains {
        shell::run(process::Command::new("kill").args(["-KILL", &self.process.id().to_string()]));
        Remains { folder: self.folder.clone() }
    }
}
