//! `ccf ledger read`: the public content of ledger entries, for people or, with `--json`, one object per line.
//!
//! Reads, verifies nothing: use `ccf ledger verify` first. Private tables stay encrypted.

use super::{
    entries::{Entries, FileChoice},
    values::{bytes_json, bytes_text, key_text},
};
use crate::terminal;
use ccf_ledger::entry::{Entry, EntryError, Record};
use serde_json::{Map, Value, json};
use std::{
    io::{BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Longer values are cut in the text form unless --full is given.
const TEXT_CHARS_SHOWN: usize = 160;

/// Show what entries write, table by table. Does not verify; see `ccf ledger verify`.
#[derive(clap::Args, Debug)]
pub struct ReadArgs {
    /// Folders with ledger files, or single files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// First transaction
    #[arg(long, default_value_t = 1, value_name = "SEQNO")]
    pub from: u64,
    /// Last transaction
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "SEQNO")]
    pub to: u64,
    /// Only this transaction
    #[arg(long, conflicts_with_all = ["from", "to"], value_name = "SEQNO")]
    pub seqno: Option<u64>,
    /// Only tables whose name contains this text, and only entries that write to one; repeatable
    #[arg(long, value_name = "TEXT")]
    pub table: Vec<String>,
    /// Which files
    #[command(flatten)]
    pub choice: FileChoice,
    /// Show values whole
    #[arg(long)]
    pub full: bool,
    /// One JSON object per entry and line; keys and values that are no text are `{"hex": …}`
    #[arg(long)]
    pub json: bool,
}

/// Reads and prints.
///
/// # Errors
/// A sentence with the position of the first bytes that are no entry.
pub fn run(args: &ReadArgs) -> Result<ExitCode, String> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let count = read(args, &mut out)?;
    let _ = out.flush();
    if count == 0 {
        terminal::note("no entry matches");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the selected entries to `out` and returns how many there were.
///
/// # Errors
/// As [`run`].
pub fn read(args: &ReadArgs, out: &mut dyn Write) -> Result<u64, String> {
    let range = args.seqno.map_or((args.from, args.to), |seqno| (seqno, seqno));
    // On a terminal the entries themselves are the progress.
    let progress = !std::io::stdout().is_terminal();
    let mut entries = Entries::open(&args.paths, args.choice, range, progress)?;
    let mut count = 0;
    while let Some(found) = entries.next_entry()? {
        match show(&found.entry()?, args, out).map_err(|e| found.problem(e))? {
            Shown::Printed => count += 1,
            Shown::Skipped => {}
            // The reader of the pipe has gone.
            Shown::Closed => return Ok(count),
        }
    }
    Ok(count)
}

enum Shown {
    Printed,
    Skipped,
    Closed,
}

fn show(entry: &Entry<'_>, args: &ReadArgs, out: &mut dyn Write) -> Result<Shown, EntryError> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    let mut is_wanted = true;
    for record in entry.public_records() {
        match record? {
            Record::Map { name, .. } => {
                is_wanted =
                    args.table.is_empty() || args.table.iter().any(|text| name.contains(text.as_str()));
                if is_wanted {
                    tables.push(Table { name, writes: Vec::new(), removes: Vec::new() });
                }
            }
            Record::Write { key, value } if is_wanted => {
                if let Some(table) = tables.last_mut() {
                    table.writes.push((key, value));
                }
            }
            Record::Remove { key } if is_wanted => {
                if let Some(table) = tables.last_mut() {
                    table.removes.push(key);
                }
            }
            Record::Write { .. } | Record::Remove { .. } => {}
        }
    }
    if tables.is_empty() && !args.table.is_empty() {
        return Ok(Shown::Skipped);
    }
    let text = match args.json {
        true => format!("{}\n", entry_json(entry, &tables)),
        false => entry_text(entry, &tables, args.full),
    };
    Ok(if out.write_all(text.as_bytes()).is_ok() { Shown::Printed } else { Shown::Closed })
}

struct Table<'a> {
    name: &'a str,
    writes: Vec<(&'a [u8], &'a [u8])>,
    removes: Vec<&'a [u8]>,
}

fn entry_text(entry: &Entry<'_>, tables: &[Table<'_>], full: bool) -> String {
    let private = if entry.has_private_domain() { ", private tables" } else { "" };
    let mut text = format!("{}  {} bytes{private}\n", entry.tx_id(), entry.bytes().len());
    if let Some(claims) = entry.claims_digest().filter(|digest| **digest != ccf_types::Digest::ZERO) {
        text += &format!("  claims {claims}\n");
    }
    for table in tables {
        text += &format!("  {}\n", table.name);
        for (key, value) in &table.writes {
            text += &format!("    {} = {}\n", key_text(key), cut(&bytes_text(value), full));
        }
        for key in &table.removes {
            text += &format!("    {} removed\n", key_text(key));
        }
    }
    text
}

fn entry_json(entry: &Entry<'_>, tables: &[Table<'_>]) -> Value {
    let mut maps = Map::new();
    for table in tables {
        let writes: Vec<Value> = table
            .writes
            .iter()
            .map(|(key, value)| json!({"key": bytes_json(key), "value": bytes_json(value)}))
            .collect();
        let removes: Vec<Value> = table.removes.iter().map(|key| bytes_json(key)).collect();
        maps.insert(table.name.to_owned(), json!({"writes": writes, "removes": removes}));
    }
    json!({
        "transaction_id": entry.tx_id().to_string(),
        "size": entry.bytes().len(),
        "has_private_tables": entry.has_private_domain(),
        "claims_digest": entry.claims_digest().map(ToString::to_string),
        "tables": maps,
    })
}

fn cut(text: &str, full: bool) -> String {
    match text.char_indices().nth(TEXT_CHARS_SHOWN) {
        Some((at, _)) if !full => format!("{}… ({} bytes)", &text[..at], text.len()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(TEXT_CHARS_SHOWN + 1);
        assert!(cut(&long, false).ends_with("… (322 bytes)"));
        assert_eq!(cut(&long, true), long);
    }
}
