//! Which platform the process runs on, and its own evidence (node specification, section 5).

use crate::output_files::{self, FileProblem};
use ccf_attestation::{VIRTUAL_MEASUREMENT, VirtualEvidence};
use ccf_crypto::hash::Sha256;
use ccf_governance::tables::{
    base64::Base64,
    node::{QuoteFormat, QuoteInfo},
};
use ccf_types::Digest;
use serde_json::json;
use std::{fs::File, io, io::Read, path::Path};

/// Platforms a node may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// AMD SEV-SNP.
    Snp,
    /// No trusted hardware: insecure, for development.
    Virtual,
}

/// The environment asks for a platform that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("CCF_PLATFORM_OVERRIDE must be SNP or Virtual, not {0}")]
pub struct UnknownPlatform(String);

impl Platform {
    /// The platform of this machine, or what `override_` (the variable `CCF_PLATFORM_OVERRIDE`) says.
    ///
    /// # Errors
    /// [`UnknownPlatform`].
    pub fn detect(override_: Option<&str>) -> Result<Platform, UnknownPlatform> {
        match override_ {
            Some("SNP") => Ok(Platform::Snp),
            Some("Virtual") => Ok(Platform::Virtual),
            Some(other) => Err(UnknownPlatform(other.to_owned())),
            None if File::options().write(true).open("/dev/sev-guest").is_ok() => Ok(Platform::Snp),
            None => Ok(Platform::Virtual),
        }
    }

    /// The name `--version` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Platform::Snp => "SNP",
            Platform::Virtual => "Virtual",
        }
    }
}

/// SHA-256 of the running executable: the host data of a virtual node.
///
/// # Errors
/// If the file cannot be read.
pub fn executable_digest() -> io::Result<Digest> {
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Evidence of a virtual node, also written to `directory` as two files for people to look at.
///
/// # Errors
/// [`FileProblem`] if a file cannot be written.
pub fn virtual_evidence(
    directory: &Path,
    executable: &Digest,
    public_key: &Digest,
) -> Result<QuoteInfo, FileProblem> {
    let quote = VirtualEvidence::new(executable, public_key).quote();
    let pid = std::process::id();
    let pretty = |value: &serde_json::Value| format!("{value:#}");
    let measurement = json!({"host_data": executable.to_string(), "measurement": VIRTUAL_MEASUREMENT});
    output_files::write(
        &directory.join(format!("ccf_virtual_attestation.{pid}.measurement")),
        pretty(&measurement),
    )?;
    let attestation: serde_json::Value = serde_json::from_slice(&quote).unwrap_or_default();
    output_files::write(
        &directory.join(format!("ccf_virtual_attestation.{pid}.attestation")),
        pretty(&attestation),
    )?;
    Ok(QuoteInfo {
        endorsed_tcb: None,
        endorsements: Base64::default(),
        format: QuoteFormat::InsecureVirtual,
        quote: Base64(quote),
        uvm_endorsements: None,
    })
}
