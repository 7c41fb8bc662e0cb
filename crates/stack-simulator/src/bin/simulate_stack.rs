//! Runs many seeds: `simulate_stack [--first SEED] [--seeds N] [--threads N]`, or one: `simulate_stack --seed SEED`. Each
//! seed is a run of its own, so the result does not depend on the number of threads.

use ccf_stack_simulator::{Failure, Report, simulate_stack};
use std::{
    collections::BTreeMap,
    io::Write,
    panic::catch_unwind,
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

/// What became of a run: none if it panicked.
type Outcome = Option<Result<Report, Failure>>;

fn main() -> ExitCode {
    let (mut first, mut seeds) = (0u64, 100u64);
    let mut threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--first", Some(value)) => first = value,
            ("--seeds", Some(value)) => seeds = value,
            ("--threads", Some(value)) => threads = value,
            ("--seed", Some(value)) => (first, seeds) = (value, 1),
            _ => {
                let _ = writeln!(
                    std::io::stderr(),
                    "usage: simulate --stack [--first SEED] [--seeds N] [--threads N] | --seed SEED"
                );
                return ExitCode::from(2);
            }
        }
    }
    if run(first, seeds, threads.clamp(1, 256)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all seeds hold.
fn run(first: u64, seeds: u64, threads: u64) -> bool {
    let mut out = std::io::stdout().lock();
    let end = first.saturating_add(seeds);
    let _ = writeln!(out, "seeds {first} to {}, {threads} at a time", end.saturating_sub(1));
    let begun = Instant::now();
    let mut sum = Sum::default();
    let next = AtomicU64::new(first);
    let (done, outcomes) = mpsc::channel::<(u64, Outcome)>();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    // A broken invariant inside a node ends the process: then the last of these lines say where.
                    let _ = write!(std::io::stderr(), "\rseed {seed} ");
                    let outcome = catch_unwind(|| simulate_stack(seed)).ok();
                    if done.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // In the order of the seeds, whatever order they end in.
        let (mut early, mut expected) = (BTreeMap::new(), first);
        for (seed, outcome) in outcomes {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&expected) {
                sum.add(expected, outcome, &mut out);
                expected += 1;
            }
        }
    });
    sum.print(begun, seeds, &mut out);
    sum.failures == 0
}

/// All runs together.
#[derive(Default)]
struct Sum {
    digest: u64,
    failures: u64,
    steps: u64,
    committed: u64,
    written: usize,
    views: usize,
    nodes: usize,
    rekeys: usize,
    tampered: u64,
    mended: u64,
    reopened: u64,
    told: usize,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome, out: &mut impl Write) {
        let failure = match outcome {
            Some(Ok(report)) => {
                self.digest = self.digest.rotate_left(5) ^ report.digest;
                self.steps += report.steps;
                self.committed += report.committed;
                self.written += report.written;
                self.views += report.views;
                self.nodes += report.nodes;
                self.rekeys += report.rekeys;
                self.tampered += report.tampered;
                self.mended += report.mended;
                self.reopened += report.reopened;
                self.told += report.told;
                return;
            }
            Some(Err(failure)) => failure.to_string(),
            None => format!("seed {seed}: panic"),
        };
        self.failures += 1;
        let _ = writeln!(out, "FAILED {failure}\n  replay: simulate --stack --seed {seed}");
        let _ = out.flush();
    }

    fn print(&self, begun: Instant, seeds: u64, out: &mut impl Write) {
        let _ = writeln!(
            out,
            "{seeds} runs in {} s, {} failed; {} nodes, {} turns, {} entries written, {} committed, {} views, {} rekeys committed, {} frames tampered with, flags mended {} times, {} files ended elsewhere by that, {} writes watched; digest {:016x}",
            begun.elapsed().as_secs(),
            self.failures,
            self.nodes,
            self.steps,
            self.written,
            self.committed,
            self.views,
            self.rekeys,
            self.tampered,
            self.mended,
            self.reopened,
            self.told,
            self.digest,
        );
    }
}
