//! An application built with the public npm package `@microsoft/ccf-app` runs unchanged: typed maps, sets, converters.

use crate::{running::RunningSandbox, shell, verdicts};
use ccf_cli::http_client::{HttpClient, Protocol};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command};

/// Builds `tests/npm-app` as an application author would: rollup, then the package's own bundling tool.
fn build() -> PathBuf {
    let (source, project) = (shell::root().join("tests/npm-app"), shell::npm_project());
    for folder in ["src", "dist"] {
        let _ = fs::remove_dir_all(project.join(folder));
        fs::create_dir_all(project.join(folder)).unwrap();
    }
    for file in ["rollup.config.js", "src/converters.js"] {
        fs::copy(source.join(file), project.join(file)).unwrap();
    }
    let tool = |name: &str| {
        let mut command = Command::new(project.join("node_modules/.bin").join(name));
        command.current_dir(&project);
        command
    };
    shell::run(tool("rollup").args(["--config", "--silent"]));
    fs::copy(source.join("app.json"), project.join("dist/app.json")).unwrap();
    shell::run(tool("ccf-build-bundle").arg("dist"));
    project.join("dist/bundle.json")
}

fn post(client: &mut HttpClient, path: &str, body: &Value) -> (u16, Value) {
    let reply = client.post(path, "application/json", body.to_string()).unwrap();
    let json = reply.json();
    let shown = if json.is_null() { Value::from(reply.text()) } else { json };
    (reply.status.as_u16(), shown)
}

#[test]
fn a_bundle_built_with_the_npm_package_runs_unchanged() {
    let bundle = build();
    let sandbox = RunningSandbox::start(&["--app", bundle.to_str().unwrap()]);
    let mut user = sandbox.client("user0", Protocol::Http1);

    // Keys of raw and typed arrays are numbers: their maps convert keys with uint32.
    let rows = [
        ("bool", json!("k"), json!(true)),
        ("int8", json!("k"), json!(-128)),
        ("uint8", json!("k"), json!(255)),
        ("int16", json!("k"), json!(-32768)),
        ("uint16", json!("k"), json!(65535)),
        ("int32", json!("k"), json!(-2147483648i64)),
        ("uint32", json!("k"), json!(4294967295u32)),
        ("float32", json!("k"), json!(0.5)),
        ("float64", json!("k"), json!(-1.1e300)),
        ("string", json!("k"), json!("grüße, 世界")),
        ("json", json!("k"), json!({"nested": [1, null, {"x": "y"}]})),
        ("int64", json!("k"), json!("-9223372036854775808")),
        ("uint64", json!("k"), json!("18446744073709551615")),
        ("typed", json!(7), json!([0, 1, 65535])),
        ("raw", json!(8), json!("bytes")),
    ];
    for (kind, key, value) in &rows {
        let (status, told) =
            post(&mut user, &format!("/app/values/{kind}"), &json!({"key": key, "value": value}));
        assert_eq!(status, 204, "{kind}: {told}");
    }
    for (kind, key, value) in &rows {
        let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let reply = user.get(&format!("/app/values/{kind}/{key}")).unwrap();
        assert_eq!(reply.json()["value"], *value, "{kind}: {}", reply.refusal());
    }
    // The package's own range checks surface as the application meant them to.
    let (status, told) = post(&mut user, "/app/values/int8", &json!({"key": "k", "value": 128}));
    assert_eq!((status, told), (400, json!("RangeError")));
    let (status, told) = post(&mut user, "/app/values/bool", &json!({"key": "k", "value": "yes"}));
    assert_eq!((status, told), (400, json!("TypeError")));

    for (key, value) in [("b", "2"), ("a", "1")] {
        post(&mut user, "/app/values/string", &json!({"key": key, "value": value}));
    }
    let all = user.get("/app/all/string").unwrap().json();
    assert_eq!(
        (&all["size"], &all["rows"]["a"], &all["rows"]["b"]),
        (&json!(3), &json!("1"), &json!("2")),
        "{all}"
    );

    let (_, set) = post(&mut user, "/app/members", &json!({"add": ["x", "y", "z"], "remove": []}));
    assert_eq!(set, json!({"names": ["x", "y", "z"], "size": 3}));
    let (_, set) = post(&mut user, "/app/members", &json!({"add": [], "remove": ["y"]}));
    assert_eq!(set, json!({"names": ["x", "z"], "size": 2}));

    for (key, keep) in [("kept", true), ("dropped", false)] {
        let (status, told) =
            post(&mut user, "/app/refused", &json!({"key": key, "value": "v", "apply": keep}));
        assert_eq!((status, told), (409, json!({"kept": keep})));
        let found = user.get(&format!("/app/values/string/{key}")).unwrap().status.as_u16();
        assert_eq!(found, if keep { 200 } else { 404 }, "{key}");
    }
    let status = sandbox.client("", Protocol::Http1).get("/app/status?transaction_id=2.1").unwrap();
    assert_eq!(status.json()["status"], "Committed", "{}", status.refusal());

    let stopped = sandbox.stop();
    stopped.must_be_clean();
    verdicts::must_be_accepted(&stopped);
    // What the converters wrote is what any reader of the ledger finds.
    let text = shell::run(
        Command::new(shell::ccf())
            .args(["ledger", "read", "--uncommitted", "--table", "public:npm."])
            .arg(&stopped.ledger),
    );
    for line in ["k = 0xffff", "k = 0x0080", "k = grüße, 世界", "0x07000000 = 0x00000100ffff"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
