//! Key exchange over P-521, which the TLS library leaves out.

use ccf_crypto::key::{Curve, EphemeralKey};
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup},
    ffdhe_groups::FfdheGroup,
};

/// secp521r1 (RFC 8446, section 4.2.7).
pub(super) static SECP521R1: Secp521r1 = Secp521r1;

#[derive(Debug)]
pub(super) struct Secp521r1;

struct Exchange(EphemeralKey);

impl SupportedKxGroup for Secp521r1 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let key = EphemeralKey::generate(Curve::P521).map_err(|_| Error::from(GetRandomFailed))?;
        Ok(Box::new(Exchange(key)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, Error> {
        match self.0.agree(peer_point) {
            Ok(secret) => Ok(SharedSecret::from(&secret[..])),
            Err(_) => Err(PeerMisbehaved::InvalidKeyShare.into()),
        }
    }

    fn pub_key(&self) -> &[u8] {
        self.0.point()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}
