//! The judge is judged: it accepts what can have happened and rejects what cannot.

use super::{Action, Content, Operation, Verdict, check};
use crate::random::Random;

fn operation(asked: u64, answered: impl Into<Option<u64>>, action: Action) -> Operation {
    Operation { client: 0, asked, answered: answered.into(), action }
}

fn read(asked: u64, answered: u64, content: Content) -> Operation {
    operation(asked, answered, Action::Read(content))
}

fn write(asked: u64, answered: impl Into<Option<u64>>, value: u64) -> Operation {
    operation(asked, answered, Action::Write(value))
}

fn replace(asked: u64, answered: u64, from: Content, to: u64, found: Content) -> Operation {
    operation(asked, answered, Action::Replace { from, to, found })
}

fn replace_unanswered(asked: u64, from: Content, to: u64) -> Operation {
    operation(asked, None, Action::ReplaceUnanswered { from, to })
}

#[test]
fn histories_that_can_have_happened_are_accepted() {
    for (what, history) in [
        ("nothing", vec![]),
        ("one after the other", vec![read(0, 1, None), write(2, 3, 1), read(4, 5, Some(1))]),
        ("a read during a write sees the old value", vec![write(0, 10, 1), read(2, 3, None)]),
        ("a read during a write sees the new value", vec![write(0, 10, 1), read(2, 3, Some(1))]),
        (
            "two reads during two writes",
            vec![write(0, 10, 1), write(0, 10, 2), read(1, 3, Some(2)), read(4, 5, Some(1))],
        ),
        ("a write without an answer that happened", vec![write(0, None, 1), read(50, 51, Some(1))]),
        ("a write without an answer that did not", vec![write(0, None, 1), read(50, 51, None)]),
        (
            "a write without an answer that happened late",
            vec![write(0, None, 1), read(2, 3, None), write(4, 5, 2), read(6, 7, Some(1))],
        ),
        (
            "replacing",
            vec![write(0, 1, 1), replace(2, 3, Some(1), 2, Some(1)), replace(4, 5, Some(1), 3, Some(2))],
        ),
        (
            "replacing without an answer",
            vec![write(0, 1, 1), replace_unanswered(2, Some(1), 2), read(9, 10, Some(2))],
        ),
        ("many writes that nobody saw", (0..40).map(|value| write(0, None, value)).collect()),
    ] {
        assert_eq!(check(&history), Verdict::Linearizable, "{what}");
    }
}

#[test]
fn histories_that_cannot_have_happened_are_rejected() {
    for (what, history) in [
        ("a value from nowhere", vec![read(0, 1, Some(7))]),
        ("a lost write", vec![write(0, 1, 1), read(2, 3, None)]),
        ("a stale read", vec![write(0, 1, 1), write(2, 3, 2), read(4, 5, Some(1))]),
        ("a read before its write was asked for", vec![read(0, 1, Some(1)), write(2, 3, 1)]),
        (
            "reads that go back in time",
            vec![
                write(0, 20, 1),
                write(0, 20, 2),
                read(1, 2, Some(1)),
                read(3, 4, Some(2)),
                read(5, 6, Some(1)),
            ],
        ),
        (
            "a write without an answer that was undone",
            vec![write(0, None, 1), read(2, 3, Some(1)), read(4, 5, None)],
        ),
        (
            "replaced twice",
            vec![write(0, 1, 1), replace(2, 9, Some(1), 2, Some(1)), replace(2, 9, Some(1), 3, Some(1))],
        ),
        ("a replacement that was lost", vec![replace(0, 1, None, 2, None), read(2, 3, None)]),
        (
            "a replacement of what was not there",
            vec![write(0, 1, 1), replace_unanswered(2, Some(5), 2), read(9, 10, Some(2))],
        ),
    ] {
        assert!(matches!(check(&history), Verdict::Impossible { .. }), "{what}");
    }
}

/// Histories of a simulated register, as several clients see it; with one answer falsified they are rejected.
#[test]
fn random_histories_of_a_register_are_accepted_and_falsified_ones_are_not() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut history = simulate(&mut random);
        assert_eq!(check(&history), Verdict::Linearizable, "seed {seed}: {history:#?}");
        // The last read comes after everything else, and says something that was overwritten for certain.
        let end = history.iter().map(|it| it.answered.unwrap_or(it.asked)).max().unwrap();
        history.push(write(end + 1, end + 2, 1_000_000));
        history.push(read(end + 3, end + 4, Some(1_000_000)));
        assert_eq!(check(&history), Verdict::Linearizable, "seed {seed}");
        let stale = history.iter().find_map(|it| match it.action {
            Action::Write(value) if it.answered.is_some() => Some(value),
            _ => None,
        });
        if let Some(stale) = stale {
            history.pop();
            history.push(read(end + 3, end + 4, Some(stale)));
            assert!(matches!(check(&history), Verdict::Impossible { .. }), "seed {seed}: {history:#?}");
        }
    }
}

/// Five clients, each operation takes effect at a moment between question and answer.
fn simulate(random: &mut Random) -> Vec<Operation> {
    let mut pending: Vec<(u64, u64, u64, usize)> = Vec::new();
    let mut now = [0u64; 5];
    for _ in 0..120 {
        let client = random.below(now.len());
        let asked = now[client] + random.between(1, 10);
        let effect = asked + random.between(0, 20);
        let answered = effect + random.between(1, 20);
        now[client] = answered;
        pending.push((effect, asked, answered, client));
    }
    pending.sort_unstable();
    let mut content: Content = None;
    let mut next = 0;
    let mut history = Vec::new();
    for (_, asked, answered, client) in pending {
        next += 1;
        let unanswered = random.below(12) == 0;
        let action = match random.below(3) {
            0 => Action::Read(content),
            1 => {
                if !unanswered || random.below(2) == 0 {
                    content = Some(next);
                }
                Action::Write(next)
            }
            _ => {
                let (found, from) = (content, if random.below(3) == 0 { Some(3) } else { content });
                if from == found {
                    content = Some(next);
                }
                match unanswered {
                    true => Action::ReplaceUnanswered { from, to: next },
                    false => Action::Replace { from, to: next, found },
                }
            }
        };
        let is_read = matches!(action, Action::Read(_));
        // Somebody without an answer goes away; what it asked may have happened, not later than now.
        history.push(Operation {
            client,
            asked,
            answered: (!unanswered || is_read).then_some(answered),
            action,
        });
    }
    history
}
