//! A service of several nodes with its members: started, governed, asked, and taken apart.

use crate::{
    links::Links,
    member_node::{MemberNode, Tuning},
    registers,
};
use ccf_cli::{
    governance_client::{BALLOT_YES, GovernanceClient, GovernanceClientError},
    http_client::{HttpClient, Protocol, Reply},
    identity::{Identity, IdentityFiles},
    sandbox::{
        node_configuration::{Command, NodeSettings},
        opening,
    },
    tls::TlsFiles,
};
use ccf_crypto::key::Curve;
use ccf_governance::constitution_texts;
use ccf_types::{NodeId, TxId};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use time::{OffsetDateTime, macros::format_description};

/// Whatever is waited for is there within this, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One request of a member or of the test itself: a node that is paused or cut off is left for another one.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(50);

const MEMBERS: usize = 3;

/// Services disturb each other's timers: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running service. Nodes are dropped before the folder.
pub(crate) struct Service {
    pub(crate) nodes: Vec<MemberNode>,
    pub(crate) links: Links,
    members: Vec<Identity>,
    tuning: Tuning,
    root: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Who asks, and how long it waits for an answer. Can be given to other threads.
#[derive(Clone)]
pub(crate) struct Caller {
    files: TlsFiles,
    patience: Duration,
}

impl Caller {
    pub(crate) fn client(&self, address: &str) -> HttpClient {
        HttpClient::new(address, &self.files, Protocol::Http1).unwrap().with_patience(self.patience)
    }
}

impl Service {
    /// A service of `count` nodes, open, with the registers.
    pub(crate) fn open(count: usize, tuning: Tuning) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let root = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let make = |name: String, is_member: bool| {
            let identity = Identity::generate(&name, Curve::P384, is_member, now, 1).unwrap();
            identity.write(root.path(), &name).unwrap();
            identity
        };
        let members: Vec<Identity> = (0..MEMBERS).map(|index| make(format!("member{index}"), true)).collect();
        let user = make("user0".to_owned(), false);
        let mut service =
            Service { nodes: Vec::new(), links: Links::default(), members, tuning, root, _alone: alone };
        service.start_first();
        for _ in 1..count {
            let joiner = service.join(0, None);
            service.wait_until_part(joiner);
        }
        service.govern(&user);
        println!("a service of {count} nodes is open after {:.1} s", began.elapsed().as_secs_f64());
        service
    }

    fn start_first(&mut self) {
        let folder = self.folder(0);
        let mut members = Vec::new();
        for index in 0..MEMBERS {
            let files = IdentityFiles::new(Path::new(""), &format!("member{index}"));
            let copied = [files.certificate, files.encryption_public_key].map(|name| {
                fs::copy(self.root.path().join(&name), folder.join(&name)).unwrap();
                name.to_str().unwrap().to_owned()
            });
            let [certificate, encryption_key] = copied;
            members.push((certificate, Some(encryption_key)));
        }
        let mut constitution = Vec::new();
        for (index, (name, text)) in constitution_texts::DEFAULT_VIRTUAL.iter().enumerate() {
            let name = format!("constitution_{index}_{name}");
            fs::write(folder.join(&name), text).unwrap();
            constitution.push(name);
        }
        let settings =
            NodeSettings { constitution_files: &constitution, members: &members, ..self.settings(0) };
        let node = MemberNode::start(&folder, &settings, self.tuning, &self.links);
        let certificate = wait_for("the service certificate", || {
            fs::read_to_string(folder.join("service_cert.pem")).map_err(|e| e.to_string())
        });
        fs::write(self.certificate_file(), certificate).unwrap();
        self.nodes.push(node);
        self.wait_until_part(0);
    }

    fn govern(&mut self, user: &Identity) {
        let mut client = self.client("", 0);
        for member in &self.members {
            // What a member acknowledges exists from the first signature on.
            wait_for("a member's acknowledgement", || {
                GovernanceClient::new(&mut client).acknowledge(member).map_err(|e| e.to_string())
            });
        }
        let certificate = fs::read_to_string(self.certificate_file()).unwrap();
        let mut actions = opening::set_users(std::slice::from_ref(user));
        actions.push(opening::set_js_app(&registers::bundle()));
        actions.push(opening::open_service(&certificate));
        decide(&self.members, &mut client, &actions).unwrap();
        for index in 0..self.nodes.len() {
            self.wait_until_open(index);
        }
    }

