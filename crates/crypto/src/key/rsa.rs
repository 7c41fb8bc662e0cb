//! RSA key pairs: the node's encryption key, members' share keys, and what scripts ask for.
//!
//! The main library makes and uses keys of 2048 to 8192 bits. The crate `rsa` serves only what that one cannot:
//! generation of other sizes and exponents, and PSS with a salt that is not as long as the hash. Its private
//! operation is blinded, since it is not constant-time (RUSTSEC-2023-0071).

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{
        KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PrivateDecryptingKey, PublicEncryptingKey,
    },
    signature::{
        self as primitive, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    },
};
use rsa::{
    BigUint, Pss, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey},
    rand_core::{CryptoRng, RngCore},
    sha2::{Sha256, Sha384, Sha512},
};
use zeroize::Zeroizing;

use super::{KeyError, PEM_PKCS1, PEM_PKCS8, PublicKey, SignatureError};
use crate::{
    der::{self, DerReader, DerWriter},
    hash::HashAlgorithm,
    oid, pem, random,
};

/// Smallest key that is made or used privately.
pub const RSA_BITS_MIN: usize = 2048;
/// Largest key that is made or used privately.
pub const RSA_BITS_MAX: usize = 8192;
/// Largest public modulus that is looked at, as in OpenSSL.
const RSA_PUBLIC_BITS_MAX: usize = 16384;
/// The public exponent of every key that does not ask for another.
const COMMON_EXPONENT: u64 = 65537;

/// An RSA key pair of [`RSA_BITS_MIN`] to [`RSA_BITS_MAX`] bits.
pub struct RsaKeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    decrypting: OaepPrivateDecryptingKey,
    public: PublicKey,
}

/// The numbers of a private RSA key (RFC 8017 A.1.2), unsigned big-endian.
pub struct RsaPrivateParts {
    /// Modulus.
    pub n: Zeroizing<Vec<u8>>,
    /// Public exponent.
    pub e: Zeroizing<Vec<u8>>,
    /// Private exponent.
    pub d: Zeroizing<Vec<u8>>,
    /// First prime.
    pub p: Zeroizing<Vec<u8>>,
    /// Second prime.
    pub q: Zeroizing<Vec<u8>>,
    /// `d mod (p - 1)`.
    pub dp: Zeroizing<Vec<u8>>,
    /// `d mod (q - 1)`.
    pub dq: Zeroizing<Vec<u8>>,
    /// `1/q mod p`.
    pub qi: Zeroizing<Vec<u8>>,
}

impl RsaKeyPair {
    /// A fresh key of `bits` with the exponent 65537.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for a size out of range.
    pub fn generate(bits: usize) -> Result<Self, KeyError> {
        Self::generate_with_exponent(bits, COMMON_EXPONENT)
    }

    /// A fresh key of `bits` with the given public exponent.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for a size out of range or an exponent that is even, 1, or above 2^33.
    pub fn generate_with_exponent(bits: usize, exponent: u64) -> Result<Self, KeyError> {
        let size = match (bits, exponent) {
            (2048, COMMON_EXPONENT) => KeySize::Rsa2048,
            (3072, COMMON_EXPONENT) => KeySize::Rsa3072,
            (4096, COMMON_EXPONENT) => KeySize::Rsa4096,
            (8192, COMMON_EXPONENT) => KeySize::Rsa8192,
            (RSA_BITS_MIN..=RSA_BITS_MAX, 3..=0x1_ffff_ffff) if exponent % 2 == 1 => {
                return Self::generate_uncommon(bits, exponent);
            }
            _ => return Err(KeyError::Unsupported),
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| KeyError::Failed)?;
        let pkcs8 = AsDer::as_der(&key).map_err(|_| KeyError::Failed)?;
        Self::new(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    fn generate_uncommon(bits: usize, exponent: u64) -> Result<Self, KeyError> {
        random::bytes::<32>()?; // a broken generator is an error here, and not a panic below
        let key = RsaPrivateKey::new_with_exp(&mut SystemRng, bits, &BigUint::from(exponent))
            .map_err(|_| KeyError::Failed)?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| KeyError::Failed)?;
        Self::from_pkcs8_der(pkcs8.as_bytes())
    }

    /// Reads PEM `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::decode(text)?;
        match block.label.as_str() {
            PEM_PKCS8 => Self::from_pkcs8_der(&block.contents),
            PEM_PKCS1 => Self::from_pkcs1_der(&block.contents),
            _ => Err(KeyError::Unsupported),
        }
    }

