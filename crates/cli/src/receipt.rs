//! `ccf receipt verify`: receipts, checked offline, with a verdict in plain words about what was proved and what not.

#[cfg(test)]
mod tests;

use crate::terminal;
use ccf_crypto::{
    cert::Certificate,
    cose::{IdentityError, verify_endorsements},
    key::PublicKey,
};
use ccf_ledger::receipt::{CoseReceipt, LeafComponents, Receipt, ReceiptLeaf};
use ccf_types::{Digest, SeqNo, TxId};
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
#[derive(Debug)]
struct Proved {
    form: &'static str,
    /// What the path begins with, if the receipt does not say what it is made of.
    bare_leaf: Option<Digest>,
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
    let endorsements = args
        .endorsement
        .iter()
        .map(|path| Ok(Endorsement { file: path.display().to_string(), cose: read(path)? }))
        .collect::<Result<Vec<_>, String>>()?;
    Ok(tell(args, &service, claims.as_ref(), judge(&bytes, &service, claims.as_ref(), &endorsements)))
}

/// The endorsement of an earlier service key, as given on the command line.
struct Endorsement {
    file: String,
    cose: Vec<u8>,
}

impl AsRef<[u8]> for Endorsement {
    fn as_ref(&self) -> &[u8] {
        &self.cose
    }
}

/// First byte of a COSE receipt: the tag of COSE_Sign1 (RFC 9052).
const COSE_SIGN1_TAG: u8 = 0xd2;

fn judge(
    bytes: &[u8],
    service: &Certificate,
    claims: Option<&Digest>,
    endorsements: &[Endorsement],
) -> Result<Proved, String> {
    match bytes.first() {
        Some(b'{' | b' ' | b'\n' | b'\r' | b'\t') if endorsements.is_empty() => {
            json_receipt(bytes, service, claims)
        }
        Some(b'{' | b' ' | b'\n' | b'\r' | b'\t') => {
            Err("--endorsement is for COSE receipts; one in JSON carries its own as service_endorsements"
                .to_owned())
        }
        Some(&COSE_SIGN1_TAG) => cose_receipt(bytes, service, claims, endorsements),
        _ => Err("it is neither a JSON nor a COSE receipt".to_owned()),
    }
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
    let (components, bare_leaf) = match &receipt.leaf {
        ReceiptLeaf::LeafComponents(components) => (Some(components), None),
        ReceiptLeaf::Leaf(leaf) => (None, Some(*leaf)),
    };
    check_claims(components, claims)?;
    receipt.verify(service, claims).map_err(|error| error.to_string())?;
    let claims_digest = components.and_then(|components| components.claims_digest.or(claims.copied()));
    Ok(Proved {
        form: "JSON",
        bare_leaf,
        tx_id: components.and_then(LeafComponents::tx_id),
        write_set_digest: components.map(|components| components.write_set_digest),
        claims_digest,
        root: receipt.root(claims),
        signer: format!("node {}", receipt.node_id),
        endorsements: receipt.service_endorsements.len(),
        is_signature: bare_leaf.is_some() && receipt.proof.steps.is_empty(),
    })
}

fn cose_receipt(
    bytes: &[u8],
    service: &Certificate,
    claims: Option<&Digest>,
    endorsements: &[Endorsement],
) -> Result<Proved, String> {
    let receipt = CoseReceipt::decode(bytes).map_err(|error| error.to_string())?;
    check_claims(Some(receipt.components()), claims)?;
    let tx_id = receipt.components().tx_id();
    let current = service.public_key().map_err(|error| format!("the service's certificate: {error}"))?;
    let key: PublicKey = match (endorsements, tx_id) {
        ([], _) => current.clone(),
        (_, None) => return Err("its commit evidence names no transaction".to_owned()),
        (endorsements, Some(tx_id)) => endorsed_key(current, endorsements, tx_id.seqno)?,
    };
    if !receipt.signature().is_by(&key) {
        return Err(other_signer(&receipt, &key, endorsements));
    }
    receipt.verify(&key).map_err(|error| error.to_string())?;
    Ok(Proved {
        form: "COSE",
        bare_leaf: None,
        tx_id,
        write_set_digest: Some(receipt.components().write_set_digest),
        claims_digest: Some(receipt.claims_digest()),
        root: receipt.root(),
        signer: format!("service key {}", key.id()),
        endorsements: endorsements.len(),
        is_signature: false,
    })
}

