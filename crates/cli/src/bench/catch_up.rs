//! `ccf bench --catch-up`: how fast does a node take in what it missed?
//!
//! One backup of a sandbox is paused (SIGSTOP) while the others execute the load, and resumed afterwards. What it lacks then
//! comes as it comes to a node that joins without a snapshot: out of the primary's ledger files, over the node-to-node
//! connection, entry by entry checked and applied.

use super::{
    BenchArgs,
    client::Client,
    connection::Target,
    failover::processes::{NodeProcesses, signal},
    process::ProcessUsage,
    status_path, target, wire,
};
use crate::terminal;
use ccf_types::TxId;
use rustix::process::Signal;
use serde::Serialize;
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks at the commit point.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A node that has not moved for so long will not.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Nodes that a service needs to go on without one of them.
const NODES_MIN: usize = 3;

/// What the run found.
#[derive(Debug, Serialize)]
pub struct CatchUpReport {
    /// The address of the node that was paused.
    pub host: String,
    /// Entries it lacked when it was resumed.
    pub missed: u64,
    /// From there until it had committed the first of them, seconds: connecting and elections that come to nothing.
    pub began_after_s: f64,
    /// Entries taken in after that.
    pub entries: u64,
    /// The time for these, seconds.
    pub took_s: f64,
    /// Entries per second.
    pub entries_per_s: f64,
    /// CPU time that the node used for each, microseconds.
    pub cpu_us_per_entry: f64,
    /// Writes of the load that were answered with success.
    pub written: u64,
}

/// Runs the measurement.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    let report = measure(args)?;
    super::say_report(args, &report, &report.text())?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the measurement and returns the figures.
///
/// # Errors
/// As [`run`].
pub fn measure(args: &BenchArgs) -> Result<CatchUpReport, String> {
    super::check(args)?;
    let processes = NodeProcesses::new(None, &args.workspace, &[])?;
    let nodes = processes.sandbox();
    if nodes.len() < NODES_MIN {
        return Err("--catch-up needs a sandbox of three nodes: ccf sandbox --nodes 3".to_owned());
    }
    let targets: Vec<Target> =
        nodes.iter().map(|(address, _)| target(args, address)).collect::<Result<_, _>>()?;
    let leading = processes.primary(&targets)?;
    let primary = nodes.iter().position(|(_, pid)| *pid == leading).ok_or("the primary has ended")?;
    let backup = (primary + 1) % nodes.len();
    let pid = nodes[backup].1;
    let path = status_path(&args.path).replace("/tx", "/commit");
    let mut ahead = Watched::new(&targets[primary], &path)?;
    let mut behind = Watched::new(&targets[backup], &path)?;
    let before = behind.commit()?;

    let paused = Paused::new(pid)?;
    let load = BenchArgs { hosts: vec![targets[primary].address.clone()], ..args.clone() };
    let written = super::measure(&load)?.succeeded;
    let goal = ahead.settled()?;
    let cpu_before = ProcessUsage::of(pid)?.cpu();
    let bar = terminal::spinner("the node catches up");
    drop(paused);
    let resumed = Instant::now();
    let first = behind.after(before)?;
    let (began_after, began) = (resumed.elapsed(), Instant::now());
    let mut reached = first;
    while reached < goal {
        reached = behind.after(reached)?;
        bar.set_message(format!("the node catches up: {reached} of {goal}"));
    }
    let took = began.elapsed();
    bar.finish_and_clear();
    let cpu = ProcessUsage::of(pid)?.cpu().saturating_sub(cpu_before);
    let (missed, entries) = (goal.saturating_sub(before), reached.saturating_sub(first));
    Ok(CatchUpReport {
        host: targets[backup].address.clone(),
        missed,
        began_after_s: began_after.as_secs_f64(),
        entries,
        took_s: took.as_secs_f64(),
        entries_per_s: entries as f64 / took.as_secs_f64().max(1e-9),
        cpu_us_per_entry: cpu.as_secs_f64() * 1e6 / missed.max(1) as f64,
        written,
    })
}

/// A process that was told to stop for a while; it goes on when this is dropped.
struct Paused(u32);

impl Paused {
    fn new(pid: u32) -> Result<Self, String> {
        signal(pid, Signal::STOP)?;
        Ok(Paused(pid))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // A process that has ended meanwhile is noticed by whoever asks it.
        let _ = signal(self.0, Signal::CONT);
    }
}

/// A node whose commit point is looked at.
struct Watched {
    client: Client,
    question: Vec<u8>,
}

impl Watched {
    fn new(target: &Target, path: &str) -> Result<Self, String> {
        let client =
            Client::open(target).map_err(|e| format!("cannot connect to {}: {e}", target.address))?;
        Ok(Watched { client, question: wire::request("GET", path, &target.address, None) })
    }

    /// The last committed entry.
    fn commit(&mut self) -> Result<u64, String> {
        let answer = self.client.ask(&self.question).map_err(|e| format!("asking for the commit: {e}"))?;
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let tx_id: Option<TxId> = json["transaction_id"].as_str().and_then(|text| text.parse().ok());
        tx_id.map(|tx_id| tx_id.seqno.0).ok_or_else(|| format!("no commit point: {}", answer.body))
    }

    /// Waits until more than `known` is committed.
    fn after(&mut self, known: u64) -> Result<u64, String> {
        let asked = Instant::now();
        loop {
            let now = self.commit()?;
            if now > known {
                return Ok(now);
            }
            if asked.elapsed() > STUCK_AFTER {
                return Err(format!("the commit point stays at {known}"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until nothing more is committed.
    fn settled(&mut self) -> Result<u64, String> {
        let mut last = self.commit()?;
        loop {
            thread::sleep(Duration::from_millis(500));
            let now = self.commit()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }
}

impl CatchUpReport {
    /// The report as lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}: paused during {} writes\nmissed       {} entries\nbegan        {:.2} s after it was resumed\ncaught up    {} entries in {:.2} s: {:.0}/s\nnode         {:.2} us CPU per entry\n",
            self.host,
            self.written,
            self.missed,
            self.began_after_s,
            self.entries,
            self.took_s,
            self.entries_per_s,
            self.cpu_us_per_entry,
        )
    }
}
