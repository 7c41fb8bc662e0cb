//! Which faults a run has. Each run has some of them only, so that rare combinations come up (swarm testing).

use crate::random::Random;

/// The faults of one run.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// The longest usual delay of a message.
    pub(crate) delay_ms: u64,
    /// How many messages take up to ten times as long.
    pub(crate) late_percent: u64,
    /// Whether messages from one node to another keep their order.
    pub(crate) ordered: bool,
    pub(crate) partitions: bool,
    pub(crate) one_way_cuts: bool,
    pub(crate) crashes: bool,
    pub(crate) pauses: bool,
    pub(crate) skewed_clocks: bool,
    /// Whether clocks jump ahead, which makes nodes stand for election at any moment.
    pub(crate) clock_jumps: bool,
    pub(crate) reconfigurations: bool,
    pub(crate) hand_overs: bool,
    /// Whether primaries count themselves only once their disk has written.
    pub(crate) slow_disks: bool,
    /// The mean time between faults.
    pub(crate) interval_ms: u64,
}

impl Faults {
    pub(crate) fn drawn(random: &mut Random) -> Faults {
        Faults {
            loss_percent: if random.percent(50) { random.up_to(30) } else { 0 },
            duplicate_percent: if random.percent(30) { random.up_to(20) } else { 0 },
            delay_ms: random.between(1, 30),
            late_percent: if random.percent(40) { random.up_to(10) } else { 0 },
            ordered: random.percent(50),
            partitions: random.percent(60),
            one_way_cuts: random.percent(40),
            crashes: random.percent(50),
            pauses: random.percent(40),
            skewed_clocks: random.percent(30),
            clock_jumps: random.percent(50),
            reconfigurations: random.percent(70),
            hand_overs: random.percent(30),
            slow_disks: random.percent(30),
            interval_ms: if random.percent(50) { random.between(20, 300) } else { random.between(2, 20) },
        }
    }

    /// No more faults: what is left is a good network.
    pub(crate) fn healed(&self) -> Faults {
        Faults {
            slow_disks: self.slow_disks,
            loss_percent: 0,
            duplicate_percent: 0,
            delay_ms: 3,
            late_percent: 0,
            ordered: true,
            partitions: false,
            one_way_cuts: false,
            crashes: false,
            pauses: false,
            skewed_clocks: false,
            clock_jumps: false,
            reconfigurations: false,
            hand_overs: false,
            interval_ms: 100,
        }
    }

    pub(crate) fn delay(&self, random: &mut Random) -> u64 {
        let times = if random.percent(self.late_percent) { 10 } else { 1 };
        random.up_to(self.delay_ms * times)
    }

    pub(crate) fn clock_percent(&self, random: &mut Random) -> u64 {
        if self.skewed_clocks { random.between(50, 200) } else { 100 }
    }
}
