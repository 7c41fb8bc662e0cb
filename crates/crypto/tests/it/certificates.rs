//! Certificates: the profile to the byte, what others made, and chains.

use std::slice::from_ref;

use ccf_crypto::{
    cert::{
        Certificate, CertificateError, CertificateKind, ChainError, Issuer, Name, SigningRequest,
        SubjectAltName, Validity, renew_self_signed, self_signed, verify_chain,
    },
    key::{Curve, EcKeyPair},
};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime, macros::datetime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::openssl;

const START: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

fn days(count: u64) -> Validity {
    Validity::from_days(START, count).unwrap()
}

fn service(curve: Curve) -> (EcKeyPair, Certificate) {
    let key = EcKeyPair::generate(curve).unwrap();
    let name = Name::parse("CN=CCF Service").unwrap();
    let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &days(90)).unwrap();
    (key, certificate)
}

fn node_request(key: &EcKeyPair) -> SigningRequest {
    let names = [
        SubjectAltName::Ip("127.0.0.1".parse().unwrap()),
        SubjectAltName::Dns("node.example".to_owned()),
        SubjectAltName::Ip("::1".parse().unwrap()),
    ];
    SigningRequest::create(key, &Name::parse("CN=CCF Node").unwrap(), &names).unwrap()
}

/// Check 3: an independent parser finds exactly the extensions of the profile, in that order.
#[test]
fn profile() {
    let (service_key, service) = service(Curve::P384);
    let node_key = EcKeyPair::generate(Curve::P256).unwrap();
    let request = node_request(&node_key);
    let issuer = Issuer::new(&service, &service_key).unwrap();
    let node = issuer.endorse(&request, CertificateKind::Leaf, &days(1)).unwrap();

    let view = |certificate: &Certificate| {
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        let extensions: Vec<(String, bool)> = parsed
            .extensions()
            .iter()
            .map(|extension| (extension.oid.to_id_string(), extension.critical))
            .collect();
        (parsed.version().0, parsed.signature_algorithm.algorithm.to_id_string(), extensions)
    };
    let expect = |list: &[(&str, bool)]| {
        list.iter().map(|(oid, critical)| ((*oid).to_owned(), *critical)).collect::<Vec<_>>()
    };
    let (version, algorithm, extensions) = view(&service);
    assert_eq!((version, algorithm.as_str()), (2, "1.2.840.10045.4.3.3"));
    assert_eq!(
        extensions,
        expect(&[("2.5.29.19", true), ("2.5.29.15", true), ("2.5.29.14", false), ("2.5.29.35", false)])
    );
    let (_, algorithm, extensions) = view(&node);
    assert_eq!(algorithm, "1.2.840.10045.4.3.3");
    assert_eq!(
        extensions,
        expect(&[("2.5.29.19", true), ("2.5.29.14", false), ("2.5.29.35", false), ("2.5.29.17", false)])
    );

    let value = |certificate: &Certificate, oid: &[u8]| hex::encode(certificate.extension(oid).unwrap());
    assert_eq!(value(&service, &[0x55, 0x1d, 0x13]), "30060101ff020101");
    assert_eq!(value(&service, &[0x55, 0x1d, 0x0f]), "03020284");
    assert_eq!(value(&node, &[0x55, 0x1d, 0x13]), "3000");
    assert_eq!(
        value(&node, &[0x55, 0x1d, 0x11]),
        "302687047f000001820c6e6f64652e6578616d706c65871000000000000000000000000000000001"
    );
    let subject_id = value(&service, &[0x55, 0x1d, 0x0e]);
    assert!(subject_id.starts_with("0414"));
    assert_eq!(value(&service, &[0x55, 0x1d, 0x23]), format!("30168014{}", &subject_id[4..]));
    assert_eq!(value(&node, &[0x55, 0x1d, 0x23]), format!("30168014{}", &subject_id[4..]));

    assert!(service.is_ca() && !node.is_ca());
    assert_eq!((service.path_len(), node.path_len()), (Some(1), None));
    assert_eq!(node.subject().to_string(), "CN=CCF Node");
    assert_eq!(node.issuer(), service.subject());
    assert_eq!(node.public_key().unwrap(), node_key.public_key());
    assert!(service.serial().len() >= 10 && service.serial() != node.serial());
    assert_eq!(node.validity(), days(1));
    assert!(node.to_pem().ends_with("-----END CERTIFICATE-----\n"));
    assert_eq!(Certificate::from_pem(&node.to_pem()).unwrap(), node);
    verify_chain(&node, &[], from_ref(&service), Some(START)).unwrap();
}

#[test]
fn years_from_2050_are_generalized() {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let name = Name::parse("CN=x").unwrap();
    for (start, count) in [
        (datetime!(2049-12-31 00:00 UTC), 1),
        (datetime!(2049-12-31 00:00 UTC), 2),
        (datetime!(1951-01-01 00:00 UTC), 40_000),
        (datetime!(2060-02-29 00:00 UTC), 365),
    ] {
        let validity = Validity::from_days(start, count).unwrap();
        let certificate = self_signed(&key, &name, &[], CertificateKind::Leaf, &validity).unwrap();
        assert_eq!(certificate.validity(), validity);
    }
}

