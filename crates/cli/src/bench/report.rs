//! The result of a run as numbers with their conditions, for people and for scripts.

use super::{commit::CommitOutcome, histogram::Histogram, worker::Outcome};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// Everything a run found. Times are microseconds unless the name says otherwise.
#[derive(Serialize)]
pub struct Report {
    /// What was asked for.
    pub conditions: Conditions,
    /// Length of the measurement in seconds.
    pub measured_s: f64,
    /// Successful (2xx) answers in that time.
    pub succeeded: u64,
    /// Successful answers per second.
    pub throughput_per_s: f64,
    /// Latency of all successful requests.
    pub latency_us: Percentiles,
    /// Latency of writes, when there were both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_latency_us: Option<Percentiles>,
    /// Latency of reads, when there were both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_latency_us: Option<Percentiles>,
    /// Time from an answer to its global commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_latency_us: Option<Percentiles>,
    /// Sampled writes that were never committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits_missed: Option<u64>,
    /// Sampled writes that the service refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_samples_refused: Option<u64>,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Broken connections by reason.
    pub failures: BTreeMap<String, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Accounting of the server process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerUsage>,
    /// CPU time of this load generator per successful request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cpu_us_per_request: Option<f64>,
}

/// The settings that decide what a figure means.
#[derive(Clone, Serialize)]
pub struct Conditions {
    /// Address of the service.
    pub host: String,
    /// Path of the workload.
    pub path: String,
    /// Open connections.
    pub connections: usize,
    /// Requests in flight per connection (closed loop).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<usize>,
    /// Requests due per second (open loop).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    /// Client threads.
    pub threads: usize,
    /// Share of writes, 0 to 1.
    pub write_ratio: f64,
    /// Characters of a message.
    pub payload: usize,
    /// Different keys.
    pub keys: u32,
}

/// Points of a latency distribution, in microseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    /// How many durations.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Largest.
    pub max: f64,
}

/// What the server process used during the measurement.
#[derive(Clone, Serialize)]
pub struct ServerUsage {
    /// CPU time, all threads, per successful request, in microseconds.
    pub cpu_us_per_request: f64,
    /// The part of it in the kernel.
    pub system_us_per_request: f64,
    /// CPUs busy on average.
    pub cpus: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
    /// Largest resident memory of its life.
    pub resident_peak_bytes: u64,
}

impl Percentiles {
    /// The points of `histogram`.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Self {
        let us = |ns: u64| ns as f64 / 1000.0;
        Percentiles {
            count: histogram.count(),
            mean: us(histogram.mean_ns()),
            p50: us(histogram.quantile_ns(0.5)),
            p90: us(histogram.quantile_ns(0.9)),
            p99: us(histogram.quantile_ns(0.99)),
            p99_9: us(histogram.quantile_ns(0.999)),
            max: us(histogram.max_ns()),
        }
    }
}

impl Report {
    /// Puts the results of all workers together.
    #[must_use]
    pub fn new(
        conditions: Conditions,
        measured: Duration,
        outcome: &Outcome,
        commit: Option<&CommitOutcome>,
    ) -> Self {
        let mut all = outcome.latencies[0].clone();
        all.merge(&outcome.latencies[1]);
        let is_mixed = outcome.latencies.iter().all(|histogram| histogram.count() > 0);
        let of_kind = |kind: usize| is_mixed.then(|| Percentiles::of(&outcome.latencies[kind]));
        let measured_s = measured.as_secs_f64();
        Report {
            conditions,
            measured_s,
            succeeded: all.count(),
            throughput_per_s: all.count() as f64 / measured_s.max(1e-9),
            latency_us: Percentiles::of(&all),
            write_latency_us: of_kind(0),
            read_latency_us: of_kind(1),
            commit_latency_us: commit.map(|commit| Percentiles::of(&commit.latencies)),
            commits_missed: commit.map(|commit| commit.failures),
            commit_samples_refused: commit.map(|commit| commit.refused),
            statuses: outcome.statuses.clone(),
            failures: outcome.failures.clone(),
            unanswered: outcome.unanswered,
            server: None,
            client_cpu_us_per_request: None,
        }
    }

