//! The endorsement by which a service vouches for the key of its predecessor (crypto 12.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use ccf_types::{Digest, SeqNo, TxId, View};
use serde::{Deserialize, Serialize};

use super::{
    CoseError, Payload, Sign1, WhichAlgorithm, algorithm_of, label,
    ledger::{integer, map, tx_id},
    sign1,
};
use crate::{
    cbor::Writer,
    key::{EcKeyPair, PublicKey},
};

/// How much the view grows from one service to the next at a recovery.
const RECOVERY_VIEWS: u64 = 2;

const START: &str = "epoch.start.txid";
const END: &str = "epoch.end.txid";
const ROOT: &str = "epoch.end.merkle.root";

/// The value of `public:ccf.internal.previous_service_identity_endorsement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndorsementRecord {
    /// The COSE message.
    #[serde(with = "base64_bytes")]
    pub endorsement: Vec<u8>,
    /// First transaction of the epoch of the endorsed key.
    pub endorsement_epoch_begin: TxId,
    /// Last transaction of that epoch; none in a service's endorsement of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_epoch_end: Option<TxId>,
    /// DER SPKI of the key that endorses.
    #[serde(with = "base64_bytes")]
    pub endorsing_key: Vec<u8>,
    /// Where the previous value of the table was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<SeqNo>,
}

/// The content of an endorsement, its signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// The key that is endorsed.
    pub key: PublicKey,
    /// Seconds since 1970.
    pub issued_at: Option<i64>,
    /// First transaction of the key's epoch.
    pub begin: TxId,
    /// Last transaction of the key's epoch; none in a service's endorsement of itself.
    pub end: Option<TxId>,
    /// The root that the signature transaction at `end` signs.
    pub end_root: Option<Digest>,
}

/// The first endorsement of all: the key of a new service for itself, from its first transaction `created`.
///
/// # Errors
/// [`CoseError::Signature`].
pub fn endorse_self(key: &EcKeyPair, created: TxId, issued_at: i64) -> Result<EndorsementRecord, CoseError> {
    Ok(EndorsementRecord {
        endorsement: sign(key, key.public_key().spki_der(), issued_at, created, None)?,
        endorsement_epoch_begin: created,
        endorsement_epoch_end: None,
        endorsing_key: key.public_key().spki_der().to_vec(),
        previous_version: None,
    })
}

/// The endorsement of the previous service's key by a recovered service, made when that opens.
///
/// `previous` is the table's value until now, written at `previous_version`; `created` is the first transaction of
/// the new service, `last_root` the root that the previous service signed last.
///
/// # Errors
/// [`CoseError::Signature`].
pub fn endorse_previous_service(
    key: &EcKeyPair,
    previous: &EndorsementRecord,
    previous_version: SeqNo,
    created: TxId,
    last_root: &Digest,
    issued_at: i64,
) -> Result<EndorsementRecord, CoseError> {
    let begin = match previous.endorsement_epoch_end {
        Some(end) => after(end),
        None => previous.endorsement_epoch_begin,
    };
    let end = before(created);
    Ok(EndorsementRecord {
        endorsement: sign(key, &previous.endorsing_key, issued_at, begin, Some((end, last_root)))?,
        endorsement_epoch_begin: begin,
        endorsement_epoch_end: Some(end),
        endorsing_key: key.public_key().spki_der().to_vec(),
        previous_version: Some(previous_version),
    })
}

/// The first transaction of the service that follows the one whose last transaction is `end`.
pub(super) fn after(end: TxId) -> TxId {
    TxId {
        view: View(end.view.0.saturating_add(RECOVERY_VIEWS)),
        seqno: SeqNo(end.seqno.0.saturating_add(1)),
    }
}

fn before(created: TxId) -> TxId {
    TxId { view: View(created.view.0.saturating_sub(RECOVERY_VIEWS)), seqno: created.seqno.previous() }
}

fn sign(
    key: &EcKeyPair,
    endorsed: &[u8],
    issued_at: i64,
    begin: TxId,
    end: Option<(TxId, &Digest)>,
) -> Result<Vec<u8>, CoseError> {
    let mut header = Writer::new();
    header.map(3);
    header.integer(label::ALG).integer(algorithm_of(key.curve()));
    header.integer(label::CWT_CLAIMS).map(1).integer(label::CWT_IAT).integer(issued_at);
    header.text(label::CCF_V1).map(if end.is_some() { 3 } else { 1 });
    if let Some((end, _)) = end {
        header.text(END).text(&end.to_string());
    }
    header.text(START).text(&begin.to_string());
    if let Some((_, root)) = end {
        header.text(ROOT).bytes(&root.0);
    }
    sign1(key, &header.finish(), Payload::Attached(endorsed))
}

impl Endorsement {
    /// Reads an endorsement and verifies that `endorsing_key` signed it.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify(cose: &[u8], endorsing_key: &PublicKey) -> Result<Self, CoseError> {
        let message = Sign1::decode(cose)?;
        message.verify(endorsing_key, WhichAlgorithm::OfTheKey)?;
        let claims = map(message.header().get(label::CWT_CLAIMS), "CWT claims")?;
        let ccf = map(message.header().get_text(label::CCF_V1), label::CCF_V1)?;
        let end = ccf.get_text(END);
        let root = ccf.get_text(ROOT).map(|item| {
            let bytes = item.bytes().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            bytes.map(Digest).ok_or(CoseError::InvalidHeader(ROOT))
        });
        Ok(Endorsement {
            key: PublicKey::from_spki_der(message.attached_payload()?)?,
            issued_at: integer(claims.get(label::CWT_IAT), "iat")?,
            begin: tx_id(ccf.get_text(START), START)?,
            end: end.map(|_| tx_id(end, END)).transpose()?,
            end_root: root.transpose()?,
        })
    }
}

/// Bytes as base64 text in JSON.
mod base64_bytes {
    use super::{Deserialize, Engine, STANDARD};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
