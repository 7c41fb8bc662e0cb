//! `ccf bench`: load and stopwatch for any service that serves the standard logging workload.
//!
//! Closed loop: every connection always has `--pipeline` requests under way. Open loop (`--rate`): requests are due at
//! fixed times and their latency counts from then, so that a stalled server cannot hide its stall (no coordinated
//! omission). The client is one event loop per thread over rustls with preformatted requests, because on one machine
//! whatever it uses the server does not get.

pub mod catch_up;
pub mod client;
pub mod commit;
pub mod connection;
pub mod failover;
pub mod histogram;
pub mod process;
pub mod report;
pub mod timer;
pub mod wire;
pub mod worker;
pub mod workload;

use crate::{
    terminal,
    tls::{self, TlsFiles},
    units::parse_duration,
};
use client::Client;
use connection::{Connection, Target};
use process::ProcessUsage;
use report::{Conditions, Report, ServerUsage};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use worker::{Outcome, Pacing, Shared, Worker};
use workload::Workload;

/// Ends the send phase when only a number of requests was asked for.
const NO_TIME_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Where a sandbox listens.
const DEFAULT_HOST: &str = "127.0.0.1:8000";

/// Most connections of one run.
const CONNECTIONS_MAX: usize = 10_000;

/// Measure a service: throughput, latency, server CPU per request, time to global commit.
///
/// Speaks the standard logging workload (native or JavaScript application: the paths are the same) to any service that
/// has CCF's HTTP API. Without --cacert, --cert and --key the files of a sandbox in --workspace are used when they are
/// there.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// Address of a node; repeatable, connections are spread over them [default: 127.0.0.1:8000]
    #[arg(long = "host", value_name = "HOST:PORT")]
    pub hosts: Vec<String>,
    /// Service certificate (PEM); without it any server is accepted
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Client certificate (PEM)
    #[arg(long, requires = "key", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, requires = "cert", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Connections
    #[arg(short, long, default_value_t = 8)]
    pub connections: usize,
    /// Requests in flight on each connection (closed loop)
    #[arg(short, long, default_value_t = 1, conflicts_with = "rate")]
    pub pipeline: usize,
    /// Open loop: requests due per second, over all connections
    #[arg(short, long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Client threads
    #[arg(short, long, default_value_t = 1)]
    pub threads: usize,
    /// Share of writes: 1 writes only, 0 reads only, 0.1 one write in ten
    #[arg(short, long, default_value_t = 1.0, value_name = "0..1")]
    pub write_ratio: f64,
    /// Characters of a message
    #[arg(long, default_value_t = 20)]
    pub payload: usize,
    /// Different keys; they are written once before the measurement when there are reads
    #[arg(long, default_value_t = 1000)]
    pub keys: u32,
    /// Length of the measurement
    #[arg(short, long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// End after this many answers instead of after --duration
    #[arg(short = 'n', long)]
    pub requests: Option<u64>,
    /// Time before the measurement in which requests run but do not count
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub warmup: Duration,
    /// Path of the workload's records
    #[arg(long, default_value = "/app/log/private")]
    pub path: String,
    /// Only ask for this path instead of running the workload, for example /app/commit
    #[arg(long, value_name = "PATH", conflicts_with_all = ["path", "write_ratio", "commit_latency"])]
    pub get: Option<String>,
    /// Process id of the server on this machine: reports its CPU per request and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// Also sample the time from an answer to its global commit
    #[arg(long)]
    pub commit_latency: bool,
    /// Kill the primary in the middle of the run and report the gap in writes: this process, or else the primary of the
    /// sandbox in --workspace. Each connection has one write under way and goes to another --host when its node fails
    #[arg(long, value_name = "PID", num_args = 0..=1, conflicts_with_all = ["get", "requests", "pid", "pipeline", "commit_latency"])]
    pub kill_primary: Option<Option<u32>>,
    /// With --kill-primary: a connection goes to another node when its own says nothing for so long
    #[arg(long, default_value = "250ms", value_parser = parse_duration)]
    pub answer_within: Duration,
    /// Pause one backup of the sandbox in --workspace during the load, and report how fast it takes in what it missed
    #[arg(long, conflicts_with_all = ["get", "hosts", "pid", "kill_primary", "commit_latency"])]
    pub catch_up: bool,
    /// Folder of the sandbox
    #[arg(long, default_value = "workspace", value_name = "DIR")]
    pub workspace: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the benchmark; the exit code is 1 when not every request succeeded.
