//! Check 12: messages that are odd, broken or old; and limits on what is sent.

use crate::response;
use ccf_consensus::{AppendEntries, Message, Refusal, limits};
use ccf_simulator::{Cluster, MemoryLog, payload};
use ccf_types::{NodeId, SeqNo, TxId, View};

fn append(previous: TxId, last: TxId, view: u64, commit: u64) -> Message {
    Message::AppendEntries(AppendEntries { last, previous, view: View(view), commit: SeqNo(commit) })
}

/// Node 1 gets a message of 0; what it answers.
fn receive(net: &mut Cluster, message: Message, entries: &[u8]) -> Option<Message> {
    net.drop_all("1");
    net.node_mut("1").receive(&NodeId::from_text("0"), message, entries);
    net.take("1", "0")
}

fn entry(tx_id: TxId) -> Vec<u8> {
    let mut log = MemoryLog::new(payload::decode);
    log.write(tx_id, false, b"d0").expect("the payload is known");
    log.bytes(SeqNo(0), SeqNo(1)).expect("it was written")
}

#[test]
fn broken_entries_are_refused_and_change_nothing() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    let nack = Some(response(2, 4, false));
    let message = append(TxId::new(2, 4), TxId::new(2, 5), 2, 4);
    let good = entry(TxId::new(2, 5));
    assert_eq!(receive(&mut net, message, &entry(TxId::new(3, 5))), nack, "another view");
    assert_eq!(receive(&mut net, message, &entry(TxId::new(2, 6))), nack, "another position");
    for cut in 0..good.len() {
        assert_eq!(receive(&mut net, message, &good[..cut]), nack, "cut at {cut}");
    }
    assert_eq!(receive(&mut net, message, &[good.clone(), good.clone()].concat()), nack, "too much");
    let huge = append(TxId::new(2, 4), TxId::new(2, u64::MAX), 2, 4);
    assert_eq!(receive(&mut net, huge, &good), nack, "more than there is");
    assert_eq!(net.node("1").replica.last(), TxId::new(2, 4));
    assert_eq!(receive(&mut net, message, &good), Some(response(2, 5, true)));
    assert_eq!(receive(&mut net, message, &good), Some(response(2, 5, true)), "a duplicate");
    assert_eq!(net.node("1").replica.last(), TxId::new(2, 5));
    let old = append(TxId::new(2, 3), TxId::new(2, 4), 2, 4);
    assert_eq!(receive(&mut net, old, &[]), None, "what is committed needs no answer");
}

#[test]
fn lies_are_refused_without_harm() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    let cases = [
        (append(TxId::new(2, 4), TxId::new(2, 3), 2, 4), Refusal::Inconsistent),
        (append(TxId::new(2, 4), TxId::new(1, 5), 2, 4), Refusal::Inconsistent),
        (append(TxId::new(2, 4), TxId::new(3, 5), 2, 4), Refusal::Inconsistent),
        (append(TxId::new(2, 4), TxId::new(3, 4), 3, 4), Refusal::Inconsistent),
        (append(TxId::new(2, 4), TxId::new(2, 4), limits::VIEW_MAX + 1, 4), Refusal::View),
        (Message::ProposeRequestVote(View(u64::MAX)), Refusal::View),
    ];
    for (message, reason) in cases {
        assert_eq!(receive(&mut net, message, &[]), None);
        assert_eq!(net.node_mut("1").refused.pop(), Some((NodeId::from_text("0"), reason)), "{message:?}");
    }
    net.node_mut("1").receive(&NodeId::from_text("1"), response(2, 4, true), &[]);
    assert_eq!(net.node_mut("1").refused.pop(), Some((NodeId::from_text("1"), Refusal::FromSelf)));
    let message = append(TxId::new(2, 4), TxId::new(2, 4), 2, 4);
    net.deliver_message("1", "0", message);
    assert_eq!(net.node_mut("0").refused.pop(), Some((NodeId::from_text("1"), Refusal::SecondPrimary)));
    net.deliver_message("1", "0", response(2, 99, true));
    assert_eq!(net.node_mut("0").refused.pop(), Some((NodeId::from_text("1"), Refusal::UnknownEntries)));

    // A view that does not begin at a signature.
    assert_eq!(
        receive(&mut net, append(TxId::new(2, 4), TxId::new(2, 5), 2, 4), &entry(TxId::new(2, 5))),
        Some(response(2, 5, true))
    );
    assert_eq!(
        receive(&mut net, append(TxId::new(2, 5), TxId::new(3, 6), 3, 4), &entry(TxId::new(3, 6))),
        None
    );
    assert_eq!(net.node_mut("1").refused.pop(), Some((NodeId::from_text("0"), Refusal::ViewStart)));
    assert_eq!(net.node("1").replica.last(), TxId::new(2, 5));
}

/// A suffix is dropped once in a view: no correct primary needs more, and each drop costs.
#[test]
fn a_second_conflict_in_one_view_is_refused() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    let mut send = |view, of| {
        let (previous, last) = (TxId::new(2, 4), TxId::new(of, 5));
        receive(&mut net, append(previous, last, view, 4), &entry(last));
        (net.node("1").replica.last(), net.node_mut("1").refused.pop().map(|(_, reason)| reason))
    };
    assert_eq!(send(3, 3), (TxId::new(3, 5), None));
    assert_eq!(send(4, 2), (TxId::new(2, 5), None), "the first conflict of view 4");
    assert_eq!(send(4, 3), (TxId::new(2, 5), Some(Refusal::SecondConflict)));
    assert_eq!(send(5, 3), (TxId::new(3, 5), None));
}

#[test]
fn a_peer_far_behind_is_brought_up_at_its_own_pace() {
    let mut net = Cluster::started(&["0"], true);
    for _ in 0..10_000 {
        net.node_mut("0").write(false, &[b'd'; 1000]).expect("it is primary");
    }
    net.sign("0");
    net.create("1");
    net.configure("0", &["0", "1"]);
    net.sign("0");
    net.period("0");
    net.exchange("0", "1");
    net.period("0");
    let with_entries = |(_, message): &&(NodeId, Message)| match message {
        Message::AppendEntries(request) => request.last.seqno > request.previous.seqno,
        _ => false,
    };
    let burst = net.node("0").outbox.iter().filter(with_entries).count();
    assert_eq!(burst, limits::IN_FLIGHT_MESSAGES_MAX, "no more messages at once");
    let mut periods = 0;
    while net.commit("1") < net.node("0").replica.last().seqno {
        net.exchange("0", "1");
        net.period("0");
        periods += 1;
        assert!(periods < 10, "answers bring more, not periods");
    }
}

#[test]
fn lost_answers_do_not_stop_the_flow() {
    let mut net = Cluster::started(&["0", "1", "2"], true);
    for round in 0..300 {
        net.data("0");
        net.period("0");
        net.deliver("0", "1");
        net.drop_all("1");
        net.exchange("0", "2");
        assert!(net.node("1").replica.last().seqno > SeqNo(4) || round == 0);
    }
    net.sign("0");
    for _ in 0..4 {
        net.period("0");
        net.deliver_all();
    }
    assert_eq!(net.commit("1"), net.node("0").replica.last().seqno);
}
