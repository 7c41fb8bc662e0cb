//! `ccf bench --kill-primary`: how long does a service write nothing when its primary dies?
//!
//! Writers, each with one request under way, go on to another node when theirs fails. In the middle of the run the
//! primary is killed (SIGKILL). Afterwards the service itself is asked which answered writes it has committed: a write
//! that was answered and not yet committed may be lost with the primary, and is counted.

pub mod gap;
pub mod processes;
pub mod writer;

use super::{
    BenchArgs, check,
    client::Client,
    connection::Target,
    histogram::Histogram,
    hosts,
    report::Percentiles,
    status_path, target, wire,
    workload::{Kind, Workload},
};
use crate::terminal;
use ccf_types::TxId;
use gap::{Answered, Commit, Gap};
use processes::NodeProcesses;
use rustix::process::Signal;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use writer::{Writer, Written};

/// Pause between two looks at the commit point of a node: the resolution of the commit times.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// After the last write, its commit is awaited this long.
const COMMITTED_WITHIN: Duration = Duration::from_secs(10);

/// What a run with a dead primary found. Times are milliseconds since the primary was killed unless they say otherwise.
#[derive(Debug, Serialize)]
pub struct FailoverReport {
    /// Addresses of the nodes.
    pub hosts: Vec<String>,
    /// Writers, each with one request under way.
    pub connections: usize,
    /// Writes due per second, when the loop was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    /// The process that was killed.
    pub killed_pid: u32,
    /// When, in seconds since the writers began.
    pub killed_at_s: f64,
    /// The gap in writes.
    #[serde(flatten)]
    pub gap: Gap,
    /// Latency of all writes with success.
    pub latency_us: Percentiles,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors of connections by kind.
    pub errors: BTreeMap<String, u64>,
}

