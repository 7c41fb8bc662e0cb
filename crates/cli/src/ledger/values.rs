//! Keys and values as people and scripts see them.

use serde_json::{Value, json};

/// The key of a table that holds one value.
pub const SINGLETON: [u8; 8] = [0; 8];

/// Text as it is, other bytes as `{"hex": …}`.
#[must_use]
pub fn bytes_json(bytes: &[u8]) -> Value {
    match printable(bytes) {
        Some(text) => Value::from(text),
        None => json!({"hex": hex::encode(bytes)}),
    }
}

/// A key in one line.
#[must_use]
pub fn key_text(key: &[u8]) -> String {
    match key == SINGLETON {
        true => "(the value)".to_owned(),
        false => bytes_text(key),
    }
}

/// Text in one line, other bytes as `0x…`.
#[must_use]
pub fn bytes_text(bytes: &[u8]) -> String {
    match printable(bytes) {
        Some(text) => text.replace('\n', "\\n"),
        None => format!("0x{}", hex::encode(bytes)),
    }
}

/// The key that a user means: text, `0x…` for bytes, nothing for the key of a table with one value.
///
/// # Errors
/// A sentence when what follows `0x` is not hexadecimal.
pub fn parse_key(text: Option<&str>) -> Result<Vec<u8>, String> {
    match text {
        None => Ok(SINGLETON.to_vec()),
        Some(text) => match text.strip_prefix("0x") {
            Some(digits) => hex::decode(digits).map_err(|e| format!("--key {text}: {e}")),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_fine = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_fine).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(bytes_text(b"text\nmore"), "text\\nmore");
        assert_eq!(bytes_text(&[0, 1, 0xff]), "0x0001ff");
        assert_eq!(key_text(&SINGLETON), "(the value)");
        assert_eq!(bytes_json(&[0xff]), json!({"hex": "ff"}));
    }

    #[test]
    fn a_key_is_read_as_it_is_shown() {
        for key in [&b"plain"[..], &[0, 1, 0xff]] {
            assert_eq!(parse_key(Some(&bytes_text(key))).unwrap(), key);
        }
        assert_eq!(parse_key(None).unwrap(), SINGLETON);
        assert!(parse_key(Some("0x0g")).is_err());
    }
}
