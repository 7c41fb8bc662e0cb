//! The flags of `ccf sandbox`: CCF's own spellings, and shorter ones beside them.

use crate::units::parse_duration;
use std::{path::PathBuf, time::Duration};

/// Run a whole service on this machine, with an application deployed and opened by its members.
///
/// Makes keys and certificates of members and users in a workspace folder, starts a node on the virtual platform (which
/// protects nothing: for development only), activates the members, and lets them propose and vote to add the users,
/// deploy the application and open the service. Prints addresses, key files and curl lines, and serves until Ctrl-C.
#[derive(clap::Args, Debug)]
pub struct SandboxArgs {
    /// JavaScript application: a folder with app.json and src, or a bundle.json [default: the bank in samples/bank]
    #[arg(long = "app", alias = "js-app-bundle", value_name = "DIR", conflicts_with = "package")]
    pub app: Option<PathBuf>,
    /// Start this node program instead, with its application linked in
    #[arg(short, long, value_name = "PROGRAM")]
    pub package: Option<PathBuf>,
    /// Address of a node, repeatable, in CCF's spelling [default: local://127.0.0.1:8000]
    #[arg(short, long, value_name = "local://HOST:PORT")]
    pub node: Vec<String>,
    /// Number of nodes, on consecutive ports from 8000
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "node")]
    pub nodes: u16,
    /// Number of members
    #[arg(long = "members", alias = "initial-member-count", default_value_t = 1, value_name = "N")]
    pub members: u16,
    /// Number of users
    #[arg(long = "users", alias = "initial-user-count", default_value_t = 1, value_name = "N")]
    pub users: u16,
    /// Constitution files, in order, instead of the sandbox's own (which accepts every valid proposal)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub constitution: Vec<PathBuf>,
    /// Folder with actions.js, validate.js, resolve.js and apply.js to use as the constitution
    #[arg(short, long, value_name = "DIR", conflicts_with = "constitution")]
    pub constitution_dir: Option<PathBuf>,
    /// Serve HTTP/2 instead of HTTP/1.1
    #[arg(long)]
    pub http2: bool,
    /// Folder for everything the sandbox writes; what an earlier sandbox left there is replaced
    #[arg(short, long, default_value = "workspace", value_name = "DIR")]
    pub workspace: PathBuf,
    /// Show the node's log
    #[arg(short, long)]
    pub verbose: bool,
    /// Time between signatures of the ledger, which decides when transactions are committed
    #[arg(long, alias = "sig-ms-interval", default_value = "100ms", value_parser = parse_interval, value_name = "TIME")]
    pub signature_interval: Duration,
    /// Days until the service's and nodes' first certificates expire
    #[arg(
        long,
        aliases = ["initial-service-cert-validity-days", "initial-node-cert-validity-days"],
        default_value_t = 90,
        value_name = "DAYS"
    )]
    pub validity_days: u16,
    /// Bytes after which a ledger file is closed
    #[arg(long, default_value_t = 5_000_000, value_name = "BYTES")]
    pub ledger_chunk_bytes: u64,
    /// Transactions between snapshots
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub snapshot_tx_interval: u64,
    /// Threads of each node beside its main one [default: one per core]
    #[arg(long, value_name = "N")]
    pub worker_threads: Option<u16>,
    /// Stop as soon as everything is ready (for tests)
    #[arg(long)]
    pub auto_shutdown: bool,
    /// With --auto-shutdown: serve for so long first
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "TIME", alias = "auto-shutdown-delay-s")]
    pub auto_shutdown_delay: Duration,
    /// Recover an earlier service from its ledger; its members hand in their shares
    #[arg(short, long, requires_all = ["ledger_dir", "common_dir"])]
    pub recover: bool,
    /// With --recover: the ledger of the earlier service
    #[arg(long, value_name = "DIR", requires = "recover")]
    pub ledger_dir: Option<PathBuf>,
    /// With --recover: the folder with the service certificate and the keys of its members (sandbox_common)
    #[arg(long, value_name = "DIR", requires = "recover")]
    pub common_dir: Option<PathBuf>,
    /// With --recover: snapshots of the earlier service
    #[arg(long, value_name = "DIR", requires = "recover")]
    pub snapshots_dir: Option<PathBuf>,
}

/// `100ms`, or a bare number of milliseconds as in CCF's flag.
fn parse_interval(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds.into())),
        Err(_) => parse_duration(text),
    }
}

/// Most members and users: each costs a key pair and a certificate.
pub const PEOPLE_MAX: u16 = 100;

/// Most nodes: each is a process of its own.
pub const NODES_MAX: u16 = 15;

impl SandboxArgs {
    /// The addresses to serve at, one per node.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn addresses(&self) -> Result<Vec<String>, String> {
        if self.members == 0 || self.members > PEOPLE_MAX || self.users > PEOPLE_MAX {
            return Err(format!("a sandbox has 1 to {PEOPLE_MAX} members and at most {PEOPLE_MAX} users"));
        }
        if self.nodes == 0 || self.nodes > NODES_MAX || self.node.len() > NODES_MAX.into() {
            return Err(format!("a sandbox has 1 to {NODES_MAX} nodes"));
        }
        match self.node.as_slice() {
            [] => Ok((0..self.nodes).map(|index| format!("127.0.0.1:{}", 8000 + index)).collect()),
            nodes => nodes.iter().map(|node| address(node)).collect(),
        }
    }
}

fn address(node: &str) -> Result<String, String> {
    let wrong = || format!("--node '{node}' must look like local://127.0.0.1:8000");
    let address = match node.split_once("://") {
        Some(("local", rest)) => rest,
        Some(_) => return Err(format!("{}; only local nodes can be started", wrong())),
        None => node,
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    match host.is_empty() || port.parse::<u16>().is_err() {
        true => Err(wrong()),
        false => Ok(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        sandbox: SandboxArgs,
    }

    fn parse(line: &str) -> SandboxArgs {
        Wrapper::try_parse_from(line.split(' ')).unwrap().sandbox
    }

    #[test]
    fn ccfs_own_spellings_are_understood() {
        let args = parse(
            "sandbox --initial-member-count 3 --initial-user-count 2 --js-app-bundle x -n local://127.0.0.1:9 --sig-ms-interval 50",
        );
        assert_eq!((args.members, args.users), (3, 2));
        assert_eq!(args.addresses(), Ok(vec!["127.0.0.1:9".to_owned()]));
        assert_eq!(args.signature_interval, Duration::from_millis(50));
        assert_eq!(parse("sandbox").addresses(), Ok(vec!["127.0.0.1:8000".to_owned()]));
        let three = ["127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"].map(str::to_owned).to_vec();
        assert_eq!(parse("sandbox --nodes 3").addresses(), Ok(three));
        let two = ["127.0.0.1:1", "127.0.0.1:2"].map(str::to_owned).to_vec();
        assert_eq!(parse("sandbox -n local://127.0.0.1:1 -n local://127.0.0.1:2").addresses(), Ok(two));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (line, word) in [
            ("sandbox --nodes 0", "1 to 15 nodes"),
            ("sandbox --nodes 16", "1 to 15 nodes"),
            ("sandbox --members 0", "1 to 100"),
            ("sandbox -n ssh://host:1", "only local"),
            ("sandbox -n 127.0.0.1", "must look like"),
        ] {
            assert!(parse(line).addresses().unwrap_err().contains(word), "{line}");
        }
    }
}