#[test]
fn requests_of_every_curve_with_sha512_are_accepted() {
    let (service_key, service) = service(Curve::P384);
    let issuer = Issuer::new(&service, &service_key).unwrap();
    for name in ["p256", "p384", "p521"] {
        let request = SigningRequest::from_pem(&openssl(&format!("{name}.csr.pem"))).unwrap();
        assert_eq!(request.subject().to_string(), format!("CN={name},O=Test"));
        let key = EcKeyPair::from_pem(&openssl(&format!("{name}.key.pem"))).unwrap();
        assert_eq!(request.public_key(), key.public_key());
        let certificate = issuer.endorse(&request, CertificateKind::Leaf, &days(1)).unwrap();
        assert_eq!(certificate.subject(), *request.subject());
        assert_eq!(
            hex::encode(certificate.extension(&[0x55, 0x1d, 0x11]).unwrap()),
            "301487047f000001820c6e6f64652e6578616d706c65"
        );
        verify_chain(&certificate, &[], from_ref(&service), None).unwrap();
    }
    for curve in Curve::ALL {
        let key = EcKeyPair::generate(curve).unwrap();
        let request = node_request(&key);
        let back = SigningRequest::from_pem(&request.to_pem()).unwrap();
        assert_eq!(back.der(), request.der());
        let (ours, theirs) = (
            issuer.endorse(&request, CertificateKind::Leaf, &days(1)).unwrap(),
            issuer.endorse(&back, CertificateKind::Leaf, &days(1)).unwrap(),
        );
        assert!(ours.extensions().eq(theirs.extensions()));
    }
    let bare = SigningRequest::create(&service_key, &Name::parse("CN=a").unwrap(), &[]).unwrap();
    let bare = SigningRequest::from_der(bare.der()).unwrap();
    let certificate = issuer.endorse(&bare, CertificateKind::Leaf, &days(1)).unwrap();
    assert!(certificate.extension(&[0x55, 0x1d, 0x11]).is_none());
}

#[test]
fn a_request_must_be_signed_by_its_key() {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let request = node_request(&key);
    let mut der = request.der().to_vec();
    for index in 0..der.len() {
        der[index] ^= 0x01;
        assert!(SigningRequest::from_der(&der).is_err(), "byte {index}");
        der[index] ^= 0x01;
    }
    assert!(SigningRequest::from_der(&der).is_ok());
}

#[test]
fn certificates_of_others_are_read_and_checked() {
    for name in ["p256", "p384", "p521", "rsa", "rsapss", "ed25519", "v1"] {
        let certificate = Certificate::from_pem(&openssl(&format!("{name}.cert.pem"))).unwrap();
        let key = certificate.public_key().unwrap();
        certificate.verify_signed_by(key).unwrap();
        assert!(certificate.is_ca() && certificate.is_self_issued(), "{name}");
        verify_chain(&certificate, &[], from_ref(&certificate), Some(datetime!(2027-01-01 0:00 UTC)))
            .unwrap();
        assert_eq!(
            verify_chain(&certificate, &[], from_ref(&certificate), Some(datetime!(2099-01-01 0:00 UTC))),
            Err(ChainError::NoChain)
        );
    }
    let bundle = [openssl("p256.cert.pem"), openssl("rsa.cert.pem")].concat();
    assert_eq!(Certificate::bundle_from_pem(&bundle).unwrap().len(), 2);
    assert!(Certificate::bundle_from_pem(&(bundle + &openssl("p256.csr.pem"))).is_err());
    assert!(Certificate::from_pem(&openssl("p256.key.pem")).is_err());
}

/// Renewal keeps name and key, so that certificates issued before still verify.
#[test]
fn renewal_keeps_what_was_issued() {
    let (service_key, service) = service(Curve::P256);
    let node_key = EcKeyPair::generate(Curve::P256).unwrap();
    let node = Issuer::new(&service, &service_key)
        .unwrap()
        .endorse(&node_request(&node_key), CertificateKind::Leaf, &days(30))
        .unwrap();
    let renewed = renew_self_signed(&service, &service_key, &days(400)).unwrap();
    assert_eq!(renewed.subject(), service.subject());
    assert_eq!(renewed.validity(), days(400));
    assert!(renewed.is_ca());
    verify_chain(&node, &[], from_ref(&renewed), Some(START)).unwrap();
    assert_eq!(
        renew_self_signed(&service, &node_key, &days(1)).err(),
        Some(CertificateError::IssuerMismatch)
    );
    assert!(Issuer::new(&service, &node_key).is_err());

    let names = [SubjectAltName::Dns("a.b".to_owned())];
    let own =
        self_signed(&node_key, &Name::parse("CN=n").unwrap(), &names, CertificateKind::Ca, &days(1)).unwrap();
    let renewed = renew_self_signed(&own, &node_key, &days(2)).unwrap();
    assert!(own.extensions().eq(renewed.extensions()));
}

