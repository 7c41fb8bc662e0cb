//! What verification found in CCF (consensus specification, section 17 and its quirks), each as a schedule.

use crate::{elect, leadership, response};
use ccf_consensus::{Leadership, Message};
use ccf_simulator::Cluster;
use ccf_types::{NodeId, SeqNo, TxId};

/// V1: votes are counted in each active configuration, not in their union.
#[test]
fn v1_a_majority_of_the_union_elects_nobody() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.create("3");
    net.create("4");
    net.configure("0", &["2", "3", "4"]);
    net.period("0");
    net.deliver("0", "1");
    net.time_out("1");
    for voter in ["0", "2"] {
        net.deliver("1", voter);
        net.drop_all("0");
        if voter == "2" {
            net.deliver("2", "1");
        }
    }
    // 0 was asked as well; its answer was dropped above, so ask for it again by hand.
    net.deliver_message("0", "1", granted(3));
    assert_eq!(leadership(&net, "1"), Leadership::Candidate, "0, 1 and 2 are a majority of five");
    net.deliver_message("0", "1", granted(3));
    assert_eq!(leadership(&net, "1"), Leadership::Candidate, "the same vote counts once");
    net.deliver_one("1", "3");
    net.deliver("3", "1");
    assert_eq!(leadership(&net, "1"), Leadership::Leader);
}

/// V1, the other way round: a majority of the newest configuration elects nobody either.
#[test]
fn v1_a_majority_of_the_newest_configuration_elects_nobody() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.create("3");
    net.create("4");
    net.configure("0", &["2", "3", "4"]);
    net.period("0");
    net.deliver("0", "2");
    net.time_out("2");
    for voter in ["3", "4"] {
        net.deliver_message(voter, "2", granted(3));
        assert_eq!(leadership(&net, "2"), Leadership::Candidate, "of 0, 1 and 2 only 2 has voted");
    }
    net.deliver_message("1", "2", granted(3));
    assert_eq!(leadership(&net, "2"), Leadership::Leader);
}

fn granted(view: u64) -> Message {
    Message::RequestVoteResponse(ccf_consensus::VoteResponse { view: ccf_types::View(view), granted: true })
}

/// V2: entries of earlier views are not committed by counting, but with the first signature of the new view.
#[test]
fn v2_old_signatures_commit_only_with_a_new_one() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.data("0");
    net.sign("0");
    net.period("0");
    net.deliver("0", "1");
    net.drop_all("1");
    elect(&mut net, "1", "2");
    net.exchange("1", "0");
    net.period("1");
    net.deliver_all();
    assert_eq!(
        net.node("1").replica.peers()[&NodeId::from_text("0")].matched,
        SeqNo(6),
        "a majority has 2.6"
    );
    assert_eq!(net.commit("1"), SeqNo(4));
    assert_eq!(net.node("1").replica.committable().collect::<Vec<_>>(), [SeqNo(6)], "it stays committable");
    assert_eq!(net.sign("1"), TxId::new(3, 7));
    net.period("1");
    net.deliver_all();
    assert_eq!(net.commit("1"), SeqNo(7));
}

/// V3: a NACK never moves what is known to match, nor the commit.
#[test]
fn v3_a_nack_moves_no_match() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.data("0");
    net.sign("0");
    let one = NodeId::from_text("1");
    let matched = net.node("0").replica.peers()[&one].matched;
    assert_eq!(matched, SeqNo(4));
    for last in [0, 3, 6] {
        net.deliver_message("1", "0", response(2, last, false));
        assert_eq!(net.node("0").replica.peers()[&one].matched, matched);
        assert!(net.node("0").replica.peers()[&one].sent >= matched);
        assert_eq!(net.commit("0"), SeqNo(4));
    }
}

