//! The event loop of one client thread: keeps its connections busy and records what comes back.

use super::{
    connection::{Connection, ConnectionError, READ_BYTES, Sent},
    histogram::Histogram,
    timer::Timer,
    workload::{Dice, Kind, Workload},
};
use mio::{Events, Interest, Poll, Token};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// After the last request is due, answers are awaited this long.
const DRAIN: Duration = Duration::from_secs(5);

/// In an open loop a connection may have this many unanswered requests; later ones wait, and their latency counts from
/// when they were due.
const OPEN_LOOP_DEPTH: usize = 10_000;

/// How requests are paced.
#[derive(Clone, Copy, Debug)]
pub enum Pacing {
    /// Each connection always has this many requests under way.
    Closed {
        /// Requests in flight per connection.
        depth: usize,
    },
    /// Requests are due at fixed times, whether or not earlier ones were answered.
    Open {
        /// Time between two requests of this worker.
        interval: Duration,
    },
}

/// What all workers of a run share.
pub struct Shared {
    /// Zero of the run's clock.
    pub epoch: Instant,
    /// Answers count from here (end of the warm-up).
    pub measure_from: Duration,
    /// Nothing is sent after this.
    pub send_until: Duration,
    /// A worker stops sending after so many counted answers.
    pub quota: u64,
    /// Set to end early.
    pub stop: AtomicBool,
    /// Successful answers so far, warm-up included, for the progress bar.
    pub answered: AtomicU64,
}

/// One worker's work.
pub struct Worker {
    /// Its connections, already open.
    pub connections: Vec<Connection>,
    /// Where requests come from.
    pub workload: Workload,
    /// When requests are sent.
    pub pacing: Pacing,
    /// Seed of its requests.
    pub seed: u64,
    /// The run.
    pub shared: Arc<Shared>,
}

/// What a worker saw between the end of the warm-up and the end.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Latencies of successful (2xx) answers, by [`Kind`].
    pub latencies: [Histogram; 2],
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that broke, with the reason of each kind.
    pub failures: BTreeMap<String, u64>,
    /// Requests that never got an answer.
    pub unanswered: u64,
    /// When the last counted answer arrived.
    pub last_answer: Duration,
}

impl Outcome {
    /// Adds another worker's results.
    pub fn merge(&mut self, other: &Outcome) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.merge(theirs);
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (reason, count) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.last_answer = self.last_answer.max(other.last_answer);
    }
}

/// The state of a running worker.
struct Run {
    workload: Workload,
    dice: Dice,
    shared: Arc<Shared>,
    measure_from_ns: u64,
    send_until_ns: u64,
    counted: u64,
    statuses: Vec<u64>,
    outcome: Outcome,
}

impl Worker {
    /// Runs to the end of the measurement.
    ///
    /// # Errors
    /// When the event loop itself cannot be made; broken connections are part of the outcome.
    pub fn run(self) -> io::Result<Outcome> {
        let Worker { connections, workload, pacing, seed, shared } = self;
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut connections: Vec<Option<Connection>> = connections.into_iter().map(Some).collect();
        for (index, connection) in connections.iter_mut().enumerate() {
            if let Some(connection) = connection {
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(connection.socket(), Token(index), interest)?;
            }
        }
        let timer_token = Token(connections.len());
        let mut schedule = None;
        let mut timer = None;
        if let Pacing::Open { interval } = pacing {
            schedule = Some(Schedule { interval_ns: nanos(interval).max(1), sent: 0, turn: 0 });
            timer = Some(Timer::start(interval, poll.registry(), timer_token)?);
        }
        let mut run = Run {
            workload,
            dice: Dice::new(seed),
            measure_from_ns: nanos(shared.measure_from),
            send_until_ns: nanos(shared.send_until),
            shared,
            counted: 0,
            statuses: vec![0; 1000],
            outcome: Outcome::default(),
        };
        let mut scratch = vec![0; READ_BYTES];
        let depth = match pacing {
            Pacing::Closed { depth } => depth,
            Pacing::Open { .. } => 0,
        };
        for slot in &mut connections {
            run.serve(slot, &mut scratch, depth);
        }
        let mut draining_since = None;
        loop {
            let now = run.now_ns();
            if run.is_over(now) {
                let since = *draining_since.get_or_insert(now);
                let waiting: usize = connections.iter().flatten().map(Connection::in_flight).sum();
                if waiting == 0 || now > since + nanos(DRAIN) {
                    run.outcome.unanswered += waiting as u64;
                    break;
                }
            }
            if connections.iter().all(Option::is_none) {
                break;
            }
            if let Some(schedule) = &mut schedule {
                schedule.send_due(&mut run, &mut connections);
            }
            let timeout = timer.as_ref().map_or(Duration::from_millis(100), Timer::poll_timeout);
            match poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            for event in &events {
                match (connections.get_mut(event.token().0), &timer) {
                    (Some(slot), _) => run.serve(slot, &mut scratch, depth),
                    (None, Some(timer)) => timer.acknowledge(),
                    (None, None) => {}
                }
            }
        }
        connections.into_iter().flatten().for_each(Connection::close);
        Ok(run.finish())
    }
}

