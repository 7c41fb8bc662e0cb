//! An application built with the public npm package, unchanged: `tests/npm-app` of the workspace. `cargo xtask
//! test` installs the packages and builds it; elsewhere the test has nothing to run.

use crate::service::{Service, body_json};
use ccf_js::Bundle;
use serde_json::{Value, json};
use std::path::PathBuf;

fn bundle() -> Option<Bundle> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let built = target.join("test-tools/npm-app/dist/bundle.json");
    built.is_file().then(|| Bundle::read(&built).unwrap())
}

#[test]
fn converters_and_typed_maps_of_the_package() {
    let Some(bundle) = bundle() else { return };
    let mut service = Service::new();
    service.install(&bundle);
    let (user, _) = service.add_user("user", json!(null));
    service.call_as(&user);
    let put = |kind: &str, key: Value, value: Value| {
        service.post(&format!("/app/values/{kind}"), &json!({"key": key, "value": value}).to_string()).status
    };
    for (kind, value) in [
        ("bool", json!(true)),
        ("int8", json!(-128)),
        ("uint8", json!(255)),
        ("int16", json!(-2)),
        ("uint16", json!(65535)),
        ("int32", json!(-5)),
        ("uint32", json!(5)),
        ("float32", json!(0.5)),
        ("float64", json!(0.1)),
        ("string", json!("gr\u{fc}n")),
        ("json", json!({"a": [1, null]})),
        ("int64", json!("-9007199254740993")),
        ("uint64", json!("9007199254740993")),
    ] {
        assert_eq!(put(kind, json!("k"), value.clone()), 204, "{kind}");
        assert_eq!(body_json(&service.get(&format!("/app/values/{kind}/k")))["value"], value, "{kind}");
    }
    for (kind, value) in
        [("int8", json!(200)), ("uint32", json!(-1)), ("string", json!(1)), ("bool", json!(1))]
    {
        assert_eq!(put(kind, json!("bad"), value), 400, "{kind}");
    }
    assert_eq!(put("typed", json!(7), json!([1, 65535])), 204);
    assert_eq!(body_json(&service.get("/app/values/typed/7"))["value"], json!([1, 65535]));
    let members = service.post("/app/members", r#"{"add":["b","a"],"remove":["b"]}"#);
    assert_eq!(body_json(&members), json!({"names": ["a"], "size": 1}));
}
