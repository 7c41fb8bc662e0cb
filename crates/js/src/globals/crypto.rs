//! `ccf.crypto`: shells around the functions for scripts of the crypto crate.

use crate::engine::value::{JsResult, Scope, Val};

macro_rules! pending {
    ($($name:ident),*) => {$(
        pub(super) fn $name<'s>(scope: Scope<'s>, _this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
            Err(scope.throw_internal("not yet"))
        }
    )*};
}
pending!(
    sign,
    verify_signature,
    generate_aes_key,
    generate_rsa_key_pair,
    generate_ecdsa_key_pair,
    generate_eddsa_key_pair,
    wrap_key,
    unwrap_key,
    is_valid_cert_bundle,
    is_valid_cert_chain,
    pub_pem_to_jwk,
    pem_to_jwk,
    pub_rsa_pem_to_jwk,
    rsa_pem_to_jwk,
    pub_eddsa_pem_to_jwk,
    eddsa_pem_to_jwk,
    pub_jwk_to_pem,
    jwk_to_pem,
    pub_rsa_jwk_to_pem,
    rsa_jwk_to_pem,
    pub_eddsa_jwk_to_pem,
    eddsa_jwk_to_pem
);

pub(super) fn digest<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let [algorithm, data] = args else { return Err(scope.throw_type("Arguments are missing")) };
    if algorithm.to_text()? != "SHA-256" {
        return Err(scope.throw_range("unsupported digest algorithm, supported: SHA-256"));
    }
    let digest = data.with_buffer(ccf_crypto::hash::sha256);
    match digest {
        Some(digest) => scope.buffer(&digest.0),
        None => Err(scope.throw_type("Argument must be an ArrayBuffer")),
    }
}

/// Hex SHA-256 of the DER of the first certificate.
pub(crate) fn certificate_id(pem: &str) -> Result<String, String> {
    let block = ccf_crypto::pem::decode(pem).map_err(|error| error.to_string())?;
    Ok(ccf_crypto::hash::sha256(&block.contents).to_string())
}
