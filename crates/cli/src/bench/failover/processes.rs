//! Which process is the primary, and its end.

use super::{Client, Target, wire};
use crate::bench::process::ProcessUsage;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// During an election no node is primary; it is looked for this long.
const PRIMARY_WITHIN: Duration = Duration::from_secs(5);

/// The processes of the nodes, as far as they are known.
#[derive(Debug)]
pub struct NodeProcesses {
    /// The process to kill, when it was named.
    named: Option<u32>,
    /// Address and process of each node of a sandbox.
    sandbox: Vec<(String, u32)>,
}

impl NodeProcesses {
    /// The process `named`, or else those of the sandbox in the folder `workspace`.
    ///
    /// # Errors
    /// A sentence for the user when a process is named without hosts, or there is no sandbox.
    pub fn new(named: Option<u32>, workspace: &Path, hosts: &[String]) -> Result<Self, String> {
        let sandbox = sandbox_nodes(workspace);
        if sandbox.len() < 2 && named.is_none() {
            return Err(format!(
                "no sandbox with several nodes in {}: start one with `ccf sandbox --nodes 3`, or name the primary's process and each --host",
                workspace.display()
            ));
        }
        if hosts.is_empty() && sandbox.is_empty() {
            return Err("name the nodes that remain: --host, once for each".to_owned());
        }
        if let Some(pid) = named {
            ProcessUsage::of(pid)?;
        }
        Ok(NodeProcesses { named, sandbox })
    }

    /// Address and process of each node of the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &[(String, u32)] {
        &self.sandbox
    }

    /// Addresses of the sandbox's nodes.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.sandbox.iter().map(|(address, _)| address.clone()).collect()
    }

    /// The process of the primary.
    ///
    /// # Errors
    /// When no node names one of the sandbox's nodes as primary in time.
    pub fn primary(&self, targets: &[Target]) -> Result<u32, String> {
        if let Some(pid) = self.named {
            return Ok(pid);
        }
        let begun = Instant::now();
        loop {
            if let Some(address) = targets.iter().find_map(primary_address)
                && let Some((_, pid)) = self.sandbox.iter().find(|(known, _)| *known == address)
            {
                return Ok(*pid);
            }
            if begun.elapsed() > PRIMARY_WITHIN {
                return Err("no node of the sandbox says who is primary".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// What the operating system said.
pub fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| format!("{pid} is no process id"))?;
    kill_process(process, signal).map_err(|e| format!("cannot signal process {pid}: {e}"))
}

/// Address and process of each node that runs in a sandbox's workspace.
fn sandbox_nodes(workspace: &Path) -> Vec<(String, u32)> {
    let mut nodes = Vec::new();
    for index in 0.. {
        let folder = workspace.join(format!("sandbox_{index}"));
        let Ok(pid) = fs::read_to_string(folder.join("node.pid")) else { break };
        let addresses = fs::read_to_string(folder.join(format!("{index}.rpc_addresses"))).unwrap_or_default();
        let addresses: Value = serde_json::from_str(&addresses).unwrap_or_default();
        let address = addresses.as_object().and_then(|all| all.values().find_map(Value::as_str));
        if let (Ok(pid), Some(address)) = (pid.trim().parse(), address) {
            nodes.push((address.to_owned(), pid));
        }
    }
    nodes.retain(|(_, pid)| ProcessUsage::of(*pid).is_ok());
    nodes
}

/// The address that the primary publishes, as this node tells it.
fn primary_address(target: &Target) -> Option<String> {
    let question = wire::request("GET", "/node/network/nodes", &target.address, None);
    let answer = Client::open(target).ok()?.ask(&question).ok()?;
    let json: Value = serde_json::from_str(&answer.body).ok()?;
    let primary = json["nodes"].as_array()?.iter().find(|node| node["primary"] == true)?;
    let interfaces = primary["rpc_interfaces"].as_object()?;
    let interface = interfaces.values().next()?;
    let address = interface["published_address"].as_str().or(interface["bind_address"].as_str())?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_read_and_dead_nodes_are_left_out() {
        let workspace = tempfile::tempdir().unwrap();
        let none = NodeProcesses::new(None, workspace.path(), &[]).unwrap_err();
        assert!(none.contains("ccf sandbox --nodes 3"), "{none}");
        for (index, pid) in [std::process::id(), std::process::id(), u32::MAX].iter().enumerate() {
            let folder = workspace.path().join(format!("sandbox_{index}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("node.pid"), format!("{pid}\n")).unwrap();
            let addresses = format!("{{\"interface\": \"127.0.0.1:{}\"}}", 8000 + index);
            fs::write(folder.join(format!("{index}.rpc_addresses")), addresses).unwrap();
        }
        let processes = NodeProcesses::new(None, workspace.path(), &[]).unwrap();
        assert_eq!(processes.addresses(), ["127.0.0.1:8000", "127.0.0.1:8001"]);
        let gone = NodeProcesses::new(Some(u32::MAX), workspace.path(), &[]).unwrap_err();
        assert!(gone.contains("process id"), "{gone}");
    }
}
