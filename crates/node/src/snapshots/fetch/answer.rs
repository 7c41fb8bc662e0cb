//! What a peer answers, checked. Pure.

use bytes::Bytes;
use ccf_ledger::files::SnapshotName;
use http::{HeaderMap, Uri, header};

/// Where something is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `host:port`.
    pub(super) address: String,
    /// Path and query.
    pub(super) path: String,
}

impl Place {
    /// The snapshot at the end of the path. Only a plain file name of ours is one.
    pub(super) fn file_name(&self) -> Option<SnapshotName> {
        let path = self.path.split('?').next()?;
        SnapshotName::parse(path.rsplit('/').next()?).filter(|name| name.committed)
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// Size of the whole file.
    pub(super) total: u64,
}

impl Answer {
    /// The part that was asked for from `start` on. Servers before 7.0 count the end of a range as its first byte
    /// after; the length tells.
    pub(super) fn part(&self, start: u64) -> Result<Part, String> {
        if self.status != 206 {
            return Err(format!("expected a part of a file, got status {}", self.status));
        }
        let text = |name| self.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let range = text(header::CONTENT_RANGE).ok_or("the answer has no content-range")?;
        let length = text(header::CONTENT_LENGTH).ok_or("the answer has no content-length")?;
        let bad = || format!("unusable content-range '{range}' with content-length '{length}'");
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
        let (span, total) = range.strip_prefix("bytes ").and_then(|it| it.split_once('/')).ok_or_else(bad)?;
        let (from, to) = span.split_once('-').ok_or_else(bad)?;
        let (from, to, total, length) = (number(from)?, number(to)?, number(total)?, number(length)?);
        let distance = to.checked_sub(from).ok_or_else(bad)?;
        let inclusive = distance.checked_add(1) == Some(length);
        let fits =
            (inclusive || distance == length) && from.checked_add(length).is_some_and(|end| end <= total);
        if !fits || length == 0 || from != start || length != self.body.len() as u64 {
            return Err(bad());
        }
        Ok(Part { bytes: self.body.clone(), total })
    }

    /// Where a redirection leads.
    pub(super) fn location(&self) -> Result<Place, String> {
        let location = self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or("a redirection without location")?;
        let bad = || format!("unusable location '{location}'");
        let uri: Uri = location.parse().map_err(|_| bad())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(bad)?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Place { address, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static [u8]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        Answer { status, headers: map, body: Bytes::from_static(body) }
    }

    #[test]
    fn parts_of_both_generations_of_servers() {
        let part = |range: &str, length: &str, start| {
            answer(206, &[("content-range", range), ("content-length", length)], b"12345").part(start)
        };
        for range in ["bytes 0-4/9", "bytes 0-5/9"] {
            assert_eq!(part(range, "5", 0).expect("fits").total, 9, "{range}");
        }
        assert!(part("bytes 4-8/9", "5", 4).is_ok());
        for (range, length, start) in [
            ("bytes 0-3/9", "5", 0),
            ("bytes 0-6/9", "5", 0),
            ("bytes 0-4/9", "5", 1),
            ("bytes 5-9/9", "5", 5),
            ("bytes 0-4/4", "5", 0),
            ("bytes 0-4/9", "6", 0),
            ("bytes 4-0/9", "5", 4),
            ("bytes */9", "5", 0),
            ("items 0-4/9", "5", 0),
            ("bytes 0-18446744073709551615/18446744073709551615", "5", 0),
        ] {
            assert!(part(range, length, start).is_err(), "{range} {length}");
        }
        assert!(answer(206, &[("content-length", "5")], b"12345").part(0).is_err());
        assert!(answer(200, &[], b"12345").part(0).is_err());
    }

    #[test]
    fn locations_and_names() {
        let location = |text: &str| answer(308, &[("location", text)], b"").location();
        let place = location("https://a.example:8000/node/snapshot/snapshot_7_8.committed").expect("fine");
        assert_eq!(place.address, "a.example:8000");
        assert_eq!(place.file_name().map(|name| name.seqno.0), Some(7));
        assert_eq!(
            location("https://[::1]:80/node/snapshot?since=3").expect("fine").path,
            "/node/snapshot?since=3"
        );
        for bad in ["http://a/x", "/node/snapshot", "x y", ""] {
            assert!(location(bad).is_err(), "{bad}");
        }
        for path in ["/node/snapshot", "/node/snapshot/../x", "/node/snapshot/snapshot_7_8", "/a/%2e%2e"] {
            let place = Place { address: String::new(), path: path.to_owned() };
            assert_eq!(place.file_name(), None, "{path}");
        }
    }
}
