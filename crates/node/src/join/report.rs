//! What a joining node says while it waits: news at once, the same again once a minute.

use std::time::{Duration, Instant};

/// The same is said again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was said last, and when.
#[derive(Default)]
pub(super) struct Report(Option<(String, Instant)>);

impl Report {
    /// Whether this should be said at a moment.
    fn is_due(&mut self, text: &str, now: Instant) -> bool {
        let said = self.0.as_ref();
        let due =
            said.is_none_or(|(said, at)| said != text || now.saturating_duration_since(*at) >= AGAIN_AFTER);
        if due {
            self.0 = Some((text.to_owned(), now));
        }
        due
    }

    /// Where the node is on its way.
    pub(super) fn progress(&mut self, text: &str) {
        if self.is_due(text, Instant::now()) {
            tracing::info!("{text}");
        }
    }

    /// What should not be, and may pass.
    pub(super) fn trouble(&mut self, text: &str) {
        if self.is_due(text, Instant::now()) {
            tracing::warn!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_said_at_once_and_the_same_once_a_minute() {
        let (mut report, start) = (Report::default(), Instant::now());
        assert!(report.is_due("waiting", start));
        assert!(!report.is_due("waiting", start + AGAIN_AFTER - Duration::from_millis(1)));
        assert!(report.is_due("waiting", start + AGAIN_AFTER));
        assert!(!report.is_due("waiting", start + AGAIN_AFTER + Duration::from_secs(1)));
        assert!(report.is_due("lost", start + AGAIN_AFTER + Duration::from_secs(1)));
        assert!(report.is_due("waiting", start + AGAIN_AFTER + Duration::from_secs(2)));
    }
}
