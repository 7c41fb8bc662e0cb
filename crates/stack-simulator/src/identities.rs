//! Keys and certificates. Making them is slow and not what is tested, so a process makes them once; nodes are numbered in the
//! order of their ids, so that a seed means the same run whatever the keys are.

use ccf_channels::Identity;
use ccf_crypto::{
    cert::{
        Certificate, CertificateError, CertificateKind, Issuer, Name, SigningRequest, Validity,
        parse_valid_from, self_signed,
    },
    key::{Curve, EcKeyPair, RsaKeyPair},
};
use ccf_types::NodeId;
use std::sync::{Arc, OnceLock};

/// Nodes that may ever exist in a run.
pub(crate) const NODES_MAX: usize = 8;

/// One node.
pub(crate) struct Keys {
    pub(crate) id: NodeId,
    pub(crate) key: Arc<EcKeyPair>,
    /// By the service.
    pub(crate) certificate: Certificate,
    pub(crate) request: SigningRequest,
    /// Ledger secrets are sent to it.
    pub(crate) encryption: Arc<RsaKeyPair>,
    /// By what it proves itself to its peers.
    pub(crate) identity: Arc<Identity>,
}

/// The service, and all nodes there can be.
pub(crate) struct Identities {
    pub(crate) service_key: Arc<EcKeyPair>,
    pub(crate) service: Certificate,
    /// Ascending by id.
    pub(crate) nodes: Vec<Keys>,
}

impl Identities {
    /// Those of this process.
    pub(crate) fn get() -> &'static Identities {
        static ALL: OnceLock<Identities> = OnceLock::new();
        #[expect(clippy::expect_used, reason = "a simulation without keys is none")]
        ALL.get_or_init(|| Identities::create().expect("keys and certificates"))
    }

    fn create() -> Result<Identities, Box<dyn std::error::Error>> {
        let validity =
            Validity::new(parse_valid_from("20200101000000Z")?, parse_valid_from("20400101000000Z")?)?;
        let key = EcKeyPair::generate(Curve::P384)?;
        let name = Name::parse("CN=CCF Service")?;
        let service = self_signed(&key, &name, &[], CertificateKind::Ca, &validity)?;
        let mut nodes = Vec::new();
        for number in 0..NODES_MAX {
            let curve = if number % 2 == 0 { Curve::P384 } else { Curve::P256 };
            nodes.push(Keys::create(curve, &service, &key, &validity)?);
        }
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Identities { service_key: Arc::new(key), service, nodes })
    }
}

impl Keys {
    fn create(
        curve: Curve,
        service: &Certificate,
        service_key: &EcKeyPair,
        validity: &Validity,
    ) -> Result<Keys, Box<dyn std::error::Error>> {
        let key = EcKeyPair::generate(curve)?;
        let request = SigningRequest::create(&key, &Name::parse("CN=CCF Node")?, &[])?;
        let endorse = || -> Result<Certificate, CertificateError> {
            Issuer::new(service, service_key)?.endorse(&request, CertificateKind::Leaf, validity)
        };
        let certificate = endorse()?;
        let identity = Identity::with_copy_of_key(&key, &certificate, service.clone())?;
        Ok(Keys {
            id: key.public_key().node_id(),
            key: Arc::new(key),
            certificate,
            request,
            encryption: Arc::new(RsaKeyPair::generate(2048)?),
            identity: Arc::new(identity),
        })
    }
}
