//! `cargo xtask`: everything one does with this workspace, each in one command.
//!
//! `test` is for everybody, `ci` is exactly what must be green before a change lands, the rest are their parts.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{process, tools};

/// Tasks of the ccf-rs workspace
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prepare the independent tools, then run all tests, the end-to-end ones included
    Test {
        /// Given to `cargo test`, for example: -p ccf-ledger, or -- name_of_a_test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<String>,
    },
    /// Everything that must be green: formatting, lints, licences and advisories, tests
    Ci,
    /// Run the micro benchmarks of all crates
    Bench {
        /// Given to `cargo bench`, for example: -p ccf-kv
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<String>,
    },
    /// Compare the edges between crates with the table of layers, and check files for the house rules
    Tidy,
    /// Only prepare the independent tools under target/test-tools: Python package `ccf`, npm packages
    Prepare,
    /// Run networks of replicas under faults, one per seed; a failing seed replays exactly
    Simulate {
        /// Whole nodes instead of consensus alone: stores, ledgers, signatures, channels; slower
        #[arg(long)]
        stack: bool,
        /// Given to the simulator, for example: --seeds 100000, --first 5000 --seeds 1000, --walk, or --seed 42
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Use a service of three nodes while they are killed, paused and cut off, and judge what clients saw
    Linearizability {
        /// How long things go wrong, seconds
        #[arg(long, default_value_t = 600)]
        seconds: u32,
        /// Repeats a schedule; the test prints its own
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kill services at random moments, recover them, and look for what was reported as committed; with release
    /// programs (target/release) if they are there
    Crash {
        /// How often services are killed
        #[arg(long, default_value_t = 50)]
        rounds: u32,
        /// Decides what happens and when
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Ends after so many seconds, whatever the rounds
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Run one fuzz target, or all, for a while (needs cargo-fuzz and a nightly compiler)
    Fuzz {
        /// Name of the target; all without it
        target: Option<String>,
        /// Seconds for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test { cargo } => test(&cargo),
        Task::Ci => ci(),
        Task::Bench { cargo } => process::cargo(&["bench", "--workspace", "--benches"], &cargo),
        Task::Tidy => process::cargo(&["test", "--quiet", "-p", "xtask"], &[]),
        Task::Prepare => tools::prepare().map(|_| ()),
        Task::Simulate { stack, words } => {
            let (package, program) =
                if stack { ("ccf-stack-simulator", "simulate_stack") } else { ("ccf-simulator", "simulate") };
            process::cargo(&["run", "--release", "-p", package, "--bin", program, "--"], &words)
        }
        Task::Linearizability { seconds, seed } => linearizability(seconds, seed),
        Task::Crash { rounds, seed, seconds } => crash(rounds, seed, seconds),
        Task::Fuzz { target, seconds } => fuzz(target.as_deref(), seconds),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            process::note(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn test(cargo: &[String]) -> Result<(), String> {
    tools::prepare()?;
    let selects_package = cargo.iter().any(|word| word == "-p" || word.starts_with("--package"));
    // The end-to-end tests start the real programs, those of other packages too.
    process::cargo(&["build", "--workspace", "--bins"], &[])?;
    let mut words = vec!["test", "--no-fail-fast"];
    if !selects_package {
        words.push("--workspace");
    }
    words.extend(cargo.iter().map(String::as_str));
    let mut tally = process::run_tests(&process::cargo_program(), &words)?;
    if !selects_package {
        // The commit path under a scheduler that tries interleavings; its locks replace the real ones, hence apart.
        let shuttle = ["test", "-p", "ccf-kv", "--features", "shuttle", "--test", "shuttle"];
        let schedules = process::run_tests(&process::cargo_program(), &shuttle)?;
        tally.passed += schedules.passed;
        tally.failed += schedules.failed;
        tally.skipped += schedules.skipped;
        tally.succeeded &= schedules.succeeded;
    }
    process::say(&format!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped));
    match (tally.succeeded, tally.passed) {
        (false, _) => Err("not all tests passed".to_owned()),
        (true, 0) => Err("no test ran".to_owned()),
        (true, _) => Ok(()),
    }
}

fn ci() -> Result<(), String> {
    process::cargo(&["fmt", "--all", "--check"], &[])?;
    process::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    match process::cargo_has("deny") {
        true => deny()?,
        false => process::note("skipped: cargo-deny is not installed (cargo install cargo-deny)"),
    }
    test(&[])
}

/// Licences, sources and duplicates; advisories only where their database can be had.
fn deny() -> Result<(), String> {
    process::cargo(&["deny", "check", "bans", "licenses", "sources"], &[])?;
    match process::cargo(&["deny", "fetch", "db"], &[]) {
        Ok(()) => process::cargo(&["deny", "check", "advisories"], &[]),
        Err(_) => {
            process::note("skipped: the database of advisories cannot be fetched from here");
            Ok(())
        }
    }
}

fn linearizability(seconds: u32, seed: Option<u64>) -> Result<(), String> {
    tools::prepare()?;
    let mut variables = vec![("CCF_SECONDS", seconds.to_string())];
    variables.extend(seed.map(|seed| ("CCF_SEED", seed.to_string())));
    let words = ["test", "-p", "ccf-cli", "--test", "many_nodes", "linearizability", "--", "--nocapture"];
    process::run_with(&process::cargo_program(), &words, &variables)
}

/// The crash test of the end-to-end tests, which takes its settings from the environment.
fn crash(rounds: u32, seed: u64, seconds: Option<u64>) -> Result<(), String> {
    tools::prepare()?;
    process::cargo(&["build", "-p", "ccf-cli", "-p", "logging", "--bins"], &[])?;
    let mut words = vec![format!("env.CCF_CRASH_ROUNDS='{rounds}'"), format!("env.CCF_CRASH_SEED='{seed}'")];
    words.extend(seconds.map(|seconds| format!("env.CCF_CRASH_SECONDS='{seconds}'")));
    let release = xtask::workspace::target().join("release");
    if ["ccf", "logging"].iter().all(|program| release.join(program).is_file()) {
        words.push(format!("env.CCF_CRASH_PROGRAMS='{}'", release.display()));
    }
    let words: Vec<String> = words.into_iter().flat_map(|word| ["--config".to_owned(), word]).collect();
    let test = ["--", "--ignored", "--exact", "crash::many_rounds", "--nocapture"].map(str::to_owned);
    let words: Vec<String> = words.into_iter().chain(test).collect();
    process::cargo(&["test", "-p", "ccf-cli", "--test", "e2e"], &words)
}

fn fuzz(target: Option<&str>, seconds: u32) -> Result<(), String> {
    if !process::cargo_has("fuzz") {
        return Err("cargo-fuzz is not installed; run: cargo install cargo-fuzz".to_owned());
    }
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => xtask::workspace::fuzz_targets()?,
    };
    for target in targets {
        process::note(&format!("fuzzing {target} for {seconds} s"));
        let time = format!("-max_total_time={seconds}");
        process::run(
            "cargo",
            &["+nightly", "fuzz", "run", &target, "--", &time, "-timeout=10", "-rss_limit_mb=4096"],
        )?;
    }
    Ok(())
}
