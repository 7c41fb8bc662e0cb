//! `ccf`: one command line for developers, operators, members and auditors.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The Confidential Consortium Framework in Rust
#[derive(Parser)]
#[command(name = "ccf", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(ccf_cli::bench::BenchArgs),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => ccf_cli::bench::run(&args),
    };
    result.unwrap_or_else(|message| {
        ccf_cli::terminal::note(format!("error: {message}"));
        ExitCode::FAILURE
    })
}
