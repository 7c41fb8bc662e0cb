//! `ccf ledger export`: the whole public content as JSON lines, for other tools.

use super::{
    entries::{Entries, FileChoice},
    values::bytes_json,
};
use crate::terminal;
use ccf_ledger::entry::{Entry, EntryError, Record};
use serde_json::{Map, Value, json};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Write the public content of a ledger as JSON lines. Does not verify; see `ccf ledger verify`.
///
/// One object per transaction: its ID, size, claims digest and commit evidence digest, the writes of public tables, and,
/// where there are private tables, how many encrypted bytes they take.
#[derive(clap::Args, Debug)]
pub struct ExportArgs {
    /// Folders with ledger files, or single files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// First transaction
    #[arg(long, default_value_t = 1, value_name = "SEQNO")]
    pub from: u64,
    /// Last transaction
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "SEQNO")]
    pub to: u64,
    /// Which files
    #[command(flatten)]
    pub choice: FileChoice,
}

/// Exports.
///
/// # Errors
/// A sentence for the user: what cannot be read, or written to `--output`.
pub fn run(args: &ExportArgs) -> Result<ExitCode, String> {
    if args.from > args.to {
        return Err(format!("nothing to export: --from {} is after --to {}", args.from, args.to));
    }
    let mut entries = Entries::open(&args.paths, args.choice, (args.from, args.to), true)?;
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &args.output {
        Some(path) => Box::new(File::create(path).map_err(|e| format!("{}: {e}", path.display()))?),
        None => Box::new(std::io::stdout().lock()),
    });
    let mut count = 0_u64;
    let written = loop {
        let Some(found) = entries.next_entry()? else { break out.flush() };
        let line = line(&found.entry()?).map_err(|e| found.problem(e))?;
        if let Err(e) = writeln!(out, "{line}") {
            break Err(e);
        }
        count += 1;
    };
    if written.is_ok() && count == 0 {
        let to = if args.to == u64::MAX { "on".to_owned() } else { format!("to {}", args.to) };
        terminal::note(format!("these files hold no transaction from {} {to}", args.from));
    }
    match (written, &args.output) {
        (Err(e), Some(path)) => Err(format!("{}: {e}", path.display())),
        (Ok(()), Some(path)) => {
            terminal::note(format!("{count} transactions written to {}", path.display()));
            Ok(ExitCode::SUCCESS)
        }
        // The reader of the pipe has gone.
        (_, None) => Ok(ExitCode::SUCCESS),
    }
}

fn line(entry: &Entry<'_>) -> Result<Value, EntryError> {
    let mut tables = Map::new();
    let (mut table, mut writes, mut removes) = (None, Vec::new(), Vec::new());
    let mut close = |table: Option<&str>, writes: &mut Vec<Value>, removes: &mut Vec<Value>| {
        if let Some(name) = table {
            let (writes, removes) = (std::mem::take(writes), std::mem::take(removes));
            tables.insert(name.to_owned(), json!({"writes": writes, "removes": removes}));
        }
    };
    for record in entry.public_records() {
        match record? {
            Record::Map { name, .. } => {
                close(table, &mut writes, &mut removes);
                table = Some(name);
            }
            Record::Write { key, value } => {
                writes.push(json!({"key": bytes_json(key), "value": bytes_json(value)}));
            }
            Record::Remove { key } => removes.push(bytes_json(key)),
        }
    }
    close(table, &mut writes, &mut removes);
    let mut line = json!({
        "transaction_id": entry.tx_id().to_string(),
        "size": entry.bytes().len(),
        "claims_digest": entry.claims_digest().map(ToString::to_string),
        "commit_evidence_digest": entry.evidence_digest().map(ToString::to_string),
        "tables": tables,
    });
    if entry.has_private_domain() {
        line["private"] = json!("encrypted");
    }
    Ok(line)
}
