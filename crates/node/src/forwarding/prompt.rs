//! Requests that are executed by the thread that received them.
//!
//! To hand a request of some ten microseconds to another thread costs more than to execute it. But the thread that receives
//! also reads what other nodes say of consensus: it must not be held up. So it takes only requests that are likely to be short,
//! for a short time; and after one that was not short it leaves them to the others for a thousand times as long as that took.

use std::time::{Duration, Instant};

/// With more than this on the average, requests are not short.
const SHORT: Duration = Duration::from_micros(200);

/// How long they are then left to the others.
const PAUSE: Duration = Duration::from_secs(1);

/// A request that takes longer than this was no short one, rather than one whose thread had to wait for the processor.
const LONG: Duration = Duration::from_millis(20);

/// So many times as long as a long request took, requests are left to the others.
const LONG_PAUSE: u32 = 1000;

/// After so long within one burst the others go on.
const BURST: Duration = Duration::from_micros(300);

/// What is known of the requests of the recent past.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    /// A moving average, in which one request counts for four times [`SHORT`] at most: its thread may have had to wait.
    average: Duration,
    paused_until: Option<Instant>,
}

impl Promptness {
    /// How long requests may be executed from `now` on; none if they are left to the others.
    pub(super) fn budget(&self, now: Instant) -> Option<Duration> {
        self.paused_until.is_none_or(|until| until <= now).then_some(BURST)
    }

    /// A request took so long.
    pub(super) fn note(&mut self, took: Duration, now: Instant) {
        self.average = (self.average * 7 + took.min(4 * SHORT)) / 8;
        let pause = if took >= LONG {
            took.saturating_mul(LONG_PAUSE)
        } else if self.average > SHORT {
            PAUSE
        } else {
            return;
        };
        // Afterwards they are judged afresh.
        self.average = Duration::ZERO;
        self.paused_until = now.checked_add(pause);
    }
}

/// Where the target of a request begins in its bytes: what follows the method; nothing if the bytes are no request.
pub(super) fn from_target(request: &[u8]) -> &[u8] {
    request.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default()
}

/// Whether the bytes of a request name an endpoint of the application.
pub(super) fn is_for_application(request: &[u8]) -> bool {
    from_target(request).starts_with(b"/app/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn a_long_request_is_paid_for_a_thousandfold() {
        let start = Instant::now();
        let mut promptness = Promptness::default();
        for _ in 0..1000 {
            promptness.note(30 * US, start);
        }
        assert_eq!(promptness.budget(start), Some(BURST));
        promptness.note(LONG, start);
        let until = start + LONG * LONG_PAUSE;
        assert_eq!(promptness.budget(until - US), None);
        assert_eq!(promptness.budget(until), Some(BURST));
        promptness.note(30 * US, until);
        assert_eq!(promptness.budget(until), Some(BURST), "judged afresh");
    }

    #[test]
    fn requests_that_are_not_short_are_left_to_others_but_one_is_forgiven() {
        let start = Instant::now();
        let mut promptness = Promptness::default();
        promptness.note(LONG - US, start);
        assert_eq!(promptness.budget(start), Some(BURST));
        for _ in 0..3 {
            promptness.note(5 * SHORT, start);
        }
        assert_eq!(promptness.budget(start), None);
        assert_eq!(promptness.budget(start + PAUSE), Some(BURST));
    }

    #[test]
    fn only_the_application_is_meant() {
        for (request, meant) in [
            (&b"POST /app/log/private HTTP/1.1\r\n"[..], true),
            (b"GET /app/", true),
            (b"GET /app", false),
            (b"POST /gov/members/proposals:create HTTP/1.1\r\n", false),
            (b"GET /node/network HTTP/1.1\r\n", false),
            (b"GET  /app/x", false),
            (b"", false),
            (b" ", false),
            (b"/app/", false),
        ] {
            assert_eq!(is_for_application(request), meant, "{}", request.escape_ascii());
        }
    }
}
