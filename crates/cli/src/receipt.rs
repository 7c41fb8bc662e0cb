//! `ccf receipt verify`: receipts, checked offline, with a verdict in plain words about what was proved and what not.

use crate::terminal;
use ccf_crypto::{cert::Certificate, cose::verify_endorsements, key::PublicKey};
use ccf_ledger::receipt::{CoseReceipt, LeafComponents, Receipt, ReceiptLeaf};
use ccf_types::{Digest, TxId};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Exit code when the receipt is refused.
const REFUSED: u8 = 1;

/// Largest file that is read as a receipt: real ones have a few KB.
const RECEIPT_BYTES_MAX: u64 = 16 << 20;

/// Verify receipts, offline.
#[derive(Args, Debug)]
pub struct ReceiptArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Verify(VerifyArgs),
}

/// Check that a transaction is in the ledger of a service, with nothing but its receipt and the service's certificate.
///
/// The receipt may be JSON (as from /receipt) or COSE (as from /receipt/cose); which it is is seen from its first byte.
///
/// Exit code: 0 the receipt holds, 1 it does not, 2 a file cannot be read.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The receipt
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
    /// The service's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    service_cert: PathBuf,
    /// Digest of the claims that the transaction must carry, in hex
    #[arg(long, value_name = "HEX", conflicts_with = "claims")]
    claims_digest: Option<String>,
    /// A file whose SHA-256 the transaction must carry as its claims
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// For a COSE receipt from before a recovery: the endorsements of the earlier service keys (COSE), newest first
    #[arg(long, value_name = "FILE")]
    endorsement: Vec<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// What a receipt proves.
