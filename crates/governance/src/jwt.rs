//! Keys of JWT issuers (governance 13.2 to 13.4).

use crate::tables::{self, base64::Base64, jwt::JwtKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ccf_crypto::{
    cert::{Certificate, CertificateError},
    key::{Curve, KeyError, PublicKey},
};
use ccf_kv::{KvError, Tx};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The keys of an issuer are not acceptable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JwtKeyError {
    /// Not a JSON Web Key Set.
    #[error("JWKS: {0}")]
    Shape(#[from] serde_json::Error),
    /// No key at all.
    #[error("JWKS has no keys")]
    Empty,
    /// A key without `kid`.
    #[error("a key of the JWKS has no kid")]
    NoKid,
    /// A key of a kind that cannot verify tokens.
    #[error("JWKS kid {kid}: {reason}")]
    Key {
        /// Which key.
        kid: String,
        /// What is wrong.
        reason: String,
    },
    /// The issuer of a key is not in the domain of the issuer that publishes it.
    #[error("JWKS kid {kid} with issuer constraint {constraint} fails validation against issuer {issuer}")]
    Constraint {
        /// Which key.
        kid: String,
        /// The key's own issuer.
        constraint: String,
        /// Who publishes it.
        issuer: String,
    },
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<WebKey>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    kid: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    crv: String,
    issuer: Option<String>,
}

/// Makes `jwks` the keys of an issuer; its other keys go.
pub(crate) fn set_keys(tx: &Tx, issuer: &str, jwks: &Value) -> Result<(), JwtKeyError> {
    let set = KeySet::deserialize(jwks)?;
    if set.keys.is_empty() {
        return Err(JwtKeyError::Empty);
    }
    let mut new: BTreeMap<String, JwtKey> = BTreeMap::new();
    for key in set.keys {
        let kid = key.kid.clone().ok_or(JwtKeyError::NoKid)?;
        let public_key = key.public_key().map_err(|reason| JwtKeyError::Key { kid: kid.clone(), reason })?;
        if let Some(constraint) = &key.issuer
            && !constraint_fits(issuer, constraint)
        {
            let (constraint, issuer) = (constraint.clone(), issuer.to_owned());
            return Err(JwtKeyError::Constraint { kid, constraint, issuer });
        }
        let public_key = Base64(public_key.spki_der().to_vec());
        // Of two keys with one kid the first counts.
        new.entry(kid).or_insert(JwtKey { constraint: key.issuer, issuer: issuer.to_owned(), public_key });
    }

    let table = tx.rw(&tables::JWT_KEYS);
    for (kid, key) in &new {
        let mut entries = table.get(kid)?.unwrap_or_default();
        match entries.iter_mut().find(|entry| entry.issuer == issuer) {
            Some(entry) if entry == key => continue,
            Some(entry) => *entry = key.clone(),
            None => entries.push(key.clone()),
        }
        table.put(kid, &entries)?;
    }
    drop_keys(tx, issuer, |kid| new.contains_key(kid))
}

/// Removes all keys of an issuer.
pub(crate) fn remove_keys(tx: &Tx, issuer: &str) -> Result<(), JwtKeyError> {
    drop_keys(tx, issuer, |_| false)
}

fn drop_keys(tx: &Tx, issuer: &str, keep: impl Fn(&str) -> bool) -> Result<(), JwtKeyError> {
    let table = tx.rw(&tables::JWT_KEYS);
    for (kid, mut entries) in table.entries()? {
        let before = entries.len();
        if keep(&kid) {
            continue;
        }
        entries.retain(|entry| entry.issuer != issuer);
        if entries.is_empty() {
            table.remove(&kid)?;
        } else if entries.len() < before {
            table.put(&kid, &entries)?;
        }
    }
    Ok(())
}

impl WebKey {
    /// The key, from the first of its forms that is there: RSA numbers, a point of a curve, a certificate.
    fn public_key(&self) -> Result<PublicKey, String> {
        if !matches!(self.kty.as_str(), "EC" | "RSA" | "OKP") {
            return Err(format!("unsupported kty {}", self.kty));
        }
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|e| e.to_string());
        let key_error = |e: KeyError| e.to_string();
        if !self.n.is_empty() && !self.e.is_empty() {
            return PublicKey::from_rsa_parts(&number(&self.n)?, &number(&self.e)?).map_err(key_error);
        }
        if !self.x.is_empty() && !self.y.is_empty() && !self.crv.is_empty() {
            let (curve, len) = match self.crv.as_str() {
                "P-256" => (Curve::P256, 32),
                "P-384" => (Curve::P384, 48),
                "P-521" => (Curve::P521, 66),
                other => return Err(format!("unsupported crv {other}")),
            };
            let mut point = vec![4];
            for coordinate in [number(&self.x)?, number(&self.y)?] {
                if coordinate.len() != len {
                    return Err("a coordinate has the wrong length".to_owned());
                }
                point.extend(coordinate);
            }
            return PublicKey::from_ec_point(curve, &point).map_err(key_error);
        }
        let Some(certificate) = self.x5c.first() else {
            return Err("neither n and e, x, y and crv, nor x5c".to_owned());
        };
        let der = Base64::decode(certificate).ok_or("x5c is not base64")?;
        let certificate = Certificate::from_der(&der.0).map_err(|e: CertificateError| e.to_string())?;
        certificate.public_key().cloned().map_err(key_error)
    }
}

/// Whether a key's own issuer is the issuer that publishes it, or a parent domain of it.
fn constraint_fits(issuer: &str, constraint: &str) -> bool {
    let (Some(issuer), Some(constraint)) = (url_host(issuer), url_host(constraint)) else { return false };
    issuer == constraint || issuer.strip_suffix(constraint).is_some_and(|rest| rest.ends_with('.'))
}

/// The host of a URL, without user and port.
fn url_host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::constraint_fits;

    #[test]
    fn constraints_are_parent_domains_only() {
        let issuer = "https://trusted.issuer.com/x";
        for (constraint, fits) in [
            ("https://issuer.com", true),
            ("https://trusted.issuer.com", true),
            ("https://trusted.issuer.com:444/y", true),
            ("https://sub.trusted.issuer.com", false),
            ("https://suer.com", false),
            ("https://another.com", false),
            ("https://issuer.com.domain", false),
            ("", false),
            ("garbage", false),
            ("https://", false),
        ] {
            assert_eq!(constraint_fits(issuer, constraint), fits, "{constraint}");
        }
        assert!(!constraint_fits("name", "name"));
    }
}