/// The key to which the endorsements lead. What is wrong is said of the first file with which it is.
fn endorsed_key(
    current: &PublicKey,
    endorsements: &[Endorsement],
    seqno: SeqNo,
) -> Result<PublicKey, String> {
    for (index, endorsement) in endorsements.iter().enumerate() {
        match verify_endorsements(current, &endorsements[..=index], seqno) {
            Ok(_) | Err(IdentityError::NotCovered(_)) => {}
            Err(error) => {
                return Err(format!(
                    "endorsement {} of {}, {}, does not continue from the key before it (newest first): {error}",
                    index + 1,
                    endorsements.len(),
                    endorsement.file
                ));
            }
        }
    }
    verify_endorsements(current, endorsements, seqno)
        .map_err(|error| format!("the endorsements end at another time than the receipt's: {error}"))
}

fn other_signer(receipt: &CoseReceipt<'_>, key: &PublicKey, endorsements: &[Endorsement]) -> String {
    // Printed only if it is the digest that it should be: the file can have anything there.
    let named = std::str::from_utf8(&receipt.signature().header.key_id).ok();
    let named = named.and_then(|text| text.parse::<Digest>().ok());
    let signer =
        named.map_or_else(|| "a key it names unintelligibly".to_owned(), |id| format!("service key {id}"));
    let key = key.id();
    match endorsements {
        [] => format!(
            "it was signed by {signer}, the certificate has key {key}; if the service was recovered since, give \
             --endorsement (newest first)"
        ),
        _ => format!("it was signed by {signer}, the endorsements lead to key {key}"),
    }
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
            "leaf": proved.bare_leaf,
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
    in_words(&proved, service, wanted).iter().for_each(terminal::say);
    ExitCode::SUCCESS
}

/// What is proved and what is not, in lines.
fn in_words(proved: &Proved, service: &Certificate, wanted: Option<&Digest>) -> Vec<String> {
    let claims = proved.claims_digest.filter(|digest| *digest != Digest::ZERO);
    let mut lines = vec!["Proved:".to_owned()];
    match (proved.tx_id, proved.bare_leaf) {
        (Some(tx_id), _) => lines.push(format!("- Transaction {tx_id} is in the ledger, committed for good.")),
        (None, Some(_)) if proved.is_signature => lines.push(format!(
            "- The ledger had the root {} when it was signed: this is the receipt of a signature transaction.",
            proved.root
        )),
        (None, Some(leaf)) => {
            lines.push(format!("- The digest {leaf} is part of the ledger that was signed."));
        }
        (None, None) => {
            lines.push("- An entry is in the ledger; its commit evidence names no transaction.".to_owned());
        }
    }
    if let Some(digest) = proved.write_set_digest {
        lines.push(format!("- Its entry has the SHA-256 {digest}."));
    }
    match (claims, wanted) {
        (Some(digest), Some(_)) => lines.push(format!("- It carries the demanded claims, {digest}.")),
        (Some(digest), None) => lines.push(format!("- It carries claims of the application, {digest}.")),
        (None, _) => {}
    }
    let name = service.subject();
    let under = match proved.endorsements {
        0 => "",
        _ => ", under an identity that the service had before a recovery and endorses today",
    };
    let signer = &proved.signer;
    lines.push(format!(
        "- The service with the certificate {name} vouches for that: signed by {signer}{under}."
    ));
    lines.push("Not proved:".to_owned());
    if proved.bare_leaf.is_some() && !proved.is_signature {
        lines.push(
            "- That this digest is that of a whole entry: a receipt without leaf_components may begin anywhere in \
             the tree."
                .to_owned(),
        );
    }
    lines.push(
        "- What the transaction wrote: compare the entry's digest with the ledger for that.".to_owned(),
    );
    if claims.is_some() && wanted.is_none() {
        lines.push("- What the claims say: give --claims or --claims-digest to compare them.".to_owned());
    }
    lines.push(
        "- That the certificate is that of the service you mean, and its dates: both are yours to know."
            .to_owned(),
    );
    lines
}
