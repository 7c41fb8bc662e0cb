//! Folders and files that the node may not read or write: it says which, and ends, without a crash.

use crate::{running::RunningSandbox, shell};
use ccf_cli::http_client::Protocol;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Who may do little: `nobody`.
const NOBODY: u32 = 65534;

/// Whatever ends does so within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files of a service that has ended, and a program that nobody may run.
struct Past {
    folder: TempDir,
    configuration: Value,
}

/// A folder for one node, before it is started.
struct Case {
    folder: PathBuf,
    configuration: Value,
}

impl Past {
    fn new() -> Past {
        let folder = tempfile::tempdir().unwrap();
        allow(folder.path(), 0o755);
        let sandbox = RunningSandbox::start(&["--signature-interval", "20ms"]);
        let mut client = sandbox.client("", Protocol::Http1);
        client.get("/node/commit").unwrap();
        copy(&sandbox.node_folder(), &folder.path().join("past"));
        sandbox.stop().must_be_clean();
        let program = folder.path().join("ccf");
        fs::copy(shell::ccf(), &program).unwrap();
        allow(&program, 0o755);
        let configuration = fs::read(folder.path().join("past/0.config.json")).unwrap();
        let mut configuration: Value = serde_json::from_slice(&configuration).unwrap();
        configuration["network"]["rpc_interfaces"]["primary_rpc_interface"]["bind_address"] =
            "127.0.0.1:0".into();
        Past { folder, configuration }
    }

    /// A node that begins a service, or recovers this one, in a folder that belongs to nobody.
    fn case(&self, name: &str, recovers: bool) -> Case {
        let folder = self.folder.path().join(name);
        copy(&self.folder.path().join("past"), &folder);
        for gone in ["0.pem", "0.rpc_addresses", "0.node_address", "node.pid"] {
            fs::remove_file(folder.join(gone)).unwrap();
        }
        fs::remove_dir_all(folder.join("0.snapshots")).unwrap();
        fs::rename(folder.join("service_cert.pem"), folder.join("previous.pem")).unwrap();
        let mut configuration = self.configuration.clone();
        if recovers {
            configuration["command"] = json!({
                "type": "Recover",
                "service_certificate_file": "service_cert.pem",
                "recover": {
                    "previous_service_identity_file": "previous.pem",
                    "initial_service_certificate_validity_days": 1,
                },
            });
        } else {
            fs::remove_dir_all(folder.join("0.ledger")).unwrap();
        }
        give(&folder);
        Case { folder, configuration }
    }
}

impl Case {
    /// A folder or file that is somebody else's from now on.
    fn forbid(&self, name: &str, mode: u32) -> &Self {
        let path = self.folder.join(name);
        if !path.exists() {
            fs::create_dir(&path).unwrap();
        }
        chown(&path, Some(0), Some(0)).or_else(|_| fs::metadata(&path).map(drop)).unwrap();
        allow(&path, mode);
        self
    }

    /// The node ends, and its last word names what it may not use, and why.
    fn must_end(&self, words: &[&str]) {
        fs::write(self.folder.join("0.config.json"), self.configuration.to_string()).unwrap();
        let out = fs::File::create(self.folder.join("log")).unwrap();
        let program = self.folder.parent().unwrap().join("ccf");
        let mut command = as_nobody(&program);
        command.args(["node", "--config", "0.config.json"]).current_dir(&self.folder);
        let mut node = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match node.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        if status.is_none() {
            node.kill().unwrap();
            node.wait().unwrap();
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{words:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
        let fatal: Vec<&str> = log.lines().filter(|line| line.contains("[fatal]")).collect();
        let [last] = fatal[..] else { panic!("{words:?}: {fatal:#?}\n{log}") };
        assert!(
            words.iter().all(|word| last.contains(word)) && last.ends_with("Exiting."),
            "{words:?}: {last}"
        );
    }
}

/// Who may do everything asks `setpriv` to run the program as somebody who may not.
fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    command.arg(program);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a folder and all in it to nobody, if it is ours to give.
fn give(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_a_node_may_not_use_is_named() {
    let past = Past::new();
    let denied = "Permission denied";
    past.case("ledger that cannot be written", false)
        .forbid("0.ledger", 0o555)
        .must_end(&["0.ledger/ledger_1: ", denied]);
    past.case("ledger that cannot be read", true).forbid("0.ledger", 0o000).must_end(&["0.ledger: ", denied]);

    let case = past.case("chunk that cannot be read", true);
    let mut chunks: Vec<_> = fs::read_dir(case.folder.join("0.ledger")).unwrap().flatten().collect();
    chunks.sort_by_key(fs::DirEntry::file_name);
    let name = format!("0.ledger/{}", chunks[0].file_name().to_str().unwrap());
    case.forbid(&name, 0o000).must_end(&[&name, denied]);

    past.case("snapshots that cannot be read", true)
        .forbid("0.snapshots", 0o000)
        .must_end(&["0.snapshots: ", denied]);

    let mut case = past.case("earlier files that cannot be read", true);
    case.configuration["ledger"]["read_only_directories"] = json!(["earlier"]);
    case.forbid("earlier", 0o000).must_end(&["earlier: ", denied]);

    let mut case = past.case("a file instead of a folder", false);
    case.configuration["ledger"]["directory"] = json!("previous.pem/ledger");
    case.must_end(&["previous.pem/ledger: ", "Not a directory"]);

    // An auditor.
    let case = past.case("audit", true);
    case.forbid("0.ledger", 0o000);
    let program = case.folder.parent().unwrap().join("ccf");
    for what in ["verify", "read", "governance", "export"] {
        let told = as_nobody(&program).args(["ledger", what, "0.ledger"]).current_dir(&case.folder).output();
        let told = told.unwrap();
        let complaint = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(!told.status.success() && complaint.contains(denied), "{what}: {complaint}");
        assert!(complaint.contains("0.ledger") && !complaint.contains("panicked"), "{what}: {complaint}");
    }
    allow(&case.folder.join("0.ledger"), 0o755);
}
