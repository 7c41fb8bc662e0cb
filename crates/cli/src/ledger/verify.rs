//! `ccf ledger verify`: the ledger crate's verifier with a progress bar and a verdict in plain words.

use super::service;
use crate::terminal;
use ccf_crypto::cert::Certificate;
use ccf_ledger::{
    files::ChunkName,
    verify::{self, Level, Options, Verdict, VerifyError},
};
use ccf_types::{SeqNo, TxId};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Exit code when the ledger is refused.
const REFUSED: u8 = 1;

/// Exit code when there is nothing to judge: no files, wrong arguments.
pub const NOTHING_TO_JUDGE: u8 = 2;

/// Check a ledger from its first entry to its last: form, order, Merkle tree, signatures.
///
/// Trusts nothing but the files' own history: every signature must be by a node that the service had accepted, and by
/// the service itself where it says so. Give --service-cert to also check that it is the service you know.
///
/// Exit code: 0 the ledger holds, 1 it does not, 2 there is nothing to judge.
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// Folders with the ledger's files (a main folder and read-only ones together hold one ledger)
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// How much to check: headers (form and order), merkle (and roots), full (and signatures)
    #[arg(long, value_enum, default_value_t = VerifyLevel::Full, alias = "verification-level", ignore_case = true)]
    pub level: VerifyLevel,
    /// Also look at files that are not committed
    #[arg(long)]
    pub uncommitted: bool,
    /// Also look at files of a recovery that has not finished
    #[arg(long)]
    pub recovery: bool,
    /// The service's certificate (PEM): the ledger's latest service must be this one
    #[arg(long, value_name = "FILE")]
    pub service_cert: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub json: bool,
}

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum VerifyLevel {
    /// Form and order of the entries
    Headers,
    /// And the Merkle roots
    Merkle,
    /// And the signatures
    Full,
}

impl VerifyLevel {
    fn name(self) -> &'static str {
        match self {
            VerifyLevel::Headers => "headers",
            VerifyLevel::Merkle => "merkle",
            VerifyLevel::Full => "full",
        }
    }
}

impl From<VerifyLevel> for Level {
    fn from(level: VerifyLevel) -> Self {
        match level {
            VerifyLevel::Headers => Level::Headers,
            VerifyLevel::Merkle => Level::Merkle,
            VerifyLevel::Full => Level::Full,
        }
    }
}

/// Verifies and prints the verdict.
///
/// # Errors
/// None: what cannot be judged has its own exit code.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, String> {
    let expected = match expected_service(args) {
        Ok(expected) => expected,
        Err(reason) => return Ok(nothing_to_judge(args, &reason)),
    };
    let options =
        Options { level: args.level.into(), uncommitted: args.uncommitted, recovery: args.recovery };
    let bar = terminal::progress_bar(
        0,
        "verifying  [{bar:40}] {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}",
    );
    let verdict = verify::run(&args.directories, &options, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
        bar.set_message(format!("transaction {}", progress.seqno));
    });
    bar.finish_and_clear();
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(VerifyError::NotFromStart(first)) => {
            let reason = format!(
                "no file holds the transactions 1 to {}, without which signatures cannot be judged: the first chunk is \
                 missing, or lies in another folder (what is there can be checked with --level merkle)",
                first.previous()
            );
            match args.json {
                true => terminal::say(json!({"verified": false, "reason": reason}).to_string()),
                false => terminal::say(format!("THE LEDGER IS REFUSED: {reason}.")),
            }
            return Ok(ExitCode::from(REFUSED));
        }
        Err(error) => {
            let mut reason = error.to_string();
            if matches!(error, VerifyError::Empty) {
                reason += &format!(" in {}", list(&args.directories));
            }
            if matches!(error, VerifyError::Empty) && !args.uncommitted {
                reason += "; for a file that is still open add --uncommitted";
            }
            return Ok(nothing_to_judge(args, &reason));
        }
    };
    let (refusal, note) = match judge(&verdict, args, expected.as_ref()) {
        Ok(note) => (None, note),
        Err(reason) => (Some(reason), None),
    };
    let passed_over = passed_over(args);
    match args.json {
        true => {
            let mut answer = as_json(&verdict, args.level, refusal.as_deref());
            answer["note"] = json!(note);
            answer["ignored"] = names(&passed_over.foreign);
            answer["not_looked_at"] = names(&passed_over.unwanted);
            answer["covered_by_others"] = names(&verdict.covered);
            terminal::say(answer.to_string());
        }
        false => {
            terminal::say(in_words(&verdict, args.level, refusal.as_deref()));
            if let Some(note) = &note {
                terminal::say(format!("Note: {note}."));
            }
            if !passed_over.foreign.is_empty() {
                terminal::say(format!("Ignored, no ledger files: {}", list(&passed_over.foreign)));
            }
            if !verdict.covered.is_empty() {
                let what = "Not judged, because other files hold their transactions";
                terminal::say(format!("{what}: {}", list(&verdict.covered)));
            }
            if !passed_over.unwanted.is_empty() {
                let advice = "--uncommitted, or --recovery for files of a recovery, includes them";
                terminal::say(format!("Not looked at ({advice}): {}", list(&passed_over.unwanted)));
            }
        }
    }
    Ok(if refusal.is_none() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Whether the ledger can be accepted: then what should be known besides, else why not.
fn judge(
    verdict: &Verdict,
    args: &VerifyArgs,
    expected: Option<&Certificate>,
) -> Result<Option<String>, String> {
    if let Some(failure) = &verdict.failure {
        return Err(failure.to_string());
    }
    if args.level != VerifyLevel::Headers && verdict.signatures == 0 {
        return Err("it has no signature transaction, so nothing vouches for its entries".to_owned());
    }
    expected.map_or(Ok(None), |expected| service::compare(&verdict.services, expected))
}

/// Looks at what the command line names: folders, and the certificate to compare with.
fn expected_service(args: &VerifyArgs) -> Result<Option<Certificate>, String> {
    args.directories.iter().try_for_each(|path| must_be_a_folder(path))?;
    args.service_cert.as_ref().map(certificate).transpose()
}

fn nothing_to_judge(args: &VerifyArgs, reason: &str) -> ExitCode {
    match args.json {
        true => terminal::say(json!({"verified": false, "error": reason}).to_string()),
        false => terminal::note(format!("error: {reason}")),
    }
    ExitCode::from(NOTHING_TO_JUDGE)
}

/// A folder is asked for; who names one of its files meant the folder.
fn must_be_a_folder(path: &Path) -> Result<(), String> {
    if !path.is_file() {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Err(format!(
        "{} is a file: a ledger is verified as a whole, name its folder ({})",
        path.display(),
        folder.display()
    ))
}

/// Files in the folders of which the verdict says nothing.
#[derive(Default)]
struct PassedOver {
    /// Their names are not those of ledger files, or they are no plain files: a link is not followed.
    foreign: Vec<PathBuf>,
    /// Ledger files that the options leave out.
    unwanted: Vec<PathBuf>,
}

fn passed_over(args: &VerifyArgs) -> PassedOver {
    let mut found = PassedOver::default();
    for entry in args.directories.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        match entry.file_name().to_str().and_then(ChunkName::parse).filter(|_| is_file) {
            None => found.foreign.push(entry.path()),
            Some(name) if (!args.uncommitted && !name.committed) || (!args.recovery && name.recovery) => {
                found.unwanted.push(entry.path());
            }
            Some(_) => {}
        }
    }
    found.foreign.sort();
    found.unwanted.sort();
    found
}

/// File names listed in a sentence; more are counted.
const LISTED_MAX: usize = 10;

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().take(LISTED_MAX).map(|path| path.display().to_string()).collect();
    match paths.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", names.join(", ")),
        _ => names.join(", "),
    }
}