    /// Reads DER PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Self::new(Zeroizing::new(pkcs8.to_vec()))
    }

    /// Reads DER PKCS#1 RSAPrivateKey.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs1_der(pkcs1: &[u8]) -> Result<Self, KeyError> {
        Self::new(wrap_pkcs1(pkcs1))
    }

    /// The key of all its numbers, checked to fit together.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_parts(parts: &RsaPrivateParts) -> Result<Self, KeyError> {
        let mut writer = DerWriter::with_capacity(parts.n.len() * 5 + 64);
        writer.nested(der::SEQUENCE, |w| {
            w.unsigned(&[0]);
            for number in [&parts.n, &parts.e, &parts.d, &parts.p, &parts.q, &parts.dp, &parts.dq, &parts.qi]
            {
                w.unsigned(number);
            }
        });
        Self::from_pkcs1_der(&writer.finish())
    }

    fn new(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let parts = read_parts(&pkcs8)?;
        let public = PublicKey::from_rsa_parts(&parts.n, &parts.e)?;
        let key = PrivateDecryptingKey::from_pkcs8(&pkcs8).map_err(|_| KeyError::Invalid)?;
        let decrypting = OaepPrivateDecryptingKey::new(key).map_err(|_| KeyError::Invalid)?;
        Ok(RsaKeyPair { pkcs8, decrypting, public })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// All numbers of the key.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], which a key that was read cannot give.
    pub fn parts(&self) -> Result<RsaPrivateParts, KeyError> {
        read_parts(&self.pkcs8)
    }

    /// DER PKCS#8.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PEM `PRIVATE KEY`.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode(PEM_PKCS8, &self.pkcs8))
    }

    /// Decrypts RSA-OAEP with SHA-256 for both hashes; an empty label is none.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`] if the ciphertext was not made for this key and label.
    pub fn oaep_decrypt(
        &self,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SignatureError> {
        let mut plaintext = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let length = self
            .decrypting
            .decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, optional(label))
            .map_err(|_| SignatureError::Invalid)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// Signs with RSASSA-PKCS1-v1_5.
    ///
    /// # Errors
    /// [`SignatureError::Failed`].
    pub fn sign_pkcs1(&self, hash: HashAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let encoding: &'static dyn RsaEncoding = match hash {
            HashAlgorithm::Sha256 => &RSA_PKCS1_SHA256,
            HashAlgorithm::Sha384 => &RSA_PKCS1_SHA384,
            HashAlgorithm::Sha512 => &RSA_PKCS1_SHA512,
        };
        self.sign_common(encoding, message)
    }

    /// Signs with RSASSA-PSS, MGF1 of the same hash and a salt of `salt_len` bytes.
    ///
    /// # Errors
    /// [`SignatureError::Failed`], also for a salt that is too long for the key.
    pub fn sign_pss(
        &self,
        hash: HashAlgorithm,
        salt_len: usize,
        message: &[u8],
    ) -> Result<Vec<u8>, SignatureError> {
        if salt_len == hash.digest_len() {
            let encoding: &'static dyn RsaEncoding = match hash {
                HashAlgorithm::Sha256 => &RSA_PSS_SHA256,
                HashAlgorithm::Sha384 => &RSA_PSS_SHA384,
                HashAlgorithm::Sha512 => &RSA_PSS_SHA512,
            };
            return self.sign_common(encoding, message);
        }
        if salt_len > RSA_BITS_MAX / 8 {
            return Err(SignatureError::Failed);
        }
        random::bytes::<32>().map_err(|_| SignatureError::Failed)?;
        let key = RsaPrivateKey::from_pkcs8_der(&self.pkcs8).map_err(|_| SignatureError::WrongKey)?;
        let padding = match hash {
            HashAlgorithm::Sha256 => Pss::new_blinded_with_salt::<Sha256>(salt_len),
            HashAlgorithm::Sha384 => Pss::new_blinded_with_salt::<Sha384>(salt_len),
            HashAlgorithm::Sha512 => Pss::new_blinded_with_salt::<Sha512>(salt_len),
        };
        key.sign_with_rng(&mut SystemRng, padding, hash.digest(message).as_ref())
            .map_err(|_| SignatureError::Failed)
    }

    fn sign_common(
        &self,
        encoding: &'static dyn RsaEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, SignatureError> {
        let key = primitive::RsaKeyPair::from_pkcs8(&self.pkcs8).map_err(|_| SignatureError::WrongKey)?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(encoding, &aws_lc_rs::rand::SystemRandom::new(), message, &mut signature)
            .map_err(|_| SignatureError::Failed)?;
        Ok(signature)
    }
}

