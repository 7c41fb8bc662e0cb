//! Reconfiguration, retirement, hand-over (section 8; V6).

use crate::{elect, leadership};
use ccf_consensus::{Leadership, RetirementPhase};
use ccf_simulator::Cluster;
use ccf_types::{NodeId, SeqNo};

fn run(net: &mut Cluster, periods: usize) {
    for _ in 0..periods {
        for name in net.names() {
            net.period(name.as_str());
        }
        net.deliver_all();
    }
}

/// V6: nodes act until their retirement is known to all future primaries; all may be replaced at once.
#[test]
fn v6_all_nodes_are_replaced_at_once() {
    for pre_vote in [true, false] {
        let mut net = Cluster::started(&["0", "1", "2"], pre_vote);
        for name in ["3", "4", "5"] {
            net.create(name);
        }
        let phase = |net: &Cluster, name: &str| net.node(name).replica.retirement_phase();
        net.configure("0", &["3", "4", "5"]);
        assert_eq!(phase(&net, "0"), Some(RetirementPhase::Ordered));
        net.sign("0");
        assert_eq!(phase(&net, "0"), Some(RetirementPhase::Signed));
        run(&mut net, 5);
        assert_eq!(phase(&net, "0"), Some(RetirementPhase::Completed));
        assert_eq!(leadership(&net, "0"), Leadership::Leader, "it goes on");
        assert!(net.node("0").cleanup_wanted);
        assert_eq!(net.node("0").replica.configurations().iter().count(), 1);
        net.retired_committed("0", &["0", "1", "2"]);
        let last = net.sign("0");
        run(&mut net, 3);
        assert_eq!(phase(&net, "0"), Some(RetirementPhase::RetiredCommitted));
        assert_ne!(leadership(&net, "0"), Leadership::Leader);
        let primary = ["3", "4", "5"].into_iter().find(|name| leadership(&net, name) == Leadership::Leader);
        let primary = primary.expect("a successor was asked to stand, and won");
        net.sign(primary);
        run(&mut net, 5);
        for name in ["3", "4", "5"] {
            assert_eq!(net.commit(name), last.seqno.next(), "{name}");
            assert!(net.node(name).replica.peers().keys().all(|id| ["3", "4", "5"].contains(&id.as_str())));
        }
        assert!(net.node_mut("0").write(true, b"s").is_err());
        net.time_out("0");
        assert_eq!(leadership(&net, "0"), Leadership::Follower, "it may follow, never more");
    }
}

/// The retirement of a node goes back with its entry, and peers of a dropped configuration are dropped (Q8).
#[test]
fn a_rolled_back_configuration_leaves_nothing() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.create("3");
    net.configure("0", &["1", "2", "3"]);
    net.sign("0");
    net.drop_all("0");
    assert_eq!(net.node("0").replica.retirement_phase(), Some(RetirementPhase::Signed));
    elect(&mut net, "1", "2");
    net.sign("1");
    run(&mut net, 3);
    let zero = &net.node("0").replica;
    assert_eq!(zero.retirement_phase(), None);
    assert_eq!(zero.configurations().iter().count(), 1);
    assert!(!zero.peers().contains_key(&NodeId::from_text("3")));
    assert_eq!(zero.committed().seqno, SeqNo(5));
}

/// A primary that will stop hands over to the peer that has most of its log.
#[test]
fn a_successor_is_nominated() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.data("0");
    net.period("0");
    net.exchange("0", "2");
    net.drop_all("0");
    net.node_mut("0").step(ccf_consensus::Input::NominateSuccessor);
    net.deliver_all();
    assert_eq!(leadership(&net, "2"), Leadership::Leader);
    assert_eq!(leadership(&net, "0"), Leadership::Follower);
    assert_eq!(net.node("2").replica.view().0, 3);
}

/// A node that was never part of the network joins late and gets everything.
#[test]
fn a_joiner_is_brought_up() {
    let mut net = Cluster::started(&["0"], true);
    for _ in 0..100 {
        net.data("0");
    }
    net.sign("0");
    net.create("1");
    net.configure("0", &["0", "1"]);
    let last = net.sign("0");
    assert!(net.commit("0") < last.seqno, "both are needed from now on");
    run(&mut net, 5);
    assert_eq!(net.commit("0"), last.seqno);
    assert_eq!(net.commit("1"), last.seqno);
}
