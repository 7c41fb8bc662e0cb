//! `ccf`: one command line for developers, operators, members and auditors.
#![forbid(unsafe_code)]

use ccf_cli::{bench, keys, ledger, member, node, receipt, sandbox, terminal};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The Confidential Consortium Framework in Rust
///
/// Start with: ccf sandbox
#[derive(Parser)]
#[command(name = "ccf", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sandbox(sandbox::arguments::SandboxArgs),
    Ledger(ledger::LedgerArgs),
    Receipt(receipt::ReceiptArgs),
    Member(member::MemberArgs),
    Keys(keys::KeysArgs),
    Bench(bench::BenchArgs),
    #[command(hide = true)]
    Node(node::NodeArgs),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Receipt(args) => receipt::run(&args),
        Command::Member(args) => member::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Node(args) => Ok(node::run(&args)),
    };
    result.unwrap_or_else(|message| {
        terminal::note(format!("error: {message}"));
        ExitCode::FAILURE
    })
}
