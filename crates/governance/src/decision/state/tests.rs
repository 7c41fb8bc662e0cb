//! The rules one by one, and together under networks that lose, repeat and reorder.

use super::*;
use proptest::prelude::*;

fn names(count: usize) -> BTreeSet<String> {
    (0..count).map(name).collect()
}

fn name(index: usize) -> String {
    format!("n{index}")
}

/// The node `n0` of three.
fn take(state: &mut State, event: Event<'_>) -> Result<Effect, Refused> {
    state.take(Locations { own: "n0", expected: &names(3) }, event)
}

fn gossip(from: &str, seqno: u64) -> Event<'_> {
    Event::Gossip { from, tx_id: TxId::new(2, seqno) }
}

#[test]
fn the_longest_ledger_is_chosen_and_of_equals_the_larger_name() {
    let mut state = State::default();
    assert_eq!(take(&mut state, gossip("n2", 10)), Ok(Effect::Nothing));
    assert_eq!(take(&mut state, gossip("n0", 12)), Ok(Effect::Nothing));
    assert_eq!((state.phase, &state.chosen), (Phase::Gossiping, &None));
    assert_eq!(take(&mut state, gossip("n1", 12)), Ok(Effect::Nothing));
    assert_eq!((state.phase, state.chosen.as_deref()), (Phase::Voting, Some("n1")));
    // A later view beats a higher seqno.
    let mut state = State::default();
    for (from, tx_id) in [("n0", TxId::new(4, 5)), ("n1", TxId::new(2, 90)), ("n2", TxId::new(2, 91))] {
        take(&mut state, Event::Gossip { from, tx_id }).unwrap();
    }
    assert_eq!(state.chosen.as_deref(), Some("n0"));
    assert_eq!(state.votes, BTreeSet::from(["n0".to_owned()]), "it votes for itself");
    let refused = take(&mut state, gossip("n1", 99)).unwrap_err();
    assert_eq!(refused.to_string(), "This node has already voted for n0");
}

#[test]
fn a_majority_opens_and_the_second_vote_of_one_location_is_none() {
    let mut state = State::default();
    take(&mut state, Event::Vote { from: "n1" }).unwrap();
    for from in ["n0", "n1", "n1"] {
        assert_eq!(take(&mut state, gossip(from, 1)), Ok(Effect::Nothing));
    }
    // Votes that came before count as soon as this node has chosen.
    assert_eq!(take(&mut state, gossip("n2", 1)), Ok(Effect::Nothing));
    assert_eq!(take(&mut state, Event::Vote { from: "n1" }), Ok(Effect::Nothing));
    assert_eq!(take(&mut state, Event::Vote { from: "n2" }), Ok(Effect::Open));
    assert_eq!((state.phase, state.open_kind), (Phase::Opening, Some(OpenKind::Quorum)));
    assert_eq!(take(&mut state, Event::Opened { from: "n1" }), Err(Refused::Open));
    assert_eq!(take(&mut state, Event::Vote { from: "n2" }), Ok(Effect::Nothing));
    let refused = take(&mut state, Event::Vote { from: "n7" }).unwrap_err();
    assert_eq!(refused, Refused::Unexpected("n7".to_owned()));
}

#[test]
fn each_timeout_is_for_one_phase() {
    let mut state = State::default();
    take(&mut state, gossip("n0", 3)).unwrap();
    take(&mut state, gossip("n1", 2)).unwrap();
    assert_eq!(take(&mut state, Event::Timeout), Ok(Effect::Nothing));
    assert_eq!(
        (state.phase, state.lane, state.chosen.as_deref()),
        (Phase::Voting, Phase::Voting, Some("n0"))
    );
    assert_eq!(take(&mut state, Event::Timeout), Ok(Effect::Open));
    assert_eq!((state.phase, state.open_kind), (Phase::Opening, Some(OpenKind::Failover)));
    take(&mut state, Event::Timeout).unwrap();
    assert_eq!(state.phase, Phase::Open);
    assert_eq!(take(&mut state, Event::Opened { from: "n1" }), Err(Refused::Open));

    // A node that is ahead of the clock waits for the clock.
    let mut state = State::default();
    for from in ["n0", "n1", "n2"] {
        take(&mut state, gossip(from, if from == "n0" { 9 } else { 1 })).unwrap();
    }
    take(&mut state, Event::Vote { from: "n1" }).unwrap();
    let phases: Vec<Phase> = (0..3)
        .map(|_| {
            take(&mut state, Event::Timeout).unwrap();
            state.phase
        })
        .collect();
    assert_eq!(phases, [Phase::Opening, Phase::Opening, Phase::Open]);

    // Nobody's choice waits for ever: the one that was chosen may open, or an operator acts.
    let mut state = State::default();
    take(&mut state, gossip("n1", 1)).unwrap();
    for _ in 0..5 {
        assert_eq!(take(&mut state, Event::Timeout), Ok(Effect::Nothing));
    }
    assert_eq!((state.phase, state.lane), (Phase::Voting, Phase::Opening));
    assert_eq!(take(&mut state, Event::Opened { from: "n1" }), Ok(Effect::Join));
    assert_eq!(take(&mut state, Event::Opened { from: "n2" }), Ok(Effect::Nothing), "it joins the first");
    assert_eq!((state.phase, state.chosen.as_deref()), (Phase::Joining, Some("n1")));
}

