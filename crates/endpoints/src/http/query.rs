//! Query strings and percent decoding (applications specification, section 1.1).
//!
//! The query is decoded as a whole before it is split into parameters, so `a=1%262` holds two parameters.

use crate::error::ErrorResponse;
use std::borrow::Cow;

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn decode(text: &[u8], plus_is_space: bool) -> Cow<'_, [u8]> {
    let Some(first) = text.iter().position(|&b| b == b'%' || (plus_is_space && b == b'+')) else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' if plus_is_space => out.push(b' '),
            b'%' => {
                match (tail.first().copied().and_then(hex_value), tail.get(1).copied().and_then(hex_value)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        rest = &tail[2..];
                    }
                    _ => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// Decodes a raw query string: `%XX` to a byte, `+` to a space, malformed escapes kept.
#[must_use]
pub fn decode_query(raw: &[u8]) -> Cow<'_, [u8]> {
    decode(raw, true)
}

/// Decodes `%XX` only; for path parameters.
#[must_use]
pub fn percent_decode(raw: &[u8]) -> Cow<'_, [u8]> {
    decode(raw, false)
}

/// A decoded query string, split on demand at `&` and the first `=` of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a>(&'a [u8]);

impl<'a> Query<'a> {
    /// The parameters of an already decoded query string.
    #[must_use]
    pub fn new(decoded: &'a [u8]) -> Query<'a> {
        Query(decoded)
    }

    /// The decoded bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Names and values in order; a part without `=` has an empty value.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.split(|&b| b == b'&').filter(|part| !part.is_empty()).map(|part| {
            match part.iter().position(|&b| b == b'=') {
                Some(at) => (&part[..at], &part[at + 1..]),
                None => (part, &part[part.len()..]),
            }
        })
    }

    /// The first value of a parameter, if it is there and is UTF-8.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        let (_, value) = self.iter().find(|(n, _)| *n == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// A required parameter.
    ///
    /// # Errors
    /// 400 `InvalidQueryParameterValue` if it is missing or does not parse.
    pub fn required<T: FromQuery>(self, name: &str) -> Result<T, ErrorResponse> {
        self.optional(name)?
            .ok_or_else(|| ErrorResponse::invalid_query(format!("Missing query parameter '{name}'")))
    }

    /// An optional parameter; `None` if it is missing.
    ///
    /// # Errors
    /// 400 `InvalidQueryParameterValue` if it is there and does not parse.
    pub fn optional<T: FromQuery>(self, name: &str) -> Result<Option<T>, ErrorResponse> {
        let Some((_, value)) = self.iter().find(|(n, _)| *n == name.as_bytes()) else { return Ok(None) };
        match T::from_query(value) {
            Some(value) => Ok(Some(value)),
            None => Err(ErrorResponse::invalid_query(format!(
                "Unable to parse value '{}'{} in parameter '{name}'",
                String::from_utf8_lossy(value),
                T::KIND
            ))),
        }
    }
}

/// A type that query parameters can have.
pub trait FromQuery: Sized {
    /// Added to the message about a value that does not parse.
    const KIND: &str = "";

    /// The value of the decoded bytes.
    fn from_query(value: &[u8]) -> Option<Self>;
}

impl FromQuery for String {
    fn from_query(value: &[u8]) -> Option<String> {
        std::str::from_utf8(value).ok().map(str::to_owned)
    }
}

impl FromQuery for bool {
    const KIND: &str = " as bool";

    fn from_query(value: &[u8]) -> Option<bool> {
        match value {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl FromQuery for $type {
            fn from_query(value: &[u8]) -> Option<$type> {
                // A leading plus sign is no part of a number here.
                if value.first() == Some(&b'+') { None } else { std::str::from_utf8(value).ok()?.parse().ok() }
            }
        }
    )*};
}
integer!(u8, u16, u32, u64, usize, i8, i16, i32, i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_specification() {
        assert_eq!(decode_query(b"a=1%262&b=x+y").as_ref(), b"a=1&2&b=x y");
        assert_eq!(decode_query(b"q=%4").as_ref(), b"q=%4");
        assert_eq!(decode_query(b"%zz%41%").as_ref(), b"%zzA%");
        assert_eq!(percent_decode(b"a%2Fb+c").as_ref(), b"a/b+c");
        let decoded = decode_query(b"a=1%262&b=x+y");
        let all: Vec<_> = Query::new(&decoded).iter().collect();
        assert_eq!(all, vec![(&b"a"[..], &b"1"[..]), (b"2", b""), (b"b", b"x y")]);
    }

    #[test]
    fn typed_parameters() {
        let query = Query::new(b"from=5&to=x&flag");
        assert_eq!(query.required::<u64>("from").ok(), Some(5));
        assert_eq!(query.optional::<u64>("none").ok(), Some(None));
        assert_eq!(query.optional::<u64>("to").unwrap_err().status, 400);
        assert_eq!(query.required::<u64>("none").unwrap_err().code.as_str(), "InvalidQueryParameterValue");
        assert_eq!(query.get("flag"), Some(""));
        let message = |error: ErrorResponse| error.message;
        assert_eq!(message(query.required::<u64>("none").unwrap_err()), "Missing query parameter 'none'");
        assert_eq!(
            message(query.required::<u64>("to").unwrap_err()),
            "Unable to parse value 'x' in parameter 'to'"
        );
        let text = "Unable to parse value 'x' as bool in parameter 'to'";
        assert_eq!(message(query.required::<bool>("to").unwrap_err()), text);
        assert!(Query::new(b"n=+5").required::<u64>("n").is_err());
        assert!(Query::new(b"n=-5").required::<u64>("n").is_err());
        assert_eq!(Query::new(b"n=-5").required::<i64>("n").ok(), Some(-5));
    }
}
