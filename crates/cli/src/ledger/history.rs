//! `ccf ledger history`: every write to one key of a public table, in order.

use super::{
    entries::{Entries, FileChoice},
    values::{bytes_json, bytes_text, parse_key},
};
use crate::terminal;
use ccf_ledger::entry::Record;
use serde_json::json;
use std::{
    io::{BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Follow one key of a public table through the ledger. Does not verify; see `ccf ledger verify`.
#[derive(clap::Args, Debug)]
pub struct HistoryArgs {
    /// Folders with ledger files, or single files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Name of the table, for example public:ccf.gov.members.info
    #[arg(long)]
    pub table: String,
    /// The key: text, or 0x and hexadecimal digits; without it the key of a table that holds one value
    #[arg(long)]
    pub key: Option<String>,
    /// Which files
    #[command(flatten)]
    pub choice: FileChoice,
    /// One JSON object per write or removal and line; values that are no text are `{"hex": …}`
    #[arg(long)]
    pub json: bool,
}

/// Reads and prints; the exit code is 1 when the key was never written.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &HistoryArgs) -> Result<ExitCode, String> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let count = history(args, &mut out)?;
    let _ = out.flush();
    if count == 0 {
        terminal::note("this key was never written");
    }
    Ok(if count == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Writes the key's changes to `out` and returns how many there were.
///
/// # Errors
/// As [`run`].
pub fn history(args: &HistoryArgs, out: &mut dyn Write) -> Result<u64, String> {
    if !args.table.starts_with("public:") {
        return Err(format!("{} is a private table: its content is encrypted in the ledger", args.table));
    }
    let key = parse_key(args.key.as_deref())?;
    let progress = !std::io::stdout().is_terminal();
    let mut entries = Entries::open(&args.paths, args.choice, (1, u64::MAX), progress)?;
    let mut count = 0;
    while let Some(found) = entries.next_entry()? {
        let entry = found.entry()?;
        let mut is_table = false;
        for record in entry.public_records() {
            let value = match record.map_err(|e| found.problem(e))? {
                Record::Map { name, .. } => {
                    is_table = name == args.table;
                    continue;
                }
                Record::Write { key: written, value } if is_table && written == key => Some(value),
                Record::Remove { key: removed } if is_table && removed == key => None,
                Record::Write { .. } | Record::Remove { .. } => continue,
            };
            count += 1;
            let tx_id = entry.tx_id();
            let line = match (args.json, value) {
                (true, value) => json!({
                    "transaction_id": tx_id.to_string(),
                    "removed": value.is_none(),
                    "value": value.map(bytes_json),
                })
                .to_string(),
                (false, Some(value)) => format!("{tx_id}  {}", bytes_text(value)),
                (false, None) => format!("{tx_id}  removed"),
            };
            if writeln!(out, "{line}").is_err() {
                return Ok(count);
            }
        }
    }
    Ok(count)
}
