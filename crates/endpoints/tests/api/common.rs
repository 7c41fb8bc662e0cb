//! What the tests share.

use ccf_crypto::{
    cert::{Certificate, CertificateKind, Name, Validity, self_signed},
    key::{Curve, EcKeyPair},
};
use ccf_endpoints::{Frontend, Headers, Registry, Response, Session, TX_ID_HEADER};

pub(crate) use ccf_endpoints::testing::{NOW, TestService as Service};

pub(crate) fn service(install: impl FnOnce(&mut Registry)) -> Service {
    let mut app = Registry::new(Frontend::App);
    install(&mut app);
    Service::new(app)
}

pub(crate) fn session(certificate: Option<&Certificate>) -> Session {
    ccf_endpoints::testing::session(certificate.map(Certificate::der))
}

pub(crate) fn key() -> EcKeyPair {
    EcKeyPair::generate(Curve::P384).unwrap()
}

/// A certificate valid from `from` to `to`, in seconds around [`NOW`].
pub(crate) fn certificate(key: &EcKeyPair, from: i64, to: i64) -> Certificate {
    let at = |offset| time::OffsetDateTime::from_unix_timestamp(NOW as i64 + offset).unwrap();
    let validity = Validity::new(at(from), at(to)).unwrap();
    self_signed(key, &Name::parse("CN=someone").unwrap(), &[], CertificateKind::Ca, &validity).unwrap()
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().copied().collect()
}

/// Body as text.
pub(crate) fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    response.headers.get(name).map(ccf_endpoints::HeaderValue::to_text)
}

pub(crate) fn tx_id(response: &Response) -> Option<String> {
    header(response, TX_ID_HEADER)
}
