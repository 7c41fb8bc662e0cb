//! A network of one node, and the wait for the own disk.

use ccf_consensus::{Input, Leadership, Settings};
use ccf_simulator::{Cluster, Node, payload};
use ccf_types::{NodeId, SeqNo, TxId};

#[test]
fn a_single_node_is_primary_of_view_2_and_commits_at_signatures() {
    let mut net = Cluster::started(&["0"], true);
    assert_eq!(net.node("0").replica.committed(), TxId::new(2, 2));
    assert!(!net.node("0").replica.should_sign());
    assert_eq!(net.data("0"), TxId::new(2, 3));
    assert_eq!(net.commit("0"), SeqNo(2));
    net.sign("0");
    assert_eq!(net.commit("0"), SeqNo(4));
    for _ in 0..100 {
        net.period("0");
    }
    assert_eq!(net.node("0").replica.leadership(), Leadership::Leader);
}

#[test]
fn commit_can_wait_for_the_disk() {
    let settings = Settings { wait_for_disk: true, ..Settings::default() };
    let mut node = Node::new(NodeId::from_text("0"), settings, payload::decode);
    node.start_service();
    node.write(false, &payload::configuration(&["0"])).unwrap();
    node.write(true, b"s").unwrap();
    for (persisted, commit) in
        [(TxId::new(2, 1), 0), (TxId::new(1, 2), 0), (TxId::new(2, 9), 0), (TxId::new(2, 2), 2)]
    {
        node.step(Input::Persisted(persisted));
        assert_eq!(node.commit(), SeqNo(commit), "{persisted} on disk");
    }
    node.write(true, b"s").unwrap();
    assert_eq!(node.commit(), SeqNo(2), "what is not written yet cannot have been persisted");
    node.step(Input::Persisted(TxId::new(2, 3)));
    assert_eq!(node.commit(), SeqNo(3));
}

/// All of a network may die at one moment: what a majority only remembered would be lost (first seen by the crash test,
/// seed 101).
#[test]
fn backups_acknowledge_what_their_disk_has() {
    let settings = Settings { wait_for_disk: true, ..Settings::default() };
    let mut nodes: Vec<Node> =
        ["0", "1", "2"].map(|id| Node::new(NodeId::from_text(id), settings.clone(), payload::decode)).into();
    nodes[0].start_service();
    nodes[0].write(false, &payload::configuration(&["0"])).unwrap();
    nodes[0].write(true, b"s").unwrap();
    nodes[0].step(Input::Persisted(TxId::new(2, 2)));
    nodes[0].write(false, &payload::configuration(&["0", "1", "2"])).unwrap();
    nodes[0].write(true, b"s").unwrap();
    nodes[0].step(Input::Persisted(TxId::new(2, 4)));
    // Some heartbeats, and what they cause.
    let exchange = |nodes: &mut Vec<Node>| {
        for _ in 0..5 {
            nodes[0].tick(100);
            for from in 0..3 {
                while let Some((to, message)) = nodes[from].outbox.pop_front() {
                    let entries = nodes[from].entries_of(&message).unwrap();
                    let (sender, to) =
                        (nodes[from].replica.id().clone(), to.as_str().parse::<usize>().unwrap());
                    nodes[to].receive(&sender, message, &entries);
                }
            }
        }
    };
    exchange(&mut nodes);
    assert_eq!(nodes[1].log.last(), SeqNo(4), "backup 1 has the entries");
    assert_eq!(nodes[2].log.last(), SeqNo(4), "backup 2 has the entries");
    assert_eq!(nodes[0].commit(), SeqNo(2), "no backup has them on disk");
    nodes[1].step(Input::Persisted(TxId::new(2, 3)));
    exchange(&mut nodes);
    assert_eq!(nodes[0].commit(), SeqNo(2), "the signature is not on the disk of backup 1");
    nodes[1].step(Input::Persisted(TxId::new(2, 4)));
    exchange(&mut nodes);
    assert_eq!(nodes[0].commit(), SeqNo(4));
}

#[test]
fn writes_are_refused_unless_primary() {
    let mut net = Cluster::started(&["0", "1"], true);
    assert!(net.node_mut("1").write(false, &payload::data(1)).is_err());
    assert_eq!(net.node("1").log.last(), SeqNo(4));
}

#[test]
fn with_the_usual_settings_a_commit_takes_one_round_trip_and_backups_learn_it_in_half_another() {
    let mut nodes: Vec<Node> = ["0", "1", "2"]
        .map(|id| Node::new(NodeId::from_text(id), Settings::default(), payload::decode))
        .into();
    nodes[0].start_service();
    nodes[0].write(false, &payload::configuration(&["0"])).unwrap();
    nodes[0].write(true, b"s").unwrap();
    nodes[0].write(false, &payload::configuration(&["0", "1", "2"])).unwrap();
    nodes[0].tick(100);
    // One exchange: everything queued is delivered, no time passes.
    let exchange = |nodes: &mut Vec<Node>| {
        for from in 0..3 {
            for (to, message) in std::mem::take(&mut nodes[from].outbox) {
                let entries = nodes[from].entries_of(&message).unwrap();
                let sender = nodes[from].replica.id().clone();
                let to = nodes.iter().position(|node| *node.replica.id() == to).unwrap();
                nodes[to].receive(&sender, message, &entries);
            }
        }
    };
    for _ in 0..3 {
        exchange(&mut nodes);
        nodes[0].tick(100);
    }
    let last = nodes[0].write(true, b"s").unwrap();
    nodes[0].tick(100);
    for _ in 0..3 {
        exchange(&mut nodes);
    }
    let next = nodes[0].write(true, b"s").unwrap();
    assert_eq!(nodes[0].replica.committed(), last);
    for _ in 0..2 {
        exchange(&mut nodes); // there and back; answers of the same exchange arrive in it
    }
    for node in &nodes {
        assert_eq!(node.replica.committed(), next, "{}", node.replica.id());
    }
}
