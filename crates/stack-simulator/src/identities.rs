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

/// Of so many seeds one has keys on P-384, as services have unless they are told otherwise: checking a signature takes ten times
/// as long there, and most of the time of a run would go by with that. The others have P-256.
const SLOW_CURVE_EVERY: u64 = 32;

/// One node.
pub(crate) struct Keys {
    pub(crate) id: NodeId,
    /// Its number among those of its service.
    pub(crate) number: usize,
    pub(crate) service: Arc<Service>,
    pub(crate) key: Arc<EcKeyPair>,
    /// By the service.
    pub(crate) certificate: Certificate,
    pub(crate) request: SigningRequest,
    /// Ledger secrets are sent to it.
    pub(crate) encryption: Arc<RsaKeyPair>,
    /// By what it proves itself to its peers.
    pub(crate) identity: Arc<Identity>,
}

/// A service.
pub(crate) struct Service {
    pub(crate) key: Arc<EcKeyPair>,
    pub(crate) certificate: Certificate,
}

/// All nodes there can be in a run, ascending by id.
pub(crate) type Nodes = Vec<Keys>;

struct All {
    slow: Nodes,
    fast: Nodes,
}

/// Those of this process.
fn all() -> &'static All {
    static ALL: OnceLock<All> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "a simulation without keys is none")]
    ALL.get_or_init(|| All::create().expect("keys and certificates"))
}

/// The nodes of a run.
pub(crate) fn of_seed(seed: u64) -> &'static Nodes {
    if seed.is_multiple_of(SLOW_CURVE_EVERY) { &all().slow } else { &all().fast }
}

/// The node with this id, of whatever run.
pub(crate) fn keys_of(id: &NodeId) -> Option<&'static Keys> {
    let find = |nodes: &'static Nodes| {
        nodes.binary_search_by(|keys| keys.id.cmp(id)).ok().and_then(|at| nodes.get(at))
    };
    find(&all().fast).or_else(|| find(&all().slow))
}

impl All {
    fn create() -> Result<All, Box<dyn std::error::Error>> {
        let encryption = (0..NODES_MAX).map(|_| RsaKeyPair::generate(2048).map(Arc::new));
        let encryption = encryption.collect::<Result<Vec<_>, _>>()?;
        let slow = nodes(Curve::P384, [Curve::P384, Curve::P256], &encryption)?;
        let fast = nodes(Curve::P256, [Curve::P256, Curve::P256], &encryption)?;
        Ok(All { slow, fast })
    }
}

/// A service and its nodes, by turns on these curves.
fn nodes(
    service: Curve,
    curves: [Curve; 2],
    encryption: &[Arc<RsaKeyPair>],
) -> Result<Nodes, Box<dyn std::error::Error>> {
    let validity = Validity::new(parse_valid_from("20200101000000Z")?, parse_valid_from("20400101000000Z")?)?;
    let key = EcKeyPair::generate(service)?;
    let name = Name::parse("CN=CCF Service")?;
    let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity)?;
    let service = Arc::new(Service { key: Arc::new(key), certificate });
    let mut nodes = Vec::new();
    for (encryption, curve) in encryption.iter().zip(curves.into_iter().cycle()) {
        nodes.push(Keys::create(curve, &service, encryption, &validity)?);
    }
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    nodes.iter_mut().enumerate().for_each(|(number, keys)| keys.number = number);
    Ok(nodes)
}

impl Keys {
    fn create(
        curve: Curve,
        service: &Arc<Service>,
        encryption: &Arc<RsaKeyPair>,
        validity: &Validity,
    ) -> Result<Keys, Box<dyn std::error::Error>> {
        let key = EcKeyPair::generate(curve)?;
        let request = SigningRequest::create(&key, &Name::parse("CN=CCF Node")?, &[])?;
        let endorse = || -> Result<Certificate, CertificateError> {
            Issuer::new(&service.certificate, &service.key)?.endorse(
                &request,
                CertificateKind::Leaf,
                validity,
            )
        };
        let certificate = endorse()?;
        let identity = Identity::with_copy_of_key(&key, &certificate, service.certificate.clone())?;
        Ok(Keys {
            id: key.public_key().node_id(),
            number: 0,
            service: Arc::clone(service),
            key: Arc::new(key),
            certificate,
            request,
            encryption: Arc::clone(encryption),
            identity: Arc::new(identity),
        })
    }
}