struct Proved {
    form: &'static str,
    /// The transaction, if the receipt names it.
    tx_id: Option<TxId>,
    write_set_digest: Option<Digest>,
    claims_digest: Option<Digest>,
    root: Digest,
    /// Who signed the root.
    signer: String,
    /// Keys or certificates passed on the way to the service's certificate.
    endorsements: usize,
    is_signature: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// A sentence for the user when a file cannot be read.
pub fn run(args: &ReceiptArgs) -> Result<ExitCode, String> {
    let Action::Verify(args) = &args.action;
    let bytes = read(&args.receipt)?;
    let pem = String::from_utf8_lossy(&read(&args.service_cert)?).into_owned();
    let service = Certificate::from_pem(&pem)
        .map_err(|error| format!("{} is no certificate: {error}", args.service_cert.display()))?;
    let claims = wanted_claims(args)?;
    let endorsements = args.endorsement.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let judged = match bytes.first() {
        Some(b'{' | b' ' | b'\n' | b'\r' | b'\t') => json_receipt(&bytes, &service, claims.as_ref()),
        _ => cose_receipt(&bytes, &service, claims.as_ref(), &endorsements),
    };
    Ok(tell(args, &service, claims.as_ref(), judged))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > RECEIPT_BYTES_MAX {
        return Err(format!("{} is too large for a receipt: {size} bytes", path.display()));
    }
    fs::read(path).map_err(unreadable)
}

fn wanted_claims(args: &VerifyArgs) -> Result<Option<Digest>, String> {
    match (&args.claims_digest, &args.claims) {
        (Some(hex), _) => {
            Ok(Some(hex.parse().map_err(|_| "--claims-digest needs 64 hex digits".to_owned())?))
        }
        (None, Some(path)) => Ok(Some(ccf_crypto::hash::sha256(&read(path)?))),
        (None, None) => Ok(None),
    }
}

fn json_receipt(bytes: &[u8], service: &Certificate, claims: Option<&Digest>) -> Result<Proved, String> {
    let receipt: Receipt =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no receipt: {error}"))?;
    let (components, is_signature) = match &receipt.leaf {
        ReceiptLeaf::LeafComponents(components) => (Some(components), false),
        ReceiptLeaf::Leaf(_) => (None, receipt.proof.steps.is_empty()),
    };
    check_claims(components, claims)?;
    receipt.verify(service, claims).map_err(|error| error.to_string())?;
    let claims_digest = components.and_then(|components| components.claims_digest.or(claims.copied()));
    Ok(Proved {
        form: "JSON",
        tx_id: components.and_then(LeafComponents::tx_id),
        write_set_digest: components.map(|components| components.write_set_digest),
        claims_digest,
        root: receipt.root(claims),
        signer: format!("node {}", receipt.node_id),
        endorsements: receipt.service_endorsements.len(),
        is_signature,
    })
}

fn cose_receipt(
    bytes: &[u8],
    service: &Certificate,
    claims: Option<&Digest>,
    endorsements: &[Vec<u8>],
) -> Result<Proved, String> {
    let receipt = CoseReceipt::decode(bytes).map_err(|error| error.to_string())?;
    check_claims(Some(receipt.components()), claims)?;
    let tx_id = receipt.components().tx_id();
    let current = service.public_key().map_err(|error| format!("the service's certificate: {error}"))?;
    let key: PublicKey = match (endorsements, tx_id) {
        ([], _) => current.clone(),
        (_, None) => return Err("its commit evidence names no transaction".to_owned()),
        (endorsements, Some(tx_id)) => {
            verify_endorsements(current, endorsements, tx_id.seqno).map_err(|error| error.to_string())?
        }
    };
    receipt.verify(&key).map_err(|error| error.to_string())?;
    Ok(Proved {
        form: "COSE",
        tx_id,
        write_set_digest: Some(receipt.components().write_set_digest),
        claims_digest: Some(receipt.claims_digest()),
        root: receipt.root(),
        signer: format!("service key {}", key.id()),
        endorsements: endorsements.len(),
        is_signature: false,
    })
}

fn check_claims(components: Option<&LeafComponents>, wanted: Option<&Digest>) -> Result<(), String> {
    let Some(wanted) = wanted else { return Ok(()) };
    let Some(components) = components else {
        return Err("it carries no claims, and some are demanded".to_owned());
    };
    match components.claims_digest {
        Some(carried) if carried != *wanted => {
            Err(format!("the transaction carries the claims {carried}, not {wanted}"))
        }
        _ => Ok(()),
    }
}

fn tell(
    args: &VerifyArgs,
    service: &Certificate,
    wanted: Option<&Digest>,
    judged: Result<Proved, String>,
) -> ExitCode {
    let file = args.receipt.display();
    let proved = match judged {
        Ok(proved) => proved,
        Err(reason) => {
            match args.json {
                true => terminal::say(json!({ "verified": false, "reason": reason }).to_string()),
                false => terminal::say(format!("{file}: REFUSED: {reason}")),
            }
            return ExitCode::from(REFUSED);
        }
    };
    let claims = proved.claims_digest.filter(|digest| *digest != Digest::ZERO);
    if args.json {
        let verdict = json!({
            "verified": true,
            "form": proved.form,
            "transaction_id": proved.tx_id.map(|tx_id| tx_id.to_string()),
            "write_set_digest": proved.write_set_digest,
            "claims_digest": claims,
            "root": proved.root,
            "signer": proved.signer,
            "endorsements": proved.endorsements,
        });
        terminal::say(verdict.to_string());
        return ExitCode::SUCCESS;
    }
    terminal::say(format!("{file}: the {} receipt holds.", proved.form));
    terminal::say("Proved:");
    match (proved.tx_id, proved.is_signature) {
        (Some(tx_id), _) => {
            terminal::say(format!("- Transaction {tx_id} is in the ledger, committed for good."));
        }
        (None, true) => terminal::say(format!(
            "- The ledger had the root {} when it was signed: this is the receipt of a signature transaction.",
            proved.root
        )),
        (None, false) => {
            terminal::say("- An entry of an old form is in the ledger; the receipt does not name it.");
        }
    }
    if let Some(digest) = proved.write_set_digest {
        terminal::say(format!("- Its entry has the SHA-256 {digest}."));
    }
    match (claims, wanted) {
        (Some(digest), Some(_)) => terminal::say(format!("- It carries the demanded claims, {digest}.")),
        (Some(digest), None) => terminal::say(format!("- It carries claims of the application, {digest}.")),
        (None, _) => {}
    }
    let name = service.subject();
    let under = match proved.endorsements {
        0 => "",
        _ => ", under an identity that the service had before a recovery and endorses today",
    };
    let signer = &proved.signer;
    terminal::say(format!(
        "- The service with the certificate {name} vouches for that: signed by {signer}{under}."
    ));
    terminal::say("Not proved:");
    terminal::say("- What the transaction wrote: compare the entry's digest with the ledger for that.");
    if claims.is_some() && wanted.is_none() {
        terminal::say("- What the claims say: give --claims or --claims-digest to compare them.");
    }
    terminal::say(
        "- That the certificate is that of the service you mean, and its dates: both are yours to know.",
    );
    ExitCode::SUCCESS
}
