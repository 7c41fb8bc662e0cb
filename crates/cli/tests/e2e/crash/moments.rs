//! When a service is killed.

use super::random::Random;
use crate::running::RunningSandbox;
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// A moment that does not come within this is taken as come.
const COMES_WITHIN: Duration = Duration::from_secs(6);

/// When all nodes are killed. Times are counted from the first promise of the round.
pub(super) enum Moment {
    /// After a time.
    Anytime(Duration),
    /// This long after a snapshot was begun that is not committed yet.
    SnapshotBegun(Duration),
    /// This long after a new ledger file was begun.
    ChunkEnded(Duration),
    /// This long after the members asked for a new ledger secret.
    Rekey(Duration),
    /// This long after the primary alone was killed (of several nodes).
    PrimaryLost(Duration),
}

impl Moment {
    pub(super) fn choose(random: &mut Random, nodes: usize) -> Moment {
        let kind = random.below(if nodes > 1 { 5 } else { 4 });
        let shortly = Duration::from_micros(random.below(30_000));
        match kind {
            0 => Moment::Anytime(Duration::from_millis(random.below(1500))),
            1 => Moment::SnapshotBegun(shortly),
            2 => Moment::ChunkEnded(shortly),
            3 => Moment::Rekey(shortly * 5),
            _ => Moment::PrimaryLost(Duration::from_millis(random.below(6000))),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Moment::Anytime(_) => "anytime",
            Moment::SnapshotBegun(_) => "snapshot",
            Moment::ChunkEnded(_) => "chunk",
            Moment::Rekey(_) => "rekey",
            Moment::PrimaryLost(_) => "primary lost",
        }
    }

    /// Waits for it.
    pub(super) fn wait(&self, sandbox: &RunningSandbox) {
        match self {
            Moment::Anytime(time) => thread::sleep(*time),
            Moment::SnapshotBegun(time) => {
                wait_for_new(&sandbox.snapshots_of(0), |name| !name.ends_with(".committed"));
                thread::sleep(*time);
            }
            Moment::ChunkEnded(time) => {
                wait_for_new(&sandbox.ledger(), |_| true);
                thread::sleep(*time);
            }
            Moment::Rekey(time) => {
                // The nodes may be gone before they answer.
                let _ = super::life::rekey(sandbox);
                thread::sleep(*time);
            }
            Moment::PrimaryLost(time) => {
                kill(sandbox.pid_of(0).into_iter());
                thread::sleep(*time);
            }
        }
    }
}

/// Waits until a file appears in a folder.
fn wait_for_new(folder: &Path, fits: impl Fn(&str) -> bool) {
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| fits(name))
            .collect()
    };
    let (before, deadline) = (names(), Instant::now() + COMES_WITHIN);
    while Instant::now() < deadline && names().iter().all(|name| before.contains(name)) {
        thread::sleep(Duration::from_micros(300));
    }
}

/// Kills processes, all at once.
pub(super) fn kill(pids: impl Iterator<Item = u32>) {
    let pids: Vec<String> = pids.map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        // Some may have ended by themselves.
        let _ = std::process::Command::new("kill").arg("-KILL").args(pids).output();
    }
}
