//! One writer: one request under way, and another node when this one fails.

use super::{Client, Histogram, Kind, Target, Workload, gap::Answered};
use crate::bench::{connection::ConnectionError, worker::nanos, workload::Dice};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Pause after a failure, so that a service without a primary is not kept busy with refusals.
const PAUSE: Duration = Duration::from_millis(5);

/// A writer before it runs.
pub struct Writer {
    /// The nodes.
    pub targets: Arc<[Target]>,
    /// The node to begin with.
    pub first: usize,
    /// Where writes come from.
    pub workload: Workload,
    /// Seed of its keys.
    pub seed: u64,
    /// Open loop: when the first write is due, and the time between two.
    pub due: Option<(Duration, Duration)>,
    /// A node that says nothing for so long is given up: a backup waits for its answer from a dead primary.
    pub answer_within: Duration,
    /// Zero of the run's clock.
    pub epoch: Instant,
    /// Set to end the run.
    pub stop: Arc<AtomicBool>,
}

/// What a writer saw.
#[derive(Default)]
pub struct Written {
    /// Writes answered with success.
    pub answered: Vec<Answered>,
    /// Their latency; in an open loop from when they were due.
    pub latencies: Histogram,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors of connections by kind.
    pub errors: BTreeMap<String, u64>,
}

impl Written {
    /// Adds another writer's results.
    pub fn merge(&mut self, other: Written) {
        self.answered.extend(other.answered);
        self.latencies.merge(&other.latencies);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

impl Writer {
    /// Writes until the end of the run.
    #[must_use]
    pub fn run(self) -> Written {
        let mut written = Written::default();
        let mut dice = Dice::new(self.seed);
        let mut index = self.first;
        let mut client = None;
        let mut due = self.due.map(|(first, _)| first);
        let mut request = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(wait) = due.and_then(|due| due.checked_sub(self.epoch.elapsed())) {
                thread::sleep(wait);
            }
            let asked = due.unwrap_or_else(|| self.epoch.elapsed());
            request.clear();
            let _: Kind = self.workload.next(&mut dice, &mut request);
            let answer = match &mut client {
                Some(client) => Ok(client),
                none => Client::open(&self.targets[index]).map(|opened| none.insert(opened)),
            }
            .and_then(|client| {
                client.answer_within(self.answer_within)?;
                client.ask(&request)
            });
            let at = self.epoch.elapsed();
            let is_success = match answer {
                Ok(answer) => {
                    *written.statuses.entry(answer.status).or_default() += 1;
                    let tx_id = answer.tx_id.and_then(|text| text.parse().ok());
                    match tx_id.filter(|_| (200..300).contains(&answer.status)) {
                        Some(tx_id) => {
                            written.answered.push(Answered { at, tx_id });
                            written.latencies.record(nanos(at.saturating_sub(asked)));
                            true
                        }
                        None => false,
                    }
                }
                Err(error) => {
                    *written.errors.entry(kind_of(&error)).or_default() += 1;
                    false
                }
            };
            if !is_success {
                // The write stays due: its latency, once it succeeds, tells how long a client had to wait.
                client = None;
                index = (index + 1) % self.targets.len();
                thread::sleep(PAUSE);
            } else if let (Some(due), Some((_, interval))) = (&mut due, self.due) {
                *due += interval;
            }
        }
        written
    }
}

/// The same words for the same kind of failure.
fn kind_of(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(e) => match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
            ErrorKind::UnexpectedEof => "connection closed without a goodbye".to_owned(),
            kind => kind.to_string(),
        },
        error => error.to_string(),
    }
}
