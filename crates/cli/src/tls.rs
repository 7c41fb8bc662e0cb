//! TLS as a client of a service: the service certificate is the root of trust, a key pair is optional.
//!
//! A CCF service has a self-signed certificate that endorses its nodes; there is no public authority to ask. Reading
//! keys and certificates from files happens here for every command that opens connections.

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Whom to believe, and who we are.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM of the service certificate (or of a self-signed node certificate). `None` accepts any server.
    pub service_certificate: Option<PathBuf>,
    /// PEM of our certificate and of its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why a TLS client could not be set up; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A certificate file cannot be read.
    #[error("{path}: not a readable PEM certificate: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A key file cannot be read.
    #[error("{path}: not a readable PEM private key: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// Certificate and key do not belong together, or their algorithm is not supported.
    #[error("the client certificate and key cannot be used: {0}")]
    Identity(#[source] rustls::Error),
    /// The address has no usable host name.
    #[error("'{0}' is not a host name or IP address")]
    Host(String),
}

/// A client configuration for `files`; `protocols` are the ALPN names to offer, in order.
///
/// # Errors
/// [`TlsSetupError`] names the file that cannot be used.
pub fn client_config(files: &TlsFiles, protocols: &[&str]) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match &files.service_certificate {
        Some(path) => ServiceVerifier::trusting(certificates(path)?, &provider, path)?,
        None => ServiceVerifier { trusted: Vec::new(), chain: None, provider: Arc::clone(&provider) },
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Identity)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &files.identity {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| TlsSetupError::Key { path: key.clone(), reason: e.to_string() })?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(TlsSetupError::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// The name to send to, and check against, the server at `host` (no port; IPv6 with or without brackets).
///
/// # Errors
/// [`TlsSetupError::Host`].
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsSetupError::Host(host.to_owned()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let fail = |reason: String| TlsSetupError::Certificate { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?.collect();
    match found {
        Ok(list) if list.is_empty() => Err(fail("no certificate in it".to_owned())),
        Ok(list) => Ok(list),
        Err(e) => Err(fail(e.to_string())),
    }
}

/// Accepts a server whose certificate is the trusted one, or is endorsed by it; without any, accepts every server.
#[derive(Debug)]
struct ServiceVerifier {
    trusted: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServiceVerifier {
    fn trusting(
        trusted: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
        path: &Path,
    ) -> Result<Self, TlsSetupError> {
        let fail = |reason: String| TlsSetupError::Certificate { path: path.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|e| fail(e.to_string()))?;
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|e| fail(e.to_string()))?;
        Ok(ServiceVerifier { trusted, chain: Some(chain), provider: Arc::clone(provider) })
    }
}

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.chain {
            None => Ok(ServerCertVerified::assertion()),
            Some(_) if self.trusted.contains(end_entity) => Ok(ServerCertVerified::assertion()),
            Some(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
