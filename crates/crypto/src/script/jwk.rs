//! The twelve conversions between PEM and JWK (crypto 16.3). JWKs are JSON text on this side.

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{ScriptError, internal};
use crate::{
    jwk::{EcJwk, JwkError, OkpJwk, RsaJwk},
    key::{EcKeyPair, KeyError, KeyPair, PublicKey, RsaKeyPair},
};

type Json = Result<Zeroizing<String>, ScriptError>;
type Pem = Result<Zeroizing<String>, ScriptError>;

/// `pubPemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no EC public key.
pub fn pub_pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| script_curve(EcJwk::from_public(&PublicKey::from_pem(pem)?, owned(kid))?))
}

/// `pemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no EC private key.
pub fn pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| script_curve(EcJwk::from_private(&EcKeyPair::from_pem(pem)?, owned(kid))?))
}

/// `pubRsaPemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no RSA public key.
pub fn pub_rsa_pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| RsaJwk::from_public(&PublicKey::from_pem(pem)?, owned(kid)))
}

/// `rsaPemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no RSA private key.
pub fn rsa_pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| RsaJwk::from_private(&RsaKeyPair::from_pem(pem)?, owned(kid)))
}

/// `pubEddsaPemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no Ed25519 or X25519 public key.
pub fn pub_eddsa_pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| OkpJwk::from_public(&PublicKey::from_pem(pem)?, owned(kid)))
}

/// `eddsaPemToJwk`.
///
/// # Errors
/// `InternalError` if the PEM is no Ed25519 or X25519 private key.
pub fn eddsa_pem_to_jwk(pem: &str, kid: Option<&str>) -> Json {
    to_json(|| match KeyPair::from_pem(pem)? {
        KeyPair::Ed25519(key) => OkpJwk::from_ed25519(&key, owned(kid)),
        KeyPair::X25519(key) => OkpJwk::from_x25519(&key, owned(kid)),
        _ => Err(KeyError::Unsupported.into()),
    })
}

/// `pubJwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no EC key.
pub fn pub_jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: EcJwk| Ok(Zeroizing::new(script_curve(jwk)?.to_public()?.to_pem())))
}

/// `jwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no private EC key.
pub fn jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: EcJwk| Ok(script_curve(jwk)?.to_private()?.to_pkcs8_pem()?))
}

/// `pubRsaJwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no RSA key.
pub fn pub_rsa_jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: RsaJwk| Ok(Zeroizing::new(jwk.to_public()?.to_pem())))
}

/// `rsaJwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no private RSA key.
pub fn rsa_jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: RsaJwk| Ok(jwk.to_private()?.to_pkcs8_pem()))
}

/// `pubEddsaJwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no Ed25519 or X25519 key.
pub fn pub_eddsa_jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: OkpJwk| Ok(Zeroizing::new(jwk.to_public()?.to_pem())))
}

/// `eddsaJwkToPem`.
///
/// # Errors
/// `InternalError` if the JSON is no private Ed25519 or X25519 key.
pub fn eddsa_jwk_to_pem(jwk: &str) -> Pem {
    to_pem(jwk, |jwk: OkpJwk| jwk.to_private_pem())
}

/// Scripts have no P-521.
fn script_curve(jwk: EcJwk) -> Result<EcJwk, JwkError> {
    if jwk.crv == "P-521" { Err(JwkError::Curve(jwk.crv.clone())) } else { Ok(jwk) }
}

fn to_json<T: Serialize>(convert: impl FnOnce() -> Result<T, JwkError>) -> Json {
    let failed = "Failed to convert pem to jwk";
    let jwk = convert().map_err(|error| internal(failed, error))?;
    serde_json::to_string(&jwk).map(Zeroizing::new).map_err(|error| internal(failed, error))
}

fn to_pem<T: DeserializeOwned>(
    json: &str,
    convert: impl FnOnce(T) -> Result<Zeroizing<String>, JwkError>,
) -> Pem {
    let failed = "Failed to convert jwk to pem";
    // The text of a parse error could quote a secret.
    let jwk = serde_json::from_str(json).map_err(|_| internal(failed, "not a JWK of this type"))?;
    convert(jwk).map_err(|error| internal(failed, error))
}

fn owned(kid: Option<&str>) -> Option<String> {
    kid.map(str::to_owned)
}
