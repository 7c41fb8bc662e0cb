//! The `accept` header, for answers that are JSON whatever the client would like better.

use crate::{
    error::{ErrorCode, ErrorResponse},
    http::Headers,
};

/// Whether the client takes JSON.
///
/// # Errors
/// 406 `UnsupportedContentType` if no entry matches `application/json`; 400 `InvalidHeaderValue` if an entry
/// is malformed.
pub(super) fn check(headers: &Headers) -> Result<(), ErrorResponse> {
    let Some(value) = headers.get("accept") else { return Ok(()) };
    if value == b"*/*" || value == b"application/json" {
        return Ok(());
    }
    let text: String = String::from_utf8_lossy(value).chars().filter(|c| *c != ' ').collect();
    let mut matched = false;
    for entry in text.split(',').filter(|_| !text.is_empty()) {
        matched |= matches_json(entry).ok_or_else(|| {
            let message = format!("Entry in Accept header is not a valid MIME type: {entry}");
            ErrorResponse::new(ErrorCode::InvalidHeaderValue, message)
        })?;
    }
    if matched {
        return Ok(());
    }
    let message = format!(
        "No supported content type in accept header: {text}\nOnly application/json is currently supported"
    );
    Err(ErrorResponse::new(ErrorCode::UnsupportedContentType, message))
}

/// `None` if the entry is no `type/subtype[;parameter]...`, or its `q` is no number.
fn matches_json(entry: &str) -> Option<bool> {
    let mut parts = entry.split(';');
    let (kind, subtype) = parts.next()?.split_once('/')?;
    if kind.is_empty() || subtype.is_empty() || subtype.contains('/') {
        return None;
    }
    for quality in parts.filter_map(|p| p.strip_prefix("q=")) {
        quality.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?;
    }
    Some((kind == "*" || kind == "application") && (subtype == "*" || subtype == "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_the_specification() {
        for (accept, status) in [
            (None, 200),
            (Some("nonsense"), 400),
            (Some("text/html"), 406),
            (Some("*/*"), 200),
            (Some("application/*"), 200),
            (Some("text/html, application/json;q=0.1"), 200),
            (Some("application/json;q=0"), 200),
            (Some("application/json;q=x"), 400),
            (Some(""), 406),
            (Some("application/cose"), 406),
            (Some("a/b/c"), 400),
            (Some("text/html,"), 400),
        ] {
            let headers: Headers = accept.iter().map(|value| ("accept", *value)).collect();
            let found = check(&headers).map_or_else(|e| e.status, |()| 200);
            assert_eq!(found, status, "{accept:?}");
        }
    }
}
