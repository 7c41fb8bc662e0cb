//! JSON Web Keys (RFC 7517, 7518, 8037) and their conversion to and from our keys (crypto 16.3).
//!
//! Members are declared in byte order, so that they are written sorted. Numbers are base64url, padded or not when
//! read. `x5c` and members we do not know may be present and are passed over.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::key::{
    Curve, EcKeyPair, Ed25519KeyPair, KeyError, KeyKind, PublicKey, RSA_BITS_MAX, RsaKeyPair,
    RsaPrivateParts, X25519KeyPair,
};

/// Why a JWK is not a key, or a key not a JWK.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// `kty` is another than this conversion wants.
    #[error("unexpected key type {0:?}")]
    KeyType(String),
    /// `crv` is not supported here.
    #[error("unsupported curve {0:?}")]
    Curve(String),
    /// A member is not base64url or has an impossible length.
    #[error("malformed JWK member {0:?}")]
    Member(&'static str),
    /// A member needed for a private key is missing.
    #[error("missing JWK member {0:?}")]
    Missing(&'static str),
    /// The key of the JWK or of the PEM is of another kind, or invalid.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// An elliptic curve key, `kty` `EC`; private if `d` is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcJwk {
    /// `P-256`, `P-384` or `P-521`.
    pub crv: String,
    /// Private scalar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<String>,
    /// Key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `EC`.
    pub kty: String,
    /// First coordinate, of the length of the field.
    pub x: String,
    /// Second coordinate.
    pub y: String,
}

/// An RSA key, `kty` `RSA`; private if all of `d`, `p`, `q`, `dp`, `dq`, `qi` are there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RsaJwk {
    /// Private exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<String>,
    /// `d mod (p - 1)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dp: Option<String>,
    /// `d mod (q - 1)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dq: Option<String>,
    /// Public exponent.
    pub e: String,
    /// Key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `RSA`.
    pub kty: String,
    /// Modulus.
    pub n: String,
    /// First prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<String>,
    /// Second prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// `1/q mod p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qi: Option<String>,
}

/// An Ed25519 or X25519 key, `kty` `OKP`; private if `d` is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OkpJwk {
    /// `Ed25519` or `X25519`.
    pub crv: String,
    /// Private bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<String>,
    /// Key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `OKP`.
    pub kty: String,
    /// Public bytes.
    pub x: String,
}

impl EcJwk {
    /// The JWK of a public key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] if the key is not EC.
    pub fn from_public(key: &PublicKey, kid: Option<String>) -> Result<Self, JwkError> {
        let curve = key.curve().ok_or(KeyError::Unsupported)?;
        let width = curve.field_len();
        let coordinates = match key.key_bits() {
            [0x04, rest @ ..] if rest.len() == 2 * width => rest,
            _ => return Err(KeyError::Unsupported.into()),
        };
        Ok(EcJwk {
            crv: curve_name(curve).to_owned(),
            d: None,
            kid,
            kty: EC.to_owned(),
            x: encode(&coordinates[..width]),
            y: encode(&coordinates[width..]),
        })
    }

    /// The JWK of a private key.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn from_private(key: &EcKeyPair, kid: Option<String>) -> Result<Self, JwkError> {
        let mut jwk = Self::from_public(key.public_key(), kid)?;
        jwk.d = Some(encode(&key.scalar()?));
        Ok(jwk)
    }

    /// The public key.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn to_public(&self) -> Result<PublicKey, JwkError> {
        let (curve, point) = self.point()?;
        Ok(PublicKey::from_ec_point(curve, &point)?)
    }

    /// The key pair.
    ///
    /// # Errors
    /// [`JwkError`], also if the private and the public part do not belong together.
    pub fn to_private(&self) -> Result<EcKeyPair, JwkError> {
        let (curve, point) = self.point()?;
        let d = self.d.as_deref().ok_or(JwkError::Missing("d"))?;
        let scalar = padded(d, curve.field_len(), "d")?;
        Ok(EcKeyPair::from_parts(curve, &scalar, &point)?)
    }

    fn point(&self) -> Result<(Curve, Vec<u8>), JwkError> {
        check_type(&self.kty, EC)?;
        let curve = Curve::ALL
            .into_iter()
            .find(|curve| curve_name(*curve) == self.crv)
            .ok_or_else(|| JwkError::Curve(self.crv.clone()))?;
        let mut point = vec![0x04];
        point.extend_from_slice(&padded(&self.x, curve.field_len(), "x")?);
        point.extend_from_slice(&padded(&self.y, curve.field_len(), "y")?);
        Ok((curve, point))
    }
}

impl RsaJwk {
    /// The JWK of a public key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] if the key is not RSA.
    pub fn from_public(key: &PublicKey, kid: Option<String>) -> Result<Self, JwkError> {
        let (modulus, exponent) = key.rsa_parts().ok_or(KeyError::Unsupported)?;
        Ok(RsaJwk {
            d: None,
            dp: None,
            dq: None,
            e: encode(exponent),
            kid,
            kty: RSA.to_owned(),
            n: encode(modulus),
            p: None,
            q: None,
            qi: None,
        })
    }