/// A node of a previous service verifies through the endorsement of that service (crypto 12.1).
#[test]
fn previous_services_are_endorsed() {
    let (old_key, old) = service(Curve::P384);
    let (new_key, new) = service(Curve::P384);
    let node_key = EcKeyPair::generate(Curve::P384).unwrap();
    let node = Issuer::new(&old, &old_key)
        .unwrap()
        .endorse(&node_request(&node_key), CertificateKind::Leaf, &days(1))
        .unwrap();
    let endorsement = Issuer::new(&new, &new_key).unwrap().cross_certify(&old).unwrap();
    assert_eq!(endorsement.spki_der(), old.spki_der());
    assert_eq!(endorsement.validity(), new.validity());
    assert!(endorsement.is_ca());
    assert_eq!(verify_chain(&node, &[], from_ref(&new), None), Err(ChainError::NoChain));
    verify_chain(&node, from_ref(&endorsement), from_ref(&new), None).unwrap();
    verify_chain(&node, &[], from_ref(&endorsement), None).unwrap();
}

#[test]
fn chains_that_must_not_verify() {
    let (service_key, service) = service(Curve::P256);
    let issuer = Issuer::new(&service, &service_key).unwrap();
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let node = issuer.endorse(&node_request(&key), CertificateKind::Leaf, &days(1)).unwrap();

    assert_eq!(verify_chain(&node, &[], &[], None), Err(ChainError::NothingTrusted));
    assert_eq!(verify_chain(&node, &[], from_ref(&node), None), Err(ChainError::TrustedNotCa));
    let late = Some(START + Duration::days(2));
    assert_eq!(verify_chain(&node, &[], from_ref(&service), late), Err(ChainError::NoChain));

    // A leaf cannot issue, though its signature is good.
    let child_key = EcKeyPair::generate(Curve::P256).unwrap();
    let child = Issuer::new(&node, &key)
        .unwrap()
        .endorse(&node_request(&child_key), CertificateKind::Leaf, &days(1))
        .unwrap();
    child.verify_signed_by(key.public_key()).unwrap();
    assert_eq!(verify_chain(&child, from_ref(&node), from_ref(&service), None), Err(ChainError::NoChain));

    // The path length of 1 allows one intermediate with a name of its own, not two.
    let mut chain = vec![(service_key, service.clone())];
    for level in 0..3 {
        let key = EcKeyPair::generate(Curve::P256).unwrap();
        let name = Name::parse(&format!("CN=level {level}")).unwrap();
        let request = SigningRequest::create(&key, &name, &[]).unwrap();
        let (parent_key, parent) = chain.last().unwrap();
        let certificate = Issuer::new(parent, parent_key)
            .unwrap()
            .endorse(&request, CertificateKind::Ca, &days(1))
            .unwrap();
        chain.push((key, certificate));
    }
    let certificates: Vec<Certificate> = chain.into_iter().map(|(_, certificate)| certificate).collect();
    verify_chain(&certificates[2], &certificates[1..2], &certificates[..1], None).unwrap();
    assert_eq!(
        verify_chain(&certificates[3], &certificates[1..3], &certificates[..1], None),
        Err(ChainError::NoChain)
    );
}

/// Many certificates with one name and one key cannot keep the checker busy.
#[test]
fn hostile_bundles_are_given_up() {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let name = Name::parse("CN=same").unwrap();
    let same: Vec<Certificate> =
        (0..12).map(|_| self_signed(&key, &name, &[], CertificateKind::Ca, &days(1)).unwrap()).collect();
    let (_, other) = service(Curve::P256);
    assert_eq!(verify_chain(&same[0], &same[1..], from_ref(&other), None), Err(ChainError::TooComplex));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A certificate with one byte changed is refused when read or when verified, and never panics.
    #[test]
    fn changed_certificates_are_refused(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        static PEM: std::sync::OnceLock<Certificate> = std::sync::OnceLock::new();
        let original = PEM.get_or_init(|| Certificate::from_pem(&openssl("p256.cert.pem")).unwrap());
        let mut der = original.der().to_vec();
        let index = at.index(der.len());
        prop_assume!(der[index] != value);
        der[index] = value;
        if let Ok(certificate) = Certificate::from_der(&der) {
            let _ = (certificate.is_ca(), certificate.path_len(), certificate.extended_key_usages());
            let _ = certificate.subject().to_string();
            prop_assert!(certificate.verify_signed_by(original.public_key().unwrap()).is_err());
        }
    }

    #[test]
    fn garbage_is_no_certificate(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Certificate::from_der(&bytes).is_err());
        prop_assert!(SigningRequest::from_der(&bytes).is_err());
    }
}
