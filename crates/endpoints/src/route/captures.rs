//! What a path template captured of a path.

use super::PathTemplate;
use crate::http::percent_decode;
use smallvec::SmallVec;
use std::{borrow::Cow, ops::Range};

/// Positions captured of a path, in the order of the template's names.
pub type Captures = SmallVec<[Range<u32>; 4]>;

/// Path parameters of a request: raw text as received, decoded on demand.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    template: &'a PathTemplate,
    path: &'a [u8],
    captures: Captures,
}

impl<'a> Params<'a> {
    /// The parameters that `captures`, found by matching `path` with `template`, stand for.
    #[must_use]
    pub fn new(template: &'a PathTemplate, path: &'a [u8], captures: Captures) -> Params<'a> {
        Params { template, path, captures }
    }

    /// Names and raw values, in the order of the template.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let path = self.path;
        self.template.names().zip(self.captures.iter()).map(move |(name, range)| {
            (name, path.get(range.start as usize..range.end as usize).unwrap_or_default())
        })
    }

    /// A parameter as received, still percent-encoded.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// A parameter as received, as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(String::from_utf8_lossy)
    }

    /// A parameter with its percent escapes decoded; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn decoded(&self, name: &str) -> Option<Cow<'a, str>> {
        Some(match percent_decode(self.raw(name)?) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// No parameters at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.captures.is_empty()
    }
}