impl PublicKey {
    /// Encrypts with RSA-OAEP, SHA-256 for both hashes; an empty label is none. The plaintext may have as many
    /// bytes as the modulus less 66.
    ///
    /// # Errors
    /// [`SignatureError::WrongKey`] if the key is not RSA of a supported size, [`SignatureError::Failed`] if the
    /// plaintext is too long.
    pub fn oaep_encrypt(&self, label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let key = PublicEncryptingKey::from_der(self.spki_der()).map_err(|_| SignatureError::WrongKey)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| SignatureError::WrongKey)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        let length = key
            .encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, optional(label))
            .map_err(|_| SignatureError::Failed)?
            .len();
        ciphertext.truncate(length);
        Ok(ciphertext)
    }
}

impl std::fmt::Debug for RsaKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RsaKeyPair({:?})", self.public)
    }
}

/// Modulus and exponent of a PKCS#1 RSAPublicKey.
pub(super) struct RsaPublicParts<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: &'a [u8],
}

impl<'a> RsaPublicParts<'a> {
    pub(super) fn from_pkcs1(pkcs1: &'a [u8]) -> Result<Self, KeyError> {
        let mut reader = DerReader::only(pkcs1, der::SEQUENCE)?;
        let parts = RsaPublicParts { modulus: reader.unsigned()?, exponent: reader.unsigned()? };
        reader.end()?;
        if parts.modulus.len() > RSA_PUBLIC_BITS_MAX / 8 || parts.exponent.len() > 8 {
            return Err(KeyError::Unsupported);
        }
        if parts.modulus.is_empty() || parts.exponent.is_empty() {
            return Err(KeyError::Invalid);
        }
        Ok(parts)
    }

    pub(super) fn bits(&self) -> usize {
        self.modulus.len() * 8 - self.modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

/// Whether the main library can use a modulus of so many bits.
pub(super) fn is_common_size(bits: usize) -> bool {
    (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits)
}

/// Verifies PSS with any salt and any size of key.
pub(super) fn verify_pss(
    pkcs1: &[u8],
    hash: HashAlgorithm,
    salt_len: usize,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let parts = RsaPublicParts::from_pkcs1(pkcs1).map_err(|_| SignatureError::WrongKey)?;
    if salt_len + hash.digest_len() + 2 > parts.modulus.len() {
        return Err(SignatureError::Invalid);
    }
    let key = RsaPublicKey::new_with_max_size(
        BigUint::from_bytes_be(parts.modulus),
        BigUint::from_bytes_be(parts.exponent),
        RSA_PUBLIC_BITS_MAX,
    )
    .map_err(|_| SignatureError::WrongKey)?;
    let padding = match hash {
        HashAlgorithm::Sha256 => Pss::new_with_salt::<Sha256>(salt_len),
        HashAlgorithm::Sha384 => Pss::new_with_salt::<Sha384>(salt_len),
        HashAlgorithm::Sha512 => Pss::new_with_salt::<Sha512>(salt_len),
    };
    key.verify(padding, hash.digest(message).as_ref(), signature).map_err(|_| SignatureError::Invalid)
}

/// PKCS#8 around a PKCS#1 key.
fn wrap_pkcs1(pkcs1: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut writer = DerWriter::with_capacity(pkcs1.len() + 64);
    writer.nested(der::SEQUENCE, |w| {
        w.unsigned(&[0]);
        w.nested(der::SEQUENCE, |w| {
            w.element(der::OID, oid::RSA_ENCRYPTION);
            w.element(der::NULL, b"");
        });
        w.element(der::OCTET_STRING, pkcs1);
    });
    writer.finish()
}

fn read_parts(pkcs8: &[u8]) -> Result<RsaPrivateParts, KeyError> {
    let mut reader = DerReader::only(pkcs8, der::SEQUENCE)?;
    reader.expect(der::INTEGER)?;
    if reader.nested(der::SEQUENCE)?.expect(der::OID)? != oid::RSA_ENCRYPTION {
        return Err(KeyError::Unsupported);
    }
    let mut key = DerReader::only(reader.expect(der::OCTET_STRING)?, der::SEQUENCE)?;
    if !key.unsigned()?.is_empty() {
        return Err(KeyError::Unsupported); // more than two primes
    }
    let mut number = || key.unsigned().map(|bytes| Zeroizing::new(bytes.to_vec()));
    Ok(RsaPrivateParts {
        n: number()?,
        e: number()?,
        d: number()?,
        p: number()?,
        q: number()?,
        dp: number()?,
        dq: number()?,
        qi: number()?,
    })
}

fn optional(label: &[u8]) -> Option<&[u8]> {
    if label.is_empty() { None } else { Some(label) }
}

/// The system's generator behind the trait of the crate `rsa`, whose `fill_bytes` cannot fail: callers first
/// make sure that the generator works.
struct SystemRng;

impl RngCore for SystemRng {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        random::fill(dest).expect("the system's generator worked a moment ago");
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        random::fill(dest).map_err(rsa::rand_core::Error::new)
    }
}

impl CryptoRng for SystemRng {}
