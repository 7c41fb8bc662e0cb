//! A thread that has just worked looks out for more for a moment before it sleeps.
//!
//! A client with one request in flight sends the next one some tens of microseconds after the answer; a node that forwards
//! requests does too. To put a thread to sleep and to wake it up takes the system about as long, and on virtual machines
//! longer. So a thread keeps looking for [`LOOKOUT`] after its work, giving way to every other thread that wants the
//! processor. Where that is in vain it is tried ever more rarely: a service with little to do costs no processor time. Where
//! more has come promptly many times in a row, everybody is busy, and a gap means that somebody makes a signature or verifies one: then
//! the thread looks out for [`LONG_LOOKOUT`], rather than that all fall asleep and wake each other up again.

use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a thread looks out for more. With 60 µs most answers on a quiet virtual machine were in vain: the client's own
/// processor has to wake up first.
pub(crate) const LOOKOUT: Duration = Duration::from_micros(200);

/// How long while more comes promptly: longer than a signature takes, its making on the primary or its verification on a backup.
const LONG_LOOKOUT: Duration = Duration::from_millis(1);

/// Prompt arrivals that make a long lookout worth it.
const PROMPT_MIN: u32 = 16;

/// Prompt arrivals that count.
const PROMPT_MAX: u32 = 32;

/// Prompt arrivals that make up for a late one.
const LATE_COUNTS: u32 = 2;

/// Occasions without a lookout after one in vain: doubled each time, up to this many.
const PAUSE_MAX: u32 = 256;

/// When to look out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// Occasions to come at which nobody looks out.
    pause: u32,
    /// The length of the next pause.
    next_pause: u32,
}

impl Rhythm {
    pub(crate) fn new() -> Rhythm {
        Rhythm { pause: 0, next_pause: 1 }
    }

    /// Some work is done: whether to look out for more now.
    pub(crate) fn is_due(&mut self) -> bool {
        match self.pause.checked_sub(1) {
            Some(left) => {
                self.pause = left;
                false
            }
            None => true,
        }
    }

    /// A lookout has ended, and there was more, or not.
    pub(crate) fn ended(&mut self, useful: bool) {
        self.pause = if useful { 0 } else { self.next_pause };
        self.next_pause = (self.pause * 2).clamp(1, PAUSE_MAX);
    }
}

/// How long to look out.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Prompt arrivals of late, less what late ones count.
    prompt: u32,
}

impl Pace {
    /// How long the next lookout may take.
    fn lookout(self) -> Duration {
        if self.prompt >= PROMPT_MIN { LONG_LOOKOUT } else { LOOKOUT }
    }

    /// More has come after so long.
    fn came(&mut self, after: Duration) {
        self.prompt = if after < LOOKOUT {
            (self.prompt + 1).min(PROMPT_MAX)
        } else {
            self.prompt.saturating_sub(LATE_COUNTS)
        };
    }
}

/// The lookout of a thread that polls sockets: a task among its others.
pub(crate) struct Attention {
    /// Set by each work done.
    worked: AtomicBool,
    /// Whether the lookout is over or has not begun.
    asleep: AtomicBool,
    rhythm: Mutex<Rhythm>,
    wake: Notify,
}

impl Attention {
    pub(crate) fn new() -> Attention {
        Attention {
            worked: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            rhythm: Mutex::new(Rhythm::new()),
            wake: Notify::new(),
        }
    }

    /// Something was done, on the thread that looks out: an answer has left, or messages have come.
    pub(crate) fn worked(&self) {
        self.worked.store(true, Relaxed);
        if self.asleep.load(Relaxed) && self.rhythm.lock().is_due() {
            self.asleep.store(false, Relaxed);
            self.wake.notify_one();
        }
    }

    /// Looks out whenever it is worth it. Never ends.
    pub(crate) async fn look_out(&self) {
        let mut pace = Pace::default();
        loop {
            self.asleep.store(true, Relaxed);
            self.wake.notified().await;
            let mut since = Instant::now();
            let mut useful = false;
            self.worked.store(false, Relaxed);
            while since.elapsed() < pace.lookout() {
                // Lets the other tasks and the runtime's poll of the sockets come in between.
                tokio::task::yield_now().await;
                if self.worked.swap(false, Relaxed) {
                    let now = Instant::now();
                    pace.came(now.saturating_duration_since(since));
                    since = now;
                    useful = true;
                } else {
                    std::thread::yield_now();
                }
            }
            pace.came(LONG_LOOKOUT);
            self.rhythm.lock().ended(useful);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_more_comes_promptly_lookouts_are_long() {
        let (prompt, late) = (LOOKOUT / 2, LOOKOUT);
        let mut pace = Pace::default();
        for _ in 0..PROMPT_MIN {
            assert_eq!(pace.lookout(), LOOKOUT);
            pace.came(prompt);
        }
        assert_eq!(pace.lookout(), LONG_LOOKOUT);
        pace.came(late);
        assert_eq!(pace.lookout(), LOOKOUT, "it was just enough");
        (0..10 * PROMPT_MAX).for_each(|_| pace.came(prompt));
        let lates = (0..).take_while(|_| {
            pace.came(late);
            pace.lookout() == LONG_LOOKOUT
        });
        let forgiven = (PROMPT_MAX - PROMPT_MIN) / LATE_COUNTS;
        assert_eq!(lates.count(), forgiven as usize, "what was long ago does not count");
        // Every other one is late: never long.
        for turn in 0..1000 {
            pace.came(if turn % 2 == 0 { late } else { prompt });
            assert_eq!(pace.lookout(), LOOKOUT);
        }
    }

    #[test]
    fn what_is_in_vain_is_tried_ever_more_rarely() {
        let mut rhythm = Rhythm::new();
        let mut between = |useful| {
            let skipped = (0..).take_while(|_| !rhythm.is_due()).count();
            rhythm.ended(useful);
            skipped
        };
        let pauses: Vec<usize> = (0..12).map(|_| between(false)).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        assert_eq!([between(true), between(true), between(false), between(false)], [256, 0, 0, 1]);
    }
}
