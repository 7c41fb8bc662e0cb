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
    /// `host:port`
    pub(crate) address: String,
    /// Everything it printed until it was ready.
    pub(crate) printed: Vec<String>,
}

impl RunningSandbox {
    /// Starts a sandbox on a free port and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(Command::new(shell::ccf()), args)
    }

    /// Starts a sandbox whose files, those of its node included, cannot grow beyond this many blocks of 512 bytes:
    /// writing more fails as on a full disk.
    pub(crate) fn start_with_small_files(blocks: u32) -> Self {
        let mut shell = Command::new("sh");
        // The signal that otherwise goes with the limit would end the process.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        shell.args(["-c", &script, "sh"]).arg(shell::ccf());
        Self::start_as(shell, &[])
    }

    /// `command` runs our program with the arguments it is given.
    fn start_as(mut command: Command, args: &[&str]) -> Self {
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
        let mut sandbox =
            RunningSandbox { process, lines, folder, address: String::new(), printed: Vec::new() };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = sandbox.lines.recv_timeout(left) else {
                let complaints = sandbox.complaints();
                panic!("the sandbox is not ready: {:#?}\n{complaints}", sandbox.printed);
            };
            if let Some((_, address)) = line.split_once("Node [0] = https://") {
                sandbox.address = address.to_owned();
            }
            let is_ready = line.contains("Press Ctrl+C");
            sandbox.printed.push(line);
            if is_ready {
                return sandbox;
            }
        }
    }

    /// The curl lines it printed.
    pub(crate) fn curl_lines(&self) -> Vec<String> {
        self.printed.iter().filter(|line| line.starts_with("curl ")).cloned().collect()
    }

    /// A file of `sandbox_common`.
    pub(crate) fn common(&self, name: &str) -> PathBuf {
        self.folder.path().join("workspace/sandbox_common").join(name)
    }

    /// The folder of the node.
    pub(crate) fn node_folder(&self) -> PathBuf {
        self.folder.path().join("workspace/sandbox_0")
    }

    /// The node's ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.node_folder().join("0.ledger")
    }

    /// The node's process id.
    pub(crate) fn node_pid(&self) -> u32 {
        std::fs::read_to_string(self.node_folder().join("node.pid")).unwrap().trim().parse().unwrap()
    }

    /// A client with the certificate of `who` (`user0`, …), or without one.
    pub(crate) fn client(&self, who: &str, protocol: Protocol) -> HttpClient {
        let identity = (!who.is_empty())
            .then(|| (self.common(&format!("{who}_cert.pem")), self.common(&format!("{who}_privk.pem"))));
        let files = TlsFiles { service_certificate: Some(self.common("service_cert.pem")), identity };
        HttpClient::new(&self.address, &files, protocol).unwrap()
    }

    /// Presses Ctrl-C, waits for the end, and returns what it printed meanwhile.
    pub(crate) fn stop(self) -> Stopped {
        signal("INT", self.process.id());
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
        let printed: Vec<String> = self.lines.try_iter().collect();
        let ledger = self.ledger();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Stopped { status, printed, complaints, ledger, folder }
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

    /// The certificate of the service.
    pub(crate) fn service_certificate(&self) -> PathBuf {
        self.folder.path().join("workspace/sandbox_common/service_cert.pem")
    }
}

fn signal(name: &str, pid: u32) {
    shell::run(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()));
}

/// Whether a process exists.
pub(crate) fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
