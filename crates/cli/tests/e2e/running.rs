//! A sandbox as a child process, driven like a person drives it: read what it prints, press Ctrl-C.

use crate::shell;
use ccf_cli::{
    http_client::{HttpClient, Protocol},
    tls::TlsFiles,
};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A sandbox is up within this, also on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A sandbox that is ready.
pub(crate) struct RunningSandbox {
    process: Child,
    lines: Receiver<String>,
    /// Where it was started, with the folder `workspace`.
    pub(crate) folder: TempDir,
    /// `host:port` of its first node
    pub(crate) address: String,
    /// `host:port` of every node.
    pub(crate) addresses: Vec<String>,
    /// Its folders below `workspace` begin with this.
    label: &'static str,
    /// Everything it printed until it was ready.
    pub(crate) printed: Vec<String>,
}

impl RunningSandbox {
    /// Starts a sandbox on a free port and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(Command::new(shell::ccf()), args)
    }

    /// Starts a sandbox that may fail to come up; what it said then.
    pub(crate) fn try_start(args: &[&str]) -> Result<Self, String> {
        Self::launch(Command::new(shell::ccf()), args).and_then(Self::ready)
    }

    /// Starts a sandbox whose files, those of its node included, cannot grow beyond this many blocks of 512 bytes:
    /// writing more fails as on a full disk.
    pub(crate) fn start_with_small_files(blocks: u32, args: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -f {blocks}; exec \"$@\"");
        shell.args(["-c", &script, "sh"]).arg(shell::ccf());
        Self::start_as(shell, args)
    }

    /// `command` runs our program with the arguments it is given.
    fn start_as(command: Command, args: &[&str]) -> Self {
        Self::launch(command, args).and_then(Self::ready).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Starts the process; [`ready`](Self::ready) waits for it.
    pub(crate) fn launch(mut command: Command, args: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command
            .args(["sandbox", "--node", "local://127.0.0.1:0"])
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let label = if args.contains(&"--recover") { "sandbox_recover" } else { "sandbox" };
        Ok(RunningSandbox {
            process,
            lines,
            folder,
            address: String::new(),
            addresses: Vec::new(),
            label,
            printed: Vec::new(),
        })
    }

    /// Waits until it serves.
    pub(crate) fn ready(mut self) -> Result<Self, String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let complaints = self.complaints();
                let logs: Vec<String> = (0..2).map(|index| self.end_of_log(index)).collect();
                let logs = logs.concat();
                return Err(format!("the sandbox is not ready: {:#?}\n{complaints}{logs}", self.printed));
            };
            if let Some((_, address)) =
                line.split_once("  Node [").and_then(|(_, node)| node.split_once("] = https://"))
            {
                self.addresses.push(address.to_owned());
            }
            let is_ready = line.contains("Press Ctrl+C");
            self.printed.push(line);
            if is_ready {
                self.address = self.addresses.first().cloned().unwrap_or_default();
                return Ok(self);
            }
        }
    }

    /// The curl lines it printed.
    pub(crate) fn curl_lines(&self) -> Vec<String> {
        self.printed.iter().filter(|line| line.starts_with("curl ")).cloned().collect()
    }

    /// The last lines of a node's log, if there is one.
    fn end_of_log(&self, index: usize) -> String {
        let log = std::fs::read_to_string(self.folder_of(index).join("out")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last: Vec<&str> = lines.iter().rev().take(15).rev().copied().collect();
        if last.is_empty() { String::new() } else { format!("node {index}:\n{}\n", last.join("\n")) }
    }

    /// A file of `sandbox_common`.
    pub(crate) fn common(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("workspace/{}_common", self.label)).join(name)
    }

    /// The folder of the first node.
    pub(crate) fn node_folder(&self) -> PathBuf {
        self.folder_of(0)
    }

    /// The folder of a node.
    pub(crate) fn folder_of(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("workspace/{}_{index}", self.label))
    }

    /// The first node's ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.ledger_of(0)
    }

    /// A node's ledger.
    pub(crate) fn ledger_of(&self, index: usize) -> PathBuf {
        self.folder_of(index).join(format!("{index}.ledger"))
    }

    /// A node's snapshots.
    pub(crate) fn snapshots_of(&self, index: usize) -> PathBuf {
        self.folder_of(index).join(format!("{index}.snapshots"))
    }

    /// The first node's process id.
    pub(crate) fn node_pid(&self) -> u32 {
        self.pid_of(0).unwrap()
    }

    /// A node's process id, once it has written it.
    pub(crate) fn pid_of(&self, index: usize) -> Option<u32> {
        std::fs::read_to_string(self.folder_of(index).join("node.pid")).ok()?.trim().parse().ok()
    }

    /// A client with the certificate of `who` (`user0`, …), or without one.
    pub(crate) fn client(&self, who: &str, protocol: Protocol) -> HttpClient {
        self.client_of(&self.address, who, protocol)
    }

    /// The same for any node.
    pub(crate) fn client_of(&self, address: &str, who: &str, protocol: Protocol) -> HttpClient {
        let identity = (!who.is_empty())
            .then(|| (self.common(&format!("{who}_cert.pem")), self.common(&format!("{who}_privk.pem"))));
        let files = TlsFiles { service_certificate: Some(self.common("service_cert.pem")), identity };
        HttpClient::new(address, &files, protocol).unwrap()
    }

    /// Presses Ctrl-C, waits for the end, and returns what it printed meanwhile.
    pub(crate) fn stop(self) -> Stopped {
        signal("INT", self.process.id());
        self.wait()
    }

    /// The same with another signal than that of Ctrl-C.
    pub(crate) fn stop_by(self, name: &str) -> Stopped {
        signal(name, self.process.id());
        self.wait()
    }

    /// Waits for its own end.
    pub(crate) fn wait(mut self) -> Stopped {
        let deadline = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the sandbox does not stop");
            thread::sleep(Duration::from_millis(20));
        };
        let complaints = self.complaints();
        // The thread that reads them may still be at the last ones; it ends with them.
        let last_lines = || self.lines.recv_timeout(Duration::from_secs(5)).ok();
        let printed: Vec<String> = std::iter::from_fn(last_lines).collect();
        let (ledger, label) = (self.ledger(), self.label);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Stopped { status, printed, complaints, ledger, label, folder }
    }

    fn complaints(&mut self) -> String {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut text = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
        }
        text
    }
}

