//! What consensus knows, for requests: the replicator is asked, and if it is stuck, what it said last is answered.

use ccf_consensus::Status;
use parking_lot::Mutex;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// How long a request waits for the replicator: a healthy one looks every few milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// Between two moments at which the replicator says what it knows without being asked.
pub(super) const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// Requests that may wait at one moment; others are answered with what was said last.
const WAITERS_MAX: usize = 256;

/// Written by the replicator, read by requests. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct StatusBoard(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    last: Option<Status>,
    waiters: Vec<oneshot::Sender<Status>>,
}

impl StatusBoard {
    /// What the replicator says next, or if it says nothing soon, what it said last; none if it never said anything. Whoever
    /// asks wakes the replicator then.
    pub(super) fn ask(&self) -> impl Future<Output = Option<Status>> + Send + use<> {
        let (waiter, said) = oneshot::channel();
        let may_wait = {
            let mut board = self.0.lock();
            // Requests that were given up meanwhile.
            board.waiters.retain(|waiter| !waiter.is_closed());
            let may_wait = board.waiters.len() < WAITERS_MAX;
            if may_wait {
                board.waiters.push(waiter);
            }
            may_wait
        };
        let own = self.clone();
        async move {
            if may_wait && let Ok(Ok(status)) = timeout(PATIENCE, said).await {
                return Some(status);
            }
            own.0.lock().last.clone()
        }
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.lock().waiters.is_empty()
    }

    /// What the replicator knows at this moment.
    pub(super) fn show(&self, status: Status) {
        let mut board = self.0.lock();
        for waiter in board.waiters.drain(..) {
            // Whoever asked may be gone.
            let _ = waiter.send(status.clone());
        }
        board.last = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_consensus::{Replica, Settings};
    use ccf_types::NodeId;
    use std::time::Instant;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn status() -> Status {
        Replica::new(NodeId::from_text("n"), Settings::default()).status()
    }

    #[test]
    fn a_replicator_that_is_stuck_costs_a_moment() {
        let board = StatusBoard::default();
        runtime().block_on(async {
            assert_eq!(board.ask().await, None);
            board.show(status());
            let began = Instant::now();
            assert_eq!(board.ask().await, Some(status()));
            assert!(began.elapsed() < Duration::from_millis(900));
        });
    }

    #[test]
    fn an_answer_is_what_is_said_after_the_question() {
        let board = StatusBoard::default();
        runtime().block_on(async {
            let asked = tokio::spawn(board.ask());
            while !board.is_wanted() {
                tokio::task::yield_now().await;
            }
            board.show(status());
            assert_eq!(asked.await.unwrap(), Some(status()));
            assert!(!board.is_wanted());
        });
    }

    #[test]
    fn few_wait() {
        let board = StatusBoard::default();
        board.show(status());
        runtime().block_on(async {
            let asked: Vec<_> = (0..WAITERS_MAX).map(|_| tokio::spawn(board.ask())).collect();
            while board.0.lock().waiters.len() < WAITERS_MAX {
                tokio::task::yield_now().await;
            }
            let began = Instant::now();
            assert_eq!(board.ask().await, Some(status()));
            assert!(began.elapsed() < PATIENCE);
            for asked in asked {
                assert_eq!(asked.await.unwrap(), Some(status()));
            }
        });
    }
}
