//! What waits for the threads that execute forwarded requests.
//!
//! Waking a thread costs more than most requests, so one thread is woken for all that arrived together, and takes one after
//! the other. Others help when requests are slow, or many wait. Who has worked looks out for more before it sleeps.

use crate::attention::{LOOKOUT, Rhythm};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Jobs that may wait; what comes beyond times out at its sender.
const WAITING_MAX: usize = 4096;

/// Bytes of requests that may wait, if more than one does.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// With so many waiting, further threads are woken whatever a job takes.
const MANY: usize = 32;

/// Jobs that take longer than this are spread over the threads: waking one costs about as much.
const SLOW: Duration = Duration::from_micros(50);

/// A thread that has worked for so long since its last pause makes one, to send what it has answered.
const BURST: Duration = Duration::from_micros(300);

/// Jobs in order of arrival.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    /// Each with its bytes.
    jobs: VecDeque<(J, usize)>,
    bytes: usize,
    /// Threads that wait.
    idle: usize,
    /// One thread looks out: nobody need be woken.
    looking: bool,
    rhythm: Rhythm,
    /// What a job takes, a moving average, nanoseconds.
    job_ns: u64,
}

impl<J> State<J> {
    fn pop(&mut self) -> Option<J> {
        let (job, bytes) = self.jobs.pop_front()?;
        self.bytes -= bytes;
        Some(job)
    }
}

impl<J> Queue<J> {
    pub(super) fn new() -> Queue<J> {
        Queue {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                bytes: 0,
                idle: 0,
                looking: false,
                rhythm: Rhythm::new(),
                job_ns: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a job of so many bytes; [`wake`](Self::wake) has it done. False if too many wait.
    pub(super) fn push(&self, job: J, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let too_long = state.bytes > 0 && state.bytes.saturating_add(bytes) > WAITING_BYTES_MAX;
        if state.jobs.len() >= WAITING_MAX || too_long {
            return false;
        }
        state.bytes += bytes;
        state.jobs.push_back((job, bytes));
        true
    }

    /// Has somebody look at what was added.
    pub(super) fn wake(&self) {
        let state = self.state.lock();
        if state.idle > 0 && !state.looking && !state.jobs.is_empty() {
            self.changed.notify_one();
        }
    }

    /// The next job, if it is one of those.
    pub(super) fn take_if(&self, wanted: impl FnOnce(&J) -> bool) -> Option<J> {
        let mut state = self.state.lock();
        let is_wanted = state.jobs.front().is_some_and(|(job, _)| wanted(job));
        if is_wanted { state.pop() } else { None }
    }

    /// Works for ever: `perform` gets the jobs in turn, and none after the last one that is there, or now and then.
    pub(super) fn work(&self, mut perform: impl FnMut(Option<J>)) -> ! {
        loop {
            let mut next = self.wait();
            let began = Instant::now();
            let mut jobs = 0;
            while let Some(job) = next {
                perform(Some(job));
                jobs += 1;
                next = if began.elapsed() < BURST { self.next() } else { None };
            }
            self.note(began.elapsed(), jobs);
            perform(None);
        }
    }

    fn wait(&self) -> Option<J> {
        let mut state = self.look_out(self.state.lock());
        while state.jobs.is_empty() {
            state.idle += 1;
            self.changed.wait(&mut state);
            state.idle -= 1;
        }
        self.take(&mut state)
    }

    /// Waits a moment without sleeping, if that is worth it and nobody else does.
    fn look_out<'a>(&'a self, mut state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        if !state.jobs.is_empty() || state.looking || !state.rhythm.is_due() {
            return state;
        }
        state.looking = true;
        let since = Instant::now();
        while state.jobs.is_empty() && since.elapsed() < LOOKOUT {
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
        }
        state.looking = false;
        let useful = !state.jobs.is_empty();
        state.rhythm.ended(useful);
        state
    }

    fn next(&self) -> Option<J> {
        self.take(&mut self.state.lock())
    }

    fn take(&self, state: &mut State<J>) -> Option<J> {
        let job = state.pop()?;
        let left = state.jobs.len();
        let is_slow = u128::from(state.job_ns) > SLOW.as_nanos();
        if state.idle > 0 && left > 0 && (is_slow || left >= MANY) {
            self.changed.notify_one();
        }
        Some(job)
    }

    fn note(&self, took: Duration, jobs: u32) {
        let each = u64::try_from((took / jobs.max(1)).as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.state.lock();
        state.job_ns = state.job_ns - state.job_ns / 4 + each / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc, Barrier,
            mpsc::{Receiver, channel},
        },
        thread,
    };

    type Work = Box<dyn FnOnce() + Send>;

    /// Threads that tell of their pauses.
    fn workers(count: usize) -> (Arc<Queue<Work>>, Receiver<()>) {
        let queue = Arc::new(Queue::<Work>::new());
        let (tell, told) = channel();
        for _ in 0..count {
            let (queue, tell) = (Arc::clone(&queue), tell.clone());
            // Ends with the test's process.
            thread::spawn(move || {
                queue.work(|job| match job {
                    Some(job) => job(),
                    // Nobody may listen any more.
                    None => drop(tell.send(())),
                })
            });
        }
        (queue, told)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_are_done_in_order_and_followed_by_a_pause() {
        let (queue, paused) = workers(1);
        let (tell, told) = channel();
        for job in 0..10 {
            let tell = tell.clone();
            assert!(queue.push(Box::new(move || tell.send(job).unwrap()), 0));
        }
        queue.wake();
        let done: Vec<i32> = (0..10).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(done, (0..10).collect::<Vec<_>>());
        paused.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn slow_jobs_are_spread() {
        let (queue, paused) = workers(2);
        // From this one the queue learns that jobs are slow.
        assert!(queue.push(Box::new(|| thread::sleep(100 * SLOW)), 0));
        queue.wake();
        paused.recv_timeout(PATIENCE).unwrap();
        // These two end only together.
        let together = Arc::new(Barrier::new(2));
        for _ in 0..2 {
            let together = Arc::clone(&together);
            assert!(queue.push(
                Box::new(move || {
                    together.wait();
                }),
                0
            ));
        }
        queue.wake();
        (0..2).for_each(|_| paused.recv_timeout(PATIENCE).unwrap());
    }

    #[test]
    fn only_the_first_job_is_offered() {
        let queue = Queue::new();
        assert!([7, 8].into_iter().all(|job| queue.push(job, 1)));
        assert_eq!(queue.take_if(|job| *job == 8), None);
        assert_eq!(queue.take_if(|job| *job == 7), Some(7));
        assert_eq!(queue.take_if(|job| *job == 8), Some(8));
        assert_eq!(queue.take_if(|_| true), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let queue = Queue::new();
        assert!((0..WAITING_MAX).all(|job| queue.push(job, 0)));
        assert!(!queue.push(0, 0));
    }

    #[test]
    fn bytes_that_wait_are_bounded_but_one_job_always_may() {
        let queue = Queue::new();
        assert!(queue.push(0, WAITING_BYTES_MAX + 1));
        assert!(!queue.push(1, 1));
        assert_eq!(queue.take_if(|_| true), Some(0));
        assert!(queue.push(2, WAITING_BYTES_MAX - 1) && queue.push(3, 1));
        assert!(!queue.push(4, 1));
    }
}
