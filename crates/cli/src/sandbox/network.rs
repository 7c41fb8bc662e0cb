//! The nodes of a sandbox: started one after the other, watched together, stopped together.

use super::{
    INTERFACE, announce,
    interrupt::Interrupt,
    node_configuration::NodeSettings,
    node_process::{LOOK_EVERY, NodeProcess, NodeProgram},
};
use crate::{
    http_client::{HttpClient, Protocol},
    tls::TlsFiles,
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A joining node has this long to become part of the network, and then to serve the application.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// One node.
pub(super) struct Node {
    /// Where clients reach it.
    pub(super) address: String,
    /// Its process; none once it has ended.
    pub(super) process: Option<NodeProcess>,
    /// Its log.
    pub(super) log_file: PathBuf,
}

/// All nodes, in the order of their start.
pub(super) struct Network {
    /// Which program they run.
    pub(super) program: NodeProgram,
    /// How much they log.
    pub(super) level: &'static str,
    /// What clients speak with them.
    pub(super) protocol: Protocol,
    pub(super) nodes: Vec<Node>,
}

impl Network {
    /// Starts one more node in `folder` and waits until it listens.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn start(
        &mut self,
        folder: &Path,
        settings: &NodeSettings<'_>,
        interrupt: &Interrupt,
    ) -> Result<(), String> {
        let configuration = serde_json::to_string_pretty(&settings.to_json()).map_err(|e| e.to_string())?;
        let file = format!("{}.config.json", settings.index);
        super::write(&folder.join(&file), &configuration)?;
        let mut process = NodeProcess::start(&self.program, folder, &file, self.level)?;
        interrupt.watch_over(process.id());
        let interrupted = || interrupt.is_set();
        process.wait_for_file(&settings.node_certificate_file(), interrupted)?;
        let address = process.wait_for_address(&settings.rpc_addresses_file(), INTERFACE, interrupted)?;
        let log_file = process.log_file();
        self.nodes.push(Node { address, process: Some(process), log_file });
        Ok(())
    }

    /// The node that started the service.
    ///
    /// # Errors
    /// If it has ended.
    pub(super) fn first(&mut self) -> Result<&mut NodeProcess, String> {
        self.nodes.first_mut().and_then(|node| node.process.as_mut()).ok_or_else(|| "no node runs".to_owned())
    }

    /// Waits until the newest node answers `path` with 200 and an answer that `fits`. `certificate` is the service's; a
    /// node that is not part of it yet is asked without it.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn wait(
        &mut self,
        index: usize,
        what: &str,
        certificate: Option<&Path>,
        interrupt: &Interrupt,
        fits: impl Fn(&mut HttpClient) -> Result<(), String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let files = TlsFiles { service_certificate: certificate.map(Path::to_owned), identity: None };
        loop {
            let node = self.nodes.get_mut(index).ok_or("no such node")?;
            if let Some(process) = &mut node.process {
                process.must_run()?;
            }
            let client = HttpClient::new(&node.address, &files, self.protocol).map_err(|e| e.to_string());
            let reason = match client.and_then(|mut client| fits(&mut client)) {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            if interrupt.is_set() {
                return Err("interrupted".to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!("waited {} s for {what}: {reason}", STEP_TIMEOUT.as_secs()));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Notices nodes that have ended. The service goes on without them as long as a majority runs, so this is an error
    /// only when none is left.
    ///
    /// # Errors
    /// The last words of the last node.
    pub(super) fn look_after(&mut self) -> Result<(), String> {
        let mut last_words = None;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(process) = &mut node.process else { continue };
            if let Err(reason) = process.must_run() {
                last_words = Some(reason);
                node.process = None;
                announce(&format!(
                    "Node [{index}] has ended, log {}",
                    super::shown(&node.log_file).display()
                ));
            }
        }
        match last_words {
            Some(reason) if self.nodes.iter().all(|node| node.process.is_none()) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Asks all nodes to stop and waits for them.
    ///
    /// # Errors
    /// What went wrong with the first of them that did not stop well.
    pub(super) fn stop(self) -> Result<(), String> {
        let mut running: Vec<NodeProcess> = self.nodes.into_iter().filter_map(|node| node.process).collect();
        for process in &mut running {
            process.ask_to_stop()?;
        }
        let results: Vec<Result<(), String>> = running.into_iter().map(NodeProcess::stop).collect();
        results.into_iter().collect()
    }
}
