//! Request headers: one shared block of bytes and the positions of names and values in it.
//!
//! The usual request has fewer than twelve headers and then costs no allocation of its own: the block is the
//! slice of the read buffer that held the head.

use bytes::Bytes;
use smallvec::SmallVec;

/// Positions of one header in the block.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
}

/// A header name or value that lies outside the block, or a block of 4 GiB and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header positions outside their block")]
pub struct InvalidHeader;

/// The headers of one request, in the order received. Names are lower-case; values are raw bytes, not
/// necessarily UTF-8. A repeated header keeps its first value in look-ups (node specification, section
/// 14.4); iteration shows all.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    block: Bytes,
    entries: SmallVec<[Entry; 12]>,
}

impl Headers {
    /// Headers that point into `block`, which the caller may go on sharing (the whole head of the request
    /// is fine). Give room with [`Headers::push_range`].
    #[must_use]
    pub fn in_block(block: Bytes) -> Headers {
        Headers { block, entries: SmallVec::new() }
    }

    /// Adds a header by its positions in the block. The name's bytes must be lower-case already.
    ///
    /// # Errors
    /// [`InvalidHeader`] if a range leaves the block.
    pub fn push_range(
        &mut self,
        name: std::ops::Range<usize>,
        value: std::ops::Range<usize>,
    ) -> Result<(), InvalidHeader> {
        if self.block.get(name.clone()).is_none() || self.block.get(value.clone()).is_none() {
            return Err(InvalidHeader);
        }
        let small = |n: usize| u32::try_from(n).map_err(|_| InvalidHeader);
        self.entries.push(Entry {
            name: small(name.start)?,
            name_len: small(name.len())?,
            value: small(value.start)?,
            value_len: small(value.len())?,
        });
        Ok(())
    }

    /// Number of headers, repeated ones counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No headers at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn part(&self, start: u32, len: u32) -> &[u8] {
        self.block.get(start as usize..start as usize + len as usize).unwrap_or_default()
    }

    /// Name and value pairs in the order received.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|e| {
            let name = std::str::from_utf8(self.part(e.name, e.name_len)).unwrap_or_default();
            (name, self.part(e.value, e.value_len))
        })
    }

    /// The first value of a header; the name may be of any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries
            .iter()
            .find(|e| {
                e.name_len as usize == name.len()
                    && self.part(e.name, e.name_len).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|e| self.part(e.value, e.value_len))
    }

    /// The first value of a header if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Headers {
        let mut builder = HeadersBuilder::default();
        for (name, value) in pairs {
            builder.push(name.as_ref(), value.as_ref());
        }
        builder.finish()
    }
}

/// Builds headers by copying, for transports that do not keep a block (HTTP/2, forwarding, tests).
#[derive(Debug, Default)]
pub struct HeadersBuilder {
    block: Vec<u8>,
    entries: SmallVec<[Entry; 12]>,
}

impl HeadersBuilder {
    /// Adds a header, lower-casing its name. Beyond 4 GiB in total further headers are left out; transports
    /// refuse such heads long before.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.block.len();
        let end = start.saturating_add(name.len()).saturating_add(value.len());
        let (Ok(name_at), Ok(value_at), Ok(_)) =
            (u32::try_from(start), u32::try_from(start + name.len()), u32::try_from(end))
        else {
            return;
        };
        self.block.extend(name.iter().map(u8::to_ascii_lowercase));
        self.block.extend_from_slice(value);
        self.entries.push(Entry {
            name: name_at,
            name_len: value_at - name_at,
            value: value_at,
            value_len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        });
    }

    /// The finished headers.
    #[must_use]
    pub fn finish(self) -> Headers {
        Headers { block: Bytes::from(self.block), entries: self.entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_up_ignores_case_and_takes_the_first() {
        let headers: Headers = [("Content-Type", "a/b"), ("X", "1"), ("x", "2")].into_iter().collect();
        assert_eq!(headers.get("content-TYPE"), Some(&b"a/b"[..]));
        assert_eq!(headers.get_str("x"), Some("1"));
        assert_eq!(headers.get("y"), None);
        let all: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], ("content-type".to_owned(), b"a/b".to_vec()));
        assert_eq!(all[2], ("x".to_owned(), b"2".to_vec()));
    }

    #[test]
    fn ranges_share_the_block_and_are_checked() {
        let mut headers = Headers::in_block(Bytes::from_static(b"host: here\r\n"));
        assert_eq!(headers.push_range(0..4, 6..10), Ok(()));
        assert_eq!(headers.push_range(0..4, 6..13), Err(InvalidHeader));
        assert_eq!(headers.get_str("Host"), Some("here"));
    }
}