/// V4 and V5: an early message removes nothing from a longer log, and its acknowledgement names its own last entry.
#[test]
fn v4_v5_a_longer_log_stays_and_the_ack_names_the_request() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.data("0");
    net.period("0");
    let early = net.take("0", "1").expect("2.5 is sent");
    net.deliver_message("0", "1", early);
    net.data("0");
    net.sign("0");
    net.period("0");
    net.deliver("0", "1");
    assert_eq!(net.node("1").replica.last(), TxId::new(2, 7));
    net.drop_all("1");
    net.deliver_message("0", "1", early);
    assert_eq!(net.node("1").replica.last(), TxId::new(2, 7));
    assert_eq!(net.take("1", "0"), Some(response(2, 5, true)));
}

/// V4: a suffix of another view is dropped, once in a view and never below the commit.
#[test]
fn v4_a_conflicting_suffix_is_dropped_at_the_conflict() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    for _ in 0..2 {
        net.data("0");
        net.sign("0");
    }
    net.drop_all("0");
    elect(&mut net, "1", "2");
    net.sign("1");
    net.data("1");
    net.period("1");
    net.deliver_all();
    net.period("1");
    net.deliver_all();
    assert_eq!(net.node("0").replica.last(), TxId::new(3, 6));
    assert_eq!(net.node("0").log.entries()[4].tx_id, TxId::new(3, 5));
    assert_eq!(net.commit("0"), SeqNo(5));
}

/// V8: a primary needs live majorities of every active configuration.
#[test]
fn v8_one_live_configuration_is_not_enough() {
    let mut growing = Cluster::started(&["0"], true);
    growing.create("1");
    growing.create("2");
    growing.configure("0", &["0", "1", "2"]);
    let mut shrinking = Cluster::started(&["0", "1", "2"], true);
    shrinking.configure("0", &["0"]);
    for net in [&mut growing, &mut shrinking] {
        for _ in 0..9 {
            net.period("0");
        }
        assert_eq!(leadership(net, "0"), Leadership::Leader);
        net.period("0");
        assert_eq!(leadership(net, "0"), Leadership::Follower);
    }
}

/// V9: who knows the primary of a view gives nobody else a vote in it.
#[test]
fn v9_no_vote_while_the_primary_is_known() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    elect(&mut net, "1", "0");
    assert!(matches!(net.take("1", "2"), Some(Message::RequestVote(_))), "2 is not asked");
    net.deliver("1", "2");
    assert_eq!(net.node("2").replica.voted_for(), None);
    assert_eq!(net.node("2").replica.primary(), Some(&NodeId::from_text("1")));
    let last_committable = net.node("2").replica.last();
    let view = net.node("2").replica.view();
    let request = Message::RequestVote(ccf_consensus::RequestVote { view, last_committable });
    net.drop_all("2");
    net.deliver_message("0", "2", request);
    let Some(Message::RequestVoteResponse(answer)) = net.take("2", "0") else { panic!("a vote is answered") };
    assert!(!answer.granted);
}

/// A shorter log of a later view wins over a longer one of an earlier view, both ending in signatures.
#[test]
fn votes_compare_views_before_positions() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    for _ in 0..5 {
        net.sign("0");
    }
    net.drop_all("0");
    elect(&mut net, "1", "2");
    assert_eq!(net.sign("1"), TxId::new(3, 5));
    net.period("1");
    net.exchange("1", "2");
    assert_eq!(net.commit("1"), SeqNo(5));
    net.drop_all("1");
    net.drop_all("2");
    assert_eq!(net.node("0").replica.last(), TxId::new(2, 9));
    while net.node("0").replica.view().0 < 4 {
        net.time_out("0");
    }
    net.deliver("0", "1");
    net.deliver("0", "2");
    net.deliver("1", "0");
    net.deliver("2", "0");
    assert_ne!(leadership(&net, "0"), Leadership::Leader, "it lacks 3.5, which is committed");
}

