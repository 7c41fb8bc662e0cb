//! Tests of the public interface: the specification's vectors, OpenSSL's keys and certificates, round trips.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

mod certificates;
mod cose;
mod jwk;
mod keys;
mod script;
mod vectors;

/// A file of `testdata/openssl`.
fn openssl(name: &str) -> String {
    let path = format!("{}/testdata/openssl/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The member of the vector file at a JSON pointer.
fn vector(pointer: &str) -> serde_json::Value {
    use std::sync::OnceLock;
    static VECTORS: OnceLock<serde_json::Value> = OnceLock::new();
    let all =
        VECTORS.get_or_init(|| serde_json::from_str(include_str!("../../testdata/vectors.json")).unwrap());
    all.pointer(pointer).unwrap_or_else(|| panic!("no vector {pointer}")).clone()
}

/// A text member of the vector file.
fn text(pointer: &str) -> String {
    vector(pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no text")).to_owned()
}

/// A hex member of the vector file.
fn bytes(pointer: &str) -> Vec<u8> {
    hex::decode(text(pointer)).unwrap()
}

/// A base64 member of the vector file.
fn base64(pointer: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text(pointer)).unwrap()
}

/// A digest member of the vector file.
fn digest(pointer: &str) -> ccf_types::Digest {
    text(pointer).parse().unwrap()
}
