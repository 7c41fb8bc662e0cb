//! One HTTPS request to another node. Of a service: the server's certificate must chain to the service certificate, whatever
//! its names and dates say. Or of none that is known yet: then any certificate is good.

use crate::http::tls_provider;
use bytes::Bytes;
use ccf_crypto::cert::{Certificate, verify_chain};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{fmt::Display, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The longest time for one request, handshake included: a target that answers no more is asked again.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// The largest answer taken. One with a hundred thousand ledger secrets is smaller.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Bytes of an answer's body that are shown in the log.
const SHOWN_BYTES_MAX: usize = 4096;

/// Asks nodes.
pub(crate) struct Client {
    tls: TlsConnector,
    http2: bool,
}

/// Which nodes are asked.
pub(crate) enum Trust<'a> {
    /// Those of the service with this certificate, PEM.
    Service(&'a str),
    /// Whoever listens at the address.
    Anybody,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Bytes,
}

/// There is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other side is not a node of the service, or does not accept this one.
    Handshake(String),
    /// Nobody answers; that may pass.
    Connection(String),
}

impl Client {
    /// A client that shows this certificate and trusts those nodes.
    pub(crate) fn new(
        trust: &Trust<'_>,
        certificate: &str,
        private_key: &str,
        http2: bool,
    ) -> Result<Client, String> {
        let service = match trust {
            Trust::Anybody => None,
            Trust::Service(pem) => Some(
                Certificate::from_pem(pem).map_err(|error| format!("the service certificate: {error}"))?,
            ),
        };
        let text = |error: &dyn Display| format!("this node's certificate and key: {error}");
        let own = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| text(&e))?;
        let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|e| text(&e))?;
        let provider = tls_provider();
        let verifier = Arc::new(NodeOfService { service, provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![own], key)
            .map_err(|e| text(&e))?;
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Client { tls: TlsConnector::from(Arc::new(config)), http2 })
    }

    /// Sends JSON to a path of `target`, `host:port`.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        match tokio::time::timeout(REQUEST_TIME_MAX, self.exchange(method, target, path, body)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Connection(format!("no answer within {} s", REQUEST_TIME_MAX.as_secs()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let connection = |error: &dyn Display| Failure::Connection(error.to_string());
        let stream = self.connect(target).await?;
        let request = Request::builder()
            .method(method)
            .uri(if self.http2 { format!("https://{target}{path}") } else { path.to_owned() })
            .header(header::CONTENT_TYPE, "application/json");
        let request = if self.http2 { request } else { request.header(header::HOST, target) };
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| connection(&e))?;
        let io = TokioIo::new(stream);
        // The connection is driven until the answer is there, then dropped with this future.
        let response = if self.http2 {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
            let (mut sender, driver) = handshake.await.map_err(|e| connection(&e))?;
            drive(driver, async move { read(sender.send_request(request).await).await }).await
        } else {
            let (mut sender, driver) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| connection(&e))?;
            drive(driver, async move { read(sender.send_request(request).await).await }).await
        };
        response.map_err(Failure::Connection)
    }

    async fn connect(&self, target: &str) -> Result<TlsStream<TcpStream>, Failure> {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::Handshake(format!("{host}: {error}")))?;
        let stream =
            TcpStream::connect(target).await.map_err(|error| Failure::Connection(error.to_string()))?;
        self.tls.connect(name, stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(Error::InvalidCertificate(reason)) => {
                    Failure::Handshake(format!("invalid cert on handshake: {reason}"))
                }
                Some(tls) => Failure::Handshake(tls.to_string()),
                // The connection broke; what the other side thinks of us is not known.
                None => Failure::Connection(error.to_string()),
            }
        })
    }
}

/// Runs the connection beside the exchange that uses it.
async fn drive<D, E: Display>(
    driver: D,
    exchange: impl Future<Output = Result<Answer, String>>,
) -> Result<Answer, String>
where
    D: Future<Output = Result<(), E>>,
{
    let (mut driver, mut exchange) = (std::pin::pin!(driver), std::pin::pin!(exchange));
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut driver => {
            // What has arrived before the end can still be read.
            let reason = ended.err().map(|error| error.to_string());
            exchange.await.map_err(|error| reason.unwrap_or(error))
        }
    }
}

async fn read<E: Display>(
    response: Result<hyper::Response<hyper::body::Incoming>, E>,
) -> Result<Answer, String> {
    let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    let location = head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    Ok(Answer { status: head.status.as_u16(), location: location.map(str::to_owned), body: body.to_bytes() })
}

impl Answer {
    /// The body for the log.
    pub(super) fn text(&self) -> String {
        let shown = self.body.get(..SHOWN_BYTES_MAX).unwrap_or(&self.body);
        String::from_utf8_lossy(shown).into_owned()
    }

    /// Status, reason and body for the log.
    pub(crate) fn summary(&self) -> String {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let reason = reason.unwrap_or_default();
        // A body with status 200 may hold secrets.
        if self.body.is_empty() || self.status == 200 {
            format!("{} {reason}", self.status)
        } else {
            format!("{} {reason}  '{}'", self.status, self.text())
        }
    }

    /// The code of an error body.
    pub(super) fn error_code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body.get("error")?.get("code")?.as_str().map(str::to_owned)
    }

    /// `host:port` of the location.
    pub(super) fn location_address(&self) -> Option<String> {
        let uri: Uri = self.location.as_deref()?.parse().ok()?;
        let authority = uri.authority()?;
        Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443)))
    }
}

/// Accepts every node of a service, or everybody.
#[derive(Debug)]
struct NodeOfService {
    service: Option<Certificate>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NodeOfService {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(service) = &self.service else { return Ok(ServerCertVerified::assertion()) };
        let read =
            |der: &CertificateDer<'_>| Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding);
        let target = read(end_entity)?;
        let intermediates = intermediates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        verify_chain(&target, &intermediates, std::slice::from_ref(service), None)
            .map_err(|_| CertificateError::UnknownIssuer)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