///
/// # Errors
/// A sentence for the user when the run cannot start.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    if args.kill_primary.is_some() {
        return failover::run(args);
    }
    if args.catch_up {
        return catch_up::run(args);
    }
    let report = measure(args)?;
    say_report(args, &report, &report.text())?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the benchmark and returns the figures.
///
/// # Errors
/// As [`run`].
pub fn measure(args: &BenchArgs) -> Result<Report, String> {
    check(args)?;
    let targets: Vec<Target> = hosts(args).iter().map(|host| target(args, host)).collect::<Result<_, _>>()?;
    let target = targets[0].clone();
    let workload = match &args.get {
        Some(path) => Workload::get(&target.address, path),
        None => Workload::logging(&target.address, &args.path, args.payload, args.keys, args.write_ratio),
    };
    let hint = |target: &Target, e: &dyn std::fmt::Display| {
        format!(
            "cannot connect to {}: {e}\nIs the service running? Start one with: ccf sandbox",
            target.address
        )
    };
    let mut first = Client::open(&target).map_err(|e| hint(&target, &e))?;
    prefill(&mut first, &target.address, &workload, args)?;
    let connections: Vec<Connection> = (0..args.connections)
        .map(|index| &targets[index % targets.len()])
        .map(|target| Connection::open(target).map_err(|e| hint(target, &e)))
        .collect::<Result<_, _>>()?;

    let shared = Arc::new(Shared {
        epoch: Instant::now(),
        measure_from: args.warmup,
        send_until: args.requests.map_or(args.warmup + args.duration, |_| NO_TIME_LIMIT),
        quota: args.requests.map_or(u64::MAX, |requests| requests.div_ceil(args.threads as u64)),
        stop: AtomicBool::new(false),
        answered: AtomicU64::new(0),
    });
    let workers = start_workers(connections, &workload, args, &shared)?;
    let sampler = args.commit_latency.then(|| {
        let (target, workload, shared) = (target.clone(), workload.clone(), Arc::clone(&shared));
        let status_path = status_path(&args.path);
        thread::spawn(move || commit::sample(&target, &workload, &status_path, &shared))
    });

    let watch = watch(args, &shared, &workers)?;
    let mut outcome = Outcome::default();
    for worker in workers {
        let one =
            worker.join().map_err(|_| "a client thread panicked")?.map_err(|e| format!("event loop: {e}"))?;
        outcome.merge(&one);
    }
    shared.stop.store(true, Ordering::Relaxed);
    let commit = match sampler.map(thread::JoinHandle::join) {
        None => None,
        Some(Ok(commit::CommitOutcome { error: Some(error), .. })) => {
            return Err(format!("commit times could not be sampled: {error}"));
        }
        Some(Ok(commit)) => Some(commit),
        Some(Err(_)) => return Err("the commit sampler panicked".to_owned()),
    };
    let measured = match args.requests {
        Some(_) => outcome.last_answer.saturating_sub(args.warmup),
        None => args.duration,
    };
    let mut report = Report::new(conditions(args), measured, &outcome, commit.as_ref());
    watch.add_to(&mut report);
    Ok(report)
}

