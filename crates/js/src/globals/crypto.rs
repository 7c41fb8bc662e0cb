//! `ccf.crypto`: shells around [`ccf_crypto::script`] (cryptography specification, section 16).

use crate::engine::value::{JsResult, Scope, Thrown, Val};
use ccf_crypto::script::{self, PemPair, ScriptError, SigningParameters, WrappingParameters};
use std::time::SystemTime;
use time::OffsetDateTime;

type Args<'a, 's> = &'a [Val<'s>];

pub(super) fn sign<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [algorithm, key, data] = args else { return Err(missing(scope)) };
    let algorithm = Algorithm::read(algorithm)?;
    let (key, data) = (key.to_text()?, buffer(scope, data)?);
    let signature = checked(scope, script::sign(&algorithm.signing(), &key, &data))?;
    scope.buffer(&signature)
}

pub(super) fn verify_signature<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [algorithm, key, signature, data] = args else { return Err(missing(scope)) };
    let algorithm = Algorithm::read(algorithm)?;
    let (key, signature, data) = (key.to_text()?, buffer(scope, signature)?, buffer(scope, data)?);
    let valid = checked(scope, script::verify_signature(&algorithm.signing(), &key, &signature, &data))?;
    Ok(scope.boolean(valid))
}

pub(super) fn generate_aes_key<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [bits] = args else { return Err(missing(scope)) };
    scope.host().impure.set(true);
    let key = checked(scope, script::generate_aes_key(bits.to_int64()?))?;
    scope.buffer(&key)
}

pub(super) fn generate_rsa_key_pair<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let Some(bits) = args.first() else { return Err(missing(scope)) };
    let exponent = match args.get(1).filter(|e| !e.is_undefined()) {
        Some(exponent) => Some(exponent.to_int64()?),
        None => None,
    };
    pair(scope, script::generate_rsa_key_pair(bits.to_int64()?, exponent))
}

pub(super) fn generate_ecdsa_key_pair<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [curve] = args else { return Err(missing(scope)) };
    pair(scope, script::generate_ecdsa_key_pair(&curve.to_text()?))
}

pub(super) fn generate_eddsa_key_pair<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [curve] = args else { return Err(missing(scope)) };
    pair(scope, script::generate_eddsa_key_pair(&curve.to_text()?))
}

pub(super) fn wrap_key<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [key, wrapping_key, parameters] = args else { return Err(missing(scope)) };
    scope.host().impure.set(true);
    let (key, wrapping_key) = (buffer(scope, key)?, buffer(scope, wrapping_key)?);
    let parameters = Wrapping::read(scope, parameters)?;
    let wrapped = checked(scope, script::wrap_key(&key, &wrapping_key, &parameters.borrow()))?;
    scope.buffer(&wrapped)
}

pub(super) fn unwrap_key<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [wrapped, unwrapping_key, parameters] = args else { return Err(missing(scope)) };
    let (wrapped, unwrapping_key) = (buffer(scope, wrapped)?, buffer(scope, unwrapping_key)?);
    let parameters = Wrapping::read(scope, parameters)?;
    let key = checked(scope, script::unwrap_key(&wrapped, &unwrapping_key, &parameters.borrow()))?;
    scope.buffer(&key)
}

pub(super) fn digest<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [algorithm, data] = args else { return Err(missing(scope)) };
    let algorithm = algorithm.to_text()?;
    let digest = data.with_buffer(|bytes| script::digest(&algorithm, bytes));
    let digest = checked(scope, digest.ok_or_else(|| not_a_buffer(scope))?)?;
    scope.buffer(&digest.0)
}

pub(super) fn is_valid_cert_bundle<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [pem] = args else { return Err(missing(scope)) };
    Ok(scope.boolean(script::is_valid_x509_cert_bundle(&pem.to_text()?)))
}

pub(super) fn is_valid_cert_chain<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [chain, trusted] = args else { return Err(missing(scope)) };
    let (chain, trusted) = (chain.to_text()?, trusted.to_text()?);
    scope.host().impure.set(true);
    let now = OffsetDateTime::from(SystemTime::now());
    let valid = checked(scope, script::is_valid_x509_cert_chain(&chain, &trusted, now))?;
    Ok(scope.boolean(valid))
}

pub(super) fn pem_to_id<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
    let [pem] = args else { return Err(missing(scope)) };
    let id = checked(scope, script::pem_to_id(&pem.to_text()?))?;
    scope.string(&id)
}

