//! Keys: OpenSSL's are read, ours come back, signatures of every kind verify and refuse.

use ccf_crypto::{
    hash::HashAlgorithm,
    key::{
        Curve, EcKeyPair, Ed25519KeyPair, KeyError, KeyKind, KeyPair, PublicKey, RsaKeyPair, SignatureError,
        SignatureFormat, X25519KeyPair,
    },
};
use ccf_types::Digest;
use proptest::prelude::*;

use crate::openssl;

const HASHES: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
const FORMATS: [SignatureFormat; 2] = [SignatureFormat::Der, SignatureFormat::P1363];

#[test]
fn keys_of_openssl_are_read_and_ours_come_back() {
    for (curve, name) in [(Curve::P256, "p256"), (Curve::P384, "p384"), (Curve::P521, "p521")] {
        let key = EcKeyPair::from_pem(&openssl(&format!("{name}.key.pem"))).unwrap();
        let sec1 = EcKeyPair::from_pem(&openssl(&format!("{name}.sec1.pem"))).unwrap();
        assert_eq!(key.curve(), curve);
        assert_eq!(key.public_key(), sec1.public_key());
        assert_eq!(*key.scalar().unwrap(), *sec1.scalar().unwrap());
        assert_eq!(key.scalar().unwrap().len(), curve.field_len());
        let back = EcKeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
        assert_eq!(back.public_key(), key.public_key());
        let point = key.public_key().key_bits();
        assert_eq!(
            EcKeyPair::from_parts(curve, &key.scalar().unwrap(), point).unwrap().public_key(),
            key.public_key()
        );
        assert!(matches!(
            KeyPair::from_pem(&openssl(&format!("{name}.sec1.pem"))),
            Ok(KeyPair::Ec(found)) if found.public_key() == key.public_key()
        ));
    }
    let pkcs1 = RsaKeyPair::from_pem(&openssl("rsa.pkcs1.pem")).unwrap();
    let pkcs8 = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    assert_eq!(pkcs1.public_key(), pkcs8.public_key());
    assert_eq!(*pkcs8.to_pkcs8_pem(), openssl("rsa.key.pem"));
    assert_eq!(pkcs1.to_pkcs8_der(), pkcs8.to_pkcs8_der());
    let ed25519 = Ed25519KeyPair::from_pem(&openssl("ed25519.key.pem")).unwrap();
    assert_eq!(*ed25519.to_pkcs8_pem().unwrap(), openssl("ed25519.key.pem"));
    let x25519 = X25519KeyPair::from_pem(&openssl("x25519.key.pem")).unwrap();
    assert_eq!(*x25519.to_pkcs8_pem(), openssl("x25519.key.pem"));
}

#[test]
fn public_keys_come_back() {
    let keys = [
        EcKeyPair::generate(Curve::P256).unwrap().public_key().clone(),
        EcKeyPair::generate(Curve::P521).unwrap().public_key().clone(),
        RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap().public_key().clone(),
        Ed25519KeyPair::generate().unwrap().public_key().clone(),
        X25519KeyPair::generate().unwrap().public_key().clone(),
    ];
    for key in keys {
        let back = PublicKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(back, key);
        assert_eq!((back.kind(), back.id()), (key.kind(), key.id()));
    }
}

/// Every pair of curve and hash, in both formats; another message, hash, key or format is refused.
#[test]
fn ecdsa_of_every_pair() {
    for curve in Curve::ALL {
        let key = EcKeyPair::generate(curve).unwrap();
        let other = EcKeyPair::generate(curve).unwrap();
        let public = key.public_key();
        for hash in HASHES {
            for format in FORMATS {
                let signature = key.sign(hash, b"message", format).unwrap();
                public.verify_ecdsa(hash, b"message", &signature, format).unwrap();
                let invalid = Err(SignatureError::Invalid);
                assert_eq!(public.verify_ecdsa(hash, b"massage", &signature, format), invalid);
                assert_eq!(other.public_key().verify_ecdsa(hash, b"message", &signature, format), invalid);
                for (other_hash, other_format) in
                    [(HASHES[(hash as usize + 1) % 3], format), (hash, FORMATS[1 - format as usize])]
                {
                    assert_eq!(
                        public.verify_ecdsa(other_hash, b"message", &signature, other_format),
                        invalid
                    );
                }
                assert_eq!(public.verify_ecdsa(hash, b"message", b"", format), invalid);
            }
        }
    }
}

