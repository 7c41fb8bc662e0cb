//! The COSE signature of a signature transaction: the service key over the Merkle root (crypto 7.2).

use ccf_types::{Digest, TxId};

use super::{CoseError, Payload, Sign1, VDS_CCF_LEDGER, algorithm_of, label, sign1};
use crate::{
    cbor::{Item, Map, Writer},
    key::{EcKeyPair, PublicKey},
};

/// The issuer and subject that a service writes into its signatures; both empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureClaims {
    /// `iss` of the CWT claims.
    pub issuer: String,
    /// `sub` of the CWT claims.
    pub subject: String,
}

/// The protected header of a ledger signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSignatureHeader {
    /// COSE algorithm number.
    pub algorithm: i64,
    /// Id of the signing key, for ledger signatures the hex SHA-256 of its SPKI.
    pub key_id: Vec<u8>,
    /// Issuer and subject.
    pub claims: SignatureClaims,
    /// Seconds since 1970.
    pub issued_at: Option<i64>,
    /// The signature transaction itself.
    pub tx_id: TxId,
}

/// A ledger signature, or the receipt made of one, as read; its signature is verified by [`Self::verify`].
#[derive(Clone, Debug)]
pub struct LedgerSignature<'a> {
    /// Its protected header.
    pub header: LedgerSignatureHeader,
    /// The message around it.
    pub message: Sign1<'a>,
}

/// Signs `root` as the signature transaction `tx_id`: detached payload, keys of the header in deterministic order.
///
/// # Errors
/// [`CoseError::Signature`].
pub fn sign_ledger_root(
    key: &EcKeyPair,
    claims: &SignatureClaims,
    issued_at: i64,
    tx_id: TxId,
    root: &Digest,
) -> Result<Vec<u8>, CoseError> {
    let mut header = Writer::new();
    header.map(5);
    header.integer(label::ALG).integer(algorithm_of(key.curve()));
    header.integer(label::KID).bytes(key.public_key().id().to_string().as_bytes());
    header.integer(label::CWT_CLAIMS).map(3);
    header.integer(label::CWT_ISS).text(&claims.issuer);
    header.integer(label::CWT_SUB).text(&claims.subject);
    header.integer(label::CWT_IAT).integer(issued_at);
    header.integer(label::VDS).integer(VDS_CCF_LEDGER);
    header.text(label::CCF_V1).map(1).text(TXID).text(&tx_id.to_string());
    sign1(key, &header.finish(), Payload::Detached(&root.0))
}

const TXID: &str = "txid";

impl<'a> LedgerSignature<'a> {
    /// Reads a ledger signature or receipt. All of alg, kid, issuer, subject, vds and txid must be there, in any
    /// order.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let message = Sign1::decode(bytes)?;
        let header = message.header();
        let claims = map(header.get(label::CWT_CLAIMS), "CWT claims")?;
        let vds = header.get(label::VDS).ok_or(CoseError::MissingHeader("vds"))?;
        if vds.integer() != Ok(VDS_CCF_LEDGER) {
            return Err(CoseError::InvalidHeader("vds"));
        }
        let ccf = map(header.get_text(label::CCF_V1), label::CCF_V1)?;
        let header = LedgerSignatureHeader {
            algorithm: message.algorithm()?,
            key_id: message.key_id()?.to_vec(),
            claims: SignatureClaims {
                issuer: text(claims.get(label::CWT_ISS), "iss")?.to_owned(),
                subject: text(claims.get(label::CWT_SUB), "sub")?.to_owned(),
            },
            issued_at: integer(claims.get(label::CWT_IAT), "iat")?,
            tx_id: tx_id(ccf.get_text(TXID), TXID)?,
        };
        Ok(LedgerSignature { header, message })
    }

    /// Whether the header names `key` as the signer.
    #[must_use]
    pub fn is_by(&self, key: &PublicKey) -> bool {
        self.header.key_id == key.id().to_string().as_bytes()
    }

    /// Verifies the signature of `key` over `root`; the algorithm must be the one of the key's curve.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify(&self, key: &PublicKey, root: &Digest) -> Result<(), CoseError> {
        self.message.verify_detached(key, &root.0)
    }
}

pub(super) fn map<'a>(item: Option<Item<'a>>, name: &'static str) -> Result<Map<'a>, CoseError> {
    item.ok_or(CoseError::MissingHeader(name))?.map().map_err(|_| CoseError::InvalidHeader(name))
}

pub(super) fn text<'a>(item: Option<Item<'a>>, name: &'static str) -> Result<&'a str, CoseError> {
    item.ok_or(CoseError::MissingHeader(name))?.text().map_err(|_| CoseError::InvalidHeader(name))
}

pub(super) fn integer(item: Option<Item<'_>>, name: &'static str) -> Result<Option<i64>, CoseError> {
    item.map(|item| item.integer().map_err(|_| CoseError::InvalidHeader(name))).transpose()
}

pub(super) fn tx_id(item: Option<Item<'_>>, name: &'static str) -> Result<TxId, CoseError> {
    text(item, name)?.parse().map_err(|_| CoseError::InvalidHeader(name))
}
