//! One node of a service: its process, where it is reached, and what can be done to it.

use crate::{links::Links, shell};
use ccf_cli::{
    http_client::{HttpClient, Protocol},
    sandbox::{
        node_configuration::NodeSettings,
        node_process::{NodeProcess, NodeProgram},
    },
    tls::TlsFiles,
};
use ccf_crypto::cert::Certificate;
use ccf_types::NodeId;
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The interface that forwards to the primary.
pub(crate) const FORWARDING: &str = "primary_rpc_interface";

/// Where operators put ledger files that a node lacks, below its folder.
pub(crate) const EARLIER: &str = "earlier";

/// The interface that redirects to the primary, and serves no files.
pub(crate) const REDIRECTING: &str = "redirecting";

/// How a node differs from others of these tests.
#[derive(Clone, Copy)]
pub(crate) struct Tuning {
    /// Without a sign of the primary for so long, a backup stands for election.
    pub(crate) election_timeout: Duration,
    pub(crate) signature_interval: Duration,
    pub(crate) snapshot_tx_interval: u64,
    pub(crate) snapshot_time_interval: Option<Duration>,
    /// How long a backup waits for the primary's answer to what it forwarded.
    pub(crate) forwarding_timeout: Duration,
    /// Whether backups copy the primary's snapshots.
    pub(crate) backup_fetch: bool,
    /// Whether the first SIGTERM is only a notice.
    pub(crate) ignore_first_sigterm: bool,
    /// From so many uncommitted transactions on, new ones wait or are refused.
    pub(crate) uncommitted_max: u64,
    /// After so long a pending node that asks no more is forgotten; the node's own choice without it. Certificates are looked at
    /// as often.
    pub(crate) pending_node_timeout: Option<Duration>,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            election_timeout: Duration::from_millis(1000),
            signature_interval: Duration::from_millis(100),
            snapshot_tx_interval: 10_000,
            snapshot_time_interval: None,
            forwarding_timeout: Duration::from_secs(3),
            backup_fetch: false,
            ignore_first_sigterm: false,
            uncommitted_max: 10_000,
            pending_node_timeout: None,
        }
    }
}

/// A node. Dropping it stops its process.
pub(crate) struct MemberNode {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    /// `host:port` of the interface that forwards.
    pub(crate) address: String,
    /// `host:port` of the interface that redirects.
    pub(crate) redirecting: String,
    pub(crate) folder: PathBuf,
    process: Option<NodeProcess>,
    paused: bool,
}

impl MemberNode {
    /// Starts a process in `folder`, and waits until it listens.
    pub(crate) fn start(folder: &Path, settings: &NodeSettings<'_>, tuning: Tuning, links: &Links) -> Self {
        let proxy = links.proxy();
        fs::create_dir_all(folder.join(EARLIER)).unwrap();
        let configuration = configuration(settings, tuning, &proxy.to_string());
        let file = format!("{}.config.json", settings.index);
        fs::write(folder.join(&file), configuration.to_string()).unwrap();
        let first_words = ["node", "--stop-with-parent"].map(OsString::from).to_vec();
        let program = NodeProgram { path: shell::ccf(), first_words };
        let mut process = NodeProcess::start(&program, folder, &file, "info").unwrap();
        let never = || false;
        let certificate = process.wait_for_file(&settings.node_certificate_file(), never).unwrap();
        let certificate = Certificate::from_pem(&certificate).unwrap();
        let id = certificate.public_key().unwrap().node_id();
        let mut interface =
            |name| process.wait_for_address(&settings.rpc_addresses_file(), name, never).unwrap();
        let (address, redirecting) = (interface(FORWARDING), interface(REDIRECTING));
        let node_address = format!("{}.node_address", settings.index);
        let listens = process.wait_for_address(&node_address, "node_to_node_interface", never).unwrap();
        links.register(proxy, id.clone(), listens.parse().unwrap());
        MemberNode {
            index: settings.index,
            id,
            address,
            redirecting,
            folder: folder.to_owned(),
            process: Some(process),
            paused: false,
        }
    }

    /// Whether its process should run.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Fails the test with the node's last words when it has ended by itself.
    pub(crate) fn must_run(&mut self) {
        if let Some(process) = &mut self.process
            && let Err(reason) = process.must_run()
        {
            panic!("node {}: {reason}", self.index);
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let process = self.process.take().unwrap();
        signal("KILL", process.id());
        // Dropping it waits for its end.
        drop(process);
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self) {
        signal("STOP", self.process.as_ref().unwrap().id());
        self.paused = true;
    }

    /// SIGTERM, for a node that takes it as a notice.
    pub(crate) fn give_notice(&self) {
        signal("TERM", self.process.as_ref().unwrap().id());
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) {
        if self.paused {
            signal("CONT", self.process.as_ref().unwrap().id());
            self.paused = false;
        }
    }

    /// SIGTERM, and a proper end.
    pub(crate) fn stop(&mut self) {
        self.resume();
        if let Some(process) = self.process.take() {
            process.stop().unwrap_or_else(|reason| panic!("node {}: {reason}", self.index));
        }
    }

    /// A client of one of its interfaces that trusts whoever answers there.
    pub(crate) fn anonymous(&self) -> HttpClient {
        HttpClient::new(&self.address, &TlsFiles::default(), Protocol::Http1).unwrap()
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.join(format!("{}.ledger", self.index))
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.folder.join(format!("{}.snapshots", self.index))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap()
    }
}

impl Drop for MemberNode {
    fn drop(&mut self) {
        // A stopped process would not hear SIGTERM.
        self.resume();
    }
}

/// As a sandbox configures it, but with quick timers, a published address that is not its own, and a second interface.
fn configuration(settings: &NodeSettings<'_>, tuning: Tuning, published: &str) -> Value {
    let mut configuration = settings.to_json();
    let network = &mut configuration["network"];
    network["node_to_node_interface"]["published_address"] = published.into();
    let timeout = u64::try_from(tuning.forwarding_timeout.as_millis()).unwrap();
    network["rpc_interfaces"][FORWARDING]["forwarding_timeout_ms"] = timeout.into();
    network["rpc_interfaces"][FORWARDING]["enabled_operator_features"] =
        json!(["SnapshotRead", "LedgerChunkRead", "SnapshotCreate"]);
    let role = |role: &str| json!({"kind": "NodeByRole", "target": {"role": role}});
    let mut redirecting = network["rpc_interfaces"][FORWARDING].clone();
    redirecting["enabled_operator_features"] = json!([]);
    redirecting["redirections"] = json!({"to_primary": role("primary"), "to_backup": role("backup")});
    network["rpc_interfaces"][REDIRECTING] = redirecting;
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    configuration["consensus"] = json!({"message_timeout": "50ms", "election_timeout": millis(tuning.election_timeout), "max_uncommitted_tx_count": tuning.uncommitted_max});
    configuration["ignore_first_sigterm"] = tuning.ignore_first_sigterm.into();
    configuration["ledger"]["read_only_directories"] = json!([EARLIER]);
    if let Some(timeout) = tuning.pending_node_timeout {
        configuration["pending_node_timeout"] = millis(timeout).into();
    }
    if let Some(interval) = tuning.snapshot_time_interval {
        configuration["snapshots"]["time_interval"] = millis(interval).into();
    }
    configuration["snapshots"]["backup_fetch"] =
        json!({"enabled": tuning.backup_fetch, "retry_interval": "100ms", "max_attempts": 100});
    configuration
}

fn signal(name: &str, pid: u32) {
    shell::run(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()));
}