fn check(args: &BenchArgs) -> Result<(), String> {
    if !(0.0..=1.0).contains(&args.write_ratio) {
        return Err("--write-ratio must lie between 0 and 1".to_owned());
    }
    if args.connections == 0 || args.connections > CONNECTIONS_MAX {
        return Err(format!("--connections must lie between 1 and {CONNECTIONS_MAX}"));
    }
    if args.pipeline == 0 {
        return Err("--pipeline must be at least 1".to_owned());
    }
    if args.threads == 0 || args.threads > args.connections {
        return Err("--threads must lie between 1 and the number of connections".to_owned());
    }
    if args.rate.is_some_and(|rate| !(0.1..=1e7).contains(&rate)) {
        return Err("--rate must lie between 0.1 and 10000000 requests per second".to_owned());
    }
    Ok(())
}

/// The addresses to connect to.
/// Prints a report as the arguments want it.
fn say_report(args: &BenchArgs, report: &impl serde::Serialize, text: &str) -> Result<(), String> {
    if args.json {
        terminal::say(serde_json::to_string_pretty(report).map_err(|e| e.to_string())?);
    } else {
        terminal::say(text.trim_end());
    }
    Ok(())
}

fn hosts(args: &BenchArgs) -> Vec<String> {
    match args.hosts.is_empty() {
        true => vec![DEFAULT_HOST.to_owned()],
        false => args.hosts.clone(),
    }
}

fn target(args: &BenchArgs, host: &str) -> Result<Target, String> {
    let address = host.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let name = match address.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => return Err(format!("--host '{host}' must be HOST:PORT")),
    };
    let files = tls_files(args, &args.workspace.join("sandbox_common"));
    let tls = tls::client_config(&files, &["http/1.1"]).map_err(|e| e.to_string())?;
    Ok(Target { name: tls::server_name(name).map_err(|e| e.to_string())?, address, tls })
}

fn tls_files(args: &BenchArgs, sandbox: &Path) -> TlsFiles {
    let found = |name: &str| Some(sandbox.join(name)).filter(|path| path.is_file());
    let is_default = args.cacert.is_none() && args.cert.is_none();
    TlsFiles {
        service_certificate: args.cacert.clone().or_else(|| found("service_cert.pem").filter(|_| is_default)),
        identity: args
            .cert
            .clone()
            .zip(args.key.clone())
            .or_else(|| found("user0_cert.pem").zip(found("user0_privk.pem")).filter(|_| is_default)),
    }
}

fn prefill(client: &mut Client, host: &str, workload: &Workload, args: &BenchArgs) -> Result<(), String> {
    let refused = |e: String| format!("the service refused a request before the measurement: {e}");
    if let Some(path) = &args.get {
        let answer =
            client.ask(&wire::request("GET", path, host, None)).map_err(|e| refused(e.to_string()))?;
        return match answer.status {
            200..300 => Ok(()),
            status => Err(refused(format!("{status} {}", answer.body))),
        };
    }
    let keys = workload.keys_to_prefill().max(1);
    let bar = terminal::progress_bar(keys, "writing keys  [{bar:40}] {pos}/{len}");
    let result = client.prefill(workload, keys, |done| bar.set_position(done)).map_err(refused);
    bar.finish_and_clear();
    result
}

type WorkerHandle = thread::JoinHandle<std::io::Result<Outcome>>;

fn start_workers(
    mut connections: Vec<Connection>,
    workload: &Workload,
    args: &BenchArgs,
    shared: &Arc<Shared>,
) -> Result<Vec<WorkerHandle>, String> {
    let mut workers = Vec::new();
    for index in 0..args.threads {
        let share = connections.len() / (args.threads - index);
        let worker = Worker {
            connections: connections.split_off(connections.len() - share),
            workload: workload.clone(),
            pacing: match args.rate {
                Some(rate) => Pacing::Open { interval: Duration::from_secs_f64(args.threads as f64 / rate) },
                None => Pacing::Closed { depth: args.pipeline },
            },
            seed: index as u64 + 1,
            shared: Arc::clone(shared),
        };
        let started = thread::Builder::new().name(format!("bench-{index}")).spawn(move || worker.run());
        workers.push(started.map_err(|e| format!("cannot start a thread: {e}"))?);
    }
    Ok(workers)
}

