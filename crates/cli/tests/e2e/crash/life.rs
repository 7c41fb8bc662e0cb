//! One service, from its start over its crashes and recoveries to its end.

use super::{
    Programs,
    book::Book,
    moments::{self, Moment},
    random::Random,
    remains::Remains,
    tally::Tally,
    writers::Writers,
};
use crate::{
    running::{RunningSandbox, Stopped},
    verdicts,
};
use ccf_cli::{
    governance_client::{BALLOT_YES, GovernanceClient},
    http_client::Protocol,
    identity::Identity,
    tls::TlsFiles,
};
use serde_json::json;
use std::{
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

/// A service gives its first promise within this.
const FIRST_PROMISE: Duration = Duration::from_secs(60);

/// A running service.
pub(super) struct Life {
    sandbox: RunningSandbox,
    nodes: usize,
    book: Book,
    /// How often it has been killed.
    pub(super) crashes: u32,
    recoveries: u64,
    /// How long its last start or recovery took.
    took: Duration,
}

/// The command and flags of a service of `nodes` nodes, with settings of its own.
fn command(programs: &Programs, nodes: usize, random: &mut Random, more: &[&str]) -> (Command, Vec<String>) {
    let mut words: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
    let mut set = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    set("--package", programs.logging.display().to_string());
    set("--signature-interval", format!("{}ms", random.one_of(&[5, 20, 60])));
    set("--ledger-chunk-bytes", random.one_of(&[10_000, 60_000, 400_000]).to_string());
    set("--snapshot-tx-interval", random.one_of(&[40, 150, 600]).to_string());
    set("--worker-threads", "2".to_owned());
    for _ in 1..nodes {
        set("--node", "local://127.0.0.1:0".to_owned());
    }
    (Command::new(&programs.ccf), words)
}

fn launch(programs: &Programs, nodes: usize, random: &mut Random, more: &[&str]) -> RunningSandbox {
    let (command, words) = command(programs, nodes, random, more);
    RunningSandbox::launch(command, &words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

impl Life {
    pub(super) fn begin(programs: &Programs, nodes: usize, random: &mut Random) -> Life {
        let begun = Instant::now();
        let sandbox =
            launch(programs, nodes, random, &[]).ready().unwrap_or_else(|reason| panic!("{reason}"));
        let book = Book::default();
        Life { sandbox, nodes, book, crashes: 0, recoveries: 0, took: begun.elapsed() }
    }

    /// Writes, is killed, recovers, perhaps not at once, and has everything that was promised.
    pub(super) fn crash_and_recover(
        self,
        programs: &Programs,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Life {
        let Life { sandbox, nodes, book, crashes, recoveries, took } = self;
        let identity = (sandbox.common("user0_cert.pem"), sandbox.common("user0_privk.pem"));
        let files = TlsFiles {
            service_certificate: Some(sandbox.common("service_cert.pem")),
            identity: Some(identity),
        };
        let writers = Writers::start(&sandbox.addresses, &files, &book);
        let deadline = Instant::now() + FIRST_PROMISE;
        while writers.promised.load(Ordering::Acquire) == 0 {
            assert!(Instant::now() < deadline, "no write is committed; {}", kept(sandbox));
            thread::sleep(Duration::from_millis(1));
        }
        let moment = Moment::choose(random, nodes);
        moment.wait(&sandbox);
        moments::kill((0..nodes).filter_map(|index| sandbox.pid_of(index)));
        let (mut book, promised) = writers.stop();
        tally.crashes += 1;
        tally.of_several_nodes += u32::from(nodes > 1);
        tally.promised += promised;
        tally.count(&moment);

        let mut remains = Remains::of(programs, sandbox.wait(), nodes);
        while random.below(3) == 0 {
            remains = killed_recovery(programs, random, tally, remains, took);
        }
        let nodes = if random.below(4) == 0 { 3 } else { 1 };
        let begun = Instant::now();
        let (sandbox, snapshot) = match recover(programs, random, tally, &remains, nodes) {
            Ok(recovered) => recovered,
            Err(reason) => panic!("after {}: {reason}\nkept: {}", moment.name(), remains.keep()),
        };
        tally.from_snapshot += u32::from(snapshot);
        let mut client = sandbox.client("user0", Protocol::Http1);
        match book.compare(&mut client) {
            Ok(compared) => tally.compared += compared,
            Err(lost) => {
                let until = remains.until;
                let kept = format!("{}, {}", remains.keep(), kept(sandbox));
                panic!("after {}, signed until {until}: {lost}\nkept: {kept}", moment.name());
            }
        }
        let recoveries = recoveries + 1;
        let network = client.get("/node/network").unwrap().json();
        let counted = network["recovery_count"].as_u64().unwrap();
        assert!(counted >= recoveries, "{network}");
        tally.most_recoveries = tally.most_recoveries.max(u32::try_from(counted).unwrap());
        Life { sandbox, nodes, book, crashes: crashes + 1, recoveries: counted, took: begun.elapsed() }
    }

    /// Stops it; all judges accept its ledger.
    pub(super) fn end(self, tally: &mut Tally) {
        let stopped = self.sandbox.stop();
        assert!(stopped.status.success(), "{:#?}\n{}", stopped.printed, stopped.complaints);
        verdicts::must_be_accepted(&stopped);
        verdicts::secrets_must_be_linked(&stopped.ledger);
        tally.judged += 1;
    }
}

/// Leaves the folder of a sandbox for a person to look at.
fn kept(sandbox: RunningSandbox) -> String {
    moments::kill((0..3).filter_map(|index| sandbox.pid_of(index)));
    sandbox.wait().folder.keep().display().to_string()
}

fn words(remains: &Remains, common: usize, with_snapshots: bool) -> Vec<String> {
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let mut words = vec!["--recover".to_owned(), "--ledger-dir".to_owned(), text(&remains.ledger)];
    words.extend(["--common-dir".to_owned(), text(&remains.commons[common])]);
    if with_snapshots && remains.snapshots.is_dir() {
        words.extend(["--snapshots-dir".to_owned(), text(&remains.snapshots)]);
    }
    words
}

/// Recovers; the certificate to do it with is not always known after a recovery was killed, so all are tried.
fn recover(
    programs: &Programs,
    random: &mut Random,
    tally: &mut Tally,
    remains: &Remains,
    nodes: usize,
) -> Result<(RunningSandbox, bool), String> {
    // Several nodes from a snapshot: see `recoveries::three_nodes_recover_a_service_from_a_snapshot`.
    let with_snapshots = random.below(2) == 0 && nodes == 1;
    let mut failures = String::new();
    for common in 0..remains.commons.len() {
        let words = words(remains, common, with_snapshots);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match launch(programs, nodes, random, &words).ready() {
            Ok(sandbox) => {
                tally.recoveries_set_aside += u32::from(common + 1 == remains.commons.len() && common > 0);
                let log = std::fs::read_to_string(sandbox.folder_of(0).join("out")).unwrap_or_default();
                return Ok((sandbox, log.contains("Setting startup snapshot seqno to")));
            }
            Err(reason) if reason.contains("panicked") => return Err(reason),
            Err(reason) => failures += &format!("\nwith {}: {reason}", remains.commons[common].display()),
        }
    }
    Err(failures)
}

/// A recovery that is killed: what it leaves.
fn killed_recovery(
    programs: &Programs,
    random: &mut Random,
    tally: &mut Tally,
    before: Remains,
    usual: Duration,
) -> Remains {
    tally.recoveries_killed += 1;
    let words = words(&before, 0, random.below(2) == 0);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let sandbox = launch(programs, 1, random, &words);
    let deadline = Instant::now() + Duration::from_secs(20);
    while sandbox.pid_of(0).is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(300));
    }
    let usual = u64::try_from(usual.as_micros()).unwrap().max(1);
    thread::sleep(Duration::from_micros(random.below(usual)));
    moments::kill(sandbox.pid_of(0).into_iter());
    let stopped: Stopped = sandbox.wait();
    let mut left = Remains::of(programs, stopped, 1);
    // As long as files of the recovery are marked, the service is the one of before; else most likely the new one.
    let certificate = left.commons[0].join("service_cert.pem").exists();
    match (certificate, left.have_unfinished()) {
        (false, _) => left.commons = before.commons,
        (true, true) => left.commons = before.commons.into_iter().chain(left.commons).collect(),
        (true, false) => left.commons.extend(before.commons),
    }
    left.stopped.extend(before.stopped);
    left
}

/// Asks for a new ledger secret.
pub(super) fn rekey(sandbox: &RunningSandbox) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = sandbox.client("", Protocol::Http1);
    let member = Identity::load_named(&sandbox.common(""), "member0")?;
    let mut governance = GovernanceClient::new(&mut client);
    let rekey = json!({"actions": [{"name": "trigger_ledger_rekey"}]});
    let proposal = governance.propose(&member, &rekey)?;
    if proposal.state == "Open" {
        governance.vote(&member, &proposal.id, BALLOT_YES)?;
    }
    Ok(())
}
