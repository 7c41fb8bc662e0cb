//! Attestation evidence of nodes: its form in tables and messages, and the virtual platform.
//!
//! The virtual platform proves nothing: it exists so that a service can run on any machine, and it says
//! "insecure" wherever it shows. SEV-SNP, TDX and SGX evidence is read into [`QuoteInfo`] like any other, but this
//! crate cannot verify it yet and says so ([`VerifyError::Unsupported`]). Reads no file and no device: the
//! caller passes in what it read.
#![forbid(unsafe_code)]

mod quote;
mod virtual_platform;

pub use quote::{QuoteFormat, QuoteInfo, VerifyError};
pub use virtual_platform::{VIRTUAL_MEASUREMENT, VerifiedVirtual, VirtualEvidence};
