//! `ccf ledger`: the ledger on disk, without a service: verify it, read it.

pub mod read;
pub mod verify;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Verify or read the ledger files of a service, offline.
#[derive(Args, Debug)]
pub struct LedgerArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Verify(verify::VerifyArgs),
    Read(read::ReadArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// A sentence for the user when there is nothing to judge or to read.
pub fn run(args: &LedgerArgs) -> Result<ExitCode, String> {
    match &args.action {
        Action::Verify(args) => verify::run(args),
        Action::Read(args) => read::run(args),
    }
}
