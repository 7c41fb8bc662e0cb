//! The search of Wing and Gong with the memory of Lowe: in depth, never twice from the same set of done operations and
//! the same content.

use super::{Action, Content, Operation, Verdict};
use std::collections::HashSet;

/// States that are looked at, at most: far more than histories of these tests need.
const STATES_MAX: usize = 2_000_000;

/// Which operations have been ordered: the first `all` of them, and the ones in `beyond`, ascending.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done {
    all: usize,
    beyond: Vec<usize>,
}

impl Done {
    fn has(&self, index: usize) -> bool {
        index < self.all || self.beyond.binary_search(&index).is_ok()
    }

    fn with(&self, index: usize) -> Done {
        let mut done = self.clone();
        if let Err(at) = done.beyond.binary_search(&index) {
            done.beyond.insert(at, index);
        }
        while done.beyond.first() == Some(&done.all) {
            done.beyond.remove(0);
            done.all += 1;
        }
        done
    }

    fn count(&self) -> usize {
        self.all + self.beyond.len()
    }
}

/// `operations` are in the order in which they were asked.
pub(super) fn search(operations: &[Operation]) -> Verdict {
    let must = operations.iter().filter(|operation| operation.answered.is_some()).count();
    let mut seen: HashSet<(Done, Content)> = HashSet::new();
    let mut open = vec![(Done { all: 0, beyond: Vec::new() }, None, 0)];
    let mut explained = 0;
    while let Some((done, content, answered)) = open.pop() {
        if answered == must {
            return Verdict::Linearizable;
        }
        explained = explained.max(done.count());
        if seen.len() > STATES_MAX {
            return Verdict::Undecided;
        }
        let left = || operations.iter().enumerate().skip(done.all).filter(|(index, _)| !done.has(*index));
        // Whoever was asked after another one's answer comes after that one.
        let first_answer = left().filter_map(|(_, operation)| operation.answered).min();
        for (index, operation) in left() {
            if first_answer.is_some_and(|answer| operation.asked > answer) {
                break;
            }
            let Some(next) = apply(operation.action, content) else { continue };
            let state = (done.with(index), next);
            if seen.insert(state.clone()) {
                open.push((state.0, next, answered + usize::from(operation.answered.is_some())));
            }
        }
    }
    Verdict::Impossible { explained, of: operations.len() }
}

/// The content after an action; none if the action cannot have seen what it saw.
fn apply(action: Action, content: Content) -> Option<Content> {
    match action {
        Action::Read(seen) => (seen == content).then_some(content),
        Action::Write(value) => Some(Some(value)),
        Action::Replace { from, to, found } if found == content => {
            Some(if found == from { Some(to) } else { content })
        }
        Action::Replace { .. } => None,
        Action::ReplaceUnanswered { from, to } => Some(if from == content { Some(to) } else { content }),
    }
}
