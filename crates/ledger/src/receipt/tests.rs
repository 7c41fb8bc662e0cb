//! Receipts whose endorsements lead to the service, and such as only seem to.

use super::*;
use ccf_crypto::{
    cert::{CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    key::{Curve, EcKeyPair},
};
use time::OffsetDateTime;

struct Identity {
    key: EcKeyPair,
    certificate: Certificate,
}

impl Identity {
    fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.certificate, &self.key).expect("its key")
    }

    fn pem_for(&self, previous: &Identity) -> String {
        self.issuer().cross_certify(&previous.certificate).expect("issued").to_pem()
    }
}

fn name() -> Name {
    Name::parse("CN=CCF Service").expect("a name")
}

fn validity() -> Validity {
    Validity::from_days(OffsetDateTime::UNIX_EPOCH, 90).expect("dates")
}

fn service() -> Identity {
    let key = EcKeyPair::generate(Curve::P384).expect("key");
    let certificate = self_signed(&key, &name(), &[], CertificateKind::Ca, &validity()).expect("issued");
    Identity { key, certificate }
}

/// The receipt of a signature transaction by a node of `service`.
fn receipt(service: &Identity, service_endorsements: &[&String]) -> Receipt {
    let node = EcKeyPair::generate(Curve::P384).expect("key");
    let request = SigningRequest::create(&node, &Name::parse("CN=CCF Node").expect("a name"), &[]);
    let certificate = service
        .issuer()
        .endorse(&request.expect("made"), CertificateKind::Leaf, &validity())
        .expect("issued");
    let root = Digest([7; 32]);
    Receipt {
        cert: certificate.to_pem(),
        leaf: ReceiptLeaf::Leaf(root),
        node_id: node.public_key().node_id(),
        proof: Proof::default(),
        service_endorsements: service_endorsements.iter().map(|pem| (*pem).clone()).collect(),
        signature: STANDARD.encode(node.sign_root(&root).expect("signs")),
    }
}

#[test]
fn endorsements_are_followed_in_their_order() {
    let [first, second, third] = [service(), service(), service()];
    let (first_by_second, second_by_third) = (second.pem_for(&first), third.pem_for(&second));
    let first_by_third = third.pem_for(&first);
    let holds = |endorsements: &[&String], today: &Identity| {
        receipt(&first, endorsements).verify(&today.certificate, None).is_ok()
    };
    assert!(holds(&[], &first));
    assert!(holds(&[&first_by_second], &second));
    assert!(holds(&[&first_by_third], &third));
    assert!(holds(&[&first_by_second, &second_by_third], &third));

    assert!(!holds(&[], &second));
    assert!(!holds(&[&second_by_third, &first_by_second], &third), "the wrong order");
    assert!(!holds(&[&first_by_second], &first), "an endorsement by a service after the one trusted");
    assert!(!holds(&[&second_by_third, &first_by_third], &third), "one that is not needed, in front");
    assert!(!holds(&[&first_by_third, &second_by_third], &third), "one that is not needed, behind");
    assert!(!holds(&[&first_by_third, &first_by_third], &third), "one that is there twice");
    assert!(!holds(&[&service().certificate.to_pem()], &first), "a stranger");
}