impl Run {
    fn now_ns(&self) -> u64 {
        nanos(self.shared.epoch.elapsed())
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.send_until_ns
            || self.counted >= self.shared.quota
            || self.shared.stop.load(Ordering::Relaxed)
    }

    /// Takes in answers, tops the connection up to `depth` requests, and writes.
    fn serve(&mut self, slot: &mut Option<Connection>, scratch: &mut [u8], depth: usize) {
        let Some(connection) = slot else { return };
        let result = self.serve_inner(connection, scratch, depth);
        if let Err(error) = result {
            self.outcome.unanswered += connection.in_flight() as u64;
            if !(matches!(error, ConnectionError::Closed(0)) && self.is_over(self.now_ns())) {
                *self.outcome.failures.entry(error.to_string()).or_default() += 1;
            }
            *slot = None;
        }
    }

    fn serve_inner(
        &mut self,
        connection: &mut Connection,
        scratch: &mut [u8],
        depth: usize,
    ) -> Result<(), ConnectionError> {
        let epoch = self.shared.epoch;
        let mut batch_at = None;
        let mut succeeded = 0;
        connection.receive(scratch, |sent, scanned| {
            // All answers of one read arrived together: one look at the clock.
            let at = *batch_at.get_or_insert_with(|| nanos(epoch.elapsed()));
            let is_success = (200..300).contains(&scanned.status);
            succeeded += u64::from(is_success);
            if at >= self.measure_from_ns {
                self.counted += 1;
                self.statuses[usize::from(scanned.status) % 1000] += 1;
                self.outcome.last_answer = Duration::from_nanos(at);
                if is_success {
                    self.outcome.latencies[sent.kind as usize].record(at.saturating_sub(sent.at_ns));
                }
            }
        })?;
        if succeeded > 0 {
            self.shared.answered.fetch_add(succeeded, Ordering::Relaxed);
        }
        if connection.in_flight() < depth {
            let at_ns = self.now_ns();
            if !self.is_over(at_ns) {
                while connection.in_flight() < depth {
                    self.ask(connection, at_ns);
                }
            }
        }
        connection.flush()
    }

    fn ask(&mut self, connection: &mut Connection, at_ns: u64) {
        let kind: Kind = self.workload.next(&mut self.dice, &mut connection.outbox);
        connection.asked(Sent { at_ns, kind });
    }

    fn finish(mut self) -> Outcome {
        for (status, count) in self.statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.outcome.statuses.insert(status as u16, *count);
        }
        self.outcome
    }
}

/// The times at which an open loop's requests are due.
struct Schedule {
    interval_ns: u64,
    sent: u64,
    turn: usize,
}

impl Schedule {
    /// Sends everything that is due by now, connections in turn.
    fn send_due(&mut self, run: &mut Run, connections: &mut [Option<Connection>]) {
        let now = run.now_ns();
        let mut touched = 0;
        while self.sent * self.interval_ns <= now && !run.is_over(now) {
            let mut chosen = None;
            for step in 0..connections.len() {
                let index = (self.turn + step) % connections.len();
                if connections[index].as_ref().is_some_and(|c| c.in_flight() < OPEN_LOOP_DEPTH) {
                    chosen = Some(index);
                    break;
                }
            }
            let Some(index) = chosen else { break };
            self.turn = index + 1;
            if let Some(connection) = &mut connections[index] {
                run.ask(connection, self.sent * self.interval_ns);
            }
            self.sent += 1;
            touched += 1;
        }
        if touched == 0 {
            return;
        }
        for slot in connections {
            let Some(connection) = slot else { continue };
            if connection.outbox.is_empty() {
                continue;
            }
            if let Err(error) = connection.flush() {
                run.outcome.unanswered += connection.in_flight() as u64;
                *run.outcome.failures.entry(error.to_string()).or_default() += 1;
                *slot = None;
            }
        }
    }
}

/// Whole nanoseconds; saturates after 584 years.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
