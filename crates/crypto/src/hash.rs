//! Hashes, keyed hashes and key derivation (FIPS 180-4, RFC 2104, RFC 5869).

use aws_lc_rs::{digest, hkdf, hmac};
use ccf_types::Digest;

/// A hash function of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// Length of a digest in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha384 => 48,
            HashAlgorithm::Sha512 => 64,
        }
    }

    /// The digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> HashValue {
        HashValue(digest::digest(self.primitive(), data))
    }

    /// The digest of the parts one after the other.
    #[must_use]
    pub fn digest_parts(self, parts: &[&[u8]]) -> HashValue {
        let mut context = digest::Context::new(self.primitive());
        parts.iter().for_each(|part| context.update(part));
        HashValue(context.finish())
    }

    /// Begins a digest of data that comes in pieces.
    #[must_use]
    pub fn begin(self) -> Hasher {
        Hasher(digest::Context::new(self.primitive()))
    }

    /// The HMAC of `data` under `key`, at full length.
    #[must_use]
    pub fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
            HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    pub(crate) fn primitive(self) -> &'static digest::Algorithm {
        match self {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        }
    }
}

/// A digest of any of the [`HashAlgorithm`]s, without allocation; read it with `as_ref`.
#[derive(Clone)]
pub struct HashValue(digest::Digest);

impl AsRef<[u8]> for HashValue {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A digest of data that comes in pieces, by any of the [`HashAlgorithm`]s.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Appends `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> HashValue {
        HashValue(self.0.finish())
    }
}

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> Digest {
    to_digest(&digest::digest(&digest::SHA256, data))
}

/// SHA-256 of the two parts one after the other, as a Merkle tree joins two nodes.
#[must_use]
pub fn sha256_pair(left: &Digest, right: &Digest) -> Digest {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&left.0);
    both[32..].copy_from_slice(&right.0);
    sha256(&both)
}

/// SHA-1, for X.509 key identifiers and nothing else.
pub(crate) fn sha1(data: &[u8]) -> [u8; 20] {
    let value = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data);
    let mut out = [0; 20];
    out.copy_from_slice(value.as_ref());
    out
}

/// SHA-256 of data that comes in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Sha256(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        to_digest(&self.0.finish())
    }
}

/// HMAC-SHA256 with a key that is prepared once and used often (commit evidence has one per ledger secret).
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// Prepares the key; any length will do.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        HmacKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The MAC of `data`.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, data).as_ref());
        out
    }

    /// Whether `mac` is the MAC of `data`, in constant time.
    #[must_use]
    pub fn verify(&self, data: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, data, mac).is_ok()
    }
}

/// HMAC-SHA256 of `data` under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    HmacKey::new(key).sign(data)
}

/// More key material was asked for than HKDF can give (255 digests).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HKDF cannot derive that many bytes")]
pub struct HkdfError;

/// HKDF-SHA256; an empty `salt` means the default of RFC 5869, zeros.
///
/// # Errors
/// [`HkdfError`] if `out` is longer than 8160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), HkdfError> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    let info = [info];
    let material = key.expand(&info, Length(out.len())).map_err(|_| HkdfError)?;
    material.fill(out).map_err(|_| HkdfError)
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
#[must_use]
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn to_digest(value: &digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(value.as_ref());
    Digest(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 examples, RFC 4231 test case 2, RFC 5869 test cases 1 and 3.
    #[test]
    fn published_vectors() {
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hex::encode(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mut okm = [0; 42];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        hkdf_sha256(&[0x0b; 22], &salt, &info, &mut okm).unwrap();
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        hkdf_sha256(&[0x0b; 22], b"", b"", &mut okm).unwrap();
        assert_eq!(
            hex::encode(okm),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
        assert_eq!(hkdf_sha256(b"", b"", b"", &mut vec![0; 255 * 32 + 1]), Err(HkdfError));
    }

    /// Vectors C1 and C2 of the specification: commit secret and commit evidence.
    #[test]
    fn commit_evidence_vectors() {
        let secret = hex::decode("0247b5e43538db6bfa1c76ea8561c09d47533c40a71c8cd38f0bdf28dbeea840").unwrap();
        let commit_secret = hmac_sha256(&secret, b"Commit S");
        assert_eq!(
            hex::encode(commit_secret),
            "a8d2b0107296c4300586496961191f2299c551ceb8b3e6deaf4bac37a37495ab"
        );
        assert_eq!(
            hex::encode(HmacKey::new(&commit_secret).sign(b"2.3")),
            "66921a09fa2a7eda80ed13acdd60cd95232cbc600db663c8c04454f7426b218b"
        );
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut pieces = Sha256::new();
        pieces.update(&[1; 32]);
        pieces.update(&[2; 32]);
        assert_eq!(pieces.finish(), sha256_pair(&Digest([1; 32]), &Digest([2; 32])));
    }
}
