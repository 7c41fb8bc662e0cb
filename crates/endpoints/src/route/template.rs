//! Path templates: literal text and `{name}` captures (applications specification, section 1.3).
//!
//! A capture takes one or more bytes up to the next `/` or up to the character that follows its closing
//! brace, whichever comes first; so a match is one pass over the path, without backtracking. Text outside
//! braces is literal. Two captures without a character between them are refused, since no request could say
//! where one ends, and so are repeated names.

use super::Captures;

/// Captures in one template at most.
pub const TEMPLATE_CAPTURES_MAX: usize = 32;

/// Why a text is no path template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// An opening brace without a closing one.
    #[error("Invalid templated path, missing closing '}}': {0}")]
    Unclosed(String),
    /// `{}`: a capture needs a name.
    #[error("Invalid templated path, empty parameter name: {0}")]
    EmptyName(String),
    /// The same name twice.
    #[error("Invalid templated path, parameter '{1}' appears twice: {0}")]
    RepeatedName(String, String),
    /// `{a}{b}`: nothing separates the two.
    #[error("Invalid templated path, no character between two parameters: {0}")]
    Adjacent(String),
    /// More than [`TEMPLATE_CAPTURES_MAX`] captures.
    #[error("Invalid templated path, more than {TEMPLATE_CAPTURES_MAX} parameters: {0}")]
    TooManyCaptures(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    /// A capture and the byte after its closing brace, if there is one besides `/`.
    Capture {
        name: Box<str>,
        stop: Option<u8>,
    },
}

/// A path or a path with captures, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: Box<str>,
    pieces: Vec<Piece>,
}

impl PathTemplate {
    /// Parses a template. A leading `/` is added to a text without one.
    ///
    /// # Errors
    /// [`InvalidTemplate`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<PathTemplate, InvalidTemplate> {
        let text = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            if open > 0 {
                pieces.push(Piece::Literal(rest.as_bytes()[..open].into()));
            } else if matches!(pieces.last(), Some(Piece::Capture { .. })) {
                return Err(InvalidTemplate::Adjacent(text.clone()));
            }
            let Some(length) = rest[open..].find('}') else {
                return Err(InvalidTemplate::Unclosed(text.clone()));
            };
            let name = &rest[open + 1..open + length];
            if name.is_empty() {
                return Err(InvalidTemplate::EmptyName(text.clone()));
            }
            if pieces.iter().any(|p| matches!(p, Piece::Capture { name: n, .. } if n.as_ref() == name)) {
                return Err(InvalidTemplate::RepeatedName(text.clone(), name.to_owned()));
            }
            rest = &rest[open + length + 1..];
            let stop = rest.bytes().next().filter(|&b| b != b'/');
            pieces.push(Piece::Capture { name: name.into(), stop });
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.as_bytes().into()));
        }
        let template = PathTemplate { text: text.into(), pieces };
        if template.names().count() > TEMPLATE_CAPTURES_MAX {
            return Err(InvalidTemplate::TooManyCaptures(template.text.into()));
        }
        Ok(template)
    }

    /// The template's text, with its leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no capture: then the path must equal the text.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.pieces.iter().any(|p| matches!(p, Piece::Capture { .. }))
    }

    /// The names of the captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Capture { name, .. } => Some(name.as_ref()),
            Piece::Literal(_) => None,
        })
    }

    /// What the template captures of the path; `None` if it does not match the whole path.
    #[must_use]
    pub fn captures(&self, path: &[u8]) -> Option<Captures> {
        let mut captures = Captures::new();
        let mut at = 0;
        for piece in &self.pieces {
            let rest = path.get(at..)?;
            match piece {
                Piece::Literal(text) => {
                    if !rest.starts_with(text) {
                        return None;
                    }
                    at += text.len();
                }
                Piece::Capture { stop, .. } => {
                    let length =
                        rest.iter().position(|&b| b == b'/' || Some(b) == *stop).unwrap_or(rest.len());
                    if length == 0 {
                        return None;
                    }
                    captures.push(u32::try_from(at).ok()?..u32::try_from(at + length).ok()?);
                    at += length;
                }
            }
        }
        (at == path.len()).then_some(captures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Params;

    fn matched(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = PathTemplate::parse(template).unwrap();
        let captures = template.captures(path.as_bytes())?;
        let params = Params::new(&template, path.as_bytes(), captures);
        Some(params.iter().map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned())).collect())
    }

    #[test]
    fn table_of_the_specification() {
        type Case<'a> = (&'a str, &'a str, Option<&'a [(&'a str, &'a str)]>);
        let cases: &[Case<'_>] = &[
            ("/echo/{foo}", "/echo/a%2Fb", Some(&[("foo", "a%2Fb")])),
            ("/echo/{foo}", "/echo/", None),
            ("/echo/{foo}", "/echo/a/b", None),
            (
                "/{name}:{action}/{place}",
                "/a:b:c/d",
                Some(&[("name", "a"), ("action", "b:c"), ("place", "d")]),
            ),
            ("/foo{id}bar", "/foobazbar", None),
            ("/foo{id}bar", "/fooxyzbar", Some(&[("id", "xyz")])),
            ("/foo{id}bar", "/fooxyzar", None),
            ("/foo{id}bar", "/fooxyzbar2", None),
            ("/foo{id}-bar", "/fooxyz-bar", Some(&[("id", "xyz")])),
            ("/{id}-{name}", "/a-b-c", Some(&[("id", "a"), ("name", "b-c")])),
            ("/a.b/{x}", "/aXb/1", None),
            ("members/{id}:ack", "/members/7:ack", Some(&[("id", "7")])),
            ("/members/{id}:ack", "/members/7:ack:ack", None),
            ("/plain", "/plain", Some(&[])),
            ("/plain", "/plain/", None),
        ];
        for (template, path, expected) in cases {
            let expected: Option<Vec<_>> =
                expected.map(|e| e.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
            assert_eq!(matched(template, path), expected, "{template} on {path}");
        }
    }

    #[test]
    fn broken_templates_are_refused() {
        use InvalidTemplate as E;
        assert_eq!(PathTemplate::parse("/{a"), Err(E::Unclosed("/{a".into())));
        assert_eq!(PathTemplate::parse("/{}"), Err(E::EmptyName("/{}".into())));
        assert_eq!(PathTemplate::parse("/{a}{a}"), Err(E::Adjacent("/{a}{a}".into())));
        assert_eq!(PathTemplate::parse("/{a}/{a}"), Err(E::RepeatedName("/{a}/{a}".into(), "a".into())));
        assert!(PathTemplate::parse(&"/{x}".repeat(2)).is_err());
        let many: String = (0..=TEMPLATE_CAPTURES_MAX).map(|i| format!("/{{p{i}}}")).collect();
        assert!(matches!(PathTemplate::parse(&many), Err(E::TooManyCaptures(_))));
    }
}
