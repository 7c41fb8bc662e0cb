//! `ccf member`: what a member of a consortium does, from the command line.
//!
//! `sign` writes a signed request to standard output, for those who send it with another tool; the others also send it.

use crate::{
    governance_client::{self, BALLOT_YES, GovernanceClient, Proposal},
    http_client::{HttpClient, Protocol},
    identity::Identity,
    terminal,
    tls::TlsFiles,
};
use ccf_crypto::cose::MessageType;
use clap::{Args, Subcommand};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A governance payload is never larger than this.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// Act as a member: acknowledge, propose, vote, withdraw, or only sign.
#[derive(Args, Debug)]
pub struct MemberArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Acknowledge the state of the service, which makes a new member active
    Ack {
        #[command(flatten)]
        service: ServiceArgs,
        #[command(flatten)]
        signer: SignerArgs,
    },
    /// Propose the actions in a JSON file
    Propose {
        #[command(flatten)]
        service: ServiceArgs,
        #[command(flatten)]
        signer: SignerArgs,
        /// File with {"actions": [...]}; - is standard input
        proposal: PathBuf,
    },
    /// Vote on a proposal
    Vote {
        #[command(flatten)]
        service: ServiceArgs,
        #[command(flatten)]
        signer: SignerArgs,
        /// Identifier of the proposal
        proposal_id: String,
        /// File with the ballot: a JavaScript module that exports vote(proposal, proposerId)
        #[arg(long, value_name = "FILE", conflicts_with = "yes", required_unless_present = "yes")]
        ballot: Option<PathBuf>,
        /// Vote for it, whatever it says
        #[arg(long)]
        yes: bool,
    },
    /// Withdraw your own open proposal
    Withdraw {
        #[command(flatten)]
        service: ServiceArgs,
        #[command(flatten)]
        signer: SignerArgs,
        /// Identifier of the proposal
        proposal_id: String,
    },
    /// Sign a request and write it to standard output; send it with content-type application/cose
    Sign {
        #[command(flatten)]
        signer: SignerArgs,
        /// What it is
        #[arg(long = "type", value_enum)]
        message_type: SignedType,
        /// The payload; - is standard input; nothing for state-digest and withdrawal
        #[arg(long, value_name = "FILE")]
        content: Option<PathBuf>,
        /// Proposal that a ballot or withdrawal is about
        #[arg(long, required_if_eq_any([("message_type", "ballot"), ("message_type", "withdrawal")]))]
        proposal_id: Option<String>,
        /// Seconds since 1970 to write as the time of signing [default: now]
        #[arg(long)]
        created_at: Option<u64>,
    },
}

#[derive(Args, Debug)]
struct ServiceArgs {
    /// Address of a node
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    host: String,
    /// Service certificate (PEM)
    #[arg(long, value_name = "FILE")]
    cacert: PathBuf,
    /// The interface speaks HTTP/2
    #[arg(long)]
    http2: bool,
}

#[derive(Args, Debug)]
struct SignerArgs {
    /// The member's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    signing_cert: PathBuf,
    /// The member's private key (PEM)
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SignedType {
    Proposal,
    Ballot,
    Withdrawal,
    Ack,
    StateDigest,
    RecoveryShare,
}

/// Does what a member asked for.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &MemberArgs) -> Result<ExitCode, String> {
    match &args.action {
        Action::Ack { service, signer } => {
            let member = load(signer)?;
            let mut client = connect(service)?;
            GovernanceClient::new(&mut client).acknowledge(&member).map_err(|e| e.to_string())?;
            terminal::say(format!("member {} is active", member.certificate.member_id()));
        }
        Action::Propose { service, signer, proposal } => {
            let text = read(proposal)?;
            let json = serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", proposal.display()))?;
            let (member, mut client) = (load(signer)?, connect(service)?);
            let made =
                GovernanceClient::new(&mut client).propose(&member, &json).map_err(|e| e.to_string())?;
            tell(&made);
        }
        Action::Vote { service, signer, proposal_id, ballot, .. } => {
            let ballot = match ballot {
                Some(path) => {
                    String::from_utf8(read(path)?).map_err(|_| format!("{} is not text", path.display()))?
                }
                None => BALLOT_YES.to_owned(),
            };
            let (member, mut client) = (load(signer)?, connect(service)?);
            let mut governance = GovernanceClient::new(&mut client);
            tell(&governance.vote(&member, proposal_id, &ballot).map_err(|e| e.to_string())?);
        }
        Action::Withdraw { service, signer, proposal_id } => {
            let (member, mut client) = (load(signer)?, connect(service)?);
            GovernanceClient::new(&mut client).withdraw(&member, proposal_id).map_err(|e| e.to_string())?;
            terminal::say(format!("proposal {proposal_id} is withdrawn"));
        }
        Action::Sign { signer, message_type, content, proposal_id, created_at } => {
            let payload = content.as_deref().map_or(Ok(Vec::new()), read)?;
            let created_at = created_at.unwrap_or_else(governance_client::now);
            let signed = governance_client::sign(
                &load(signer)?,
                (*message_type).into(),
                created_at,
                proposal_id.as_deref(),
                &payload,
            );
            let message = signed.map_err(|e| e.to_string())?;
            std::io::stdout().lock().write_all(&message).map_err(|e| format!("standard output: {e}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(signer: &SignerArgs) -> Result<Identity, String> {
    Identity::load(&signer.signing_cert, &signer.signing_key).map_err(|e| e.to_string())
}

fn connect(service: &ServiceArgs) -> Result<HttpClient, String> {
    let files = TlsFiles { service_certificate: Some(service.cacert.clone()), identity: None };
    let protocol = if service.http2 { Protocol::Http2 } else { Protocol::Http1 };
    HttpClient::new(&service.host, &files, protocol).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        fs::File::open(path).map_err(fail)?.take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
    }
    Ok(bytes)
}

fn tell(proposal: &Proposal) {
    terminal::say(format!("proposal {} is {}", proposal.id, proposal.state));
}

impl From<SignedType> for MessageType {
    fn from(message_type: SignedType) -> Self {
        match message_type {
            SignedType::Proposal => MessageType::Proposal,
            SignedType::Ballot => MessageType::Ballot,
            SignedType::Withdrawal => MessageType::Withdrawal,
            SignedType::Ack => MessageType::Ack,
            SignedType::StateDigest => MessageType::StateDigest,
            SignedType::RecoveryShare => MessageType::RecoveryShare,
        }
    }
}
