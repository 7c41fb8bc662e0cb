//! Runs many seeds: `simulate [--walk] [--first SEED] [--seeds N]`, or one: `simulate [--walk] --seed SEED`. With `--walk` there
//! are no clocks: whatever is possible may happen next.

use ccf_simulator::{simulate, walk};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let (mut first, mut seeds) = (0u64, 1000u64);
    let mut arguments = std::env::args().skip(1).peekable();
    let walks = arguments.next_if(|argument| argument == "--walk").is_some();
    let mode = if walks { " --walk" } else { "" };
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--first", Some(value)) => first = value,
            ("--seeds", Some(value)) => seeds = value,
            ("--seed", Some(value)) => (first, seeds) = (value, 1),
            _ => {
                let _ = writeln!(
                    std::io::stderr(),
                    "usage: simulate [--walk] [--first SEED] [--seeds N] | --seed SEED"
                );
                return ExitCode::from(2);
            }
        }
    }
    let _ = writeln!(out, "seeds {first} to {}", first + seeds.saturating_sub(1));
    let (mut digest, mut steps, mut committed, mut written, mut views) = (0u64, 0, 0, 0, 0);
    let mut failures = 0;
    for seed in first..first + seeds {
        match if walks { walk(seed) } else { simulate(seed) } {
            Ok(report) => {
                digest = digest.rotate_left(5) ^ report.digest;
                steps += report.steps;
                committed += report.committed;
                written += report.written;
                views += report.views;
            }
            Err(failure) => {
                failures += 1;
                let _ = writeln!(out, "FAILED {failure}\n  replay: simulate{mode} --seed {seed}");
            }
        }
    }
    let _ = writeln!(
        out,
        "{seeds} runs, {failures} failed; {steps} steps, {written} entries written, {committed} committed, {views} views; digest {digest:016x}"
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