/// Resource use at both ends of the measurement.
struct Watch {
    server: Option<(ProcessUsage, ProcessUsage)>,
    client: Option<(ProcessUsage, ProcessUsage)>,
    elapsed: Duration,
    answered: u64,
}

/// Sleeps through the run, drawing progress, and reads the processes' accounting when the measurement begins and ends.
fn watch(args: &BenchArgs, shared: &Shared, workers: &[WorkerHandle]) -> Result<Watch, String> {
    let usage = || -> Result<(Option<ProcessUsage>, Option<ProcessUsage>), String> {
        Ok((args.pid.map(ProcessUsage::of).transpose()?, ProcessUsage::of(std::process::id()).ok()))
    };
    usage()?;
    let total = match args.requests {
        Some(requests) => requests,
        None => (args.warmup + args.duration).as_millis() as u64,
    };
    let bar = terminal::progress_bar(total, "measuring     [{bar:40}] {msg}");
    let mut begin = None;
    let mut last = (Duration::ZERO, 0);
    loop {
        let now = shared.epoch.elapsed();
        let answered = shared.answered.load(Ordering::Relaxed);
        if begin.is_none() && now >= args.warmup {
            begin = Some((usage()?, now, answered));
        }
        if now >= shared.send_until || workers.iter().all(thread::JoinHandle::is_finished) {
            break;
        }
        if now > last.0 + Duration::from_millis(200) {
            let per_second = (answered - last.1) as f64 / (now - last.0).as_secs_f64();
            bar.set_position(if args.requests.is_some() { answered } else { now.as_millis() as u64 });
            let phase = if begin.is_some() { "" } else { " (warming up)" };
            bar.set_message(format!("{per_second:.0}/s{phase}"));
            last = (now, answered);
        }
        let next = if begin.is_none() { args.warmup } else { shared.send_until };
        thread::sleep(next.saturating_sub(now).min(Duration::from_millis(50)));
    }
    bar.finish_and_clear();
    let (end_server, end_client) = usage().unwrap_or_default();
    let answered = shared.answered.load(Ordering::Relaxed);
    let now = shared.epoch.elapsed();
    let ((begin_server, begin_client), begun, answered_before) =
        begin.unwrap_or(((None, None), Duration::ZERO, 0));
    Ok(Watch {
        server: begin_server.zip(end_server),
        client: begin_client.zip(end_client),
        elapsed: now.saturating_sub(begun),
        answered: answered - answered_before,
    })
}

impl Watch {
    fn add_to(&self, report: &mut Report) {
        let per_request = |used: Duration| used.as_secs_f64() * 1e6 / self.answered.max(1) as f64;
        report.server = self.server.map(|(begin, end)| ServerUsage {
            cpu_us_per_request: per_request(end.cpu().saturating_sub(begin.cpu())),
            system_us_per_request: per_request(end.system.saturating_sub(begin.system)),
            cpus: end.cpu().saturating_sub(begin.cpu()).as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9),
            resident_bytes: end.resident_bytes,
            resident_peak_bytes: end.resident_peak_bytes,
        });
        report.client_cpu_us_per_request =
            self.client.map(|(begin, end)| per_request(end.cpu().saturating_sub(begin.cpu())));
    }
}

fn conditions(args: &BenchArgs) -> Conditions {
    Conditions {
        host: hosts(args).join(", "),
        path: args.get.clone().unwrap_or_else(|| args.path.clone()),
        connections: args.connections,
        pipeline: args.rate.is_none().then_some(args.pipeline),
        rate_per_s: args.rate,
        threads: args.threads,
        write_ratio: if args.get.is_some() { 0.0 } else { args.write_ratio },
        payload: args.payload,
        keys: args.keys,
    }
}

/// `/tx` of the frontend that serves `path`.
fn status_path(path: &str) -> String {
    let frontend = path.split('/').nth(1).filter(|first| matches!(*first, "app" | "gov" | "node"));
    format!("/{}/tx", frontend.unwrap_or("app"))
}
