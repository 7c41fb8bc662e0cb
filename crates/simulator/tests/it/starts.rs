//! Starting from a snapshot and from a recovered ledger (section 9; check 15).

use crate::response;
use ccf_consensus::{BackupStart, Configuration, Leadership, Replica, Settings, TxStatus, ViewHistory};
use ccf_simulator::{Cluster, Node, payload};
use ccf_types::{NodeId, SeqNo, TxId, View};

#[test]
fn a_joiner_with_a_snapshot_gets_only_what_follows() {
    let mut net = Cluster::started(&["0"], true);
    for _ in 0..10 {
        net.data("0");
    }
    let snapshot = net.sign("0");
    assert_eq!(snapshot, TxId::new(2, 13));
    net.create("1");
    let zero = net.node("0");
    let (log, history) = (zero.log.clone(), zero.replica.history().clone());
    let nodes = [(NodeId::from_text("0"), ":".into())].into();
    let start = BackupStart {
        seqno: snapshot.seqno,
        view: snapshot.view,
        history,
        configuration: Some(Configuration { seqno: SeqNo(1), nodes }),
    };
    let joiner = net.node_mut("1");
    joiner.log = log;
    joiner.replica.start_backup(start, &mut joiner.log, &mut Vec::new());
    assert_eq!(joiner.replica.leadership(), Leadership::Follower);
    assert_eq!(joiner.replica.committed(), snapshot);

    net.data("0");
    net.configure("0", &["0", "1"]);
    let last = net.sign("0");
    net.deliver_one("0", "1");
    assert_eq!(net.take("1", "0"), Some(response(2, 13, false)), "it says where it stands");
    for _ in 0..3 {
        net.period("0");
        net.deliver_all();
    }
    assert_eq!(net.commit("1"), last.seqno);
    let one = &net.node("1").replica;
    assert_eq!(one.tx_status(TxId::new(2, 5)), TxStatus::Committed);
    assert_eq!(one.tx_status(TxId::new(1, 5)), TxStatus::Invalid);
}

#[test]
fn a_recovered_service_continues_two_views_later() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.create("9");
    let (log, last) = (net.node("0").log.clone(), net.node("0").replica.committed());
    let history = ViewHistory::from_starts(vec![SeqNo(1), SeqNo(1)]);
    let node = net.node_mut("9");
    node.log = log;
    node.replica.recover_service(last, history, &mut node.log, &mut Vec::new());
    assert_eq!(node.replica.view(), View(4));
    assert_eq!(node.replica.committed(), last);
    assert!(node.replica.configurations().is_empty(), "configurations before it do not count");
    node.write(false, &payload::configuration(&["9"])).unwrap();
    assert_eq!(node.write(true, b"s"), Ok(TxId::new(4, 6)));
    assert_eq!(node.replica.committed(), TxId::new(4, 6));
    assert_eq!(node.replica.history().starts(), [1, 1, 5, 5].map(SeqNo));
    assert_eq!(node.replica.tx_status(TxId::new(2, 5)), TxStatus::Invalid);
}

/// Seeds 2413 and 4925 of the whole-stack simulator: nodes were added before the first signature and were not there yet. The
/// primary stood down, and as no election clock runs before that signature, nobody ever led again.
#[test]
fn a_primary_does_not_stand_down_before_the_first_signature() {
    let mut net = Cluster::started(&["0"], true);
    net.create("9");
    net.create("8");
    let node = net.node_mut("9");
    let settings = Settings {
        message_timeout_ms: 10,
        election_timeout_ms: 100,
        ticking_from_start: false,
        ..Settings::default()
    };
    node.replica = Replica::new(NodeId::from_text("9"), settings);
    node.replica.start_service(&mut node.log, &mut Vec::new());
    node.write(false, &payload::configuration(&["9"])).unwrap();
    node.write(false, &payload::configuration(&["9", "8"])).unwrap();
    let silence = |node: &mut Node| {
        (0..30).for_each(|_| node.tick(10));
        node.replica.leadership()
    };
    assert_eq!(silence(node), Leadership::Leader);
    node.write(true, b"s").unwrap();
    assert_eq!(silence(node), Leadership::PreVoteCandidate, "it stands down now, and for election again");
}
