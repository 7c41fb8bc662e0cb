//! The standard logging workload as bytes: which request comes next, written into a connection's buffer.
//!
//! The native and the JavaScript logging applications serve the same paths (application specification, section 14),
//! so one workload measures both. A write is `POST {path}` with `{"id": N, "msg": "…"}`, a read `GET {path}?id=N`.

use super::wire;

/// What a request does, for separate statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Changes the store.
    Write = 0,
    /// Only reads.
    Read = 1,
}

/// A source of requests with random keys.
#[derive(Clone, Debug)]
pub struct Workload {
    write: Template,
    read: Template,
    keys: u64,
    /// Of 2^32 requests, so many are writes.
    writes_of_2_32: u64,
}

/// Request bytes around a number. The number is padded in front with spaces to a fixed width where a
/// `content-length` covers it.
#[derive(Clone, Debug)]
struct Template {
    prefix: Vec<u8>,
    pad_to: usize,
    suffix: Vec<u8>,
}

/// Width of a padded key in a body: the digits of `u32::MAX`, which bounds `--keys`.
const KEY_WIDTH: usize = 10;

impl Workload {
    /// Writes and reads of `payload` characters at `path`, over `keys` different keys, `write_ratio` (0 to 1) writes.
    #[must_use]
    pub fn logging(host: &str, path: &str, payload: usize, keys: u32, write_ratio: f64) -> Self {
        let message: String = (0..payload).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let blank_key = " ".repeat(KEY_WIDTH);
        let body = format!("{{\"id\":{blank_key},\"msg\":\"{message}\"}}");
        let post = wire::request("POST", path, host, Some(&body));
        let key_at = post.len() - body.len() + "{\"id\":".len();
        let separator = if path.contains('?') { '&' } else { '?' };
        let get = wire::request("GET", &format!("{path}{separator}id="), host, None);
        let query_end = memchr::memmem::find(&get, b"id= ").unwrap_or(0) + "id=".len();
        Workload {
            write: Template {
                prefix: post[..key_at].to_vec(),
                pad_to: KEY_WIDTH,
                suffix: post[key_at + KEY_WIDTH..].to_vec(),
            },
            read: Template {
                prefix: get[..query_end].to_vec(),
                pad_to: 0,
                suffix: get[query_end..].to_vec(),
            },
            keys: u64::from(keys.max(1)),
            writes_of_2_32: (write_ratio.clamp(0.0, 1.0) * 4_294_967_296.0) as u64,
        }
    }

    /// The same `GET path` again and again.
    #[must_use]
    pub fn get(host: &str, path: &str) -> Self {
        let request = wire::request("GET", path, host, None);
        let template = Template { prefix: request, pad_to: 0, suffix: Vec::new() };
        Workload { write: template.clone(), read: template, keys: 0, writes_of_2_32: 0 }
    }

    /// Whether reads find anything only after a prefill, and if so of how many keys.
    #[must_use]
    pub fn keys_to_prefill(&self) -> u64 {
        if self.writes_of_2_32 < 1 << 32 { self.keys } else { 0 }
    }

    /// Appends a random request to `out`.
    pub fn next(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Kind {
        let roll = dice.roll();
        let kind = if roll >> 32 < self.writes_of_2_32 { Kind::Write } else { Kind::Read };
        let key = ((roll & 0xffff_ffff) * self.keys) >> 32;
        self.append(kind, key, out);
        kind
    }

    /// Appends the request of `kind` for `key` to `out`.
    pub fn append(&self, kind: Kind, key: u64, out: &mut Vec<u8>) {
        let template = match kind {
            Kind::Write => &self.write,
            Kind::Read => &self.read,
        };
        out.extend_from_slice(&template.prefix);
        if self.keys > 0 {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(key);
            out.resize(out.len() + template.pad_to.saturating_sub(digits.len()), b' ');
            out.extend_from_slice(digits.as_bytes());
        }
        out.extend_from_slice(&template.suffix);
    }
}

/// A small, fast, seeded generator (xorshift64*): the same seed sends the same requests.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator for one worker.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_json_of_constant_length() {
        let workload = Workload::logging("h", "/app/log/private", 20, 1_000_000, 1.0);
        let mut lengths = std::collections::BTreeSet::new();
        for key in [0, 7, 999_999] {
            let mut out = Vec::new();
            workload.append(Kind::Write, key, &mut out);
            lengths.insert(out.len());
            let body_at = memchr::memmem::find(&out, b"\r\n\r\n").unwrap() + 4;
            let body: serde_json::Value = serde_json::from_slice(&out[body_at..]).unwrap();
            assert_eq!(body["id"], key);
            assert_eq!(body["msg"], "abcdefghijklmnopqrst");
            let declared = wire::header(&out[..body_at], b"content-length").unwrap();
            assert_eq!(declared, (out.len() - body_at).to_string().as_bytes());
        }
        assert_eq!(lengths.len(), 1);
    }

    #[test]
    fn reads_ask_for_the_key() {
        let workload = Workload::logging("h", "/app/log/private", 1, 10, 0.0);
        let mut out = Vec::new();
        workload.append(Kind::Read, 42, &mut out);
        assert_eq!(out, b"GET /app/log/private?id=42 HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(workload.keys_to_prefill(), 10);
    }

    #[test]
    fn the_ratio_and_the_key_space_are_kept() {
        let workload = Workload::logging("h", "/p", 1, 16, 0.25);
        let (mut dice, mut writes) = (Dice::new(1), 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let mut out = Vec::new();
            match workload.next(&mut dice, &mut out) {
                Kind::Write => writes += 1,
                Kind::Read => {
                    seen.insert(out);
                }
            }
        }
        assert!((2_300..2_700).contains(&writes), "{writes} of 10000");
        assert_eq!(seen.len(), 16);
    }
}