/// Runs the measurement; the exit code is 1 when the service committed no write afterwards.
///
/// # Errors
/// A sentence for the user when the run cannot start or the primary is not found.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    let report = measure(args)?;
    super::say_report(args, &report, &report.text())?;
    Ok(if report.gap.first_commit_ms.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the measurement and returns the figures.
///
/// # Errors
/// As [`run`].
pub fn measure(args: &BenchArgs) -> Result<FailoverReport, String> {
    check(args)?;
    if args.write_ratio < 1.0 {
        return Err("--kill-primary measures writes: leave --write-ratio out".to_owned());
    }
    let processes = NodeProcesses::new(args.kill_primary.flatten(), &args.workspace, &args.hosts)?;
    let addresses = match args.hosts.is_empty() {
        true => processes.addresses(),
        false => hosts(args),
    };
    let targets: Vec<Target> =
        addresses.iter().map(|address| target(args, address)).collect::<Result<_, _>>()?;
    let targets: Arc<[Target]> = targets.into();
    // Fails now rather than in the middle of the run.
    processes.primary(&targets)?;

    let epoch = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let workload = Workload::logging(&targets[0].address, &args.path, args.payload, args.keys, 1.0);
    let writers: Vec<_> = (0..args.connections)
        .map(|index| Writer {
            targets: Arc::clone(&targets),
            first: index % targets.len(),
            workload: workload.clone(),
            seed: index as u64 + 1,
            due: args.rate.map(|rate| {
                let interval = Duration::from_secs_f64(args.connections as f64 / rate);
                (interval.mul_f64(index as f64 / args.connections as f64), interval)
            }),
            answer_within: args.answer_within,
            epoch,
            stop: Arc::clone(&stop),
        })
        .map(|writer| thread::spawn(move || writer.run()))
        .collect();
    let commits = Arc::new(Mutex::new(Vec::new()));
    let commit_path = status_path(&args.path).replace("/tx", "/commit");
    let watchers: Vec<_> = targets
        .iter()
        .map(|target| {
            let (target, path) = (target.clone(), commit_path.clone());
            let (commits, stop) = (Arc::clone(&commits), Arc::clone(&stop));
            thread::spawn(move || watch_commits(&target, &path, epoch, &stop, &commits))
        })
        .collect();

    let bar = terminal::spinner("writing");
    thread::sleep(args.warmup + args.duration / 2);
    let killed =
        processes.primary(&targets).and_then(|pid| processes::signal(pid, Signal::KILL).map(|()| pid));
    let killed_at = epoch.elapsed();
    bar.set_message("writing; the primary is dead");
    if killed.is_ok() {
        thread::sleep((args.warmup + args.duration).saturating_sub(killed_at));
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = Written::default();
    for writer in writers {
        written.merge(writer.join().map_err(|_| "a writer panicked")?);
    }
    for watcher in watchers {
        watcher.join().map_err(|_| "a watcher panicked")?;
    }
    let killed_pid = killed?;
    bar.set_message("asking which writes were committed");
    let last_committed = last_committed_by_view(&targets, &status_path(&args.path), &written.answered)?;
    bar.finish_and_clear();
    let commits = std::mem::take(&mut *commits.lock().map_err(|_| "a watcher panicked")?);
    Ok(FailoverReport {
        hosts: addresses,
        connections: args.connections,
        rate_per_s: args.rate,
        killed_pid,
        killed_at_s: killed_at.as_secs_f64(),
        gap: Gap::judge(killed_at, &written.answered, &last_committed, &commits),
        latency_us: Percentiles::of(&written.latencies),
        statuses: written.statuses,
        errors: written.errors,
    })
}

/// Notes each new commit point that a node tells, until the end of the run or of the node.
fn watch_commits(
    target: &Target,
    path: &str,
    epoch: Instant,
    stop: &AtomicBool,
    commits: &Mutex<Vec<Commit>>,
) {
    let question = wire::request("GET", path, &target.address, None);
    let (mut client, mut last) = (None, None);
    while !stop.load(Ordering::Relaxed) {
        let answer = match &mut client {
            Some(client) => Ok(client),
            none => Client::open(target).map(|opened| none.insert(opened)),
        }
        .and_then(|client: &mut Client| client.ask(&question));
        let Ok(answer) = answer else {
            // Its node is dead, or closes sessions because of the election.
            client = None;
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let tx_id = json["transaction_id"].as_str().and_then(|text| text.parse::<TxId>().ok());
        if let Some(tx_id) = tx_id.filter(|_| tx_id != last) {
            last = Some(tx_id);
            if let Ok(mut commits) = commits.lock() {
                commits.push(Commit { at: epoch.elapsed(), tx_id });
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// For each view with answered writes, the last of these that is committed. What is committed in a view is a prefix
/// of it, so a few questions find its end.
fn last_committed_by_view(
    targets: &[Target],
    status_path: &str,
    answered: &[Answered],
) -> Result<BTreeMap<u64, u64>, String> {
    let mut views: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for write in answered {
        views.entry(write.tx_id.view.0).or_default().push(write.tx_id.seqno.0);
    }
    let target = targets.iter().find(|target| Client::open(target).is_ok());
    let target = target.ok_or("no node answers any more")?;
    let mut client = Client::open(target).map_err(|e| e.to_string())?;
    let mut is_committed = |view: u64, seqno: u64| -> Result<bool, String> {
        let path = format!("{status_path}?transaction_id={view}.{seqno}");
        let question = wire::request("GET", &path, &target.address, None);
        let asked = Instant::now();
        loop {
            let answer = client.ask(&question).map_err(|e| e.to_string())?;
            if answer.body.contains("\"Committed\"") {
                return Ok(true);
            }
            if answer.body.contains("\"Invalid\"") || asked.elapsed() > COMMITTED_WITHIN {
                return Ok(false);
            }
            thread::sleep(LOOK_EVERY);
        }
    };
    let mut last = BTreeMap::new();
    for (view, mut seqnos) in views {
        seqnos.sort_unstable();
        let (mut low, mut high) = (0, seqnos.len());
        // The usual case first: all of the view.
        if let Some(end) = seqnos.last()
            && is_committed(view, *end)?
        {
            low = high;
        }
        while low < high {
            let middle = (low + high) / 2;
            match is_committed(view, seqnos[middle])? {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        if let Some(seqno) = low.checked_sub(1).and_then(|index| seqnos.get(index)) {
            last.insert(view, *seqno);
        }
    }
    Ok(last)
}

impl FailoverReport {
    /// The report as lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let gap = &self.gap;
        let pacing = self
            .rate_per_s
            .map_or("one write under way each".to_owned(), |rate| format!("{rate} writes/s due"));
        let hosts = self.hosts.join(", ");
        let _ = writeln!(out, "{hosts}: {} connection(s), {pacing}", self.connections);
        let _ = writeln!(out, "killed       process {} after {:.2} s", self.killed_pid, self.killed_at_s);
        let ms = |time: Option<f64>| time.map_or("none".to_owned(), |ms| format!("{ms:+.1} ms"));
        let _ = writeln!(
            out,
            "last write   {} (answered before the kill, and committed)",
            ms(gap.last_before_ms)
        );
        let _ = writeln!(
            out,
            "first write  {} (answered in a later view, and committed)",
            ms(gap.first_after_ms)
        );
        let _ = writeln!(out, "first commit {} (of that write, seen at a node)", ms(gap.first_commit_ms));
        let _ = writeln!(
            out,
            "gap          {} without a committed write answered",
            gap.gap_ms.map_or("no end".to_owned(), |gap| format!("{gap:.1} ms"))
        );
        let _ = writeln!(
            out,
            "writes       {} answered, {} of them lost with the primary (answered, not yet committed)",
            gap.answered, gap.lost
        );
        let latency = &self.latency_us;
        let _ = writeln!(
            out,
            "latency      p50 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
            latency.p50 / 1e3,
            latency.p99 / 1e3,
            latency.max / 1e3
        );
        let _ = writeln!(out, "statuses     {:?}", self.statuses);
        for (error, count) in &self.errors {
            let _ = writeln!(out, "error        {count} x {error}");
        }
        out
    }
}
