//! Suites and groups, in the specified order of preference.

use super::p521::SECP521R1;
use rustls::crypto::{
    CryptoProvider,
    aws_lc_rs::{self, cipher_suite as suite, kx_group as group},
};
use std::sync::{Arc, LazyLock};

/// The provider of every interface. Without plain X25519, as specified; SecP384r1MLKEM1024, which is optional,
/// does not exist in this library.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                suite::TLS13_AES_256_GCM_SHA384,
                suite::TLS13_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            kx_groups: vec![
                group::SECP256R1MLKEM768,
                group::X25519MLKEM768,
                &SECP521R1,
                group::SECP384R1,
                group::SECP256R1,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}
