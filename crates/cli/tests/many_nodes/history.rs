//! What clients of the registers did and saw, and whether it could have happened one after the other.
//!
//! [`Operation`]s of one register are judged by [`check`]: is there an order of them that respects real time (what was
//! answered before another was asked comes first) in which each saw what it saw? Without an answer an operation may have
//! happened at any later time, or never.

mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

/// The content of a register; none before the first write.
pub(crate) type Content = Option<u64>;

/// What was asked, and what the answer said. Written values are unique within a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answered with this content.
    Read(Content),
    Write(u64),
    /// Replaces `from` by `to`; `found` is what was there according to the answer.
    Replace {
        from: Content,
        to: u64,
        found: Content,
    },
    /// As `Replace`, but nobody knows what was found.
    ReplaceUnanswered {
        from: Content,
        to: u64,
    },
}

/// One operation. Times are of one clock, in any unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    #[allow(dead_code, reason = "printed with a history that is not linearizable")]
    pub(crate) client: usize,
    pub(crate) asked: u64,
    /// None without an answer, or if the answer leaves open whether it happened.
    pub(crate) answered: Option<u64>,
    pub(crate) action: Action,
}

/// What is wrong with a history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    /// No order explains it. The longest explanation that was found.
    Impossible {
        explained: usize,
        of: usize,
    },
    /// The search was given up.
    Undecided,
}

/// Judges the operations of one register, which is empty at first.
pub(crate) fn check(operations: &[Operation]) -> Verdict {
    let mut seen: BTreeSet<Content> = BTreeSet::new();
    for operation in operations {
        match operation.action {
            Action::Read(content) => drop(seen.insert(content)),
            Action::Write(_) => {}
            Action::Replace { from, found, .. } => seen.extend([from, found]),
            Action::ReplaceUnanswered { from, .. } => drop(seen.insert(from)),
        }
    }
    // What nobody saw of an operation without an answer explains nothing and forbids nothing.
    let matters = |operation: &&Operation| match (operation.answered, operation.action) {
        (Some(_), _) => true,
        (None, Action::Read(_) | Action::Replace { .. }) => false,
        (None, Action::Write(value) | Action::ReplaceUnanswered { to: value, .. }) => {
            seen.contains(&Some(value))
        }
    };
    let mut kept: Vec<Operation> = operations.iter().filter(matters).copied().collect();
    kept.sort_by_key(|operation| operation.asked);
    search::search(&kept)
}

/// The histories of several registers.
#[derive(Default)]
pub(crate) struct Histories(BTreeMap<String, Vec<Operation>>);

impl Histories {
    pub(crate) fn add(&mut self, register: &str, operation: Operation) {
        self.0.entry(register.to_owned()).or_default().push(operation);
    }

    pub(crate) fn extend(&mut self, other: Histories) {
        for (register, operations) in other.0 {
            self.0.entry(register).or_default().extend(operations);
        }
    }

    pub(crate) fn registers(&self) -> impl Iterator<Item = (&str, &[Operation])> {
        self.0.iter().map(|(register, operations)| (register.as_str(), operations.as_slice()))
    }

    /// Fails the test unless every register's history is linearizable; prints the history that is not.
    pub(crate) fn must_be_linearizable(&self) {
        for (register, operations) in self.registers() {
            let verdict = check(operations);
            if verdict != Verdict::Linearizable {
                let mut sorted = operations.to_vec();
                sorted.sort_by_key(|operation| operation.asked);
                let lines: String = sorted.iter().map(|operation| format!("{operation:?}\n")).collect();
                panic!("register {register}: {verdict:?}\n{lines}");
            }
        }
    }
}
