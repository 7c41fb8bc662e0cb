//! Which view each position belongs to (section 4).

use ccf_types::{SeqNo, View};

/// The first position of each view, from view 1 on; a view without entries repeats the start of the next one that
/// has some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewHistory(Vec<SeqNo>);

/// A view would start before an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a view cannot start at {at}, before {last}, where an earlier view starts")]
pub struct OutOfOrder {
    /// Where it would start.
    pub at: SeqNo,
    /// The last start known.
    pub last: SeqNo,
}

impl ViewHistory {
    /// A history from the starts of views 1, 2, ….
    #[must_use]
    pub fn from_starts(starts: Vec<SeqNo>) -> ViewHistory {
        ViewHistory(starts)
    }

    /// The starts of views 1, 2, ….
    #[must_use]
    pub fn starts(&self) -> &[SeqNo] {
        &self.0
    }

    /// View `view` has the entry at `at`: it, and empty views before it, start there unless known already.
    ///
    /// # Errors
    /// [`OutOfOrder`] if a known view starts later.
    pub fn update(&mut self, at: SeqNo, view: View) -> Result<(), OutOfOrder> {
        if let Some(last) = self.0.last().copied().filter(|last| at < *last) {
            return Err(OutOfOrder { at, last });
        }
        let length = usize::try_from(view.0).expect("views fit memory");
        if self.0.len() < length {
            self.0.resize(length, at);
        }
        Ok(())
    }

    /// The view of a position; unknown before the first.
    #[must_use]
    pub fn view_at(&self, at: SeqNo) -> View {
        View(self.0.partition_point(|start| *start <= at) as u64)
    }

    /// Where a view starts; none if it is unknown or has no entries.
    #[must_use]
    pub fn start_of(&self, view: View) -> Option<SeqNo> {
        let at = usize::try_from(view.0.checked_sub(1)?).ok()?;
        let start = *self.0.get(at)?;
        (self.0.get(at + 1) != Some(&start)).then_some(start)
    }

    /// The last position of a view that has entries and is not the last one.
    #[must_use]
    pub fn end_of(&self, view: View) -> Option<SeqNo> {
        self.start_of(view)?;
        let next = self.0.get(usize::try_from(view.0).ok()?)?;
        Some(next.previous())
    }

    /// The starts of views that begin at or before `at`.
    #[must_use]
    pub fn until(&self, at: SeqNo) -> &[SeqNo] {
        &self.0[..self.0.partition_point(|start| *start <= at)]
    }

    /// The starts from `view` on.
    #[must_use]
    pub fn since(&self, view: View) -> &[SeqNo] {
        let from = usize::try_from(view.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(from..).unwrap_or_default()
    }

    /// Forgets views that start after `at`.
    pub fn rollback(&mut self, at: SeqNo) {
        self.0.truncate(self.0.partition_point(|start| *start <= at));
    }

    /// The highest position at or before `seqno` and `last` that another log may share whose entry at `seqno` is of
    /// `view` (section 7.4).
    #[must_use]
    pub fn match_estimate(&self, view: View, seqno: SeqNo, last: SeqNo) -> SeqNo {
        let mut at = seqno.min(last);
        while self.view_at(at) > view {
            match self.start_of(self.view_at(at)) {
                Some(start) => at = start.previous(),
                None => return SeqNo::NONE,
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> ViewHistory {
        let mut history = ViewHistory::default();
        for (at, view) in [(1, 2), (5, 3), (9, 5)] {
            history.update(SeqNo(at), View(view)).expect("in order");
        }
        history
    }

    #[test]
    fn vectors_of_the_specification() {
        let mut history = history();
        assert_eq!(history.starts(), [1, 1, 5, 9, 9].map(SeqNo));
        for (at, view) in [(0, 0), (4, 2), (8, 3), (9, 5)] {
            assert_eq!(history.view_at(SeqNo(at)), View(view), "{at}");
        }
        for (view, start) in
            [(0, None), (1, None), (2, Some(1)), (3, Some(5)), (4, None), (5, Some(9)), (6, None)]
        {
            assert_eq!(history.start_of(View(view)), start.map(SeqNo), "{view}");
        }
        for (view, end) in [(2, Some(4)), (3, Some(8)), (5, None)] {
            assert_eq!(history.end_of(View(view)), end.map(SeqNo), "{view}");
        }
        assert_eq!(history.since(View(3)), [5, 9, 9].map(SeqNo));
        assert!(history.since(View(6)).is_empty());
        assert_eq!(history.until(SeqNo(8)), [1, 1, 5].map(SeqNo));
        for (view, seqno, expected) in [(2, 20, 4), (4, 10, 8), (3, 6, 6), (5, 30, 12), (1, 3, 0)] {
            assert_eq!(
                history.match_estimate(View(view), SeqNo(seqno), SeqNo(12)),
                SeqNo(expected),
                "{view}.{seqno}"
            );
        }
        assert!(history.update(SeqNo(8), View(6)).is_err());
        history.rollback(SeqNo(8));
        assert_eq!(history.starts(), [1, 1, 5].map(SeqNo));
    }
}