    /// Whether every request was answered with success.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.succeeded > 0
            && self.unanswered == 0
            && self.failures.is_empty()
            && self.statuses.keys().all(|status| (200..300).contains(status))
    }

    /// The report as lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let conditions = &self.conditions;
        let pacing = match (conditions.pipeline, conditions.rate_per_s) {
            (_, Some(rate)) => format!("{rate} requests/s due"),
            (depth, None) => format!("{} in flight each", depth.unwrap_or(1)),
        };
        let _ = writeln!(
            out,
            "{}{}: {} connection(s), {pacing}, {:.0} % writes, {}-character messages, {} keys",
            conditions.host,
            conditions.path,
            conditions.connections,
            conditions.write_ratio * 100.0,
            conditions.payload,
            conditions.keys
        );
        let _ = writeln!(
            out,
            "throughput   {:.0}/s ({} answers in {:.2} s)",
            self.throughput_per_s, self.succeeded, self.measured_s
        );
        let rows = [
            ("latency", Some(&self.latency_us)),
            ("  writes", self.write_latency_us.as_ref()),
            ("  reads", self.read_latency_us.as_ref()),
            ("commit", self.commit_latency_us.as_ref()),
        ];
        for (name, row) in rows {
            let Some(row) = row else { continue };
            let _ = writeln!(
                out,
                "{name:<12} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}  mean {}{}",
                micros(row.p50),
                micros(row.p90),
                micros(row.p99),
                micros(row.p99_9),
                micros(row.max),
                micros(row.mean),
                if name == "commit" {
                    format!("  ({} samples, after the answer)", row.count)
                } else {
                    String::new()
                }
            );
        }
        if let Some(missed @ 1..) = self.commits_missed {
            let _ = writeln!(out, "             {missed} sampled write(s) were not committed");
        }
        if let Some(refused @ 1..) = self.commit_samples_refused {
            let _ = writeln!(out, "             {refused} sampled write(s) were refused");
        }
        if let Some(server) = &self.server {
            let _ = writeln!(
                out,
                "server       {:.2} us CPU per request ({:.2} in the kernel), {:.2} CPUs busy, {:.1} MiB resident (peak {:.1})",
                server.cpu_us_per_request,
                server.system_us_per_request,
                server.cpus,
                server.resident_bytes as f64 / 1048576.0,
                server.resident_peak_bytes as f64 / 1048576.0
            );
        }
        if let Some(client) = self.client_cpu_us_per_request {
            let _ = writeln!(out, "client       {client:.2} us CPU per request");
        }
        if !self.is_clean() {
            let _ = writeln!(out, "NOT CLEAN    answers by status: {:?}", self.statuses);
            for (reason, count) in &self.failures {
                let _ = writeln!(out, "             {count} connection(s) ended: {reason}");
            }
            if self.unanswered > 0 {
                let _ = writeln!(out, "             {} request(s) without an answer", self.unanswered);
            }
        }
        out
    }
}

fn micros(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Conditions {
        Conditions {
            host: "127.0.0.1:1".into(),
            path: "/p".into(),
            connections: 1,
            pipeline: Some(1),
            rate_per_s: None,
            threads: 1,
            write_ratio: 0.5,
            payload: 20,
            keys: 1,
        }
    }

    #[test]
    fn a_failed_request_shows() {
        let mut outcome = Outcome::default();
        outcome.latencies[0].record(2_000_000);
        outcome.statuses.insert(200, 1);
        assert!(Report::new(conditions(), Duration::from_secs(1), &outcome, None).is_clean());
        outcome.statuses.insert(503, 2);
        let report = Report::new(conditions(), Duration::from_secs(1), &outcome, None);
        assert!(!report.is_clean());
        assert!(report.text().contains("503: 2"), "{}", report.text());
        assert!(report.text().contains("p50 2.00 ms"), "{}", report.text());
    }

    #[test]
    fn json_has_the_figures() {
        let mut outcome = Outcome::default();
        outcome.latencies[0].record(1_000);
        outcome.latencies[1].record(3_000);
        outcome.statuses.insert(200, 2);
        let report = Report::new(conditions(), Duration::from_secs(2), &outcome, None);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["throughput_per_s"], 1.0);
        assert_eq!(json["statuses"]["200"], 2);
        assert_eq!(json["write_latency_us"]["count"], 1);
        assert!(json.get("server").is_none());
    }
}
