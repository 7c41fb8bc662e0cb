//! A worker that has just answered looks out for the next request for a moment before it sleeps.
//!
//! A client with one request in flight sends the next one some tens of microseconds after the answer. To put the thread
//! to sleep and to wake it up takes the system about as long, and on virtual machines longer. So a worker keeps polling its
//! sockets for [`LOOKOUT`] after an answer, giving way to every other thread that wants the processor. Where that is in
//! vain it is tried ever more rarely: a service with little to do costs no processor time.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a worker looks out for more. With 60 µs most answers on a quiet virtual machine were in vain: the client's own
/// processor has to wake up first.
const LOOKOUT: Duration = Duration::from_micros(200);

/// Answers without a lookout after one in vain: doubled each time, up to this many.
const PAUSE_MAX: u32 = 256;

/// What one worker knows of the rhythm of its clients.
pub(crate) struct Attention {
    /// Set by each answer.
    answered: Cell<bool>,
    /// Whether the lookout is over or has not begun.
    asleep: Cell<bool>,
    /// Answers to come for which nobody looks out.
    pause: Cell<u32>,
    /// The length of the next pause.
    next_pause: Cell<u32>,
    wake: Notify,
}

impl Attention {
    pub(crate) fn new() -> Attention {
        Attention {
            answered: Cell::new(false),
            asleep: Cell::new(true),
            pause: Cell::new(0),
            next_pause: Cell::new(1),
            wake: Notify::new(),
        }
    }

    /// An answer has left.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
        if !self.asleep.get() {
            return;
        }
        match self.pause.get().checked_sub(1) {
            Some(left) => self.pause.set(left),
            None => {
                self.asleep.set(false);
                self.wake.notify_one();
            }
        }
    }

    /// Looks out whenever it is worth it. Never ends.
    pub(crate) async fn look_out(&self) {
        loop {
            self.asleep.set(true);
            self.wake.notified().await;
            let mut since = Instant::now();
            let mut useful = false;
            self.answered.set(false);
            while since.elapsed() < LOOKOUT {
                // Lets the sessions and the runtime's poll of the sockets come in between.
                tokio::task::yield_now().await;
                if self.answered.take() {
                    since = Instant::now();
                    useful = true;
                } else {
                    std::thread::yield_now();
                }
            }
            let pause = if useful { 0 } else { self.next_pause.get() };
            self.pause.set(pause);
            self.next_pause.set((pause * 2).clamp(1, PAUSE_MAX));
        }
    }
}
