//! When the next signature transaction is due (ledger specification, section 10.4), with one addition of ours:
//! at low load a new transaction is signed as soon as the budget of signatures a second allows.
//!
//! Pure: time comes in as [`Instant`]s, the answer goes out.

use std::time::{Duration, Instant};

/// The configured limits.
#[derive(Clone, Copy, Debug)]
pub struct SignaturePolicy {
    /// At the latest after this many unsigned transactions.
    pub tx_count: u64,
    /// At the latest this long after the previous look, if anything is unsigned.
    pub delay: Duration,
    /// Least time between two early signatures; `None` signs by count and delay only.
    pub early_after: Option<Duration>,
}

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned {
    /// Transactions since the last signature.
    pub count: u64,
    /// A new view, or a due snapshot, asks for a signature even with nothing unsigned.
    pub requested: bool,
    /// When the last signature was made, or the view began.
    pub last_signed: Instant,
}

/// When to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// At this moment, if nothing else happens before.
    At(Instant),
    /// Not until there is something to sign.
    Idle,
}

impl SignaturePolicy {
    /// The policy of a configuration. `max_per_second` 0 turns early signatures off.
    #[must_use]
    pub fn new(tx_count: u64, delay: Duration, max_per_second: u32) -> SignaturePolicy {
        let early_after = (max_per_second > 0).then(|| Duration::from_secs(1) / max_per_second.max(1));
        SignaturePolicy { tx_count, delay, early_after }
    }

    /// When the next signature is due.
    #[must_use]
    pub fn due(&self, now: Instant, unsigned: Unsigned) -> Due {
        if unsigned.count == 0 && !unsigned.requested {
            return Due::Idle;
        }
        let wait = self.early_after.map_or(self.delay, |early| early.min(self.delay));
        let at = unsigned.last_signed + wait;
        if unsigned.count >= self.tx_count || at <= now { Due::Now } else { Due::At(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_moments() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let slow = SignaturePolicy::new(100, Duration::from_millis(1000), 0);
        let early = SignaturePolicy::new(100, Duration::from_millis(1000), 100);
        let hasty = SignaturePolicy::new(100, Duration::from_millis(5), 100);
        for (policy, now, count, requested, expected) in [
            (slow, 5000, 0, false, Due::Idle),
            (slow, 10, 1, false, Due::At(ms(1000))),
            (slow, 1000, 1, false, Due::Now),
            (slow, 10, 100, false, Due::Now),
            (slow, 10, 0, true, Due::At(ms(1000))),
            (early, 50, 1, false, Due::Now),
            (early, 9, 1, false, Due::At(ms(10))),
            (early, 9, 0, false, Due::Idle),
            (early, 9, 0, true, Due::At(ms(10))),
            (hasty, 1, 1, false, Due::At(ms(5))),
        ] {
            let unsigned = Unsigned { count, requested, last_signed: start };
            assert_eq!(policy.due(ms(now), unsigned), expected, "{policy:?} {now} {count}");
        }
    }
}
