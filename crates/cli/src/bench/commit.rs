//! Time to global commit, sampled: write once, then ask `/tx` until the service says Committed.

use super::{
    client::Client,
    connection::Target,
    histogram::Histogram,
    wire,
    worker::{Shared, nanos},
    workload::{Kind, Workload},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Pause between two looks at `/tx`: also the resolution of the figure.
const LOOK_EVERY: Duration = Duration::from_micros(250);

/// A write that is not committed after this long is reported as lost.
const COMMITTED_WITHIN: Duration = Duration::from_secs(30);

/// How often a sample is taken.
const SAMPLE_EVERY: Duration = Duration::from_millis(13);

/// What the sampler found.
#[derive(Clone, Default)]
pub struct CommitOutcome {
    /// From the answer to the write until the answer that says Committed.
    pub latencies: Histogram,
    /// Writes that ended in another status, or not at all.
    pub failures: u64,
    /// Sampled writes that the service refused.
    pub refused: u64,
    /// Why the sampler stopped before the end, if it did.
    pub error: Option<String>,
}

/// Takes samples on its own connection until the run ends. The period between samples is odd on purpose, so that it
/// does not fall into step with a service that signs at a fixed interval.
#[must_use]
pub fn sample(
    target: &Target,
    workload: &Workload,
    status_path: &str,
    shared: &Arc<Shared>,
) -> CommitOutcome {
    let mut outcome = CommitOutcome::default();
    if let Err(error) = sample_inner(target, workload, status_path, shared, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

fn sample_inner(
    target: &Target,
    workload: &Workload,
    status_path: &str,
    shared: &Shared,
    outcome: &mut CommitOutcome,
) -> Result<(), String> {
    let mut client = Client::open(target).map_err(|e| e.to_string())?;
    let mut key = 0;
    loop {
        let now = shared.epoch.elapsed();
        if now >= shared.send_until || shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut write = Vec::new();
        workload.append(Kind::Write, key, &mut write);
        key += 1;
        let answer = client.ask(&write).map_err(|e| e.to_string())?;
        let answered = Instant::now();
        if !(200..300).contains(&answer.status) {
            // A service that refuses under load (503) is part of what is measured.
            if shared.epoch.elapsed() >= shared.measure_from {
                outcome.refused += 1;
            }
            std::thread::sleep(SAMPLE_EVERY);
            continue;
        }
        let tx_id = answer.tx_id.ok_or("a write was answered without a transaction id")?;
        let question =
            wire::request("GET", &format!("{status_path}?transaction_id={tx_id}"), &target.address, None);
        let committed = loop {
            let answer = client.ask(&question).map_err(|e| e.to_string())?;
            if answer.body.contains("\"Committed\"") {
                break true;
            }
            if answer.body.contains("\"Invalid\"") || answered.elapsed() > COMMITTED_WITHIN {
                break false;
            }
            std::thread::sleep(LOOK_EVERY);
        };
        if shared.epoch.elapsed() >= shared.measure_from {
            match committed {
                true => outcome.latencies.record(nanos(answered.elapsed())),
                false => outcome.failures += 1,
            }
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
}
