//! Wakes an open loop more often than once a millisecond, which the event loop's own time-outs cannot.

use mio::{Registry, Token};
use std::{io, time::Duration};

/// Requests due within this time are sent together: waking more often would take the server's CPU.
const PERIOD_MIN: Duration = Duration::from_micros(50);

/// At low rates too the loop looks this often, since its wake-ups and the times at which requests are due have
/// different phases, and a request sent late would count as a slow answer.
const PERIOD_MAX: Duration = Duration::from_micros(200);

/// A periodic wake-up of an event loop.
pub struct Timer {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    period: Duration,
}

impl Timer {
    /// Wakes the loop of `registry` for requests due every `interval`.
    ///
    /// # Errors
    /// From the operating system.
    #[cfg(target_os = "linux")]
    pub fn start(interval: Duration, registry: &Registry, token: Token) -> io::Result<Self> {
        use rustix::time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        };
        use std::os::fd::AsRawFd;
        let period = interval.clamp(PERIOD_MIN, PERIOD_MAX);
        let spec = Timespec { tv_sec: period.as_secs() as i64, tv_nsec: i64::from(period.subsec_nanos()) };
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: spec, it_value: spec },
        )?;
        let descriptor = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&descriptor), token, mio::Interest::READABLE)?;
        Ok(Timer { timer })
    }

    /// Without such a timer the loop is woken by its time-out, at most every millisecond.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn start(interval: Duration, _registry: &Registry, _token: Token) -> io::Result<Self> {
        Ok(Timer { period: interval.clamp(PERIOD_MIN, PERIOD_MAX) })
    }

    /// The loop was woken by the timer. Must be called: the system starts the next period when the count of expiries is
    /// read.
    #[cfg(target_os = "linux")]
    pub fn acknowledge(&self) {
        // Nothing to read means that it was read already.
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
    }

    /// Without such a timer there is nothing to acknowledge.
    #[cfg(not(target_os = "linux"))]
    pub fn acknowledge(&self) {}

    /// How long the event loop may sleep at most.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        #[cfg(target_os = "linux")]
        return Duration::from_millis(100);
        #[cfg(not(target_os = "linux"))]
        return self.period;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn it_wakes_the_loop_again_and_again() {
        let mut poll = Poll::new().unwrap();
        let timer = Timer::start(Duration::from_millis(50), poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(8);
        for _ in 0..20 {
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)), "the loop slept to its time-out");
            timer.acknowledge();
        }
    }
}
