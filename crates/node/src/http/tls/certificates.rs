//! Which certificate an interface presents, and to whom a session belongs.

use super::{client::AnyClient, provider::provider};
use crate::http::settings::AppProtocol;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::sync::Arc;

/// A certificate and its key, ready to be presented.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
}

/// The certificate or the key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsIdentityError {
    /// No certificate in the text.
    #[error("the text holds no PEM certificate")]
    NoCertificate,
    /// No private key in the text.
    #[error("the text holds no PEM private key")]
    NoKey,
    /// The TLS library does not take them.
    #[error("the certificate and key cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl TlsIdentity {
    /// Reads a PEM certificate (or chain, the node's own first) and the PEM private key of the first one.
    ///
    /// # Errors
    /// [`TlsIdentityError`] if one is missing, of an unknown kind, or they do not belong together.
    pub fn from_pem(certificates: &str, key: &str) -> Result<TlsIdentity, TlsIdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsIdentityError::NoCertificate)?;
        if chain.is_empty() {
            return Err(TlsIdentityError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsIdentityError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsIdentityError::Unusable)?;
        Ok(TlsIdentity { key: Arc::new(key) })
    }
}

/// The TLS configuration of one interface; empty until there is a certificate.
#[derive(Debug, Default)]
pub(crate) struct InterfaceTls {
    current: ArcSwapOption<Configurations>,
}

/// The same certificate with and without a protocol offered.
///
/// A client that names only protocols which this interface does not speak is served all the same (node
/// specification, section 14.1), where the TLS library would refuse it.
#[derive(Debug)]
pub(crate) struct Configurations {
    protocol: &'static [u8],
    with_protocol: Arc<ServerConfig>,
    without: Arc<ServerConfig>,
}

impl InterfaceTls {
    /// Presents another certificate from now on.
    pub(crate) fn set(&self, identity: &TlsIdentity, protocol: AppProtocol) -> Result<(), TlsIdentityError> {
        let name: &'static [u8] = match protocol {
            AppProtocol::Http1 => b"http/1.1",
            AppProtocol::Http2 => b"h2",
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsIdentityError::Unusable)?
            .with_client_cert_verifier(AnyClient::new())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone())));
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let without = Arc::new(config.clone());
        config.alpn_protocols = vec![name.to_vec()];
        let configurations = Configurations { protocol: name, with_protocol: Arc::new(config), without };
        self.current.store(Some(Arc::new(configurations)));
        Ok(())
    }

    /// The configuration for a connection that arrives now; `None`: no certificate yet.
    pub(crate) fn current(&self) -> Option<Arc<Configurations>> {
        self.current.load_full()
    }
}

impl Configurations {
    /// The configuration that fits what the client offers.
    pub(crate) fn for_hello(&self, hello: &rustls::server::ClientHello<'_>) -> Arc<ServerConfig> {
        let fits = hello.alpn().is_none_or(|mut offered| offered.any(|p| p == self.protocol));
        if fits { self.with_protocol.clone() } else { self.without.clone() }
    }
}

/// The certificates a client presented, in DER.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerCertificates {
    pub(crate) leaf: Option<Bytes>,
    pub(crate) chain: Vec<Bytes>,
}

impl PeerCertificates {
    pub(crate) fn new(certificates: Option<&[CertificateDer<'static>]>) -> PeerCertificates {
        let mut certificates =
            certificates.unwrap_or_default().iter().map(|c| Bytes::copy_from_slice(c.as_ref()));
        PeerCertificates { leaf: certificates.next(), chain: certificates.collect() }
    }
}
