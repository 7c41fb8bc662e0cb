//! How many entries go into one message (section 3).

use crate::limits::{
    APPEND_ENTRIES_BYTES, APPEND_ENTRIES_FIRST, APPEND_ENTRIES_MAX, APPEND_ENTRIES_REFERENCE,
    CATCH_UP_ENTRIES, CATCH_UP_FACTOR,
};

/// Which rule decides the number of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batching {
    /// As many as make about [`APPEND_ENTRIES_BYTES`]: by [`crate::Log::last_fitting`], and by the average size of what was
    /// written lately.
    #[default]
    Average,
    /// The slow moving average of CCF: for scenario files, which count messages.
    Reference,
    /// So many, whatever their sizes: for simulations, in which sizes differ from one process to the next.
    Count(u64),
}

/// The number of entries per message, following the sizes of the entries seen.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    rule: Batching,
    bytes: u64,
    entries: u64,
    sum: u64,
    size: u64,
    /// The moving average of sizes, times 16.
    average: u64,
}

impl Batch {
    pub(crate) fn new(rule: Batching) -> Batch {
        let size = if let Batching::Count(count) = rule { count.max(1) } else { APPEND_ENTRIES_FIRST };
        Batch { rule, bytes: 0, entries: 0, sum: 0, size, average: 0 }
    }

    #[cfg(test)]
    fn size(&self) -> u64 {
        self.size
    }

    /// The number of entries, and about how many bytes, that a message may have to a peer that misses `missing` entries.
    pub(crate) fn room(&self, missing: u64) -> (u64, u64) {
        let factor = match self.rule {
            Batching::Average if missing >= CATCH_UP_ENTRIES => CATCH_UP_FACTOR,
            _ => 1,
        };
        (self.size * factor, APPEND_ENTRIES_BYTES * factor)
    }

    /// An entry was written here; whether enough has gathered that it should be sent at once.
    pub(crate) fn add(&mut self, size: u32) -> bool {
        self.bytes += u64::from(size);
        self.entries += 1;
        let size = u64::from(size);
        self.average = if self.average == 0 { 16 * size } else { self.average - self.average / 16 + size };
        let full = match self.rule {
            Batching::Count(_) => self.entries >= self.size,
            Batching::Average | Batching::Reference => self.bytes >= APPEND_ENTRIES_BYTES,
        };
        if full {
            self.recompute();
            (self.bytes, self.entries) = (0, 0);
        }
        full
    }

    /// Follows the sizes seen; called at every period.
    pub(crate) fn recompute(&mut self) {
        let average = self.bytes.checked_div(self.entries);
        let fitting = |average| APPEND_ENTRIES_BYTES.checked_div(average).unwrap_or(APPEND_ENTRIES_REFERENCE);
        match self.rule {
            Batching::Count(_) => {}
            Batching::Average => {
                if self.average > 0 {
                    self.size = fitting((self.average / 16).max(1)).clamp(1, APPEND_ENTRIES_MAX);
                }
            }
            Batching::Reference => {
                self.sum = self.sum + fitting(average.unwrap_or(APPEND_ENTRIES_BYTES)) - self.sum / 100;
                self.size = (self.sum / 100).max(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_sequence_of_small_entries() {
        let mut batch = Batch::new(Batching::Reference);
        let mut sizes = Vec::new();
        for _ in 0..4 {
            batch.add(100);
            batch.recompute();
            sizes.push(batch.size());
        }
        assert_eq!(sizes, [2, 3, 5, 7]);
        let mut idle = Batch::new(Batching::Reference);
        assert_eq!(idle.size(), 20);
        idle.recompute();
        assert_eq!(idle.size(), 1);
    }

    #[test]
    fn who_is_far_behind_gets_larger_messages() {
        let batch = Batch::new(Batching::Average);
        assert_eq!(batch.room(CATCH_UP_ENTRIES - 1), (20, 20_000));
        assert_eq!(batch.room(CATCH_UP_ENTRIES), (260, 260_000));
        assert_eq!(Batch::new(Batching::Reference).room(u64::MAX), (20, 20_000));
        assert_eq!(Batch::new(Batching::Count(3)).room(u64::MAX).0, 3);
    }

    #[test]
    fn average_fills_the_message_at_once() {
        let mut batch = Batch::new(Batching::Average);
        batch.recompute();
        assert_eq!(batch.size(), 20);
        assert!(!batch.add(200));
        batch.recompute();
        assert_eq!(batch.size(), 100);
        for _ in 0..100 {
            batch.add(40_000);
        }
        batch.recompute();
        assert_eq!(batch.size(), 1);
        for _ in 0..3 {
            batch.add(1);
        }
        batch.recompute();
        assert_eq!(batch.size(), 1, "a few small entries do not make a message of thousands of large ones");
    }
}