/// Q1: a vote outlives the time as pre-vote candidate in the same view.
#[test]
fn q1_one_vote_in_a_view() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.data("0");
    net.sign("0");
    for _ in 0..10 {
        net.period("0");
    }
    assert_eq!(leadership(&net, "0"), Leadership::Follower);
    net.drop_all("0");
    net.time_out("0");
    net.time_out("2");
    net.deliver("0", "1");
    net.deliver("2", "1");
    net.deliver("1", "0");
    net.deliver("1", "2");
    assert_eq!(leadership(&net, "0"), Leadership::Candidate);
    assert_eq!(leadership(&net, "2"), Leadership::Candidate);
    net.deliver("0", "1");
    net.deliver("1", "0");
    assert_eq!(leadership(&net, "0"), Leadership::Leader);
    net.time_out("1");
    assert_eq!(leadership(&net, "1"), Leadership::PreVoteCandidate);
    net.drop_all("1");
    net.deliver_one("0", "1");
    assert_eq!(net.take("1", "0"), Some(response(3, 4, false)), "1 lacks the suffix of 0");
    assert_eq!(leadership(&net, "1"), Leadership::Follower);
    net.deliver("2", "1");
    net.deliver("1", "2");
    assert_ne!(leadership(&net, "2"), Leadership::Leader, "two primaries of view 3");
    assert_eq!(net.node("1").replica.voted_for(), Some(&NodeId::from_text("0")));
}

/// Q15: a backup commits no fork because of a message that shows only a shared prefix.
#[test]
fn q15_commit_is_bounded_by_the_message() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.data("0");
    net.sign("0");
    net.period("0");
    net.deliver("0", "1");
    net.drop_all("0");
    net.drop_all("1");
    // 2 lacks 2.5 and refuses what comes after it; that refusal is held back.
    net.data("0");
    net.period("0");
    net.deliver("0", "2");
    let held = net.take("2", "0").expect("a refusal");
    assert_eq!(held, response(2, 4, false));
    net.drop_all("0");
    net.drop_all("2");

    elect(&mut net, "1", "2");
    net.exchange("1", "2");
    net.period("1");
    net.exchange("1", "2");
    assert_eq!(net.node("2").replica.last(), TxId::new(2, 6));
    net.drop_all("1");
    elect(&mut net, "2", "1");
    net.data("2");
    net.sign("2");
    net.drop_all("2");

    net.time_out("0"); // 0 hears of view 4 from 1 and stands after that
    net.drop_all("0");
    while net.node("0").replica.view().0 < 4 {
        net.time_out("0");
        net.drop_all("0");
    }
    elect(&mut net, "0", "1");
    assert_eq!(net.node("0").replica.last(), TxId::new(2, 6));
    net.drop_all("0");
    net.data("0");
    net.sign("0");
    net.period("0");
    net.exchange("0", "1");
    assert_eq!(net.node("0").replica.committed(), TxId::new(5, 8));
    net.drop_all("0");
    net.deliver_message("2", "0", held);
    net.period("0");
    net.deliver_one("0", "2");
    net.deliver("0", "2");
    net.period("0");
    net.exchange("0", "2");
    assert_eq!(net.node("2").replica.committed(), TxId::new(5, 8));
    assert_eq!(net.node("2").replica.last(), TxId::new(5, 8));
}

/// Q16: who returns from a pre-vote to its primary keeps what it has acknowledged.
#[test]
fn q16_an_acknowledged_entry_survives_a_pre_vote() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    net.data("0");
    net.period("0");
    net.exchange("0", "2");
    net.drop_all("0");
    net.time_out("2");
    assert_eq!(leadership(&net, "2"), Leadership::PreVoteCandidate);
    net.drop_all("2");
    net.period("0");
    net.exchange("0", "2");
    assert_eq!(leadership(&net, "2"), Leadership::Follower);
    assert_eq!(net.node("2").replica.last(), TxId::new(2, 5));
    net.sign("0");
    for _ in 0..3 {
        net.period("0");
        net.deliver_all();
    }
    for name in ["0", "1", "2"] {
        assert_eq!(net.node(name).replica.committed(), TxId::new(2, 6), "{name}");
    }
}