macro_rules! pem_to_jwk {
    ($($name:ident),*) => {$(
        pub(super) fn $name<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
            let Some(pem) = args.first() else { return Err(missing(scope)) };
            let kid = match args.get(1).filter(|kid| !kid.is_undefined()) {
                Some(kid) => Some(kid.to_text()?),
                None => None,
            };
            let jwk = checked(scope, script::$name(&pem.to_text()?, kid.as_deref()))?;
            scope.parse_json(jwk.as_bytes())
        }
    )*};
}
pem_to_jwk!(
    pub_pem_to_jwk,
    pem_to_jwk,
    pub_rsa_pem_to_jwk,
    rsa_pem_to_jwk,
    pub_eddsa_pem_to_jwk,
    eddsa_pem_to_jwk
);

macro_rules! jwk_to_pem {
    ($($name:ident),*) => {$(
        pub(super) fn $name<'s>(scope: Scope<'s>, _: &Val<'s>, args: Args<'_, 's>) -> JsResult<Val<'s>> {
            let [jwk] = args else { return Err(missing(scope)) };
            let pem = checked(scope, script::$name(&jwk.to_json()?.to_text()?))?;
            scope.string(&pem)
        }
    )*};
}
jwk_to_pem!(
    pub_jwk_to_pem,
    jwk_to_pem,
    pub_rsa_jwk_to_pem,
    rsa_jwk_to_pem,
    pub_eddsa_jwk_to_pem,
    eddsa_jwk_to_pem
);

/// `{name, hash?, saltLength?}`.
struct Algorithm {
    name: String,
    hash: Option<String>,
    salt_length: Option<i64>,
}

impl Algorithm {
    fn read(value: &Val<'_>) -> JsResult<Algorithm> {
        let salt = value.get("saltLength")?;
        Ok(Algorithm {
            name: value.get("name")?.to_text()?,
            hash: optional_text(value, "hash")?,
            salt_length: if salt.is_undefined() { None } else { Some(salt.to_int64()?) },
        })
    }

    fn signing(&self) -> SigningParameters<'_> {
        SigningParameters { name: &self.name, hash: self.hash.as_deref(), salt_length: self.salt_length }
    }
}

/// `{name, label?, aesKeySize?}`.
struct Wrapping {
    name: String,
    label: Vec<u8>,
    aes_key_size: Option<i64>,
}

impl Wrapping {
    fn read(scope: Scope<'_>, value: &Val<'_>) -> JsResult<Wrapping> {
        let label = value.get("label")?;
        let size = value.get("aesKeySize")?;
        Ok(Wrapping {
            name: value.get("name")?.to_text()?,
            label: if label.is_undefined() {
                Vec::new()
            } else {
                label.buffer_bytes().ok_or_else(|| not_a_buffer(scope))?
            },
            aes_key_size: if size.is_undefined() { None } else { Some(size.to_int64()?) },
        })
    }

    fn borrow(&self) -> WrappingParameters<'_> {
        WrappingParameters { name: &self.name, label: Some(&self.label), aes_key_size: self.aes_key_size }
    }
}

fn optional_text(value: &Val<'_>, name: &str) -> JsResult<Option<String>> {
    let member = value.get(name)?;
    if member.is_undefined() { Ok(None) } else { member.to_text().map(Some) }
}

fn pair<'s>(scope: Scope<'s>, made: Result<PemPair, ScriptError>) -> JsResult<Val<'s>> {
    scope.host().impure.set(true);
    let made = checked(scope, made)?;
    let object = scope.object()?;
    object.set("privateKey", scope.string(&made.private_key)?)?;
    object.set("publicKey", scope.string(&made.public_key)?)?;
    Ok(object)
}

fn checked<T>(scope: Scope<'_>, result: Result<T, ScriptError>) -> JsResult<T> {
    result.map_err(|error| match error {
        ScriptError::Range(message) => scope.throw_range(&message),
        ScriptError::Internal(message) => scope.throw_internal(&message),
    })
}

fn buffer(scope: Scope<'_>, value: &Val<'_>) -> JsResult<Vec<u8>> {
    value.buffer_bytes().ok_or_else(|| not_a_buffer(scope))
}

fn not_a_buffer(scope: Scope<'_>) -> Thrown {
    scope.throw_type("Argument must be an ArrayBuffer")
}

fn missing(scope: Scope<'_>) -> Thrown {
    scope.throw_type("Arguments are missing")
}
