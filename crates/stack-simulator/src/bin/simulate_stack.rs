//! Runs many seeds: `simulate_stack [--first SEED] [--seeds N]`, or one: `simulate_stack --seed SEED`.

use ccf_stack_simulator::{Report, simulate_stack};
use std::{io::Write, process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let (mut first, mut seeds) = (0u64, 100u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--first", Some(value)) => first = value,
            ("--seeds", Some(value)) => seeds = value,
            ("--seed", Some(value)) => (first, seeds) = (value, 1),
            _ => {
                let _ = writeln!(
                    std::io::stderr(),
                    "usage: simulate --stack [--first SEED] [--seeds N] | --seed SEED"
                );
                return ExitCode::from(2);
            }
        }
    }
    let _ = writeln!(out, "seeds {first} to {}", first + seeds.saturating_sub(1));
    let (begun, mut digest, mut failures) = (Instant::now(), 0u64, 0);
    let mut sum = Report {
        seed: first,
        digest: 0,
        steps: 0,
        committed: 0,
        written: 0,
        views: 0,
        nodes: 0,
        rekeys: 0,
        tampered: 0,
        told: 0,
    };
    for seed in first..first + seeds {
        // A broken invariant inside a node ends the process: then this line says where.
        let _ = write!(std::io::stderr(), "\rseed {seed} ");
        match std::panic::catch_unwind(|| simulate_stack(seed)) {
            Ok(Ok(report)) => {
                digest = digest.rotate_left(5) ^ report.digest;
                sum.steps += report.steps;
                sum.committed += report.committed;
                sum.written += report.written;
                sum.views += report.views;
                sum.nodes += report.nodes;
                sum.rekeys += report.rekeys;
                sum.tampered += report.tampered;
                sum.told += report.told;
            }
            Ok(Err(failure)) => {
                failures += 1;
                let _ = writeln!(out, "FAILED {failure}\n  replay: simulate --stack --seed {seed}");
            }
            Err(_) => {
                failures += 1;
                let _ = writeln!(out, "FAILED seed {seed}: panic\n  replay: simulate --stack --seed {seed}");
            }
        }
    }
    let _ = writeln!(
        out,
        "{seeds} runs in {} s, {failures} failed; {} nodes, {} turns, {} entries written, {} committed, {} views, {} rekeys committed, {} frames tampered with, {} writes watched; digest {digest:016x}",
        begun.elapsed().as_secs(),
        sum.nodes,
        sum.steps,
        sum.written,
        sum.committed,
        sum.views,
        sum.rekeys,
        sum.tampered,
        sum.told,
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
