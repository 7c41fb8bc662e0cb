//! `ccf ledger governance`: what members did, as the ledger's public tables show it.
//!
//! A proposal, a ballot, a withdrawal, an acknowledgement, a recovery share: each stands in a governance table with its
//! member. Reads ledgers of all generations of CCF, so values are taken as loosely as they are documented.

use super::entries::{Entries, FileChoice};
use crate::terminal;
use ccf_governance::tables;
use ccf_ledger::entry::{Entry, EntryError, Record};
use ccf_types::MapName;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
};

/// Characters of an identifier in the text form.
const ID_CHARS_SHOWN: usize = 16;

/// List what each member did: proposals, ballots, withdrawals, acknowledgements, recovery shares.
///
/// Reads, verifies nothing: use `ccf ledger verify` first.
#[derive(clap::Args, Debug)]
pub struct GovernanceArgs {
    /// Folders with ledger files, or single files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Only this member: its identifier or the beginning of it
    #[arg(long, value_name = "ID")]
    pub member: Option<String>,
    /// Which files
    #[command(flatten)]
    pub choice: FileChoice,
    /// One JSON object per action and line, identifiers whole
    #[arg(long)]
    pub json: bool,
}

/// One thing that a member did, or that came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The transaction.
    pub tx_id: String,
    /// The member; none for what the service did by itself.
    pub member: Option<String>,
    /// `proposal`, `ballot`, `withdrawal`, `acknowledgement`, `state_digest`, `recovery_share`, `outcome`.
    pub kind: &'static str,
    /// The proposal, where there is one.
    pub proposal: Option<String>,
    /// Names of a proposal's actions, or the state a proposal came to.
    pub details: String,
}

/// Reads and prints.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &GovernanceArgs) -> Result<ExitCode, String> {
    let actions = actions(args)?;
    for action in &actions {
        terminal::say(if args.json { action.json().to_string() } else { action.text() });
    }
    if actions.is_empty() {
        terminal::note("no action of a member");
    }
    Ok(ExitCode::SUCCESS)
}

/// The actions in the order of the ledger.
///
/// # Errors
/// As [`run`].
pub fn actions(args: &GovernanceArgs) -> Result<Vec<Action>, String> {
    let mut entries = Entries::open(&args.paths, args.choice, (1, u64::MAX), true)?;
    let (mut known, mut actions) = (Known::default(), Vec::new());
    while let Some(found) = entries.next_entry()? {
        known.take(&found.entry()?, &mut actions).map_err(|e| found.problem(e))?;
    }
    if let Some(wanted) = &args.member {
        actions.retain(|action| action.member.as_ref().is_some_and(|member| member.starts_with(wanted)));
    }
    Ok(actions)
}

/// What earlier transactions said about proposals, and the last acknowledgement of each member.
#[derive(Default)]
struct Known {
    proposals: BTreeMap<String, Proposal>,
    acks: BTreeMap<String, Value>,
}

#[derive(Default)]
struct Proposal {
    state: String,
    ballots: BTreeSet<String>,
}

/// The writes of one transaction that matter here, as text.
#[derive(Default)]
struct Writes {
    acks: Vec<(String, Value)>,
    signers: Vec<String>,
    proposals: BTreeMap<String, Value>,
    infos: Vec<(String, Value)>,
    shares: Vec<String>,
}

impl Writes {
    fn of(entry: &Entry<'_>) -> Result<Self, EntryError> {
        let mut writes = Writes::default();
        let mut table = "";
        for record in entry.public_records() {
            let (key, value) = match record? {
                Record::Map { name, .. } => {
                    table = name;
                    continue;
                }
                Record::Write { key, value } => (key, value),
                Record::Remove { .. } => continue,
            };
            let key = || String::from_utf8_lossy(key).into_owned();
            let value = || serde_json::from_slice::<Value>(value).unwrap_or_default();
            let is = |name: &MapName| name.as_str() == table;
            match () {
                () if is(tables::MEMBER_ACKS.name()) => writes.acks.push((key(), value())),
                () if is(tables::COSE_HISTORY.name()) || is(tables::HISTORY.name()) => {
                    writes.signers.push(key());
                }
                () if is(tables::PROPOSALS.name()) => {
                    writes.proposals.insert(key(), value());
                }
                () if is(tables::PROPOSALS_INFO.name()) => writes.infos.push((key(), value())),
                () if is(tables::SUBMITTED_SHARES.name()) => writes.shares.push(key()),
                () => {}
            }
        }
        Ok(writes)
    }
}