/// The library's own algorithms agree with the one digest path that serves all pairs here.
#[test]
fn ecdsa_agrees_with_the_library() {
    use aws_lc_rs::signature::{self as library, UnparsedPublicKey};
    let pairs: [(Curve, HashAlgorithm, &'static dyn library::VerificationAlgorithm); 9] = [
        (Curve::P256, HashAlgorithm::Sha256, &library::ECDSA_P256_SHA256_ASN1),
        (Curve::P256, HashAlgorithm::Sha384, &library::ECDSA_P256_SHA384_ASN1),
        (Curve::P256, HashAlgorithm::Sha512, &library::ECDSA_P256_SHA512_ASN1),
        (Curve::P384, HashAlgorithm::Sha256, &library::ECDSA_P384_SHA256_ASN1),
        (Curve::P384, HashAlgorithm::Sha384, &library::ECDSA_P384_SHA384_ASN1),
        (Curve::P384, HashAlgorithm::Sha512, &library::ECDSA_P384_SHA512_ASN1),
        (Curve::P521, HashAlgorithm::Sha256, &library::ECDSA_P521_SHA256_ASN1),
        (Curve::P521, HashAlgorithm::Sha384, &library::ECDSA_P521_SHA384_ASN1),
        (Curve::P521, HashAlgorithm::Sha512, &library::ECDSA_P521_SHA512_ASN1),
    ];
    for (curve, hash, algorithm) in pairs {
        let key = EcKeyPair::generate(curve).unwrap();
        let signature = key.sign(hash, b"message", SignatureFormat::Der).unwrap();
        UnparsedPublicKey::new(algorithm, key.public_key().key_bits())
            .verify(b"message", &signature)
            .unwrap();
    }
}

#[test]
fn roots_are_signed_as_they_are() {
    for curve in Curve::ALL {
        let key = EcKeyPair::generate(curve).unwrap();
        let root = Digest([0xa5; 32]);
        let signature = key.sign_root(&root).unwrap();
        key.public_key().verify_root(&root, &signature).unwrap();
        assert!(key.public_key().verify_root(&Digest([0xa4; 32]), &signature).is_err());
        assert!(
            key.public_key().verify_ecdsa(curve.hash(), &root.0, &signature, SignatureFormat::Der).is_err()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn flipped_bits_are_refused(message in prop::collection::vec(any::<u8>(), 1..100), flip in any::<prop::sample::Index>()) {
        let key = EcKeyPair::generate(Curve::P256).unwrap();
        let mut signature = key.sign(HashAlgorithm::Sha256, &message, SignatureFormat::P1363).unwrap();
        let bit = flip.index(signature.len() * 8);
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key.public_key().verify_ecdsa(HashAlgorithm::Sha256, &message, &signature, SignatureFormat::P1363).is_err());
    }

    #[test]
    fn garbage_is_no_key(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(PublicKey::from_spki_der(&bytes).is_err());
        prop_assert!(KeyPair::from_pkcs8_der(&bytes).is_err());
    }

    /// A key with one byte changed is refused or another key, never a panic.
    #[test]
    fn mutated_keys_do_not_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), which in 0usize..4) {
        let keys = ["p384.key.pem", "rsa.key.pem", "ed25519.key.pem", "x25519.key.pem"];
        let pem = openssl(keys[which]);
        let mut der = ccf_crypto::pem::decode(&pem).unwrap().contents;
        let index = at.index(der.len());
        der[index] = value;
        if let Ok(pair) = KeyPair::from_pkcs8_der(&der) {
            let _ = pair.to_pkcs8_pem();
            let mut spki = pair.public_key().spki_der().to_vec();
            let index = at.index(spki.len());
            spki[index] = value;
            let _ = PublicKey::from_spki_der(&spki);
        }
    }
}

