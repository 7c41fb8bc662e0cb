//! The functions of scripts: each algorithm, each class of error (check 13, 14).

use ccf_crypto::{
    cert::{CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    hash::HashAlgorithm,
    key::{Curve, EcKeyPair, PublicKey, SignatureFormat},
    script::{self, ScriptError, SigningParameters, WrappingParameters},
};
use time::{Duration, macros::datetime};

use crate::openssl;

#[expect(clippy::needless_pass_by_value, reason = "reads better at its many calls")]
fn is_range<T>(result: Result<T, ScriptError>) -> bool {
    matches!(result, Err(ScriptError::Range(_)))
}

fn is_internal<T>(result: Result<T, ScriptError>, prefix: &str) -> bool {
    matches!(result, Err(ScriptError::Internal(message)) if message.starts_with(prefix))
}

fn with<'a>(name: &'a str, hash: &'a str, salt_length: Option<i64>) -> SigningParameters<'a> {
    SigningParameters { name, hash: Some(hash), salt_length }
}

#[test]
fn keys_are_made() {
    for (bits, bytes) in [(128, 16), (192, 24), (256, 32)] {
        assert_eq!(script::generate_aes_key(bits).unwrap().len(), bytes);
    }
    assert!(is_range(script::generate_aes_key(64)) && is_range(script::generate_aes_key(-1)));
    for curve in ["secp256r1", "secp384r1"] {
        let pair = script::generate_ecdsa_key_pair(curve).unwrap();
        assert!(pair.private_key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(pair.public_key.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    }
    assert!(is_range(script::generate_ecdsa_key_pair("secp521r1")));
    for curve in ["curve25519", "x25519"] {
        script::generate_eddsa_key_pair(curve).unwrap();
    }
    assert!(is_range(script::generate_eddsa_key_pair("ed448")));
    for (bits, exponent) in [(512, None), (-1, None), (2048, Some(2)), (2048, Some(-3))] {
        assert!(is_internal(
            script::generate_rsa_key_pair(bits, exponent),
            "Failed to generate RSA key pair: "
        ));
    }
    script::generate_rsa_key_pair(2048, None).unwrap();
    assert_eq!(script::digest("SHA-256", b"abc").unwrap(), ccf_crypto::hash::sha256(b"abc"));
    assert!(is_range(script::digest("SHA-512", b"abc")));
}

#[test]
fn ecdsa_signatures_have_fixed_width() {
    for (curve, width) in [("secp256r1", 64), ("secp384r1", 96)] {
        let pair = script::generate_ecdsa_key_pair(curve).unwrap();
        let public = PublicKey::from_pem(&pair.public_key).unwrap();
        for (name, hash) in [
            ("SHA-256", HashAlgorithm::Sha256),
            ("SHA-384", HashAlgorithm::Sha384),
            ("SHA-512", HashAlgorithm::Sha512),
        ] {
            let signature = script::sign(&with("ECDSA", name, None), &pair.private_key, b"data").unwrap();
            assert_eq!(signature.len(), width);
            public.verify_ecdsa(hash, b"data", &signature, SignatureFormat::P1363).unwrap();
        }
        let sha256 = with("ECDSA", "SHA-256", None);
        let mut signature = script::sign(&sha256, &pair.private_key, b"data").unwrap();
        assert_eq!(script::verify_signature(&sha256, &pair.public_key, &signature, b"data"), Ok(true));
        assert_eq!(script::verify_signature(&sha256, &pair.public_key, &signature, b"date"), Ok(false));
        signature.push(0);
        assert_eq!(script::verify_signature(&sha256, &pair.public_key, &signature, b"data"), Ok(true));
        for bad in [&b""[..], &[1], &[0; 64], &[0xff; 300]] {
            assert_eq!(script::verify_signature(&sha256, &pair.public_key, bad, b"data"), Ok(false));
        }
        for hash in ["SHA-384", "SHA-512", ""] {
            assert!(is_range(script::verify_signature(
                &with("ECDSA", hash, None),
                &pair.public_key,
                b"",
                b""
            )));
        }
    }
    let sha256 = with("ECDSA", "SHA-256", None);
    let signature = script::sign(&sha256, &openssl("p256.key.pem"), b"data").unwrap();
    assert_eq!(script::verify_signature(&sha256, &openssl("p256.cert.pem"), &signature, b"data"), Ok(true));
    assert!(is_internal(script::sign(&sha256, "no key", b""), "Failed to sign: "));
    assert!(is_internal(script::sign(&sha256, &openssl("p521.key.pem"), b""), "Failed to sign: "));
    let failed = "Failed to verify signature: ";
    assert!(is_internal(script::verify_signature(&sha256, "no key", b"", b""), failed));
    assert!(is_internal(script::verify_signature(&sha256, &openssl("rsa.cert.pem"), b"", b""), failed));
}

#[test]
fn other_signatures() {
    let rsa = openssl("rsa.key.pem");
    let public = ccf_crypto::key::RsaKeyPair::from_pem(&rsa).unwrap().public_key().to_pem();
    for salt in [None, Some(0), Some(32), Some(20)] {
        let parameters = with("RSA-PSS", "SHA-256", salt);
        let signature = script::sign(&parameters, &rsa, b"data").unwrap();
        for key in [&public, &openssl("rsa.cert.pem")] {
            assert_eq!(script::verify_signature(&parameters, key, &signature, b"data"), Ok(true));
            assert_eq!(script::verify_signature(&parameters, key, &signature, b"date"), Ok(false));
            let other = with("RSA-PSS", "SHA-256", Some(33));
            assert_eq!(script::verify_signature(&other, key, &signature, b"data"), Ok(false));
        }
    }
    for salt in [-1, -2, 1_000_000] {
        let parameters = with("RSA-PSS", "SHA-256", Some(salt));
        assert!(is_internal(script::sign(&parameters, &rsa, b""), "Failed to sign: "));
        let verified = script::verify_signature(&parameters, &public, b"", b"");
        assert!(is_internal(verified, "Failed to verify signature: "));
    }

    let eddsa = SigningParameters { name: "EdDSA", hash: None, salt_length: None };
    let pair = script::generate_eddsa_key_pair("curve25519").unwrap();
    let signature = script::sign(&eddsa, &pair.private_key, b"data").unwrap();
    assert_eq!(signature.len(), 64);
    assert_eq!(script::verify_signature(&eddsa, &pair.public_key, &signature, b"data"), Ok(true));
    assert_eq!(script::verify_signature(&eddsa, &pair.public_key, &signature, b"date"), Ok(false));
    assert!(is_internal(script::sign(&eddsa, &rsa, b""), "Failed to sign with EdDSA pair: "));
    assert!(is_range(script::verify_signature(&eddsa, &public, &signature, b"data")));
    assert!(is_range(script::verify_signature(&eddsa, &openssl("ed25519.cert.pem"), &signature, b"data")));

    // RFC 4231 test case 2.
    let mac = script::sign(&with("HMAC", "SHA-512", None), "Jefe", b"what do ya want for nothing?").unwrap();
    assert!(hex::encode(mac).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"));
    assert!(is_range(script::verify_signature(&with("HMAC", "SHA-256", None), "k", b"", b"")));
    assert!(is_range(script::sign(&with("HMAC", "MD5", None), "k", b"")));
    assert!(is_range(script::sign(&with("DSA", "SHA-256", None), "k", b"")));
}

#[test]
fn keys_are_wrapped() {
    let rsa = openssl("rsa.key.pem");
    let public = ccf_crypto::key::RsaKeyPair::from_pem(&rsa).unwrap().public_key().to_pem();
    let with = |name, label, aes_key_size| WrappingParameters { name, label, aes_key_size };
    let secret = [9; 32];
    for parameters in [
        with("RSA-OAEP", None, None),
        with("RSA-OAEP", Some(&b"label\xff"[..]), None),
        with("RSA-OAEP-AES-KWP", None, Some(128)),
        with("RSA-OAEP-AES-KWP", Some(b"label"), Some(192)),
        with("RSA-OAEP-AES-KWP", None, Some(256)),
    ] {
        let wrapped = script::wrap_key(&secret, public.as_bytes(), &parameters).unwrap();
        assert_eq!(**script::unwrap_key(&wrapped, rsa.as_bytes(), &parameters).unwrap(), secret);
        let other = WrappingParameters { label: Some(b"other"), ..parameters };
        let failed = "Failed to unwrap key: ";
        assert!(is_internal(script::unwrap_key(&wrapped, rsa.as_bytes(), &other), failed));
        assert!(is_internal(script::unwrap_key(&wrapped[1..], rsa.as_bytes(), &parameters), failed));
        assert!(is_internal(script::unwrap_key(b"", rsa.as_bytes(), &parameters), failed));
        assert!(is_internal(script::unwrap_key(&wrapped, public.as_bytes(), &parameters), failed));
        assert!(is_internal(script::wrap_key(&secret, b"\xff", &parameters), "Failed to wrap key: "));
    }
    let kwp = with("AES-KWP", None, None);
    let wrapped = script::wrap_key(&secret, &[1; 32], &kwp).unwrap();
    assert_eq!(**script::unwrap_key(&wrapped, &[1; 32], &kwp).unwrap(), secret);
    assert!(is_internal(script::wrap_key(&secret, &[1; 8], &kwp), "Failed to wrap key: "));
    assert!(is_internal(script::wrap_key(b"", &[1; 32], &kwp), "Failed to wrap key: "));
    for size in [None, Some(0), Some(-128), Some(512)] {
        let parameters = with("RSA-OAEP-AES-KWP", None, size);
        assert!(is_internal(
            script::wrap_key(&secret, public.as_bytes(), &parameters),
            "Failed to wrap key: "
        ));
    }
    assert!(is_range(script::wrap_key(&secret, &[], &with("AES-KW", None, None))));
    assert!(is_range(script::unwrap_key(&secret, &[], &with("AES-KW", None, None))));
}

#[test]
fn certificates_are_judged() {
    let start = datetime!(2026-01-01 0:00 UTC);
    let validity = Validity::from_days(start, 10).unwrap();
    let root_key = EcKeyPair::generate(Curve::P384).unwrap();
    let root = self_signed(&root_key, &Name::parse("CN=root").unwrap(), &[], CertificateKind::Ca, &validity)
        .unwrap();
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let request = SigningRequest::create(&key, &Name::parse("CN=leaf").unwrap(), &[]).unwrap();
    let leaf =
        Issuer::new(&root, &root_key).unwrap().endorse(&request, CertificateKind::Leaf, &validity).unwrap();

    let valid = |chain: &str, trusted: &str| script::is_valid_x509_cert_chain(chain, trusted, start);
    let both = leaf.to_pem() + &root.to_pem();
    assert_eq!(valid(&both, &root.to_pem()), Ok(true));
    assert_eq!(valid(&leaf.to_pem(), &root.to_pem()), Ok(true));
    assert_eq!(valid(&leaf.to_pem(), &leaf.to_pem()), Ok(false));
    assert_eq!(valid(&leaf.to_pem(), &openssl("p256.cert.pem")), Ok(false));
    for (chain, trusted) in [("", root.to_pem()), ("x", root.to_pem()), (&both, String::new())] {
        assert_eq!(valid(chain, &trusted), Ok(false));
    }
    let late = start + Duration::days(11);
    assert_eq!(script::is_valid_x509_cert_chain(&both, &root.to_pem(), late), Ok(false));
    assert!(valid(&openssl("p256.key.pem"), &root.to_pem()).is_err());
    assert!(valid(&openssl("ed25519.cert.pem"), &root.to_pem()).is_err());

    // Governance 7.5: the first block decides, and no text is as good as a certificate.
    let csr = openssl("p256.csr.pem");
    for good in ["", &both, &format!("{both}{csr}"), &format!("{}rubbish", leaf.to_pem())] {
        assert!(script::is_valid_x509_cert_bundle(good), "{good}");
    }
    for bad in ["x", " ", &openssl("p256.key.pem"), &format!("{csr}{both}")] {
        assert!(!script::is_valid_x509_cert_bundle(bad), "{bad}");
    }
    assert_eq!(script::pem_to_id(&leaf.to_pem()).unwrap(), leaf.member_id().as_str());
    assert!(is_internal(script::pem_to_id("x"), "Failed to parse PEM: "));
}

#[test]
fn jwk_functions() {
    type ToJwk = fn(&str, Option<&str>) -> Result<ccf_crypto::Zeroizing<String>, ScriptError>;
    type ToPem = fn(&str) -> Result<ccf_crypto::Zeroizing<String>, ScriptError>;
    let ec = script::generate_ecdsa_key_pair("secp384r1").unwrap();
    let rsa = openssl("rsa.key.pem");
    let rsa_public = ccf_crypto::key::RsaKeyPair::from_pem(&rsa).unwrap().public_key().to_pem();
    let ed = script::generate_eddsa_key_pair("curve25519").unwrap();
    let x = script::generate_eddsa_key_pair("x25519").unwrap();
    let cases: [(&str, ToJwk, ToPem); 8] = [
        (&ec.public_key, script::pub_pem_to_jwk, script::pub_jwk_to_pem),
        (&ec.private_key, script::pem_to_jwk, script::jwk_to_pem),
        (&rsa_public, script::pub_rsa_pem_to_jwk, script::pub_rsa_jwk_to_pem),
        (&rsa, script::rsa_pem_to_jwk, script::rsa_jwk_to_pem),
        (&ed.public_key, script::pub_eddsa_pem_to_jwk, script::pub_eddsa_jwk_to_pem),
        (&ed.private_key, script::eddsa_pem_to_jwk, script::eddsa_jwk_to_pem),
        (&x.public_key, script::pub_eddsa_pem_to_jwk, script::pub_eddsa_jwk_to_pem),
        (&x.private_key, script::eddsa_pem_to_jwk, script::eddsa_jwk_to_pem),
    ];
    for (index, (pem, to_jwk, to_pem)) in cases.into_iter().enumerate() {
        let jwk = to_jwk(pem, Some("the kid")).unwrap();
        assert!(jwk.contains("\"kid\":\"the kid\""));
        assert_eq!(*to_pem(&jwk).unwrap(), pem, "case {index}");
        let sorted: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&jwk).unwrap();
        assert_eq!(*jwk, serde_json::to_string(&sorted).unwrap());
        assert!(!to_jwk(pem, None).unwrap().contains("kid"));
        for (other, (pem, ..)) in cases.iter().enumerate().filter(|(other, _)| *other != index) {
            if (index < 4) != (other < 4) || index < 4 {
                let failed = "Failed to convert pem to jwk: ";
                assert!(is_internal(to_jwk(pem, None), failed), "{index} {other}");
            }
        }
        for bad in ["", "{}", "[]", "{\"kty\":\"EC\"}"] {
            assert!(is_internal(to_pem(bad), "Failed to convert jwk to pem"));
        }
    }
    assert!(is_internal(
        script::pem_to_jwk(&openssl("p521.key.pem"), None),
        "Failed to convert pem to jwk: "
    ));
}
