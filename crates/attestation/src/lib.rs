//! Attestation evidence of nodes and the keys that platforms derive for them: the virtual platform.
//!
//! The virtual platform proves nothing: it exists so that a service can run on any machine, and it says
//! "insecure" wherever it shows. SEV-SNP, TDX and SGX evidence cannot be verified yet: there is nothing for it here.
//! Reads no file and no device: the caller passes in what it read.
#![forbid(unsafe_code)]

mod sealing;
mod virtual_platform;

pub use sealing::{DerivedKeys, NoDerivedKey, VirtualKeys};
pub use virtual_platform::{MalformedEvidence, VIRTUAL_MEASUREMENT, VerifiedVirtual, VirtualEvidence};
