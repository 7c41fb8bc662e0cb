//! How many key exchanges are judged of those who have proved nothing.
//!
//! Judging one costs two verifications of signatures on the thread that reads what all nodes send. A connection has an allowance of
//! its own, but whoever may connect once may connect a thousand times: so what comes over connections without an authenticated frame
//! is counted by address too.

use super::limits::{STRANGER_HANDSHAKES_BURST, STRANGER_REFILL, STRANGERS_MAX};
use parking_lot::Mutex;
use std::{collections::HashMap, net::IpAddr, time::Duration};

/// The allowances of all addresses.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashMap<IpAddr, Allowance>>);

/// Of one address. Full again after some time of silence.
#[derive(Clone, Copy)]
struct Allowance {
    left: u32,
    /// Up to when time was turned into allowance.
    refilled: Duration,
}

impl Allowance {
    fn full(now: Duration) -> Allowance {
        Allowance { left: STRANGER_HANDSHAKES_BURST, refilled: now }
    }

    fn refill(&mut self, now: Duration) {
        let earned = now.saturating_sub(self.refilled).as_nanos() / STRANGER_REFILL.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= STRANGER_HANDSHAKES_BURST - self.left {
            *self = Allowance::full(now);
        } else {
            self.left += earned;
            self.refilled += STRANGER_REFILL * earned;
        }
    }
}

impl Strangers {
    /// Whether one more key exchange from this address is to be judged.
    pub(super) fn may_judge(&self, address: IpAddr, now: Duration) -> bool {
        let mut known = self.0.lock();
        let address = owner(address);
        if known.len() >= STRANGERS_MAX && !known.contains_key(&address) {
            known.retain(|_, allowance| {
                allowance.refill(now);
                allowance.left < STRANGER_HANDSHAKES_BURST
            });
            if known.len() >= STRANGERS_MAX {
                return false;
            }
        }
        let allowance = known.entry(address).or_insert_with(|| Allowance::full(now));
        allowance.refill(now);
        match allowance.left.checked_sub(1) {
            Some(left) => allowance.left = left,
            None => return false,
        }
        true
    }
}

/// Whoever has one IPv6 address usually has the 2^64 that share its first half.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn judged(strangers: &Strangers, from: IpAddr, at: Duration) -> u32 {
        (0..1000).map(|_| u32::from(strangers.may_judge(from, at))).sum()
    }

    #[test]
    fn an_address_has_an_allowance_that_comes_back() {
        let (strangers, now) = (Strangers::default(), Duration::from_secs(9));
        assert_eq!(judged(&strangers, address(1), now), STRANGER_HANDSHAKES_BURST);
        assert_eq!(judged(&strangers, address(2), now), STRANGER_HANDSHAKES_BURST);
        assert_eq!(judged(&strangers, address(1), now + STRANGER_REFILL * 5 / 2), 2);
        assert_eq!(judged(&strangers, address(1), now + STRANGER_REFILL * 3), 1);
        assert_eq!(judged(&strangers, address(1), now * 1000), STRANGER_HANDSHAKES_BURST);
    }

    #[test]
    fn one_half_of_an_address_of_ipv6_is_one_owner() {
        let (strangers, now) = (Strangers::default(), Duration::ZERO);
        let all: u32 = (0..50u16)
            .map(|last| judged(&strangers, IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]), now))
            .sum();
        assert_eq!(all, STRANGER_HANDSHAKES_BURST);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(judged(&strangers, mapped, now), STRANGER_HANDSHAKES_BURST);
        assert_eq!(judged(&strangers, "10.0.0.1".parse().unwrap(), now), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (strangers, now) = (Strangers::default(), Duration::ZERO);
        let many = u32::try_from(STRANGERS_MAX).unwrap();
        assert!((0..many).all(|number| strangers.may_judge(address(number), now)));
        assert!(!strangers.may_judge(address(many), now));
        assert!(strangers.may_judge(address(0), now), "who is known goes on");
        assert!(
            strangers.may_judge(address(many), now + STRANGER_REFILL * 2),
            "forgotten once they are full"
        );
        assert!(strangers.0.lock().len() <= STRANGERS_MAX);
    }
}
