//! `ccf ledger diff`: up to where two ledgers are the same, byte for byte.

use super::entries::{Entries, FileChoice, Found};
use crate::terminal;
use ccf_ledger::entry::{Entry, Record};
use ccf_types::SeqNo;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

/// Compare two ledgers of one service: are they the same, byte for byte, as far as both go?
///
/// Files may be cut differently; entries are compared. Exit code: 0 one ledger is the beginning of the other, 1 they
/// differ, 2 there is nothing to compare.
#[derive(clap::Args, Debug)]
pub struct DiffArgs {
    /// Folder of one ledger
    #[arg(value_name = "DIR")]
    pub left: PathBuf,
    /// Folder of the other
    #[arg(value_name = "DIR")]
    pub right: PathBuf,
    /// Which files
    #[command(flatten)]
    pub choice: FileChoice,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a comparison found.
#[derive(Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Transactions that both ledgers have and that were compared equal.
    pub same: u64,
    /// The last of them.
    pub last_same: Option<SeqNo>,
    /// The last transaction of each ledger, when neither differs from the other.
    pub ends: Option<(SeqNo, SeqNo)>,
    /// The first difference, in words, with its place.
    pub difference: Option<(SeqNo, String)>,
}

/// Compares and prints.
///
/// # Errors
/// A sentence when a ledger cannot be read.
pub fn run(args: &DiffArgs) -> Result<ExitCode, String> {
    let comparison = match compare(args) {
        Ok(comparison) => comparison,
        Err(message) => {
            terminal::note(format!("error: {message}"));
            return Ok(ExitCode::from(super::verify::NOTHING_TO_JUDGE));
        }
    };
    terminal::say(if args.json { comparison.json().to_string() } else { comparison.text(args) });
    Ok(if comparison.difference.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Compares the two ledgers.
///
/// # Errors
/// As [`run`].
pub fn compare(args: &DiffArgs) -> Result<Comparison, String> {
    let open = |path: &PathBuf, progress| {
        Entries::open(std::slice::from_ref(path), args.choice, (1, u64::MAX), progress)
    };
    let (mut left, mut right) = (open(&args.left, true)?, open(&args.right, false)?);
    let mut comparison = Comparison { same: 0, last_same: None, ends: None, difference: None };
    loop {
        let (mine, theirs) = match (left.next_entry()?, right.next_entry()?) {
            (Some(mine), Some(theirs)) => (mine, theirs),
            (mine, theirs) => {
                let last = comparison.last_same.unwrap_or_default();
                let ends = (mine.map(|found| found.seqno), theirs.map(|found| found.seqno));
                let end_of = |entries: &mut Entries, end: Option<SeqNo>| -> Result<SeqNo, String> {
                    let Some(mut end) = end else { return Ok(last) };
                    while let Some(found) = entries.next_entry()? {
                        end = found.seqno;
                    }
                    Ok(end)
                };
                comparison.ends = Some((end_of(&mut left, ends.0)?, end_of(&mut right, ends.1)?));
                return Ok(comparison);
            }
        };
        if mine.seqno != theirs.seqno {
            let what = format!("one ledger goes on with {}, the other with {}", mine.seqno, theirs.seqno);
            comparison.difference = Some((mine.seqno.min(theirs.seqno), what));
            return Ok(comparison);
        }
        if mine.bytes != theirs.bytes {
            comparison.difference = Some((mine.seqno, difference(&mine, &theirs)));
            return Ok(comparison);
        }
        comparison.same += 1;
        comparison.last_same = Some(mine.seqno);
    }
}

/// In words, what differs between two entries with one sequence number.
fn difference(mine: &Found<'_>, theirs: &Found<'_>) -> String {
    let (left, right) = match (mine.entry(), theirs.entry()) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(e), _) | (_, Err(e)) => return e,
    };
    if left.tx_id() != right.tx_id() {
        return format!("the transactions are {} and {}: other views", left.tx_id(), right.tx_id());
    }
    let (left_tables, right_tables) = (tables(&left), tables(&right));
    let mut names: Vec<&str> = Vec::new();
    for name in left_tables.keys().chain(right_tables.keys()) {
        if left_tables.get(name) != right_tables.get(name) && !names.contains(name) {
            names.push(name);
        }
    }
    match names.is_empty() {
        false => format!("transaction {} writes otherwise to {}", left.tx_id(), names.join(", ")),
        true if left.has_private_domain() || right.has_private_domain() => {
            format!(
                "transaction {}: its public tables are the same, its encrypted part or its head is not",
                left.tx_id()
            )
        }
        true => format!("transaction {}: the same public writes in other bytes", left.tx_id()),
    }
}

/// The records of each public table; what cannot be read ends the list.
fn tables<'a>(entry: &Entry<'a>) -> BTreeMap<&'a str, Vec<Record<'a>>> {
    let mut tables: BTreeMap<&str, Vec<Record<'_>>> = BTreeMap::new();
    let mut current = None;
    for record in entry.public_records().map_while(Result::ok) {
        match (record, current) {
            (Record::Map { name, .. }, _) => {
                current = Some(name);
                tables.entry(name).or_default();
            }
            (record, Some(name)) => tables.entry(name).or_default().push(record),
            (_, None) => {}
        }
    }
    tables
}

impl Comparison {
    fn text(&self, args: &DiffArgs) -> String {
        let (left, right) = (args.left.display(), args.right.display());
        let until = match self.last_same {
            Some(last) => format!("{} transactions are the same, byte for byte, until {last}", self.same),
            None => "no transaction is the same".to_owned(),
        };
        match (&self.difference, self.ends) {
            (Some((seqno, what)), _) => {
                format!("DIFFERENT at transaction {seqno}: {what}\n{until}\n  {left}\n  {right}")
            }
            (None, Some((mine, theirs))) if mine == theirs => format!("The same: {until}, where both end"),
            (None, Some((mine, theirs))) => {
                format!(
                    "The same as far as both go: {until}\n  {left} ends with {mine}\n  {right} ends with {theirs}"
                )
            }
            (None, None) => until,
        }
    }

    fn json(&self) -> Value {
        json!({
            "same": self.difference.is_none(),
            "transactions_compared": self.same,
            "last_same": self.last_same.map(|seqno| seqno.0),
            "left_end": self.ends.map(|(left, _)| left.0),
            "right_end": self.ends.map(|(_, right)| right.0),
            "difference": self.difference.as_ref().map(|(seqno, what)| json!({"seqno": seqno.0, "what": what})),
        })
    }
}
