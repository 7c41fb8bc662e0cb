//! `ccf ledger verify`: the ledger crate's verifier with a progress bar and a verdict in plain words.

use crate::terminal;
use ccf_crypto::cert::Certificate;
use ccf_ledger::verify::{self, Level, Options, Verdict, VerifyError};
use ccf_types::{SeqNo, TxId};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::ExitCode};

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
/// A sentence when a file named on the command line cannot be read.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, String> {
    let expected = args.service_cert.as_ref().map(certificate).transpose()?;
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
        Err(error) => {
            let mut reason = error.to_string();
            if matches!(error, VerifyError::Empty) && !args.uncommitted {
                reason += "; for a file that is still open add --uncommitted";
            }
            match args.json {
                true => terminal::say(json!({"verified": false, "error": reason}).to_string()),
                false => terminal::note(format!("error: {reason}")),
            }
            return Ok(ExitCode::from(NOTHING_TO_JUDGE));
        }
    };
    let refusal = refusal(&verdict, args, expected.as_ref());
    match args.json {
        true => terminal::say(as_json(&verdict, args.level, refusal.as_deref()).to_string()),
        false => terminal::say(in_words(&verdict, args.level, refusal.as_deref())),
    }
    Ok(if refusal.is_none() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Why the ledger cannot be accepted, if it cannot.
fn refusal(verdict: &Verdict, args: &VerifyArgs, expected: Option<&Certificate>) -> Option<String> {
    if let Some(failure) = &verdict.failure {
        return Some(failure.to_string());
    }
    if args.level != VerifyLevel::Headers && verdict.signatures == 0 {
        return Some("it has no signature transaction, so nothing vouches for its entries".to_owned());
    }
    let expected = expected?;
    let last =
        verdict.services.last().and_then(|service| Certificate::from_pem(&service.certificate_pem).ok());
    match last {
        Some(last) if last.der() == expected.der() => None,
        Some(_) => Some("it is the ledger of another service than the certificate given".to_owned()),
        None => Some("it names no service, so it cannot be compared with the certificate given".to_owned()),
    }
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