    /// The JWK of a private key.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn from_private(key: &RsaKeyPair, kid: Option<String>) -> Result<Self, JwkError> {
        let parts = key.parts()?;
        let mut jwk = Self::from_public(key.public_key(), kid)?;
        jwk.d = Some(encode(&parts.d));
        jwk.dp = Some(encode(&parts.dp));
        jwk.dq = Some(encode(&parts.dq));
        jwk.p = Some(encode(&parts.p));
        jwk.q = Some(encode(&parts.q));
        jwk.qi = Some(encode(&parts.qi));
        Ok(jwk)
    }

    /// The public key.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn to_public(&self) -> Result<PublicKey, JwkError> {
        check_type(&self.kty, RSA)?;
        Ok(PublicKey::from_rsa_parts(&decode(&self.n, "n")?, &decode(&self.e, "e")?)?)
    }

    /// The key pair; all private members are needed.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn to_private(&self) -> Result<RsaKeyPair, JwkError> {
        check_type(&self.kty, RSA)?;
        let private =
            |member: &Option<String>, name| decode(member.as_deref().ok_or(JwkError::Missing(name))?, name);
        let parts = RsaPrivateParts {
            n: decode(&self.n, "n")?,
            e: decode(&self.e, "e")?,
            d: private(&self.d, "d")?,
            p: private(&self.p, "p")?,
            q: private(&self.q, "q")?,
            dp: private(&self.dp, "dp")?,
            dq: private(&self.dq, "dq")?,
            qi: private(&self.qi, "qi")?,
        };
        Ok(RsaKeyPair::from_parts(&parts)?)
    }
}

impl OkpJwk {
    /// The JWK of a public key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] if the key is neither Ed25519 nor X25519.
    pub fn from_public(key: &PublicKey, kid: Option<String>) -> Result<Self, JwkError> {
        let crv = match key.kind() {
            KeyKind::Ed25519 => ED25519,
            KeyKind::X25519 => X25519,
            _ => return Err(KeyError::Unsupported.into()),
        };
        Ok(OkpJwk { crv: crv.to_owned(), d: None, kid, kty: OKP.to_owned(), x: encode(key.key_bits()) })
    }

    /// The JWK of a signing key.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn from_ed25519(key: &Ed25519KeyPair, kid: Option<String>) -> Result<Self, JwkError> {
        let mut jwk = Self::from_public(key.public_key(), kid)?;
        jwk.d = Some(encode(&key.seed()?));
        Ok(jwk)
    }

    /// The JWK of an agreement key.
    ///
    /// # Errors
    /// None in practice.
    pub fn from_x25519(key: &X25519KeyPair, kid: Option<String>) -> Result<Self, JwkError> {
        let mut jwk = Self::from_public(key.public_key(), kid)?;
        jwk.d = Some(encode(key.private_bytes()));
        Ok(jwk)
    }

    /// The public key.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn to_public(&self) -> Result<PublicKey, JwkError> {
        check_type(&self.kty, OKP)?;
        let x = decode(&self.x, "x")?;
        Ok(match self.crv.as_str() {
            ED25519 => PublicKey::from_ed25519(&x)?,
            X25519 => PublicKey::from_x25519(&x)?,
            other => return Err(JwkError::Curve(other.to_owned())),
        })
    }

    /// The private key as PEM `PRIVATE KEY`; the public part must belong to it.
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn to_private_pem(&self) -> Result<Zeroizing<String>, JwkError> {
        let public = self.to_public()?;
        let d = decode(self.d.as_deref().ok_or(JwkError::Missing("d"))?, "d")?;
        let (found, pem) = if self.crv == ED25519 {
            let key = Ed25519KeyPair::from_seed(&d)?;
            (key.public_key().clone(), key.to_pkcs8_pem()?)
        } else {
            let key = X25519KeyPair::from_private(&d)?;
            (key.public_key().clone(), key.to_pkcs8_pem())
        };
        if found == public { Ok(pem) } else { Err(KeyError::Invalid.into()) }
    }
}

impl Drop for EcJwk {
    fn drop(&mut self) {
        self.d.zeroize();
    }
}

impl Drop for RsaJwk {
    fn drop(&mut self) {
        for secret in [&mut self.d, &mut self.dp, &mut self.dq, &mut self.p, &mut self.q, &mut self.qi] {
            secret.zeroize();
        }
    }
}

impl Drop for OkpJwk {
    fn drop(&mut self) {
        self.d.zeroize();
    }
}

impl std::fmt::Debug for EcJwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EcJwk({}, x: {})", self.crv, self.x)
    }
}

impl std::fmt::Debug for RsaJwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RsaJwk(n: {})", self.n)
    }
}

impl std::fmt::Debug for OkpJwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OkpJwk({}, x: {})", self.crv, self.x)
    }
}

const EC: &str = "EC";
const RSA: &str = "RSA";
const OKP: &str = "OKP";
const ED25519: &str = "Ed25519";
const X25519: &str = "X25519";

/// Longest member that can be part of a key: the modulus of the largest public key, in base64.
const MEMBER_BYTES_MAX: usize = 2 * RSA_BITS_MAX / 8 * 4 / 3 + 4;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
    }
}

fn check_type(kty: &str, expected: &str) -> Result<(), JwkError> {
    if kty == expected { Ok(()) } else { Err(JwkError::KeyType(kty.to_owned())) }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

fn decode(text: &str, name: &'static str) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    if text.len() > MEMBER_BYTES_MAX {
        return Err(JwkError::Member(name));
    }
    BASE64URL.decode(text).map(Zeroizing::new).map_err(|_| JwkError::Member(name))
}

/// Decodes a number and pads it on the left to the width of the field.
fn padded(text: &str, width: usize, name: &'static str) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    let bytes = decode(text, name)?;
    let missing = width.checked_sub(bytes.len()).ok_or(JwkError::Member(name))?;
    let mut out = Zeroizing::new(vec![0; width]);
    out[missing..].copy_from_slice(&bytes);
    Ok(out)
}