impl Drop for RunningSandbox {
    fn drop(&mut self) {
        // SIGTERM first: the sandbox then stops its node.
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            signal("TERM", self.process.id());
            let deadline = Instant::now() + STOP_TIMEOUT;
            while self.process.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// A sandbox after its end, its files still there.
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) printed: Vec<String>,
    pub(crate) complaints: String,
    pub(crate) ledger: PathBuf,
    label: &'static str,
    pub(crate) folder: TempDir,
}

impl Stopped {
    /// Fails unless everything ended well.
    pub(crate) fn must_be_clean(&self) {
        assert!(self.status.success(), "{}\n{:#?}\n{}", self.status, self.printed, self.complaints);
        assert!(
            self.printed.iter().any(|line| line.contains("All CCF nodes stopped.")),
            "{:#?}",
            self.printed
        );
        let errors = std::fs::read_to_string(self.ledger.with_file_name("err")).unwrap();
        assert_eq!(errors, "", "a node's standard error stays empty");
        let log = std::fs::read_to_string(self.ledger.with_file_name("out")).unwrap();
        let bad: Vec<&str> = log.lines().filter(|l| l.contains("[fail ]") || l.contains("[fatal]")).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }

    /// A file of `sandbox_common`.
    pub(crate) fn common(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("workspace/{}_common", self.label)).join(name)
    }

    /// A node's ledger.
    pub(crate) fn ledger_of(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("workspace/{}_{index}/{index}.ledger", self.label))
    }

    /// A node's snapshots.
    pub(crate) fn snapshots_of(&self, index: usize) -> PathBuf {
        self.ledger_of(index).with_extension("snapshots")
    }

    /// The certificate of the service.
    pub(crate) fn service_certificate(&self) -> PathBuf {
        self.common("service_cert.pem")
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    shell::run(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()));
}

/// Whether a process exists.
pub(crate) fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