impl Known {
    fn take(&mut self, entry: &Entry<'_>, actions: &mut Vec<Action>) -> Result<(), EntryError> {
        let writes = Writes::of(entry)?;
        let mut add = |member: Option<&str>, kind, proposal: Option<&str>, details: String| {
            actions.push(Action {
                tx_id: entry.tx_id().to_string(),
                member: member.map(str::to_owned),
                kind,
                proposal: proposal.map(str::to_owned),
                details,
            });
        };
        for (member, ack) in &writes.acks {
            let request = ["cose_sign1_req", "signed_req"].map(|name| &ack[name]);
            let request = request.into_iter().find(|request| !request.is_null());
            let digest = ack["state_digest"].as_str().unwrap_or_default();
            // A new digest leaves the acknowledgement of an earlier one in the row.
            let is_new = match request {
                Some(request) => self.acks.insert(member.clone(), request.clone()).as_ref() != Some(request),
                None => false,
            };
            match is_new {
                true => add(Some(member), "acknowledgement", None, digest.to_owned()),
                // The genesis transaction makes a row for each member, without a digest.
                false if digest.is_empty() => {}
                false => add(Some(member), "state_digest", None, digest.to_owned()),
            }
        }
        for member in &writes.shares {
            add(Some(member), "recovery_share", None, String::new());
        }
        for (id, info) in &writes.infos {
            let proposer = info["proposer_id"].as_str();
            let is_new = !self.proposals.contains_key(id);
            let known = self.proposals.entry(id.clone()).or_default();
            if is_new && let Some(content) = writes.proposals.get(id) {
                add(proposer, "proposal", Some(id), action_names(content));
            }
            let ballots = info["ballots"].as_object().into_iter().flatten();
            for (member, _) in ballots {
                if known.ballots.insert(member.clone()) {
                    add(Some(member), "ballot", Some(id), String::new());
                }
            }
            let state = info["state"].as_str().unwrap_or_default();
            if state != known.state {
                match state {
                    "Open" => {}
                    "Withdrawn" => {
                        let signer = writes.signers.first().map(String::as_str);
                        add(signer.or(proposer), "withdrawal", Some(id), String::new());
                    }
                    state => add(None, "outcome", Some(id), state.to_owned()),
                }
                state.clone_into(&mut known.state);
            }
        }
        Ok(())
    }
}

/// The names of a proposal's actions, in order.
fn action_names(content: &Value) -> String {
    let actions = content["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = actions.iter().filter_map(|action| action["name"].as_str()).collect();
    names.join(", ")
}

impl Action {
    fn text(&self) -> String {
        let short = |id: &str| id.chars().take(ID_CHARS_SHOWN).collect::<String>();
        let member = self.member.as_deref().map_or("the service".to_owned(), short);
        let proposal = self.proposal.as_deref().map(short).unwrap_or_default();
        let details = match self.kind {
            "acknowledgement" | "state_digest" => format!("of state {}", short(&self.details)),
            "proposal" => format!("({})", self.details),
            _ => self.details.clone(),
        };
        let words = [self.kind.replace('_', " "), proposal, details];
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        format!("{:<8} {member:<ID_CHARS_SHOWN$}  {}", self.tx_id, words.join(" "))
    }

    fn json(&self) -> Value {
        json!({
            "transaction_id": self.tx_id,
            "member": self.member,
            "action": self.kind,
            "proposal": self.proposal,
            "details": self.details,
        })
    }
}
