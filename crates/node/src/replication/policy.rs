//! When the next signature transaction is due (ledger specification, section 10.4), with one addition of ours:
//! at low load a new transaction is signed as soon as the budget of signatures a second allows. At high load, while nobody waits
//! for a commit, more transactions share a signature: making one and having every node verify it costs as much as hundreds of small
//! transactions.
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

/// Unsigned transactions from which on a signature that nobody waits for is not hurried.
const MANY: u64 = 50;

/// Signatures that nobody waits for are so many times as far apart.
const UNHURRIED: u32 = 4;

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned {
    /// Transactions since the last signature.
    pub count: u64,
    /// A new view, or a due snapshot, asks for a signature even with nothing unsigned.
    pub requested: bool,
    /// Somebody waits until something is committed.
    pub awaited: bool,
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
        let hurried = unsigned.awaited || unsigned.requested || unsigned.count < MANY;
        let factor = if hurried { 1 } else { UNHURRIED };
        let wait = self.early_after.map_or(self.delay, |early| (early * factor).min(self.delay));
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
        let crowded = SignaturePolicy::new(5000, Duration::from_millis(1000), 100);
        let crowded_hasty = SignaturePolicy::new(5000, Duration::from_millis(15), 100);
        for (policy, now, count, requested, awaited, expected) in [
            (slow, 5000, 0, false, false, Due::Idle),
            (slow, 10, 1, false, false, Due::At(ms(1000))),
            (slow, 1000, 1, false, false, Due::Now),
            (slow, 10, 100, false, false, Due::Now),
            (slow, 10, 0, true, false, Due::At(ms(1000))),
            (early, 50, 1, false, false, Due::Now),
            (early, 9, 1, false, false, Due::At(ms(10))),
            (early, 9, 0, false, false, Due::Idle),
            (early, 9, 0, true, false, Due::At(ms(10))),
            (hasty, 1, 1, false, false, Due::At(ms(5))),
            (crowded, 10, 49, false, false, Due::Now),
            (crowded, 10, 50, false, false, Due::At(ms(40))),
            (crowded, 40, 50, false, false, Due::Now),
            (crowded, 10, 50, false, true, Due::Now),
            (crowded, 10, 50, true, false, Due::Now),
            (crowded, 10, 5000, false, false, Due::Now),
            (crowded_hasty, 1, 50, false, false, Due::At(ms(15))),
        ] {
            let unsigned = Unsigned { count, requested, awaited, last_signed: start };
            assert_eq!(policy.due(ms(now), unsigned), expected, "{policy:?} {now} {count} {awaited}");
        }
    }
}
