//! What a worker knows of each session: how long it has been quiet, and whether it is to end.

use super::limits::{HANDSHAKE_SECONDS_MAX, REQUEST_BYTES_PER_SECOND_MIN, REQUEST_SECONDS_BASE};
use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

/// Why a session is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// The node stops: answer what has been received, then close.
    Drain,
    /// The client took too long: close.
    TimedOut,
}

/// What a session is doing, as far as its clock is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Greeting: bounded as a whole.
    Handshake,
    /// Waiting for the client to send, or to take what is sent.
    Waiting,
    /// Waiting for the node: the client is not to blame.
    Executing,
}

/// Shared between a session and its worker's clock; both live on one thread.
#[derive(Debug)]
pub(crate) struct SessionControl {
    pub(crate) id: u64,
    phase: Cell<Phase>,
    /// Seconds since bytes last moved.
    idle: Cell<u32>,
    /// Seconds since the first byte of the incomplete request; `None` between requests.
    midway: Cell<Option<u32>>,
    /// Bytes received of the incomplete request.
    held_bytes: Cell<usize>,
    stop: Cell<Option<Stop>>,
    waker: RefCell<Option<Waker>>,
}

/// The clock found a session too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    Handshake,
    Idle { seconds: u32 },
    Request { seconds: u32 },
}

impl SessionControl {
    pub(crate) fn new(id: u64) -> SessionControl {
        SessionControl {
            id,
            phase: Cell::new(Phase::Handshake),
            idle: Cell::new(0),
            midway: Cell::new(None),
            held_bytes: Cell::new(0),
            stop: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Says what the session does from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.idle.set(0);
    }

    /// Bytes moved in either direction.
    pub(crate) fn touch(&self) {
        self.idle.set(0);
    }

    /// Whether a request has begun and is incomplete, and how much of it there is.
    pub(crate) fn set_midway(&self, held_bytes: Option<usize>) {
        match held_bytes {
            None => self.midway.set(None),
            Some(bytes) => {
                self.held_bytes.set(bytes);
                if self.midway.get().is_none() {
                    self.midway.set(Some(0));
                }
            }
        }
    }

    /// Why the session should end, if it should. Otherwise the task is woken when that changes.
    pub(crate) fn poll_stop(&self, cx: &Context<'_>) -> Option<Stop> {
        if let Some(stop) = self.stop.get() {
            return Some(stop);
        }
        let mut waker = self.waker.borrow_mut();
        match waker.as_ref() {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        None
    }

    /// Why the session should end, if it should.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.stop.get()
    }

    /// Asks the session to end; a stronger reason replaces a weaker one.
    pub(crate) fn ask_to_stop(&self, reason: Stop) {
        if self.stop.get() < Some(reason) {
            self.stop.set(Some(reason));
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// One second has passed. Returns a reason to end the session, once.
    pub(crate) fn tick(&self, idle_max: Option<u32>) -> Option<Slow> {
        if self.stop.get() == Some(Stop::TimedOut) || self.phase.get() == Phase::Executing {
            return None;
        }
        let idle = self.idle.get().saturating_add(1);
        self.idle.set(idle);
        if self.phase.get() == Phase::Handshake {
            // Bytes that trickle in do not prolong a handshake.
            let age = self.midway.get().unwrap_or(0).saturating_add(1);
            self.midway.set(Some(age));
            return (age > HANDSHAKE_SECONDS_MAX).then_some(Slow::Handshake);
        }
        if idle_max.is_some_and(|max| idle > max) {
            return Some(Slow::Idle { seconds: idle });
        }
        let age = self.midway.get()?.saturating_add(1);
        self.midway.set(Some(age));
        let earned = u32::try_from(self.held_bytes.get() / REQUEST_BYTES_PER_SECOND_MIN).unwrap_or(u32::MAX);
        (age > REQUEST_SECONDS_BASE.saturating_add(earned)).then_some(Slow::Request { seconds: age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_until_slow(
        control: &SessionControl,
        each_second: impl Fn(),
        idle_max: Option<u32>,
    ) -> (u32, Slow) {
        for second in 1..10_000 {
            each_second();
            if let Some(slow) = control.tick(idle_max) {
                return (second, slow);
            }
        }
        panic!("never slow");
    }

    #[test]
    fn idle_means_longer_than_the_timeout() {
        let control = SessionControl::new(1);
        control.enter(Phase::Waiting);
        assert_eq!(seconds_until_slow(&control, || (), Some(2)), (3, Slow::Idle { seconds: 3 }));
        control.enter(Phase::Executing);
        assert!((0..100).all(|_| control.tick(Some(2)).is_none()));
    }

    #[test]
    fn a_trickling_client_is_ended() {
        let control = SessionControl::new(1);
        let slow = seconds_until_slow(&control, || control.touch(), None);
        assert_eq!(slow, (HANDSHAKE_SECONDS_MAX + 1, Slow::Handshake));

        let control = SessionControl::new(1);
        control.enter(Phase::Waiting);
        let trickle = || {
            control.touch();
            control.set_midway(Some(100));
        };
        let (seconds, slow) = seconds_until_slow(&control, trickle, Some(5));
        assert_eq!((seconds, slow), (REQUEST_SECONDS_BASE + 1, Slow::Request { seconds }));

        // Whoever sends at a decent rate may go on.
        let control = SessionControl::new(1);
        control.enter(Phase::Waiting);
        for second in 1..1000 {
            control.touch();
            control.set_midway(Some(second * REQUEST_BYTES_PER_SECOND_MIN));
            assert_eq!(control.tick(Some(5)), None);
        }
    }

    #[test]
    fn stronger_reasons_win() {
        let control = SessionControl::new(1);
        control.ask_to_stop(Stop::TimedOut);
        control.ask_to_stop(Stop::Drain);
        assert_eq!(control.stop(), Some(Stop::TimedOut));
    }
}
