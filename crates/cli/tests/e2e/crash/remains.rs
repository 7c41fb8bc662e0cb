//! The files that killed nodes leave, and which of them a service is recovered from.

use super::Programs;
use crate::{running::Stopped, shell};
use ccf_types::TxId;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is left of a service.
pub(super) struct Remains {
    /// Its folders, kept as long as this is.
    pub(super) stopped: Vec<Stopped>,
    pub(super) ledger: PathBuf,
    pub(super) snapshots: PathBuf,
    /// Folders with the certificate of the service and the keys of its members, the likeliest first.
    pub(super) commons: Vec<PathBuf>,
    /// The last signature of the ledger.
    pub(super) until: TxId,
}

impl Remains {
    /// Of a service of `nodes` nodes; of several ledgers the longest is taken, as an operator does.
    pub(super) fn of(programs: &Programs, stopped: Stopped, nodes: usize) -> Remains {
        let all: Vec<PathBuf> = (0..nodes).map(|index| stopped.ledger_of(index)).collect();
        let until = |index: usize| -> TxId {
            let mut verify = Command::new(&programs.ccf);
            verify.args(["ledger", "verify", "--uncommitted", "--json"]).arg(&all[index]);
            // A node that began with a snapshot has no files from before it.
            let verdict = shell::output(
                verify.args(all.iter().take(usize::from(index > 0 && begins_late(&all[index])))),
            );
            let verdict: serde_json::Value = serde_json::from_slice(&verdict.stdout).unwrap_or_default();
            verdict["until"].as_str().and_then(|until| until.parse().ok()).unwrap_or_default()
        };
        let (until, best) = (0..nodes)
            .map(|index| (until(index), index))
            .max_by_key(|(until, index)| (*until, std::cmp::Reverse(*index)))
            .unwrap();
        if begins_late(&all[best]) && best > 0 {
            complete(&all[best], &all[0]);
        }
        Remains {
            ledger: all[best].clone(),
            snapshots: stopped.snapshots_of(best),
            commons: vec![stopped.common("")],
            until,
            stopped: vec![stopped],
        }
    }

    /// Whether files of an unfinished recovery are among them.
    pub(super) fn have_unfinished(&self) -> bool {
        names(&self.ledger).iter().any(|name| name.ends_with(".recovery"))
    }

    /// Leaves everything where it is, for a person to look at.
    pub(super) fn keep(self) -> String {
        let folders = self.stopped.into_iter().map(|it| it.folder.keep().display().to_string());
        folders.collect::<Vec<_>>().join(", ")
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn begins_late(ledger: &Path) -> bool {
    !names(ledger).iter().any(|name| name == "ledger_1" || name.starts_with("ledger_1-"))
}

/// Adds the committed files of another node that lie before the first one here.
fn complete(ledger: &Path, other: &Path) {
    let start = |name: &str| -> Option<u64> {
        let rest = name.strip_prefix("ledger_")?;
        rest.split(['-', '.']).next()?.parse().ok()
    };
    let first = names(ledger).iter().filter_map(|name| start(name)).min().unwrap_or(0);
    for name in names(other) {
        if name.ends_with(".committed") && start(&name).is_some_and(|start| start < first) {
            fs::copy(other.join(&name), ledger.join(&name)).unwrap();
        }
    }
}
