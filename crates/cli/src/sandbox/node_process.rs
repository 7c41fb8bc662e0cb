//! A node as a child process: started, watched while it comes up, stopped with nothing lost.

use serde_json::Value;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A node has this long to write its files.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// After SIGTERM a node has this long (node specification 1.4), then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at a file or process.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many lines of a failed node's log are shown.
const LOG_LINES_SHOWN: usize = 12;

/// How much of the end of a log is read for that.
const LOG_BYTES_READ: u64 = 16 * 1024;

/// Which program to run as a node.
#[derive(Clone, Debug)]
pub struct NodeProgram {
    /// The executable.
    pub path: PathBuf,
    /// Words before the node's own flags.
    pub first_words: Vec<OsString>,
}

/// A running node. Dropping it kills the process; [`NodeProcess::stop`] stops it properly.
pub struct NodeProcess {
    child: Child,
    folder: PathBuf,
    asked_to_stop: bool,
}

impl NodeProcess {
    /// Starts `program` in `folder` with the configuration file `configuration` of that folder. Standard output goes
    /// to the file `out`, standard error to `err`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn start(
        program: &NodeProgram,
        folder: &Path,
        configuration: &str,
        level: &str,
    ) -> Result<Self, String> {
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let mut command = Command::new(&program.path);
        command
            .args(&program.first_words)
            .args(["--config", configuration, "--log-level", level])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(create("out")?)
            .stderr(create("err")?);
        // Ctrl-C in a terminal reaches the whole process group: the node is to hear of it from us, once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", program.path.display()))?;
        Ok(NodeProcess { child, folder: folder.to_owned(), asked_to_stop: false })
    }

    /// The process identifier.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The node's standard output.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the node has written `file` (relative to its folder), and returns the content.
    ///
    /// # Errors
    /// A sentence with the end of the node's log when it stops or takes too long; `interrupted` ends the wait.
    pub fn wait_for_file(&mut self, file: &str, interrupted: impl Fn() -> bool) -> Result<String, String> {
        let path = self.folder.join(file);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(text) = fs::read_to_string(&path)
                && !text.trim_end().is_empty()
            {
                return Ok(text);
            }
            self.must_run()?;
            if interrupted() {
                return Err("interrupted".to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "the node did not write {} within {} s\n{}",
                    path.display(),
                    START_TIMEOUT.as_secs(),
                    self.last_words()
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The address of an interface, from the node's address file.
    ///
    /// # Errors
    /// As [`NodeProcess::wait_for_file`].
    pub fn wait_for_address(
        &mut self,
        file: &str,
        interface: &str,
        interrupted: impl Fn() -> bool,
    ) -> Result<String, String> {
        let text = self.wait_for_file(file, interrupted)?;
        let addresses: Value = serde_json::from_str(&text).unwrap_or_default();
        let address = addresses[interface].as_str();
        address
            .map(str::to_owned)
            .ok_or_else(|| format!("the node's file {file} does not name {interface}: {text}"))
    }

    /// Fails with the node's last words when it has ended.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn must_run(&mut self) -> Result<(), String> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => Err(format!("the node stopped ({status})\n{}", self.last_words())),
        }
    }

    /// Asks the node to stop; [`stop`](Self::stop) then waits for it.
    ///
    /// # Errors
    /// If the system does not deliver the signal.
    pub fn ask_to_stop(&mut self) -> Result<(), String> {
        if self.exit_status().is_none() {
            self.terminate()?;
            self.asked_to_stop = true;
        }
        Ok(())
    }

    /// Asks the node to stop and waits until it has; kills it when it does not.
    ///
    /// # Errors
    /// A sentence when it had to be killed, ended with an error, or wrote to its standard error.
    pub fn stop(mut self) -> Result<(), String> {
        if !self.asked_to_stop {
            if let Some(status) = self.exit_status() {
                return Err(format!("the node had stopped before ({status})\n{}", self.last_words()));
            }
            self.ask_to_stop()?;
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            if let Some(status) = self.exit_status() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(format!(
                    "the node did not stop within {} s and was killed",
                    STOP_TIMEOUT.as_secs()
                ));
            }
            thread::sleep(LOOK_EVERY);
        };
        let errors = tail(&self.folder.join("err"));
        match status.success() && errors.is_empty() {
            true => Ok(()),
            false => Err(format!("the node ended with {status}\n{}", self.last_words())),
        }
    }

    #[cfg(target_os = "linux")]
    fn terminate(&mut self) -> Result<(), String> {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("the node's process id is impossible")?;
        kill_process(pid, Signal::TERM).map_err(|e| format!("cannot stop the node: {e}"))
    }

    #[cfg(not(target_os = "linux"))]
    fn terminate(&mut self) -> Result<(), String> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        status.map(|_| ()).map_err(|e| format!("cannot stop the node: {e}"))
    }

    /// The end of what the node said, for error messages.
    fn last_words(&self) -> String {
        let mut words = tail(&self.folder.join("err"));
        if words.is_empty() {
            words = tail(&self.log_file());
        }
        let is_failure = |line: &&str| line.contains("[fail ]") || line.contains("[fatal]");
        let mut lines: Vec<&str> = words.lines().filter(is_failure).collect();
        if lines.is_empty() {
            lines = words.lines().collect();
        }
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        let text: String = shown.iter().map(|line| format!("  {line}\n")).collect();
        format!("{text}Its whole log: {}", self.log_file().display())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            let _ = self.terminate();
            let deadline = Instant::now() + STOP_TIMEOUT;
            while self.exit_status().is_none() && Instant::now() < deadline {
                thread::sleep(LOOK_EVERY);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_READ)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_READ).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
