//! Keys and certificates of this node and of the service (node specification, section 6).

use crate::config::{Config, CurveId, NodeCertificate};
use ccf_crypto::{
    cert::{
        Certificate, CertificateError, CertificateKind, InvalidName, InvalidSan, InvalidValidity, Issuer,
        Name, SigningRequest, SubjectAltName, Validity, self_signed,
    },
    key::{Curve, EcKeyPair, KeyError, RsaKeyPair},
};
use ccf_types::NodeId;
use time::OffsetDateTime;

/// Bits of a node's encryption key.
const ENCRYPTION_KEY_BITS: usize = 2048;

/// The keys of this process; made anew at each start and never written to disk.
pub struct NodeIdentity {
    /// Signs the ledger and serves TLS.
    pub key: EcKeyPair,
    /// Ledger secrets are sent to it.
    pub encryption_key: RsaKeyPair,
    /// Self-signed.
    pub certificate: Certificate,
    /// Asks the service for an endorsement.
    pub signing_request: SigningRequest,
}

/// The identity of the service: members of the consortium and users trust this key.
pub struct ServiceIdentity {
    /// The service key.
    pub key: EcKeyPair,
    /// Self-signed.
    pub certificate: Certificate,
}

/// Why an identity could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key could not be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] KeyError),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// A subject in the configuration is no name.
    #[error("subject in the configuration: {0}")]
    Subject(#[from] InvalidName),
    /// A subject alternative name in the configuration, or one derived from an address, is none.
    #[error("subject alternative name: {0}")]
    AlternativeName(#[from] InvalidSan),
    /// A validity in the configuration is impossible.
    #[error("certificate validity in the configuration: {0}")]
    Validity(#[from] InvalidValidity),
}

impl From<CurveId> for Curve {
    fn from(curve: CurveId) -> Curve {
        match curve {
            CurveId::Secp384R1 => Curve::P384,
            CurveId::Secp256R1 => Curve::P256,
        }
    }
}

impl NodeIdentity {
    /// Makes the keys and certificates of a node whose interfaces publish the addresses `published`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn create(
        config: &NodeCertificate,
        published: &[&str],
        now: OffsetDateTime,
    ) -> Result<NodeIdentity, IdentityError> {
        let key = EcKeyPair::generate(config.curve_id.into())?;
        let subject = Name::parse(&config.subject_name)?;
        let names = alternative_names(config, published)?;
        let validity = Validity::from_days(now, config.initial_validity_days)?;
        let certificate = self_signed(&key, &subject, &names, CertificateKind::Ca, &validity)?;
        let signing_request = SigningRequest::create(&key, &subject, &names)?;
        Ok(NodeIdentity {
            encryption_key: RsaKeyPair::generate(ENCRYPTION_KEY_BITS)?,
            key,
            certificate,
            signing_request,
        })
    }

    /// The identifier of the node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.key.public_key().node_id()
    }
}

/// As configured, or one per published address.
fn alternative_names(
    config: &NodeCertificate,
    published: &[&str],
) -> Result<Vec<SubjectAltName>, IdentityError> {
    if !config.subject_alt_names.is_empty() {
        return Ok(config
            .subject_alt_names
            .iter()
            .map(|text| SubjectAltName::parse(text))
            .collect::<Result<_, _>>()?);
    }
    let hosts = published.iter().map(|address| address.rsplit_once(':').map_or(*address, |(host, _)| host));
    Ok(hosts.map(SubjectAltName::from_host).collect::<Result<_, _>>()?)
}

impl ServiceIdentity {
    /// Makes the identity of a new service.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn create(config: &Config, now: OffsetDateTime) -> Result<ServiceIdentity, IdentityError> {
        let start = config.command.start.clone().unwrap_or_default();
        let subject = Name::parse(&start.service_subject_name)?;
        Self::create_for(config, &subject, start.initial_service_certificate_validity_days, now)
    }

    /// Makes the identity of a service with a certificate for `subject`, valid for so many days from `now` on.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn create_for(
        config: &Config,
        subject: &Name,
        days: u64,
        now: OffsetDateTime,
    ) -> Result<ServiceIdentity, IdentityError> {
        let key = EcKeyPair::generate(config.node_certificate.curve_id.into())?;
        let validity = Validity::from_days(now, days)?;
        let certificate = self_signed(&key, subject, &[], CertificateKind::Ca, &validity)?;
        Ok(ServiceIdentity { key, certificate })
    }

    /// Endorses a node.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn endorse(
        &self,
        request: &SigningRequest,
        validity: &Validity,
    ) -> Result<Certificate, IdentityError> {
        Ok(Issuer::new(&self.certificate, &self.key)?.endorse(request, CertificateKind::Leaf, validity)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_endorsed_under_its_published_names() {
        let now = OffsetDateTime::now_utc();
        let published = ["127.0.0.1:8000", "node.example:443", "[::1]:80"];
        let node = NodeIdentity::create(&NodeCertificate::default(), &published, now).expect("node");
        assert_eq!(node.node_id().as_str().len(), 64);
        let text = r#"{"network":{"node_to_node_interface":{"bind_address":"h:0"},"rpc_interfaces":{"a":{"bind_address":"h:0"}}},
            "command":{"type":"Start","start":{"constitution_files":["c"]}}}"#;
        let service =
            ServiceIdentity::create(&Config::parse("c", text).expect("config"), now).expect("service");
        let endorsed =
            service.endorse(&node.signing_request, &node.certificate.validity()).expect("endorsed");
        assert_eq!(endorsed.spki_der(), node.key.public_key().spki_der());
        assert_eq!(endorsed.issuer().as_der(), service.certificate.subject().as_der());
        assert!(!endorsed.is_ca() && node.certificate.is_ca());
        let bad =
            NodeCertificate { subject_alt_names: vec!["nonsense".into()], ..NodeCertificate::default() };
        assert!(NodeIdentity::create(&bad, &published, now).is_err());
    }
}
