//! What part of a file is asked for, and in which digests (RFC 9110, section 14; RFC 9530). Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::hash::{HashAlgorithm, HashValue};

/// A part of a file: from `start` up to and including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl ByteRange {
    /// Reads a `range` header for a file of `total` bytes, which is not empty. The end is clipped to the last byte.
    ///
    /// # Errors
    /// The message for the client.
    pub(super) fn parse(header: &str, total: u64) -> Result<Self, String> {
        let Some((unit, set)) = header.split_once('=') else {
            return Err("Only 'bytes' is supported as a Range header unit".to_owned());
        };
        if unit.trim() != "bytes" {
            return Err("Only 'bytes' is supported as a Range header unit".to_owned());
        }
        if set.contains(',') {
            return Err("Multiple ranges are not supported".to_owned());
        }
        let Some((start, end)) = set.trim().split_once('-') else {
            return Err(format!("Invalid format, cannot parse range in {header}"));
        };
        let number = |text: &str, what: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits
                .then(|| text.parse::<u64>().ok())
                .flatten()
                .ok_or_else(|| format!("Unable to parse {what} value {text} in {header}"))
        };
        let (start, end) = match (start, end) {
            ("", "") => return Err("Invalid range: Must contain range-start or range-end".to_owned()),
            ("", suffix) => {
                let suffix = number(suffix, "end of range offset")?;
                (total.saturating_sub(suffix), total - 1)
            }
            (start, "") => (number(start, "start of range")?, total - 1),
            (start, end) => (number(start, "start of range")?, number(end, "end of range")?),
        };
        if start > total {
            return Err(format!("Start of range {start} is larger than total file size {total}"));
        }
        let end = end.min(total - 1);
        if start > end {
            return Err(format!("Invalid range: Start ({start}) and end ({end}) out of order"));
        }
        Ok(Self { start, end })
    }

    /// All of a file that is not empty.
    pub(super) fn whole(total: u64) -> Self {
        Self { start: 0, end: total - 1 }
    }

    pub(super) fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

/// The algorithms, with their names in these headers.
const ALGORITHMS: [(&str, HashAlgorithm); 3] = [
    ("sha-256", HashAlgorithm::Sha256),
    ("sha-384", HashAlgorithm::Sha384),
    ("sha-512", HashAlgorithm::Sha512),
];

/// `alg=:base64:`, as digest headers and our entity tags have it.
pub(super) fn digest_text(name: &str, digest: &[u8]) -> String {
    format!("{name}=:{}:", STANDARD.encode(digest))
}

/// Whether one of the tags of an `if-none-match` header is that of a body, whose digests `digest` takes.
///
/// # Errors
/// `malformed`, of the message for the client, if the header is malformed; those of `digest`.
pub(super) fn matches_tag<E>(
    header: &str,
    digest: impl Fn(HashAlgorithm) -> Result<HashValue, E>,
    malformed: impl Fn(String) -> E,
) -> Result<bool, E> {
    if header.trim() == "*" {
        return Ok(true);
    }
    let mut matched = false;
    for tag in header.split(',') {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let malformed = || malformed(format!("Malformed entity tag {tag} in If-None-Match"));
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
        let (name, value) = tag.split_once("=:").ok_or_else(malformed)?;
        let value = value.strip_suffix(':').ok_or_else(malformed)?;
        let expected = STANDARD.decode(value).map_err(|_| malformed())?;
        let (_, algorithm) = ALGORITHMS.iter().find(|(known, _)| *known == name).ok_or_else(malformed)?;
        // What cannot be a digest needs none taken.
        matched |= expected.len() == algorithm.digest_len() && digest(*algorithm)?.as_ref() == expected;
    }
    Ok(matched)
}

/// The algorithm that a `want-repr-digest` header prefers: the one of greatest weight, SHA-256 if it names none that
/// is supported.
pub(super) fn wanted_digest(header: &str) -> (&'static str, HashAlgorithm) {
    let mut best: Option<(u64, (&'static str, HashAlgorithm))> = None;
    for wish in header.split(',') {
        let Some((name, weight)) = wish.split_once('=') else { continue };
        let weight: u64 = weight.trim().parse().unwrap_or(0);
        let known = ALGORITHMS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim()));
        if let Some(known) = known
            && weight > 0
            && best.is_none_or(|(least, _)| weight > least)
        {
            best = Some((weight, *known));
        }
    }
    best.map_or(ALGORITHMS[0], |(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, start, end) in [
            ("bytes=0-4", 0, 4),
            ("bytes=3-3", 3, 3),
            ("bytes=5-", 5, 9),
            ("bytes=-3", 7, 9),
            ("bytes=-30", 0, 9),
            ("bytes=0-4194303", 0, 9),
            ("bytes= 2-4", 2, 4),
        ] {
            assert_eq!(ByteRange::parse(header, 10), Ok(ByteRange { start, end }), "{header}");
        }
        for (header, message) in [
            ("items=0-1", "Only 'bytes' is supported as a Range header unit"),
            ("bytes", "Only 'bytes' is supported as a Range header unit"),
            ("bytes=0-1,3-4", "Multiple ranges are not supported"),
            ("bytes=12", "Invalid format, cannot parse range in bytes=12"),
            ("bytes=x-2", "Unable to parse start of range value x in bytes=x-2"),
            ("bytes=1-x", "Unable to parse end of range value x in bytes=1-x"),
            ("bytes=--5", "Unable to parse end of range offset value -5 in bytes=--5"),
            ("bytes=11-12", "Start of range 11 is larger than total file size 10"),
            ("bytes=5-4", "Invalid range: Start (5) and end (4) out of order"),
            ("bytes=10-", "Invalid range: Start (10) and end (9) out of order"),
            ("bytes=-0", "Invalid range: Start (10) and end (9) out of order"),
            ("bytes=-", "Invalid range: Must contain range-start or range-end"),
        ] {
            assert_eq!(ByteRange::parse(header, 10), Err(message.to_owned()), "{header}");
        }
    }

    #[test]
    fn entity_tags() {
        let tag = |name: &str, algorithm: HashAlgorithm| {
            format!("\"{}\"", digest_text(name, algorithm.digest(b"body").as_ref()))
        };
        let matches_tag = |header: &str, body: &'static [u8]| {
            matches_tag(header, |algorithm| Ok(algorithm.digest(body)), |text| text)
        };
        assert_eq!(matches_tag("*", b"body"), Ok(true));
        for (name, algorithm) in ALGORITHMS {
            assert_eq!(matches_tag(&tag(name, algorithm), b"body"), Ok(true), "{name}");
            assert_eq!(matches_tag(&tag(name, algorithm), b"other"), Ok(false), "{name}");
        }
        let two = format!("{}, {}", "\"sha-256=:AAAA:\"", tag("sha-512", HashAlgorithm::Sha512));
        assert_eq!(matches_tag(&two, b"body"), Ok(true));
        for bad in ["", "abc", "\"abc\"", "\"md5=:AAAA:\"", "\"sha-256=:?:\"", "\"sha-256=:AAAA\""] {
            assert!(matches_tag(bad, b"body").is_err(), "{bad}");
        }
    }

    #[test]
    fn wanted_digests() {
        for (header, name) in [
            ("sha-256=1", "sha-256"),
            ("sha-512=3, sha-256=10, unixsum=0", "sha-256"),
            ("sha-512=9,sha-384=10", "sha-384"),
            ("sha-512=0", "sha-256"),
            ("md5=10", "sha-256"),
            ("", "sha-256"),
        ] {
            assert_eq!(wanted_digest(header).0, name, "{header}");
        }
    }
}
