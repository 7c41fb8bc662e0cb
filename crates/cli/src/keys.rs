//! `ccf keys`: key pairs and certificates for members and users, as `keygenerator.sh` makes them.

use crate::{identity::Identity, terminal};
use ccf_crypto::key::Curve;
use std::{path::PathBuf, process::ExitCode};
use time::OffsetDateTime;

/// Make the key pair and self-signed certificate of a member or user.
///
/// Writes NAME_privk.pem and NAME_cert.pem and, with --gen-enc-key, NAME_enc_privk.pem and NAME_enc_pubk.pem (RSA 2048),
/// to which a member's recovery share is encrypted. Existing private keys are never overwritten.
#[derive(clap::Args, Debug)]
pub struct KeysArgs {
    /// Name: subject of the certificate and start of the file names
    #[arg(long)]
    pub name: String,
    /// Curve of the key
    #[arg(long, value_enum, default_value_t = KeyCurve::Secp384r1)]
    pub curve: KeyCurve,
    /// Also make the pair of encryption keys of a recovery member
    #[arg(long)]
    pub gen_enc_key: bool,
    /// Days until the certificate expires
    #[arg(long, default_value_t = 365)]
    pub days: u64,
    /// Folder for the files
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub output: PathBuf,
}

/// Curves under their names in certificates.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum KeyCurve {
    /// P-256
    Secp256r1,
    /// P-384
    Secp384r1,
    /// P-521
    Secp521r1,
}

/// Makes the files.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &KeysArgs) -> Result<ExitCode, String> {
    let curve = match args.curve {
        KeyCurve::Secp256r1 => Curve::P256,
        KeyCurve::Secp384r1 => Curve::P384,
        KeyCurve::Secp521r1 => Curve::P521,
    };
    let now = OffsetDateTime::now_utc();
    let identity =
        Identity::generate(&args.name, curve, args.gen_enc_key, now, args.days).map_err(|e| e.to_string())?;
    let files = identity.write(&args.output, &args.name).map_err(|e| e.to_string())?;
    terminal::say(format!("private key   {}  (keep it secret)", files.key.display()));
    terminal::say(format!("certificate   {}", files.certificate.display()));
    if identity.encryption_key.is_some() {
        terminal::say(format!("decryption    {}  (keep it secret)", files.encryption_key.display()));
        terminal::say(format!("encryption    {}", files.encryption_public_key.display()));
    }
    terminal::say(format!("identifier    {}", identity.certificate.member_id()));
    Ok(ExitCode::SUCCESS)
}
