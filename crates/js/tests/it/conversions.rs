//! Conversions and the small globals, against a plain Rust model where there is one.

use crate::service::{Service, body_json, eval, message};
use ccf_endpoints::{Method, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn wrong_arguments() {
    for (call, error) in [
        ("ccf.strToBuf(1)", "TypeError: Argument must be a string"),
        ("ccf.strToBuf({})", "TypeError: Argument must be a string"),
        ("ccf.strToBuf()", "TypeError: Passed 0 arguments, but expected 1"),
        ("ccf.bufToStr('x')", "TypeError: Argument must be an ArrayBuffer"),
        ("ccf.bufToStr(new Uint8Array(1))", "TypeError: Argument must be an ArrayBuffer"),
        ("ccf.bufToJsonCompatible(ccf.strToBuf('{')).x", "SyntaxError:"),
        ("ccf.bufToJsonCompatible(ccf.strToBuf(''))", "SyntaxError:"),
        ("ccf.jsonCompatibleToBuf(1n)", "TypeError:"),
        ("ccf.jsonCompatibleToBuf(undefined)", "TypeError:"),
        ("ccf.jsonCompatibleToBuf(() => 1)", "TypeError:"),
        ("ccf.pemToId('x')", "InternalError: Failed to parse PEM"),
        ("ccf.enableMetricsLogging(1)", "TypeError:"),
        ("ccf.rpc.setApplyWrites()", "TypeError: Passed 0 arguments but expected 1"),
        (
            "ccf.rpc.setClaimsDigest(ccf.strToBuf('x'))",
            "TypeError: Argument must be an ArrayBuffer of the right size: 32",
        ),
        ("ccf.rpc.setClaimsDigest('x')", "TypeError: Argument must be an ArrayBuffer"),
        ("ccf.consensus.getStatusForTxId(-1, 1)", "RangeError:"),
        ("ccf.consensus.getViewForSeqno(-1)", "RangeError:"),
        ("ccf.historical.getStateRange(1, 2, 3)", "TypeError: Passed 3 arguments, but expected 4"),
        ("ccf.historical.getStateRange(1, -2, 3, 4)", "RangeError:"),
        ("ccf.historical.getStateRange(1, 3, 2, 4)", "InternalError: Failed to get state range"),
        (
            "ccf.historical.getStateRange(1, 2, 3, 4)",
            "InternalError: Failed to get state range: Historical queries are not available on this node",
        ),
        ("ccf.crypto.digest('MD5', ccf.strToBuf(''))", "RangeError:"),
        ("ccf.crypto.digest('SHA-256', '')", "TypeError: Argument must be an ArrayBuffer"),
        ("ccf.crypto.generateAesKey(129)", "RangeError:"),
        ("ccf.crypto.generateEcdsaKeyPair('p')", "RangeError:"),
        ("ccf.crypto.generateEddsaKeyPair('p')", "RangeError:"),
        ("ccf.crypto.sign({ name: 'X', hash: 'SHA-256' }, '', ccf.strToBuf(''))", "RangeError:"),
        ("ccf.crypto.wrapKey(ccf.strToBuf('k'), ccf.strToBuf('k'), { name: 'X' })", "RangeError:"),
        ("ccf.crypto.pemToJwk('x')", "InternalError: Failed to convert pem to jwk"),
        ("ccf.crypto.jwkToPem({})", "InternalError: Failed to convert jwk to pem"),
        ("ccf.gov.validateConstitution('')", "TypeError: constitution is empty"),
        ("ccf.tcbHexToPolicy('00000000', '0000000000000000')", "InternalError:"),
        (
            "snp_attestation.verifySnpAttestation(1)",
            "TypeError: Passed 1 arguments, but expected between 2 and 4",
        ),
        ("ccf.node", "null"),
    ] {
        let got = eval(&format!("return {call};"));
        let got = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
        assert!(got.starts_with(error), "{call}: {got}");
    }
}

#[test]
fn small_globals() {
    let result = eval(
        "const r = [Math.random(), Math.random()];
         return [r[0] !== r[1], r.every((x) => x >= 0 && x < 1), Date.now() > 1e12, ccf.enableUntrustedDateTime(1),
                 typeof SharedArrayBuffer, typeof WeakRef, typeof setTimeout, typeof ccf.historicalState,
                 ccf.consensus.getLastCommittedTxId(), ccf.consensus.getStatusForTxId(2, 1),
                 ccf.consensus.getStatusForTxId(3, 99), ccf.consensus.getViewForSeqno(1),
                 ccf.consensus.getViewForSeqno(1000), ccf.historical.dropCachedStates(5),
                 ccf.tcbHexToPolicy('00a00f11', 'd315000000000004')];",
    );
    assert_eq!(
        result,
        json!([
            true, true, true, true, "function", "undefined", "undefined", "undefined", {"view": 2, "seqno": 1},
            "Committed", "Unknown", 2, null, false,
            {"hexstring": "d315000000000004", "microcode": 211, "snp": 21, "tee": 0, "boot_loader": 4}
        ])
    );
}

#[test]
fn crypto_works_end_to_end() {
    let result = eval(
        "const c = ccf.crypto, data = ccf.strToBuf('data'), hex = (b) =>
           Array.from(new Uint8Array(b)).map((x) => x.toString(16).padStart(2, '0')).join('');
         const pair = c.generateEcdsaKeyPair('secp256r1'), alg = { name: 'ECDSA', hash: 'SHA-256' };
         const signature = c.sign(alg, pair.privateKey, data);
         const jwk = c.pemToJwk(pair.privateKey, 'id');
         const key = c.generateAesKey(256);
         const wrapped = c.wrapKey(data, key, { name: 'AES-KWP' });
         return [hex(c.digest('SHA-256', ccf.strToBuf(''))).slice(0, 16), signature.byteLength,
                 c.verifySignature(alg, pair.publicKey, signature, data),
                 c.verifySignature(alg, pair.publicKey, signature, ccf.strToBuf('other')),
                 Object.keys(jwk).join(), c.jwkToPem(jwk) === pair.privateKey,
                 c.pubJwkToPem(c.pubPemToJwk(pair.publicKey)) === pair.publicKey,
                 ccf.bufToStr(c.unwrapKey(wrapped, key, { name: 'AES-KWP' })), c.isValidX509CertBundle(''),
                 c.isValidX509CertBundle('x'), c.isValidX509CertChain('', '')];",
    );
    assert_eq!(
        result,
        json!([
            "e3b0c44298fc1c14",
            64,
            true,
            false,
            "crv,d,kid,kty,x,y",
            true,
            true,
            "data",
            true,
            false,
            false
        ])
    );
}

#[test]
fn endpoints_about_the_past_want_a_transaction() {
    let service = Service::with_app(
        "export function f() { return {}; }",
        &[("get", "/f", "f", json!({"mode": "historical"}))],
    );
    let response = service.get("/app/f");
    assert_eq!(response.status, 404);
    assert_eq!(message(&response), "Could not extract Transaction Id");
}

/// One service for all cases of the properties below.
fn converter() -> Service {
    Service::with_app(
        "export function f({ body }) {
           const buffer = body.arrayBuffer(), text = ccf.bufToStr(buffer);
           return { body: { text, back: Array.from(new Uint8Array(ccf.strToBuf(text))), direct: body.text() === text } }; }
         export function json({ body }) {
           const value = ccf.bufToJsonCompatible(body.arrayBuffer());
           return { body: ccf.jsonCompatibleToBuf(value) }; }",
        &[("post", "/f", "f", json!({})), ("post", "/json", "json", json!({}))],
    )
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\u{e9}]{1,4}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn text_is_decoded_as_rust_does(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let service = converter();
        let request = Request::simple(Method::Post, "/app/f").with_body(bytes.clone());
        let got = body_json(&service.send(&request));
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(&got["text"], &json!(text));
        prop_assert_eq!(&got["back"], &json!(text.as_bytes()));
        prop_assert_eq!(&got["direct"], &json!(true));
    }

    #[test]
    fn json_round_trips(value in json_value()) {
        let service = converter();
        let response = service.post("/app/json", &value.to_string());
        prop_assert_eq!(body_json(&response), value);
    }
}