#[derive(Clone, Debug)]
struct Message {
    from: usize,
    to: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Gossip(TxId),
    Vote,
    Opened,
}

/// Nodes and what is under way between them.
struct Network {
    names: BTreeSet<String>,
    nodes: Vec<State>,
    ends: Vec<TxId>,
    under_way: Vec<Message>,
}

impl Network {
    fn new(ends: Vec<TxId>) -> Network {
        let names = names(ends.len());
        let nodes = vec![State::default(); ends.len()];
        let mut network = Network { names, nodes, ends, under_way: Vec::new() };
        for index in 0..network.nodes.len() {
            let tx_id = network.ends[index];
            network.take(index, Event::Gossip { from: &name(index), tx_id });
        }
        network
    }

    fn take(&mut self, index: usize, event: Event<'_>) {
        let before = self.nodes[index].clone();
        let own = name(index);
        let result = self.nodes[index].take(Locations { own: &own, expected: &self.names }, event);
        let node = &self.nodes[index];
        assert_eq!(
            result == Ok(Effect::Open),
            before.phase != Phase::Opening && node.phase == Phase::Opening
        );
        assert!(result.is_ok() || before == *node, "a refusal changes nothing");
        assert!(
            before.phase != Phase::Joining || node.phase == Phase::Joining,
            "a node that gave up never opens"
        );
        let is_vote_kept =
            before.chosen == node.chosen || before.chosen.is_none() || node.phase == Phase::Joining;
        assert!(is_vote_kept, "a node votes once");
    }

    /// What a node sends again and again.
    fn send(&mut self, from: usize) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let node = &self.nodes[from];
            let mut say = |kind| self.under_way.push(Message { from, to, kind });
            match node.phase {
                Phase::Gossiping => say(Kind::Gossip(self.ends[from])),
                Phase::Voting => {
                    say(Kind::Gossip(self.ends[from]));
                    if node.chosen.as_deref() == Some(name(to).as_str()) {
                        say(Kind::Vote);
                    }
                }
                Phase::Opening => say(Kind::Opened),
                Phase::Joining | Phase::Open => {}
            }
        }
    }

    fn deliver(&mut self, message: &Message) {
        let from = name(message.from);
        let event = match message.kind {
            Kind::Gossip(tx_id) => Event::Gossip { from: &from, tx_id },
            Kind::Vote => Event::Vote { from: &from },
            Kind::Opened => Event::Opened { from: &from },
        };
        self.take(message.to, event);
    }

    fn opened(&self, kind: OpenKind) -> usize {
        self.nodes.iter().filter(|node| node.open_kind == Some(kind)).count()
    }
}

fn ends() -> impl Strategy<Value = Vec<TxId>> {
    proptest::collection::vec((2_u64..4, 1_u64..4).prop_map(|(view, seqno)| TxId::new(view, seqno)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is lost, repeated, reordered, and whoever times out: no two nodes have a majority.
    #[test]
    fn no_two_services_are_opened_by_majorities(
        ends in ends(),
        steps in proptest::collection::vec((0_u8..10, any::<prop::sample::Index>()), 0..200),
    ) {
        let mut network = Network::new(ends);
        for (action, which) in steps {
            let node = which.index(network.nodes.len());
            match action {
                0 => network.take(node, Event::Timeout),
                1..4 => network.send(node),
                _ if network.under_way.is_empty() => network.send(node),
                // Delivered and kept, delivered, lost.
                4 => {
                    let message = network.under_way[which.index(network.under_way.len())].clone();
                    network.deliver(&message);
                }
                5..9 => {
                    let message = network.under_way.swap_remove(which.index(network.under_way.len()));
                    network.deliver(&message);
                }
                _ => drop(network.under_way.swap_remove(which.index(network.under_way.len()))),
            }
            prop_assert!(network.opened(OpenKind::Quorum) <= 1);
        }
    }

    /// When what is sent arrives at last and nothing times out, the longest ledger's service opens and all others join it.
    #[test]
    fn the_longest_ledger_is_opened_and_all_others_join(
        ends in ends(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let longest = (0..ends.len()).max_by_key(|index| (ends[*index], name(*index))).unwrap();
        let mut network = Network::new(ends);
        for round in 0..20 {
            (0..network.nodes.len()).for_each(|index| network.send(index));
            let mut turn = round;
            while !network.under_way.is_empty() {
                let at = order[turn % order.len()].index(network.under_way.len());
                let message = network.under_way.swap_remove(at);
                network.deliver(&message);
                turn += 1;
            }
        }
        for (index, node) in network.nodes.iter().enumerate() {
            let expected = if index == longest { Phase::Opening } else { Phase::Joining };
            prop_assert_eq!(node.phase, expected);
        }
        prop_assert_eq!(network.opened(OpenKind::Quorum), 1);
    }
}
