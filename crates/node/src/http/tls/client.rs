//! Client certificates: any well-formed one is taken, possession of its key is proved, nothing else is looked
//! at (cryptography specification, section 5). Who the caller is, and whether dates matter, authentication
//! policies decide per request.

use super::provider::provider;
use ccf_crypto::cert::Certificate;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::sync::Arc;

/// Accepts any client certificate whose key the client holds.
#[derive(Debug)]
pub(super) struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificate holds a key of a kind that cannot be verified.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the certificate's key does not fit the signature scheme")]
struct KeyDoesNotFit;

impl AnyClient {
    pub(super) fn new() -> Arc<AnyClient> {
        Arc::new(AnyClient { algorithms: provider().signature_verification_algorithms })
    }

    /// Verifies the handshake signature with the certificate's key. The stock helpers of the TLS library
    /// would also judge the certificate, and refuse e.g. version 1.
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        curve_is_fixed: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parse(certificate)?;
        let (key_algorithm, key) = split_key(certificate.spki_der()).ok_or(CertificateError::BadEncoding)?;
        let candidates = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .map_or(&[][..], |(_, algorithms)| *algorithms);
        // The first algorithm of an ECDSA scheme is the one whose curve its name says.
        let candidates = if curve_is_fixed { candidates.get(..1).unwrap_or_default() } else { candidates };
        let algorithm = candidates
            .iter()
            .find(|a| a.public_key_alg_id().as_ref() == key_algorithm)
            .ok_or_else(|| CertificateError::Other(OtherError(Arc::new(KeyDoesNotFit))))?;
        algorithm
            .verify_signature(key, message, signed.signature())
            .map_err(|_| CertificateError::BadSignature)?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
    Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)
}

/// Splits a SubjectPublicKeyInfo into the content of its AlgorithmIdentifier, which is how the signature
/// algorithms name their keys, and the key's bits.
fn split_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, content, []) = read_value(spki)? else { return None };
    let (SEQUENCE, algorithm, rest) = read_value(content)? else { return None };
    let (BIT_STRING, bits, []) = read_value(rest)? else { return None };
    // The first byte counts the unused bits of the last one.
    Some((algorithm, bits.strip_prefix(&[0])?))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Tag, content and what follows of the DER value at the start of `der`.
fn read_value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        parse(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // RFC 8446, section 4.2.3: PKCS #1 signatures are for certificates only.
        use SignatureScheme as S;
        if matches!(
            signed.scheme,
            S::RSA_PKCS1_SHA1 | S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512
        ) {
            return Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.verify(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
