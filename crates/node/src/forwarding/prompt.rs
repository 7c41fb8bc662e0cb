//! Requests that are executed by the thread that received them.
//!
//! To hand a request of some ten microseconds to another thread costs more than to execute it. But the thread that receives
//! also reads what other nodes say of consensus: it must not be held up. So it takes only requests for endpoints that have
//! proved to be short when others executed them, for a short time; and after a request that was not short its endpoint is left to the
//! others for a thousand times as long as that took, and has to prove itself again.

use ccf_endpoints::{EndpointDefinition, Frontend, Method, Registry};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// With more than this on the average, requests are not short.
const SHORT: Duration = Duration::from_micros(200);

/// How long they are then left to the others.
const PAUSE: Duration = Duration::from_secs(1);

/// A request that takes longer than this was no short one, rather than one whose thread had to wait for the processor.
const LONG: Duration = Duration::from_millis(20);

/// So many times as long as a long request took, its endpoint is left to the others.
const LONG_PAUSE: u32 = 1000;

/// So many requests in a row must have been short before an endpoint's are taken to be.
const PROOF: u32 = 32;

/// After so long within one burst the others go on.
pub(super) const BURST: Duration = Duration::from_micros(300);

/// What is known of the endpoints of an application, by where their definitions are.
#[derive(Debug, Default)]
pub(super) struct Promptness(Mutex<HashMap<usize, Record>>);

/// How long the requests of one endpoint took in the recent past.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// A moving average, in which one request counts for four times [`SHORT`] at most: its thread may have had to wait.
    average: Duration,
    /// Requests since the last one that was not short, up to [`PROOF`].
    short: u32,
    paused_until: Option<Instant>,
}

impl Promptness {
    /// Whether requests for an endpoint are likely to be short.
    pub(super) fn is_short(&self, endpoint: &Arc<EndpointDefinition>, now: Instant) -> bool {
        self.0.lock().get(&key(endpoint)).is_some_and(|record| record.is_short(now))
    }

    /// A request for an endpoint took so long, on whatever thread.
    pub(super) fn note(&self, endpoint: &Arc<EndpointDefinition>, took: Duration, now: Instant) {
        self.0.lock().entry(key(endpoint)).or_default().note(took, now);
    }
}

/// Definitions stay where they are as long as the registry.
fn key(endpoint: &Arc<EndpointDefinition>) -> usize {
    Arc::as_ptr(endpoint).addr()
}

impl Record {
    fn is_short(&self, now: Instant) -> bool {
        self.short >= PROOF && self.paused_until.is_none_or(|until| until <= now)
    }

    fn note(&mut self, took: Duration, now: Instant) {
        self.average = (self.average * 7 + took.min(4 * SHORT)) / 8;
        let pause = if took >= LONG {
            took.saturating_mul(LONG_PAUSE)
        } else if self.average > SHORT {
            PAUSE
        } else {
            self.short = (self.short + 1).min(PROOF);
            return;
        };
        // Afterwards it is judged afresh.
        let until = now.checked_add(pause).max(self.paused_until);
        *self = Record { paused_until: until, ..Record::default() };
    }
}

/// What follows the method in the bytes of a request; nothing if they are no request.
pub(super) fn from_target(request: &[u8]) -> &[u8] {
    request.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default()
}

/// The endpoint of the application that the bytes of a request name.
pub(super) fn endpoint<'a>(application: &'a Registry, request: &[u8]) -> Option<&'a Arc<EndpointDefinition>> {
    let method = Method::parse(request.split(|byte| *byte == b' ').next()?).ok()?;
    let path = from_target(request).split(|byte| matches!(byte, b' ' | b'?')).next()?;
    match Frontend::of_path(path) {
        (Frontend::App, path) => application.endpoint(method, path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// One whose requests were short so often that the next one would be taken.
    fn proven(now: Instant) -> Record {
        let mut record = Record::default();
        for _ in 0..PROOF {
            assert!(!record.is_short(now), "before it has proved itself");
            record.note(30 * US, now);
        }
        assert!(record.is_short(now));
        record
    }

    #[test]
    fn a_long_request_is_paid_for_a_thousandfold() {
        let start = Instant::now();
        let mut record = proven(start);
        record.note(LONG, start);
        let until = start + LONG * LONG_PAUSE;
        for _ in 0..PROOF {
            assert!(!record.is_short(until), "it has to prove itself again");
            record.note(30 * US, start);
        }
        assert!(!record.is_short(until - US), "and to wait");
        assert!(record.is_short(until));
    }

    #[test]
    fn requests_that_are_not_short_are_left_to_others_but_one_is_forgiven() {
        let start = Instant::now();
        let mut record = proven(start);
        record.note(LONG - US, start);
        assert!(record.is_short(start));
        for _ in 0..3 {
            record.note(5 * SHORT, start);
        }
        assert!(!record.is_short(start));
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let start = Instant::now();
        let mut record = proven(start);
        record.note(LONG, start);
        (0..9).for_each(|_| record.note(5 * SHORT, start));
        (0..PROOF).for_each(|_| record.note(US, start));
        assert!(!record.is_short(start + 2 * PAUSE));
        assert!(record.is_short(start + LONG * LONG_PAUSE));
    }

    /// An application with two endpoints.
    fn application() -> Registry {
        let mut registry = Registry::bare(Frontend::App);
        for (method, path) in [(Method::Post, "/log/private"), (Method::Get, "/log/{id}")] {
            let endpoint = EndpointDefinition::command(method, path, |_| Ok(()));
            registry.install(endpoint).unwrap();
        }
        registry
    }

    #[test]
    fn each_endpoint_has_a_record_of_its_own() {
        let application = application();
        let endpoint = |request: &[u8]| endpoint(&application, request).unwrap();
        let (write, read) = (endpoint(b"POST /app/log/private "), endpoint(b"GET /app/log/7 "));
        let (promptness, now) = (Promptness::default(), Instant::now());
        for _ in 0..PROOF {
            promptness.note(write, US, now);
            promptness.note(read, 10 * LONG, now);
        }
        assert!(promptness.is_short(write, now));
        assert!(!promptness.is_short(read, now));
        promptness.note(write, LONG, now);
        assert!(!promptness.is_short(endpoint(b"POST /app/log/private?x=1 "), now));
    }

    #[test]
    fn only_endpoints_of_the_application_are_meant() {
        let application = application();
        let write = application.endpoint(Method::Post, b"/log/private").unwrap();
        let read = application.endpoint(Method::Get, b"/log/7").unwrap();
        for (request, meant) in [
            (&b"POST /app/log/private HTTP/1.1\r\n"[..], Some(write)),
            (b"POST /app/log/private?id=1 HTTP/1.1\r\n", Some(write)),
            (b"GET /app/log/17 HTTP/1.1\r\n", Some(read)),
            (b"GET /app/log/private HTTP/1.1\r\n", Some(read)),
            (b"DELETE /app/log/private HTTP/1.1\r\n", None),
            (b"BREW /app/log/private HTTP/1.1\r\n", None),
            (b"POST /gov/log/private HTTP/1.1\r\n", None),
            (b"POST /node/log/private HTTP/1.1\r\n", None),
            (b"GET  /app/log/1", None),
            (b"GET /app", None),
            (b"", None),
            (b" ", None),
            (b"/app/log/1", None),
        ] {
            let found = endpoint(&application, request).map(key);
            assert_eq!(found, meant.map(key), "{}", request.escape_ascii());
        }
    }
}
