//! `ccf ledger`: the ledger on disk, without a service: verify it, read it, compare it.

pub mod diff;
pub mod entries;
pub mod export;
pub mod governance;
pub mod history;
pub mod read;
mod service;
pub mod values;
pub mod verify;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Verify, read or compare the ledger files of a service, offline.
#[derive(Args, Debug)]
pub struct LedgerArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Verify(verify::VerifyArgs),
    Read(read::ReadArgs),
    Governance(governance::GovernanceArgs),
    History(history::HistoryArgs),
    Diff(diff::DiffArgs),
    Export(export::ExportArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// A sentence for the user when there is nothing to judge or to read.
pub fn run(args: &LedgerArgs) -> Result<ExitCode, String> {
    match &args.action {
        Action::Verify(args) => verify::run(args),
        Action::Read(args) => read::run(args),
        Action::Governance(args) => governance::run(args),
        Action::History(args) => history::run(args),
        Action::Diff(args) => diff::run(args),
        Action::Export(args) => export::run(args),
    }
}
