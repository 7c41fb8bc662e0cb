//! Private messages of the native logging application: written and committed, or read.

use ccf_cli::http_client::{ClientError, HttpClient, Reply};
use serde_json::json;

/// How long a write waits for its commit, milliseconds.
const WAIT_MS: &str = "20000";

/// Writes a message and waits for its commit; the answer says in a header whether it came.
pub(crate) fn send(client: &mut HttpClient, id: u64, message: &str) -> Result<Reply, ClientError> {
    let body = json!({"id": id, "msg": message}).to_string();
    let headers = [("content-type", "application/json"), ("x-ccf-wait-for-commit", WAIT_MS)];
    client.send_with("POST", "/app/log/private", &headers, body.into())
}

/// Whether an answer promises that what it tells of is committed.
pub(crate) fn is_committed(reply: &Reply) -> bool {
    reply.status.is_success() && reply.headers.get("x-ccf-commit-status").is_some_and(|s| s == "Committed")
}

/// Writes a message, which must be committed.
pub(crate) fn write(client: &mut HttpClient, id: u64, message: &str) {
    let reply = send(client, id, message).unwrap();
    assert!(is_committed(&reply), "{}", reply.refusal());
}

/// A message; none if there is none with this number.
pub(crate) fn read(client: &mut HttpClient, id: u64) -> Option<String> {
    let reply = client.get(&format!("/app/log/private?id={id}")).unwrap();
    if reply.status == 404 {
        return None;
    }
    assert!(reply.status.is_success(), "{}", reply.refusal());
    Some(reply.json()["msg"].as_str().unwrap().to_owned())
}