    fn settings(&self, index: usize) -> NodeSettings<'static> {
        NodeSettings {
            index,
            rpc_address: "127.0.0.1:0",
            protocol: Protocol::Http1,
            command: Command::Start,
            constitution_files: &[],
            members: &[],
            signature_interval: self.tuning.signature_interval,
            validity_days: 1,
            ledger_chunk_bytes: 20_000,
            snapshot_tx_interval: self.tuning.snapshot_tx_interval,
            worker_threads: Some(2),
        }
    }

    /// Where a node keeps its files, or will.
    pub(crate) fn folder(&self, index: usize) -> PathBuf {
        let folder = self.root.path().join(format!("node{index}"));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.root.path().join("service_cert.pem")
    }

    /// Starts one more node that asks `target` to join, from the snapshots of `snapshots_of` if given. Does not wait
    /// until it has joined.
    pub(crate) fn join(&mut self, target: usize, snapshots_of: Option<usize>) -> usize {
        let index = self.nodes.len();
        let folder = self.folder(index);
        fs::copy(self.certificate_file(), folder.join("service_cert.pem")).unwrap();
        if let Some(source) = snapshots_of {
            copy_files(&self.nodes[source].snapshots(), &folder.join(format!("{index}.snapshots")));
        }
        let target = self.nodes[target].address.clone();
        let settings = NodeSettings { command: Command::Join(&target), ..self.settings(index) };
        let node = MemberNode::start(&folder, &settings, self.tuning, &self.links);
        self.nodes.push(node);
        index
    }

    /// Members let a node in that waits for them, and the test waits until it serves.
    pub(crate) fn trust(&mut self, index: usize) {
        let id = self.nodes[index].id.clone();
        self.wait_for_status(&id, "Pending");
        let format = format_description!("[year][month][day][hour][minute][second]Z");
        let valid_from = (OffsetDateTime::now_utc() - time::Duration::HOUR).format(format).unwrap();
        let action = json!({
            "name": "transition_node_to_trusted",
            "args": {"node_id": id, "valid_from": valid_from, "validity_period_days": 1},
        });
        self.achieve("a node to be trusted", &[action], |client| Some(status_of(client, &id)? == "Trusted"));
        self.wait_until_part(index);
        self.wait_until_open(index);
    }

    /// Members remove a node; the test waits until the service can do without it.
    pub(crate) fn retire(&mut self, index: usize) {
        let id = self.nodes[index].id.clone();
        let action = json!({"name": "remove_node", "args": {"node_id": id}});
        self.achieve("a node to be retired", &[action], |client| Some(status_of(client, &id)? != "Trusted"));
        self.ask("a retired node to become removable", |client| {
            let reply = client.get("/node/network/removable_nodes").ok()?;
            let nodes = reply.json()["nodes"].as_array().cloned().unwrap_or_default();
            nodes.iter().any(|node| node["node_id"] == id.as_str()).then_some(())
        });
    }

    /// Deletes what the service keeps of a retired node.
    pub(crate) fn forget(&mut self, index: usize) {
        let id = self.nodes[index].id.clone();
        let path = format!("/node/network/nodes/{id}");
        self.ask("a retired node to be forgotten", |client| {
            // The first answer may be lost with a connection.
            if client.get(&path).ok()?.status == 404 {
                return Some(());
            }
            let reply = client.send("DELETE", &path, None, bytes::Bytes::new()).ok()?;
            (reply.status == 200 && reply.json() == true).then_some(())
        });
    }

    /// Proposes and votes until `is_done` holds on some node.
    pub(crate) fn achieve(
        &mut self,
        what: &str,
        actions: &[Value],
        is_done: impl Fn(&mut HttpClient) -> Option<bool>,
    ) {
        let addresses = self.running_addresses();
        let caller = self.caller("", REQUEST_PATIENCE);
        let members = &self.members;
        let mut turn = 0;
        wait_for(what, || {
            let mut client = caller.client(&addresses[turn % addresses.len()]);
            turn += 1;
            if is_done(&mut client) == Some(true) {
                return Ok(());
            }
            decide(members, &mut client, actions)?;
            // A backup may learn of it a little later: asking again would be a second proposal.
            for _ in 0..40 {
                if is_done(&mut client) == Some(true) {
                    return Ok(());
                }
                thread::sleep(LOOK_EVERY);
            }
            Err("decided, but not in force".to_owned())
        });
        self.nodes.iter_mut().for_each(MemberNode::must_run);
    }

    /// Asks the running nodes in turn until one gives what is asked for.
    pub(crate) fn ask<T>(&mut self, what: &str, mut question: impl FnMut(&mut HttpClient) -> Option<T>) -> T {
        let addresses = self.running_addresses();
        let caller = self.caller("", REQUEST_PATIENCE);
        let mut turn = 0;
        wait_for(what, || {
            let mut client = caller.client(&addresses[turn % addresses.len()]);
            turn += 1;
            question(&mut client).ok_or_else(|| format!("{} says no", client.address()))
        })
    }

    fn running_addresses(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.is_running()).map(|node| node.address.clone()).collect()
    }

    fn wait_for_status(&mut self, id: &NodeId, status: &str) {
        self.ask(&format!("node {id} to be {status}"), |client| {
            (status_of(client, id)? == status).then_some(())
        });
    }

    /// Waits until a node takes part in the network.
    pub(crate) fn wait_until_part(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let mut client = node.anonymous().with_patience(REQUEST_PATIENCE);
        wait_for("a node to take part in the network", || {
            node.must_run();
            let reply = client.get("/node/state").map_err(|e| e.to_string())?;
            let state = reply.json()["state"].as_str().unwrap_or_default().to_owned();
            if state == "PartOfNetwork" { Ok(()) } else { Err(state) }
        });
    }

    /// Waits until a node serves the application.
    fn wait_until_open(&mut self, index: usize) {
        let mut client = self.client("", index);
        wait_for("a node to serve the application", || {
            let reply = client.get("/app/commit").map_err(|e| e.to_string())?;
            if reply.status == 200 { Ok(()) } else { Err(reply.refusal()) }
        });
    }

    /// The primary: of the nodes that say so, the one of the newest view. One that was deposed without knowing has an
    /// older view.
    pub(crate) fn primary(&self) -> usize {
        let caller = self.caller("", Duration::from_secs(2));
        wait_for("a primary", || {
            let view = |node: &MemberNode| {
                let mut client = caller.client(&node.address);
                if client.get("/node/primary").ok()?.status != 200 {
                    return None;
                }
                let details = client.get("/node/consensus").ok()?.json();
                Some((details["details"]["current_view"].as_u64()?, node.index))
            };
            let running = self.nodes.iter().filter(|node| node.is_running());
            running.filter_map(view).max().map(|(_, index)| index).ok_or_else(|| "none says so".to_owned())
        })
    }

    /// What a node knows to be committed.
    pub(crate) fn commit_of(&self, index: usize) -> TxId {
        wait_for("what a node knows to be committed", || {
            let reply = self.client("", index).get("/node/commit").map_err(|e| e.to_string())?;
            let id = reply.json()["transaction_id"].as_str().and_then(|id| id.parse().ok());
            id.ok_or_else(|| reply.refusal())
        })
    }

    /// Who asks as `who` (`user0`, `member1`, or nobody).
    pub(crate) fn caller(&self, who: &str, patience: Duration) -> Caller {
        let file = |suffix: &str| self.root.path().join(format!("{who}_{suffix}"));
        let identity = (!who.is_empty()).then(|| (file("cert.pem"), file("privk.pem")));
        let files = TlsFiles { service_certificate: Some(self.certificate_file()), identity };
        Caller { files, patience }
    }

    /// A client of one node.
    pub(crate) fn client(&self, who: &str, index: usize) -> HttpClient {
        self.caller(who, REQUEST_PATIENCE).client(&self.nodes[index].address)
    }

    /// Stops all nodes that run; each must end well.
    pub(crate) fn stop(&mut self) {
        for node in &mut self.nodes {
            node.stop();
        }
    }

    /// No node may have complained about itself or panicked.
    pub(crate) fn logs_must_be_clean(&self) {
        for node in &self.nodes {
            let log = node.log();
            let bad: Vec<&str> =
                log.lines().filter(|line| line.contains("[fatal]") || line.contains("panicked")).collect();
            assert!(bad.is_empty(), "node {}: {bad:#?}", node.index);
        }
    }
}

/// Tries until it works.
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => {
                panic!("waited {} s for {what}: {reason}", PATIENCE.as_secs())
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Proposes and lets members vote until it is accepted.
fn decide(members: &[Identity], client: &mut HttpClient, actions: &[Value]) -> Result<(), String> {
    let told = |e: GovernanceClientError| e.to_string();
    let mut governance = GovernanceClient::new(client);
    let mut proposal = governance.propose(&members[0], &json!({"actions": actions})).map_err(told)?;
    for member in members {
        if proposal.state != "Open" {
            break;
        }
        proposal = governance.vote(member, &proposal.id, BALLOT_YES).map_err(told)?;
    }
    if proposal.state == "Accepted" { Ok(()) } else { Err(format!("the proposal is {}", proposal.state)) }
}

/// The status of a node in the ledger; `Unknown` if it is not there.
fn status_of(client: &mut HttpClient, id: &NodeId) -> Option<String> {
    let reply: Reply = client.get(&format!("/node/network/nodes/{id}")).ok()?;
    match reply.status.as_u16() {
        200 => reply.json()["status"].as_str().map(str::to_owned),
        404 => Some("Unknown".to_owned()),
        _ => None,
    }
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
