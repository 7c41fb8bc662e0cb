//! `ccf ledger read`: the public content of ledger entries, for people or, with `--json`, one object per line.
//!
//! Reads, verifies nothing: use `ccf ledger verify` first. Private tables stay encrypted.

use crate::terminal;
use ccf_ledger::{
    entry::{Entry, EntryError, Record},
    files::{Block, ChunkName, ChunkPath, ChunkReader, list_chunks},
};
use ccf_types::SeqNo;
use serde_json::{Map, Value, json};
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Longer values are cut in the text form unless --full is given.
const TEXT_CHARS_SHOWN: usize = 160;

/// The key of a table that holds one value.
const SINGLETON: [u8; 8] = [0; 8];

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
    /// Also read files that are not committed
    #[arg(long)]
    pub uncommitted: bool,
    /// Also read files of a recovery that has not finished
    #[arg(long)]
    pub recovery: bool,
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
    let (from, to) = args.seqno.map_or((args.from, args.to), |seqno| (seqno, seqno));
    let (mut next, mut count) = (SeqNo(from), 0);
    let mut block = Block::default();
    for chunk in chunks(args)? {
        if chunk.name.start.0 > to {
            break;
        }
        if chunk.name.end.is_some_and(|end| end < next) {
            continue;
        }
        let mut reader = ChunkReader::open(&chunk).map_err(|e| e.to_string())?;
        while reader.next_block(&mut block).map_err(|e| e.to_string())? {
            for (seqno, offset, bytes) in block.entries() {
                if seqno.0 > to {
                    return Ok(count);
                }
                // Files may overlap: an entry is shown once.
                if seqno < next {
                    continue;
                }
                next = SeqNo(seqno.0 + 1);
                let shown = show(bytes, args, out).map_err(|e| {
                    format!("{}, offset {offset}, transaction {seqno}: {e}", chunk.path.display())
                })?;
                match shown {
                    Shown::Printed => count += 1,
                    Shown::Skipped => {}
                    // The reader of the pipe has gone.
                    Shown::Closed => return Ok(count),
                }
            }
        }
    }
    Ok(count)
}

enum Shown {
    Printed,
    Skipped,
    Closed,
}

fn show(bytes: &[u8], args: &ReadArgs, out: &mut dyn Write) -> Result<Shown, EntryError> {
    let entry = Entry::parse(bytes)?;
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
        true => format!("{}\n", entry_json(&entry, &tables)),
        false => entry_text(&entry, &tables, args.full),
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

fn bytes_json(bytes: &[u8]) -> Value {
    match printable(bytes) {
        Some(text) => Value::from(text),
        None => json!({"hex": hex::encode(bytes)}),
    }
}

fn key_text(key: &[u8]) -> String {
    match key == SINGLETON {
        true => "(the value)".to_owned(),
        false => bytes_text(key),
    }
}

fn bytes_text(bytes: &[u8]) -> String {
    match printable(bytes) {
        Some(text) => text.replace('\n', "\\n"),
        None => format!("0x{}", hex::encode(bytes)),
    }
}

fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_fine = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_fine).then_some(text)
}

fn cut(text: &str, full: bool) -> String {
    match text.char_indices().nth(TEXT_CHARS_SHOWN) {
        Some((at, _)) if !full => format!("{}… ({} bytes)", &text[..at], text.len()),
        _ => text.to_owned(),
    }
}

fn chunks(args: &ReadArgs) -> Result<Vec<ChunkPath>, String> {
    let mut found = Vec::new();
    for path in &args.paths {
        match path.is_file() {
            true => found.push(named(path)?),
            false => {
                let mut listed = list_chunks(path).map_err(|e| e.to_string())?;
                listed.retain(|chunk| args.uncommitted || chunk.name.committed);
                listed.retain(|chunk| args.recovery || !chunk.name.recovery);
                found.extend(listed);
            }
        }
    }
    found.sort_by_key(|chunk| (chunk.name.start, !chunk.name.committed, std::cmp::Reverse(chunk.name.end)));
    match found.is_empty() {
        true => {
            Err("there are no ledger files here; add --uncommitted for the file that is still open"
                .to_owned())
        }
        false => Ok(found),
    }
}

fn named(path: &Path) -> Result<ChunkPath, String> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(ChunkName::parse);
    let name = name.ok_or_else(|| format!("{} has not the name of a ledger file", path.display()))?;
    Ok(ChunkPath { name, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(bytes_text(b"text\nmore"), "text\\nmore");
        assert_eq!(bytes_text(&[0, 1, 0xff]), "0x0001ff");
        assert_eq!(key_text(&SINGLETON), "(the value)");
        assert_eq!(bytes_json(&[0xff]), json!({"hex": "ff"}));
        let long = "é".repeat(TEXT_CHARS_SHOWN + 1);
        assert!(cut(&long, false).ends_with("… (322 bytes)"));
        assert_eq!(cut(&long, true), long);
    }
}
