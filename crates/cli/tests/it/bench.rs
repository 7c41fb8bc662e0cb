//! The load generator against a server whose behaviour is known.

use crate::test_server::{self, TestServer};
use ccf_cli::bench::{BenchArgs, measure};
use clap::Parser;
use std::sync::atomic::Ordering;

#[derive(Parser)]
struct Wrapper {
    #[command(flatten)]
    bench: BenchArgs,
}

fn args(server: &TestServer, line: &str) -> BenchArgs {
    let fixed =
        format!("bench --host {} --cacert {}", server.address, test_server::certificate_file().display());
    let words = fixed.split(' ').chain(line.split_ascii_whitespace());
    Wrapper::try_parse_from(words).unwrap().bench
}

#[test]
fn a_closed_loop_counts_what_the_server_answered() {
    let server = TestServer::start();
    let report =
        measure(&args(&server, "-c 3 -p 7 -t 2 -n 5000 --warmup 0s --write-ratio 0.5 --keys 10")).unwrap();
    assert!(report.is_clean(), "{}", report.text());
    assert!(report.succeeded >= 5000, "{}", report.text());
    assert!(report.succeeded <= 5000 + 2 * 21, "{}", report.text());
    // Ten keys are written before the measurement.
    assert_eq!(server.requests.load(Ordering::Relaxed), report.succeeded + 10);
    let (writes, reads) = (report.write_latency_us.unwrap().count, report.read_latency_us.unwrap().count);
    assert!(writes > 2000 && reads > 2000, "{writes} writes, {reads} reads");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = TestServer::start();
    let report = measure(&args(&server, "-c 2 --rate 2000 -d 1s --warmup 200ms")).unwrap();
    assert!(report.is_clean(), "{}", report.text());
    assert!((1900..=2100).contains(&report.succeeded), "{}", report.text());
}

#[test]
fn a_stall_is_not_omitted() {
    // Every answer takes 200 ms, on one connection, with 50 requests due each second: the queue grows, and latencies
    // that count from the due time show it. A closed loop would report 200 ms for each.
    let server = TestServer::start();
    let report = measure(&args(&server, "-c 1 --rate 50 -d 1s --warmup 0s --get /stall")).unwrap();
    assert!(report.latency_us.max > 1_000_000.0, "{}", report.text());
}

#[test]
fn commit_times_are_sampled() {
    let server = TestServer::start();
    let report = measure(&args(&server, "-c 1 -d 1s --warmup 0s --rate 10 --commit-latency")).unwrap();
    let commit = report.commit_latency_us.unwrap();
    let least = test_server::COMMIT_DELAY.as_secs_f64() * 1e6;
    assert!(commit.count > 3, "{} samples", commit.count);
    assert!(commit.p50 > least * 0.9 && commit.p50 < least * 5.0, "{} us", commit.p50);
}

#[test]
fn refusals_and_broken_connections_are_told() {
    let server = TestServer::start();
    let error = measure(&args(&server, "-d 100ms --warmup 0s --get /missing")).err().unwrap();
    assert!(error.contains("404"), "{error}");
    let error = measure(&args(&server, "-d 100ms --warmup 0s --get /close")).err().unwrap();
    assert!(error.contains("before the measurement"), "{error}");
    let mut nowhere = args(&server, "-d 100ms");
    nowhere.hosts = vec!["127.0.0.1:1".to_owned()];
    let error = measure(&nowhere).err().unwrap();
    assert!(error.contains("Is the service running?"), "{error}");
    let error = measure(&args(&server, "-c 0")).err().unwrap();
    assert!(error.contains("--connections"), "{error}");
}

#[test]
fn another_services_certificate_is_refused() {
    let server = TestServer::start();
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = args(&server, "-d 100ms");
    wrong.cacert = Some(directory.path().join("absent.pem"));
    assert!(measure(&wrong).err().unwrap().contains("absent.pem"));
}

#[test]
fn the_server_process_is_accounted() {
    let server = TestServer::start();
    let line = format!("-c 4 -p 100 -d 500ms --warmup 100ms --pid {}", std::process::id());
    let report = measure(&args(&server, &line)).unwrap();
    let usage = report.server.unwrap();
    assert!(usage.cpu_us_per_request > 0.0 && usage.resident_bytes > 1 << 20);
    assert!(measure(&args(&server, "-d 100ms --pid 4294967295")).err().unwrap().contains("process id"));
}
