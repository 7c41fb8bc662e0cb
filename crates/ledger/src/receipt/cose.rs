//! Receipts in COSE: a signature of the service over a root, with the path to it in the unprotected header (crypto
//! specification, section 10).

use ccf_crypto::{
    cbor::{Item, Writer},
    cose::{CoseError, LedgerSignature, UnprotectedValue, set_unprotected_header},
    key::PublicKey,
};
use ccf_types::Digest;

use super::LeafComponents;
use crate::merkle::{Proof, ProofStep};

/// Label of verifiable data proofs.
const VDP: i64 = 396;
/// Label of inclusion proofs.
const INCLUSION: i64 = -1;
const LEAF: i64 = 1;
const PATH: i64 = 2;

/// Longest commit evidence that is believed.
const EVIDENCE_BYTES_MAX: usize = 1024;

/// A receipt as read. What it proves is told by [`root`](Self::root) and [`claims_digest`](Self::claims_digest); that
/// the service vouches for it by [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub struct CoseReceipt<'a> {
    signature: LedgerSignature<'a>,
    proofs: Vec<(LeafComponents, Proof)>,
}

/// Why bytes are no COSE receipt, or not one that holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseReceiptError {
    /// The message around it, or its signature.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// The proof in the unprotected header.
    #[error("malformed proof in the receipt: {0}")]
    Proof(&'static str),
    /// Several proofs that are not of the same thing.
    #[error("the proofs in the receipt lead to different roots or claims")]
    Different,
}

/// Makes the receipt of an entry out of the signature of a root and the path to that root.
///
/// # Errors
/// [`CoseError`] if `signature` is not a COSE signature.
pub fn cose_receipt(
    signature: &[u8],
    components: &LeafComponents,
    proof: &Proof,
) -> Result<Vec<u8>, CoseError> {
    let mut writer = Writer::new();
    writer.map(2).integer(LEAF).array(3);
    writer.bytes(components.write_set_digest.as_ref()).text(&components.commit_evidence);
    writer.bytes(components.claims_digest.unwrap_or(Digest::ZERO).as_ref());
    writer.integer(PATH).array(proof.steps.len() as u64);
    for step in &proof.steps {
        let (left, hash) = match step {
            ProofStep::Left(hash) => (true, hash),
            ProofStep::Right(hash) => (false, hash),
        };
        writer.array(2).boolean(left).bytes(hash.as_ref());
    }
    let proof = writer.finish();
    let value = UnprotectedValue::NestedList { key: VDP, subkey: INCLUSION, value: &proof };
    set_unprotected_header(signature, value)
}

impl<'a> CoseReceipt<'a> {
    /// Reads a receipt. It has at least one proof, none with an empty path, and all of the same claims and root.
    ///
    /// # Errors
    /// [`CoseReceiptError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CoseReceiptError> {
        let signature = LedgerSignature::decode(bytes)?;
        let bad = |what| move |_| CoseReceiptError::Proof(what);
        let missing = CoseReceiptError::Proof("there is none");
        let unprotected = signature.message.unprotected().map().map_err(bad("no map"))?;
        let proofs = unprotected.get(VDP).ok_or_else(|| missing.clone())?.map().map_err(bad("no map"))?;
        let proofs =
            proofs.get(INCLUSION).ok_or_else(|| missing.clone())?.array().map_err(bad("no array"))?;
        let proofs = proofs
            .iter()
            .map(|proof| read_proof(proof.bytes().map_err(bad("no byte string"))?))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(((first, path), others)) = proofs.split_first() else { return Err(missing) };
        let root = path.root(&first.leaf(None));
        let same = |(other, path): &(LeafComponents, Proof)| {
            other.claims_digest == first.claims_digest && path.root(&other.leaf(None)) == root
        };
        if !others.iter().all(same) {
            return Err(CoseReceiptError::Different);
        }
        Ok(Self { signature, proofs })
    }

    /// The proved entry: its parts, as the first proof has them.
    #[must_use]
    pub fn components(&self) -> &LeafComponents {
        &self.first().0
    }

    /// The path from the entry to the root.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.first().1
    }

    /// The claims of the proved entry; zeros if none were set.
    #[must_use]
    pub fn claims_digest(&self) -> Digest {
        self.components().claims_digest.unwrap_or(Digest::ZERO)
    }

    /// The root to which the proofs lead.
    #[must_use]
    pub fn root(&self) -> Digest {
        let (components, proof) = self.first();
        proof.root(&components.leaf(None))
    }

    /// The signature around the proofs.
    #[must_use]
    pub fn signature(&self) -> &LedgerSignature<'a> {
        &self.signature
    }

    /// Verifies that the holder of `service` signed the root, and that the header names it.
    ///
    /// # Errors
    /// [`CoseReceiptError::Cose`].
    pub fn verify(&self, service: &PublicKey) -> Result<(), CoseReceiptError> {
        if !self.signature.is_by(service) {
            return Err(CoseError::InvalidHeader("kid").into());
        }
        Ok(self.signature.verify(service, &self.root())?)
    }

    fn first(&self) -> &(LeafComponents, Proof) {
        self.proofs.first().expect("a receipt has at least one proof, see decode")
    }
}

