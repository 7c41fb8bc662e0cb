//! The signature algorithms of certificates and requests: one place that maps them to verification.

use crate::{
    der::{self, DerError, DerReader, DerWriter},
    hash::HashAlgorithm,
    key::{EcKeyPair, PublicKey, SignatureError, SignatureFormat},
    oid,
};

/// Verifies `signature` over `message` by `key`, as the DER AlgorithmIdentifier `algorithm` says.
pub(crate) fn verify_signed(
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
    key: &PublicKey,
) -> Result<(), SignatureError> {
    match read(algorithm).map_err(|_| SignatureError::WrongKey)? {
        Algorithm::Ecdsa(hash) => key.verify_ecdsa(hash, message, signature, SignatureFormat::Der),
        Algorithm::RsaPkcs1(hash) => key.verify_rsa_pkcs1(hash, message, signature),
        Algorithm::RsaPss(hash, salt_len) => key.verify_rsa_pss(hash, salt_len, message, signature),
        Algorithm::Ed25519 => key.verify_ed25519(message, signature),
    }
}

/// `SEQUENCE { message, algorithm, signature }` signed by `key`: the outside of certificates and requests.
pub(crate) fn sign(key: &EcKeyPair, hash: HashAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let signature = key.sign(hash, message, SignatureFormat::Der)?;
    let mut writer = DerWriter::with_capacity(message.len() + signature.len() + 32);
    writer.nested(der::SEQUENCE, |w| {
        w.raw(message);
        w.algorithm(ecdsa_oid(hash));
        w.bit_string(&signature);
    });
    Ok(writer.finish_public())
}

/// The outside of a certificate or request taken apart: what is signed, by which algorithm, the signature.
pub(crate) struct Signed<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, DerError> {
        let mut reader = DerReader::only(der, der::SEQUENCE)?;
        let signed = Signed {
            message: reader.any()?.raw,
            algorithm: reader.any()?.raw,
            signature: reader.bit_string()?,
        };
        reader.end()?;
        Ok(signed)
    }
}

pub(crate) fn ecdsa_oid(hash: HashAlgorithm) -> &'static [u8] {
    match hash {
        HashAlgorithm::Sha256 => oid::ECDSA_SHA256,
        HashAlgorithm::Sha384 => oid::ECDSA_SHA384,
        HashAlgorithm::Sha512 => oid::ECDSA_SHA512,
    }
}

enum Algorithm {
    Ecdsa(HashAlgorithm),
    RsaPkcs1(HashAlgorithm),
    RsaPss(HashAlgorithm, usize),
    Ed25519,
}

fn read(algorithm: &[u8]) -> Result<Algorithm, DerError> {
    let mut reader = DerReader::only(algorithm, der::SEQUENCE)?;
    Ok(match reader.expect(der::OID)? {
        oid::ECDSA_SHA256 => Algorithm::Ecdsa(HashAlgorithm::Sha256),
        oid::ECDSA_SHA384 => Algorithm::Ecdsa(HashAlgorithm::Sha384),
        oid::ECDSA_SHA512 => Algorithm::Ecdsa(HashAlgorithm::Sha512),
        oid::RSA_SHA256 => Algorithm::RsaPkcs1(HashAlgorithm::Sha256),
        oid::RSA_SHA384 => Algorithm::RsaPkcs1(HashAlgorithm::Sha384),
        oid::RSA_SHA512 => Algorithm::RsaPkcs1(HashAlgorithm::Sha512),
        oid::RSA_PSS => read_pss(reader.nested(der::SEQUENCE)?)?,
        oid::ED25519 => Algorithm::Ed25519,
        _ => return Err(DerError),
    })
}

/// RSASSA-PSS-params (RFC 4055 3.1). The defaults of the hashes are SHA-1, which is not supported, so both must be
/// there and the same; the trailer may be spelled out, as AMD does.
fn read_pss(mut parameters: DerReader<'_>) -> Result<Algorithm, DerError> {
    let hash = read_hash(parameters.nested(der::context(0))?)?;
    let mut mask = parameters.nested(der::context(1))?.nested(der::SEQUENCE)?;
    if mask.expect(der::OID)? != oid::RSA_MGF1 || read_hash(mask)? != hash {
        return Err(DerError);
    }
    let mut salt_len = 20;
    if parameters.peek() == Some(der::context(2)) {
        salt_len = match parameters.nested(der::context(2))?.unsigned()? {
            [] => 0,
            [byte] => usize::from(*byte),
            _ => return Err(DerError),
        };
    }
    if parameters.peek() == Some(der::context(3)) && parameters.nested(der::context(3))?.unsigned()? != [1] {
        return Err(DerError);
    }
    parameters.end()?;
    Ok(Algorithm::RsaPss(hash, salt_len))
}

fn read_hash(mut reader: DerReader<'_>) -> Result<HashAlgorithm, DerError> {
    match reader.nested(der::SEQUENCE)?.expect(der::OID)? {
        oid::SHA256 => Ok(HashAlgorithm::Sha256),
        oid::SHA384 => Ok(HashAlgorithm::Sha384),
        oid::SHA512 => Ok(HashAlgorithm::Sha512),
        _ => Err(DerError),
    }
}
