//! JWK: published examples, and PEM to JWK to PEM for every kind of key.

use ccf_crypto::{
    jwk::{EcJwk, JwkError, OkpJwk, RsaJwk},
    key::{Curve, EcKeyPair, Ed25519KeyPair, KeyError, RsaKeyPair, X25519KeyPair},
};

use crate::openssl;

/// RFC 7517 A.1 and A.2, the EC key; members we do not know are passed over.
#[test]
fn published_ec_key() {
    let jwk: EcJwk = serde_json::from_str(
        r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","use":"enc","kid":"1","x5c":[]}"#,
    )
    .unwrap();
    let key = jwk.to_private().unwrap();
    assert_eq!(*key.public_key(), jwk.to_public().unwrap());
    assert_eq!(EcJwk::from_private(&key, Some("1".to_owned())).unwrap(), jwk);
    assert_eq!(
        serde_json::to_string(&EcJwk::from_public(key.public_key(), None).unwrap()).unwrap(),
        concat!(
            r#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#,
            r#""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#
        )
    );
}

/// RFC 8037 A.1 and A.2.
#[test]
fn published_okp_key() {
    let jwk: OkpJwk = serde_json::from_str(
        r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    )
    .unwrap();
    let pem = jwk.to_private_pem().unwrap();
    let key = Ed25519KeyPair::from_pem(&pem).unwrap();
    assert_eq!(OkpJwk::from_ed25519(&key, None).unwrap(), jwk);
}

#[test]
fn every_kind_round_trips() {
    for curve in Curve::ALL {
        let key = EcKeyPair::generate(curve).unwrap();
        let jwk = EcJwk::from_private(&key, Some("id".to_owned())).unwrap();
        assert_eq!(*jwk.to_private().unwrap().to_pkcs8_pem().unwrap(), *key.to_pkcs8_pem().unwrap());
        assert_eq!(
            EcJwk::from_public(key.public_key(), None).unwrap().to_public().unwrap(),
            *key.public_key()
        );
    }
    let key = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    let jwk = RsaJwk::from_private(&key, None).unwrap();
    assert_eq!(*jwk.to_private().unwrap().to_pkcs8_pem(), openssl("rsa.key.pem"));
    let public = RsaJwk::from_public(key.public_key(), None).unwrap();
    assert_eq!(public.to_public().unwrap(), *key.public_key());
    assert_eq!(public.to_private().err(), Some(JwkError::Missing("d")));
    assert_eq!(public.e, "AQAB");

    let key = X25519KeyPair::from_pem(&openssl("x25519.key.pem")).unwrap();
    let jwk = OkpJwk::from_x25519(&key, None).unwrap();
    assert_eq!(*jwk.to_private_pem().unwrap(), openssl("x25519.key.pem"));
    assert_eq!(jwk.to_public().unwrap(), *key.public_key());
}

#[test]
fn bad_jwks_are_refused() {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let good = EcJwk::from_private(&key, None).unwrap();
    let changed = |change: fn(&mut EcJwk)| {
        let mut jwk = good.clone();
        change(&mut jwk);
        jwk
    };
    assert_eq!(
        changed(|jwk| jwk.kty = "RSA".to_owned()).to_public().err(),
        Some(JwkError::KeyType("RSA".to_owned()))
    );
    assert_eq!(
        changed(|jwk| jwk.crv = "P-384 ".to_owned()).to_public().err(),
        Some(JwkError::Curve("P-384 ".to_owned()))
    );
    assert_eq!(changed(|jwk| jwk.x = "!".to_owned()).to_public().err(), Some(JwkError::Member("x")));
    assert_eq!(changed(|jwk| jwk.y = "AA".repeat(40)).to_public().err(), Some(JwkError::Member("y")));
    assert_eq!(
        changed(|jwk| jwk.y = "AA".to_owned()).to_public().err(),
        Some(JwkError::Key(KeyError::Invalid))
    );
    assert_eq!(changed(|jwk| jwk.d = None).to_private().err(), Some(JwkError::Missing("d")));
    // A private part that belongs to another point.
    assert_eq!(
        changed(|jwk| jwk.d = Some("AQ".to_owned())).to_private().err(),
        Some(JwkError::Key(KeyError::Invalid))
    );
    let padded = changed(|jwk| jwk.x.push_str("===="));
    assert!(padded.to_public().is_err());
    assert!(format!("{good:?}").contains("P-384") && !format!("{good:?}").contains(good.d.as_ref().unwrap()));
}

/// A point whose first coordinate starts with a zero byte, both with the zero and, as sloppy writers do, without.
/// One key in 256 is such; not to find one among 5000 has a chance of one in 300 million.
#[test]
fn leading_zeros() {
    for _ in 0..5000 {
        let key = EcKeyPair::generate(Curve::P256).unwrap();
        if key.public_key().key_bits()[1] != 0 {
            continue;
        }
        let jwk = EcJwk::from_public(key.public_key(), None).unwrap();
        assert_eq!(jwk.x.len(), 43);
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let mut short = jwk.clone();
        short.x = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(&jwk.x).unwrap()[1..]);
        assert_eq!(short.to_public().unwrap(), *key.public_key());
        return;
    }
    panic!("five thousand keys without a leading zero");
}