fn names(paths: &[PathBuf]) -> Value {
    paths.iter().map(|path| path.display().to_string()).collect()
}

fn in_words(verdict: &Verdict, level: VerifyLevel, refusal: Option<&str>) -> String {
    let what = match level {
        VerifyLevel::Headers => "well formed, nothing verified cryptographically",
        VerifyLevel::Merkle => "every Merkle root is right; signatures were not checked",
        VerifyLevel::Full => "every Merkle root and every signature is right",
    };
    let counts = format!(
        "{} transactions, {} signatures, until {}",
        verdict.transactions, verdict.signatures, verdict.verified
    );
    let mut lines = Vec::new();
    match refusal {
        None => lines.push(format!("The ledger holds: {what} ({counts}).")),
        Some(reason) => {
            lines.push(format!("THE LEDGER IS REFUSED: {reason}."));
            if verdict.verified.seqno != SeqNo::NONE {
                lines.push(format!("What comes before is sound as far as checked: {counts}."));
            }
        }
    }
    let first = (verdict.verified.seqno.0 + 1).saturating_sub(verdict.transactions);
    if verdict.transactions > 0 && first > 1 {
        lines.push(format!("It begins with transaction {first}: what comes before was not looked at."));
    }
    if verdict.uncommitted_tail > 0 {
        lines.push(format!(
            "After {} come {} more transaction(s) that no signature covers yet.",
            verdict.verified, verdict.uncommitted_tail
        ));
    }
    for service in &verdict.services {
        let Ok(certificate) = Certificate::from_pem(&service.certificate_pem) else { continue };
        lines.push(format!(
            "Service from transaction {}: certificate {}",
            service.from,
            certificate.fingerprint()
        ));
    }
    lines.join("\n")
}

fn as_json(verdict: &Verdict, level: VerifyLevel, refusal: Option<&str>) -> Value {
    let services: Vec<Value> = verdict
        .services
        .iter()
        .map(|service| json!({"from": service.from.0, "certificate": service.certificate_pem}))
        .collect();
    let failure = verdict.failure.as_ref().map(|failure| {
        json!({
            "file": failure.path.display().to_string(),
            "offset": failure.offset,
            "seqno": failure.seqno.0,
            "until": failure.until.map(|until| until.0),
            "reason": failure.reason.to_string(),
        })
    });
    json!({
        "verified": refusal.is_none(),
        "level": level.name(),
        "until": tx_id(verdict.verified),
        "transactions": verdict.transactions,
        "signatures": verdict.signatures,
        "uncommitted_tail": verdict.uncommitted_tail,
        "services": services,
        "reason": refusal,
        "failure": failure,
    })
}

fn tx_id(tx_id: TxId) -> String {
    tx_id.to_string()
}

fn certificate(path: &PathBuf) -> Result<Certificate, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Certificate::from_pem(&text).map_err(|e| format!("{}: {e}", path.display()))
}
