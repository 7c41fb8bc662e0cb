//! Entity tags: the hex SHA-256 of a message, and the preconditions of requests about it.

use ccf_sdk::{ErrorCode, ErrorResponse, Headers, sha256};

/// Tags in one header at most.
const TAGS_MAX: usize = 64;

/// The tag of a message.
pub(crate) fn of(msg: &str) -> String {
    sha256(msg.as_bytes()).to_string()
}

/// 412: the message is not the one the client knows.
pub(crate) fn changed() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::PreconditionFailed, "Resource has changed.")
}

/// The tags of `if-match` and `if-none-match`; a request has one of them at most.
pub(crate) struct Preconditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

enum Tags {
    Any,
    List(Vec<String>),
}

impl Preconditions {
    /// Reads the two headers.
    ///
    /// # Errors
    /// 400 `InvalidHeaderValue` if one is malformed or both are there.
    pub(crate) fn of(headers: &Headers) -> Result<Preconditions, ErrorResponse> {
        let tags = |name: &str| {
            let parse = |value| {
                Tags::parse(value).ok_or_else(|| {
                    let message = format!("The {name} header is neither * nor a list of quoted hex tags.");
                    ErrorResponse::new(ErrorCode::InvalidHeaderValue, message)
                })
            };
            headers.get(name).map(parse).transpose()
        };
        let preconditions =
            Preconditions { matches: tags("if-match")?, none_matches: tags("if-none-match")? };
        if preconditions.matches.is_some() && preconditions.none_matches.is_some() {
            let message = "Cannot have both If-Match and If-None-Match headers.";
            return Err(ErrorResponse::new(ErrorCode::InvalidHeaderValue, message));
        }
        Ok(preconditions)
    }

    /// No preconditions at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.matches.is_none() && self.none_matches.is_none()
    }

    /// Whether `if-match` is there and does not name the tag.
    pub(crate) fn match_fails(&self, tag: &str) -> bool {
        self.matches.as_ref().is_some_and(|tags| !tags.contains(tag))
    }

    /// Whether `if-none-match` is there and names the tag.
    pub(crate) fn none_match_fails(&self, tag: &str) -> bool {
        self.none_matches.as_ref().is_some_and(|tags| tags.contains(tag))
    }
}

impl Tags {
    fn parse(value: &[u8]) -> Option<Tags> {
        let text = std::str::from_utf8(value).ok()?;
        if text.trim() == "*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        for part in text.split(',') {
            let tag = part.trim().strip_prefix('"')?.strip_suffix('"')?;
            let hex =
                !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !hex || tags.len() == TAGS_MAX {
                return None;
            }
            tags.push(tag.to_owned());
        }
        Some(Tags::List(tags))
    }

    fn contains(&self, tag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|t| t == tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector() {
        assert_eq!(of("hello"), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    }

    #[test]
    fn headers() {
        for (value, good) in [
            ("*", true),
            ("\"ab\"", true),
            ("\"ab\", \"cd\"", true),
            ("ab", false),
            ("\"AB\"", false),
            ("W/\"ab\"", false),
            ("\"\"", false),
            ("", false),
            ("\"ab\",", false),
        ] {
            let headers: Headers = [("if-match", value)].into_iter().collect();
            assert_eq!(Preconditions::of(&headers).is_ok(), good, "{value}");
        }
        let both: Headers = [("if-match", "*"), ("if-none-match", "*")].into_iter().collect();
        assert!(Preconditions::of(&both).is_err());
    }
}