fn read_proof(bytes: &[u8]) -> Result<(LeafComponents, Proof), CoseReceiptError> {
    let bad = |what| move |_| CoseReceiptError::Proof(what);
    let none = |what| move || CoseReceiptError::Proof(what);
    let map = Item::parse(bytes).and_then(|item| item.map()).map_err(bad("no map"))?;
    let leaf = map.get(LEAF).ok_or_else(none("no leaf"))?.array().map_err(bad("no leaf"))?;
    let [write_set, evidence, claims] = leaf[..] else { return Err(CoseReceiptError::Proof("no leaf")) };
    let digest = |item: Item<'_>| {
        let bytes = item.bytes().map_err(bad("no digest"))?;
        bytes.try_into().map(Digest).map_err(|_| CoseReceiptError::Proof("no digest of 32 bytes"))
    };
    let evidence = evidence.text().map_err(bad("no commit evidence"))?;
    if evidence.is_empty() || evidence.len() > EVIDENCE_BYTES_MAX {
        return Err(CoseReceiptError::Proof("impossible length of the commit evidence"));
    }
    let components = LeafComponents {
        claims_digest: Some(digest(claims)?),
        commit_evidence: evidence.to_owned(),
        write_set_digest: digest(write_set)?,
    };
    let path = map.get(PATH).ok_or_else(none("no path"))?.array().map_err(bad("no path"))?;
    let steps = path.iter().map(|step| {
        let step = step.array().map_err(bad("malformed path"))?;
        let [left, hash] = step[..] else { return Err(CoseReceiptError::Proof("malformed path")) };
        let (left, hash) = (left.boolean().map_err(bad("malformed path"))?, digest(hash)?);
        Ok(if left { ProofStep::Left(hash) } else { ProofStep::Right(hash) })
    });
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    if steps.is_empty() {
        return Err(CoseReceiptError::Proof("the path is empty"));
    }
    Ok((components, Proof { steps }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::MerkleTree;
    use ccf_crypto::{
        cose::{SignatureClaims, sign_ledger_root},
        key::{Curve, EcKeyPair},
    };
    use ccf_types::TxId;

    #[test]
    fn what_is_made_is_read_and_verified() {
        let key = EcKeyPair::generate(Curve::P384).expect("key");
        let components = LeafComponents {
            claims_digest: Some(Digest([3; 32])),
            commit_evidence: "ce:2.2:aa".to_owned(),
            write_set_digest: Digest([4; 32]),
        };
        let mut tree = MerkleTree::new();
        for leaf in [Digest([1; 32]), components.leaf(None), Digest([2; 32])] {
            tree.append(leaf);
        }
        let proof = tree.proof(2).expect("held");
        let claims = SignatureClaims::default();
        let signature = sign_ledger_root(&key, &claims, 7, TxId::new(2, 4), &tree.root()).expect("signs");
        let bytes = cose_receipt(&signature, &components, &proof).expect("made");
        let receipt = CoseReceipt::decode(&bytes).expect("read");
        assert_eq!((receipt.components(), receipt.proof()), (&components, &proof));
        assert_eq!((receipt.root(), receipt.claims_digest()), (tree.root(), Digest([3; 32])));
        receipt.verify(key.public_key()).expect("holds");
        let other = EcKeyPair::generate(Curve::P384).expect("key");
        assert!(receipt.verify(other.public_key()).is_err());

        assert!(CoseReceipt::decode(&signature).is_err(), "no proof");
        let mut flipped = bytes.clone();
        for at in 0..bytes.len() {
            flipped[at] ^= 1;
            let holds = CoseReceipt::decode(&flipped).is_ok_and(|receipt| {
                receipt.verify(key.public_key()).is_ok() && receipt.claims_digest() == Digest([3; 32])
            });
            assert!(!holds, "byte {at}");
            flipped[at] ^= 1;
        }
    }
}
