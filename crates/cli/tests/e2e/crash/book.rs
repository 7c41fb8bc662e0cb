//! What was written, and what was promised about it.
//!
//! Each number is the key of messages that begin with a count, and each key has one writer, whose counts rise. After
//! any crash the count of a key is at least the last one promised, and at most the last one attempted.

use ccf_cli::http_client::HttpClient;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Default)]
pub(super) struct Page {
    /// The highest count reported as committed.
    pub(super) promised: u64,
    /// The highest count that was sent.
    pub(super) attempted: u64,
}

/// All keys of one service.
#[derive(Clone, Default)]
pub(super) struct Book {
    pub(super) pages: BTreeMap<u64, Page>,
}

impl Book {
    /// The message of a count; its length varies with it.
    pub(super) fn message(count: u64) -> String {
        format!("{count} {}", "x".repeat(usize::try_from(count * 37 % 900).unwrap()))
    }

    /// Compares with what the service has; how many keys, or the first that is wrong.
    pub(super) fn compare(&mut self, client: &mut HttpClient) -> Result<u64, String> {
        for (id, page) in &mut self.pages {
            let reply =
                client.get(&format!("/app/log/private?id={id}")).map_err(|error| error.to_string())?;
            let json = reply.json();
            let found = match json["msg"].as_str() {
                Some(message) => message.split(' ').next().and_then(|count| count.parse().ok()),
                None if reply.status == 404 => Some(0),
                None => None,
            };
            let found: u64 = found.ok_or_else(|| format!("message {id}: {}", reply.refusal()))?;
            if found < page.promised || found > page.attempted {
                let Page { promised, attempted } = page;
                return Err(format!("message {id} is {found}, promised {promised}, attempted {attempted}"));
            }
            if json["msg"].is_string() && json["msg"] != Book::message(found) {
                return Err(format!("message {id} is damaged: {json}"));
            }
            // What has been recovered is there for ever.
            page.promised = found;
        }
        Ok(self.pages.len() as u64)
    }
}