#[test]
fn rsa_signs_with_any_salt() {
    let key = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    let public = key.public_key();
    assert_eq!(public.kind(), KeyKind::Rsa(2048));
    for hash in HASHES {
        let signature = key.sign_pkcs1(hash, b"message").unwrap();
        public.verify_rsa_pkcs1(hash, b"message", &signature).unwrap();
        assert!(public.verify_rsa_pkcs1(hash, b"massage", &signature).is_err());
        for salt_len in [0, 20, 32, 48, 64] {
            let signature = key.sign_pss(hash, salt_len, b"message").unwrap();
            public.verify_rsa_pss(hash, salt_len, b"message", &signature).unwrap();
            assert!(public.verify_rsa_pss(hash, salt_len, b"massage", &signature).is_err());
            assert!(public.verify_rsa_pss(hash, salt_len + 1, b"message", &signature).is_err());
            assert!(public.verify_rsa_pkcs1(hash, b"message", &signature).is_err());
        }
        assert_eq!(key.sign_pss(hash, 255, b"message"), Err(SignatureError::Failed));
        assert!(public.verify_rsa_pss(hash, 100_000, b"message", &signature).is_err());
    }
}

#[test]
fn rsa_oaep_respects_label_and_size() {
    let key = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    let public = key.public_key();
    for (label, length) in [(&b""[..], 44), (b"\xff\x00label", 0), (b"", 190)] {
        let secret = vec![7; length];
        let ciphertext = public.oaep_encrypt(label, &secret).unwrap();
        assert_eq!(*key.oaep_decrypt(label, &ciphertext).unwrap(), secret);
        assert!(key.oaep_decrypt(b"other", &ciphertext).is_err());
        assert!(key.oaep_decrypt(label, &ciphertext[1..]).is_err());
    }
    assert_eq!(public.oaep_encrypt(b"", &[7; 191]), Err(SignatureError::Failed));
}

/// Other exponents are made by the second library, and used by the first.
#[test]
fn rsa_with_another_exponent() {
    let key = RsaKeyPair::generate_with_exponent(2048, 3).unwrap();
    assert_eq!(key.public_key().rsa_parts().unwrap().1, [3]);
    let ciphertext = key.public_key().oaep_encrypt(b"", b"secret").unwrap();
    assert_eq!(**key.oaep_decrypt(b"", &ciphertext).unwrap(), *b"secret");
    for (bits, exponent) in [(1024, 65537), (16384, 65537), (2048, 4), (2048, 1), (2048, u64::MAX)] {
        assert_eq!(
            RsaKeyPair::generate_with_exponent(bits, exponent).err(),
            Some(KeyError::Unsupported),
            "{bits} {exponent}"
        );
    }
}

#[test]
fn keys_of_another_kind_are_refused() {
    let ec = EcKeyPair::generate(Curve::P384).unwrap();
    let rsa = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    assert_eq!(ec.public_key().oaep_encrypt(b"", b"x"), Err(SignatureError::WrongKey));
    assert_eq!(rsa.public_key().verify_root(&Digest::ZERO, b""), Err(SignatureError::WrongKey));
    assert_eq!(ec.public_key().verify_ed25519(b"", b""), Err(SignatureError::WrongKey));
    assert!(EcKeyPair::from_pem(&openssl("rsa.key.pem")).is_err());
    assert!(RsaKeyPair::from_pem(&openssl("p256.key.pem")).is_err());
    assert!(Ed25519KeyPair::from_pem(&openssl("x25519.key.pem")).is_err());
    assert!(PublicKey::from_pem(&openssl("p256.key.pem")).is_err());
    assert!(format!("{ec:?}").starts_with("EcKeyPair(PublicKey("));
}

/// The library would read a whole key in the place of a point; then two ids would name one key.
#[test]
fn a_key_within_a_key_is_refused() {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let spki = key.public_key().spki_der();
    assert_eq!(PublicKey::from_ec_point(Curve::P384, spki).err(), Some(KeyError::Malformed));
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    assert!(PublicKey::from_ed25519(ed25519.public_key().spki_der()).is_err());
    let point = key.public_key().key_bits();
    assert_eq!(PublicKey::from_ec_point(Curve::P384, point).unwrap(), *key.public_key());
    assert_eq!(PublicKey::from_ec_point(Curve::P384, &point[..96]).err(), Some(KeyError::Malformed));
    assert_eq!(PublicKey::from_ec_point(Curve::P384, &[0]).err(), Some(KeyError::Malformed));
}
