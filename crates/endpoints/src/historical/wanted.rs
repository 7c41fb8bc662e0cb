//! Sets of transactions.

use ccf_types::SeqNo;
use std::ops::RangeInclusive;

/// States that one handle may want: what an answer made of them can hold in memory.
pub const HANDLE_STATES_MAX: u64 = 100_000;

/// Positions in the ledger: ascending ranges that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqNos(Vec<(SeqNo, SeqNo)>);

/// A set that cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWanted {
    /// Nothing is wanted.
    #[error("no transaction is asked for")]
    Empty,
    /// The range is upside down.
    #[error("the range ends at {1}, before it begins at {0}")]
    Backwards(SeqNo, SeqNo),
    /// No transaction has seqno 0.
    #[error("there is no transaction at position 0")]
    Zero,
    /// Too many for one handle.
    #[error("{0} transactions are more than one request may ask for, {HANDLE_STATES_MAX}")]
    TooMany(u64),
}

impl SeqNos {
    /// One.
    ///
    /// # Errors
    /// [`InvalidWanted::Zero`].
    pub fn one(seqno: SeqNo) -> Result<SeqNos, InvalidWanted> {
        SeqNos::range(seqno, seqno)
    }

    /// All from `from` to `to`, both included.
    ///
    /// # Errors
    /// [`InvalidWanted`].
    pub fn range(from: SeqNo, to: SeqNo) -> Result<SeqNos, InvalidWanted> {
        if to < from {
            return Err(InvalidWanted::Backwards(from, to));
        }
        SeqNos(vec![(from, to)]).checked()
    }

    /// Any, in any order.
    ///
    /// # Errors
    /// [`InvalidWanted`].
    pub fn set(seqnos: impl IntoIterator<Item = SeqNo>) -> Result<SeqNos, InvalidWanted> {
        let mut all: Vec<SeqNo> = seqnos.into_iter().collect();
        all.sort_unstable();
        let mut ranges: Vec<(SeqNo, SeqNo)> = Vec::new();
        for seqno in all {
            match ranges.last_mut() {
                Some((_, end)) if seqno <= end.next() => *end = seqno,
                _ => ranges.push((seqno, seqno)),
            }
        }
        SeqNos(ranges).checked()
    }

    fn checked(self) -> Result<SeqNos, InvalidWanted> {
        match (self.0.first(), self.len()) {
            (None, _) => Err(InvalidWanted::Empty),
            (Some((SeqNo::NONE, _)), _) => Err(InvalidWanted::Zero),
            (_, len) if len > HANDLE_STATES_MAX => Err(InvalidWanted::TooMany(len)),
            _ => Ok(self),
        }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<SeqNo>> {
        self.0.iter().map(|(from, to)| *from..=*to)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = SeqNo> {
        self.0.iter().flat_map(|(from, to)| (from.0..=to.0).map(SeqNo))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (from, to)| sum.saturating_add((to.0 - from.0).saturating_add(1)))
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> SeqNo {
        self.0.last().map_or(SeqNo::NONE, |(_, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_become_ranges() {
        let set = SeqNos::set([5, 3, 4, 9, 9, 1].map(SeqNo)).expect("valid");
        assert_eq!(set.0, [(1, 1), (3, 5), (9, 9)].map(|(a, b)| (SeqNo(a), SeqNo(b))));
        assert_eq!((set.len(), set.last(), set.iter().count()), (5, SeqNo(9), 5));
        assert_eq!(SeqNos::set([]), Err(InvalidWanted::Empty));
        assert_eq!(SeqNos::set([SeqNo(0)]), Err(InvalidWanted::Zero));
        assert_eq!(SeqNos::range(SeqNo(2), SeqNo(1)), Err(InvalidWanted::Backwards(SeqNo(2), SeqNo(1))));
        assert!(SeqNos::range(SeqNo(1), SeqNo(u64::MAX)).is_err());
    }
}
