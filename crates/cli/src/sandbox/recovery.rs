//! `ccf sandbox --recover`: an earlier service from its ledger, with the keys of its members.

use super::{
    People, announce,
    arguments::{PEOPLE_MAX, SandboxArgs},
    copy,
    interrupt::Interrupt,
    network::Network,
    opening::Opening,
    wait_until_open,
    workspace::Workspace,
};
use crate::{
    governance_client::GovernanceClient,
    http_client::HttpClient,
    identity::{Identity, IdentityFiles},
    tls::TlsFiles,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Name of the file with the certificate of the service before, in the node's folder.
pub(super) const PREDECESSOR: &str = "predecessor_service_cert.pem";

/// What is there of the earlier service.
pub(super) struct Earlier {
    ledger: PathBuf,
    snapshots: Option<PathBuf>,
    common: PathBuf,
}

impl Earlier {
    /// Looks at what the flags name.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn find(args: &SandboxArgs, label: &str) -> Result<Earlier, String> {
        let folder = |flag: &str, path: &Option<PathBuf>| {
            let path = path.clone().ok_or_else(|| format!("--recover needs {flag}"))?;
            let path = path.canonicalize().map_err(|e| format!("{flag} {}: {e}", path.display()))?;
            let replaced = args.workspace.canonicalize().is_ok_and(|workspace| {
                path.strip_prefix(workspace).is_ok_and(|below| below.to_string_lossy().starts_with(label))
            });
            if replaced {
                let shown = path.display();
                return Err(format!(
                    "{flag} {shown} would be replaced: choose another folder with --workspace"
                ));
            }
            Ok(path)
        };
        let snapshots = args.snapshots_dir.is_some().then(|| folder("--snapshots-dir", &args.snapshots_dir));
        Ok(Earlier {
            ledger: folder("--ledger-dir", &args.ledger_dir)?,
            common: folder("--common-dir", &args.common_dir)?,
            snapshots: snapshots.transpose()?,
        })
    }

    /// Copies ledger, snapshots and keys, and reads the members and users.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn take_over(&self, common: &Path, node: &Path) -> Result<People, String> {
        copy_folder(&self.ledger, &node.join("0.ledger"))?;
        if let Some(snapshots) = &self.snapshots {
            copy_folder(snapshots, &node.join("0.snapshots"))?;
        }
        let certificate = self.common.join("service_cert.pem");
        copy(&certificate, &node.join(PREDECESSOR))?;
        copy(&certificate, &common.join(PREDECESSOR))?;
        let people = |kind: &str| -> Result<Vec<Identity>, String> {
            let mut found = Vec::new();
            for index in 0..PEOPLE_MAX {
                let name = format!("{kind}{index}");
                if !IdentityFiles::new(&self.common, &name).certificate.exists() {
                    break;
                }
                let identity = Identity::load_named(&self.common, &name).map_err(|e| e.to_string())?;
                identity.write(common, &name).map_err(|e| e.to_string())?;
                found.push(identity);
            }
            Ok(found)
        };
        let people = People { members: people("member")?, users: people("user")? };
        match people.members.is_empty() {
            true => Err(format!("there is no member0_cert.pem in {}", self.common.display())),
            false => Ok(people),
        }
    }
}

/// What the members do: they open the recovered service, hand in their shares, and wait.
///
/// # Errors
/// A sentence for the user.
pub(super) fn open(
    network: &mut Network,
    workspace: &Workspace,
    people: &People,
    interrupt: &Interrupt,
    progress: &ProgressBar,
) -> Result<(), String> {
    let certificate_file = workspace.common.join("service_cert.pem");
    let read = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let (next, previous) = (read(&certificate_file)?, read(&workspace.common.join(PREDECESSOR))?);
    let files = TlsFiles { service_certificate: Some(certificate_file.clone()), identity: None };
    let address = network.nodes.first().map(|node| node.address.clone()).unwrap_or_default();
    network.wait(0, "governance of the recovered service", Some(&certificate_file), interrupt, |client| {
        let reply = client.get("/gov/service/members?api-version=2024-07-01").map_err(|e| e.to_string())?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.refusal()) }
    })?;
    let mut client = HttpClient::new(&address, &files, network.protocol).map_err(|e| e.to_string())?;
    progress.set_message("Members vote to open the recovered service");
    let mut opening = Opening { client: &mut client, members: &people.members, interrupt };
    opening.decide("open the recovered service", &[reopen(&previous, &next)])?;
    for (index, member) in
        people.members.iter().enumerate().filter(|(_, member)| member.encryption_key.is_some())
    {
        progress.set_message(format!("member{index} hands in a recovery share"));
        let answer = GovernanceClient::new(&mut client)
            .submit_recovery_share(member)
            .map_err(|e| format!("the share of member{index}: {e}"))?;
        progress.suspend(|| answer.lines().for_each(|line| announce(&format!("member{index}: {line}"))));
        if answer.contains("End of recovery procedure initiated") {
            break;
        }
    }
    progress.set_message("The nodes read the private ledger");
    for index in 0..network.nodes.len() {
        network.wait(
            index,
            "the private ledger to be read",
            Some(&certificate_file),
            interrupt,
            |client| {
                let reply = client.get("/node/state").map_err(|e| e.to_string())?;
                match reply.json()["state"].as_str() {
                    Some("PartOfNetwork") => Ok(()),
                    _ => Err(reply.refusal()),
                }
            },
        )?;
    }
    wait_until_open(network, &certificate_file, interrupt)
}

/// The action that opens a recovered service.
fn reopen(previous: &str, next: &str) -> Value {
    json!({
        "name": "transition_service_to_open",
        "args": {"previous_service_identity": previous, "next_service_identity": next},
    })
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let entries = fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", from.display()))?;
        if entry.path().is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
