//! Runs without time: at every step some message arrives, is repeated or lost, some timer fires, or somebody writes. Delays
//! have no limit, so an old message can meet any later state; this is the network of the formal model.

use crate::{
    checks::{Checks, Violation},
    cluster::{ELECTION_TIMEOUT_MS, MESSAGE_TIMEOUT_MS},
    node::Node,
    payload,
    random::Random,
    run::{Failure, Report, to_be_cleaned},
};
use ccf_consensus::{BackupStart, Batching, Input, Leadership, Message, Settings};
use ccf_types::NodeId;
use std::collections::BTreeMap;

/// Messages under way at most; more are lost.
const MAIL_MAX: usize = 60;

/// Nodes of a walk at most.
const NODES_MAX: usize = 7;

struct Walk {
    random: Random,
    nodes: BTreeMap<NodeId, Node>,
    mail: Vec<(NodeId, NodeId, Message, Vec<u8>)>,
    checks: Checks,
    steps: u64,
    digest: u64,
    pre_vote: bool,
    reconfigures: bool,
}

type Done = Result<(), Violation>;

/// Walks one seed.
///
/// # Errors
/// [`Failure`] at the first violation.
pub fn walk(seed: u64) -> Result<Report, Failure> {
    let mut random = Random::new(seed);
    let mut walk = Walk {
        pre_vote: random.percent(60),
        reconfigures: random.percent(50),
        random,
        nodes: BTreeMap::new(),
        mail: Vec::new(),
        checks: Checks::new(),
        steps: 0,
        digest: 0xcbf2_9ce4_8422_2325,
    };
    if let Err(violation) = walk.whole() {
        return Err(Failure { seed, step: walk.steps, time_ms: 0, violation });
    }
    let (written, views) = walk.checks.totals();
    Ok(Report {
        seed,
        digest: walk.digest,
        steps: walk.steps,
        committed: walk.checks.committed().0,
        written,
        views,
        nodes: walk.nodes.len(),
    })
}

impl Walk {
    fn whole(&mut self) -> Done {
        self.start()?;
        let steps = self.random.between(200, 1500);
        let lossy = self.random.up_to(15);
        let repeating = self.random.up_to(30);
        let in_order = self.random.up_to(100);
        let timers = self.random.between(1, 12);
        for _ in 0..steps {
            let choice = self.random.up_to(99);
            if choice < lossy {
                self.take(0);
            } else if choice < lossy + timers {
                let id = self.any_node();
                let time =
                    if self.random.percent(80) { ELECTION_TIMEOUT_MS } else { ELECTION_TIMEOUT_MS / 2 };
                self.act(&id, |node| node.tick(time))?;
            } else if choice < lossy + timers + 22 {
                self.primary_acts()?;
            } else {
                let Some((from, to, message, entries)) = self.take(in_order) else { continue };
                if self.random.percent(repeating) {
                    self.mail.push((from.clone(), to.clone(), message, entries.clone()));
                }
                self.act(&to, |node| node.receive(&from, message, &entries))?;
            }
        }
        let nodes: Vec<&Node> = self.nodes.values().collect();
        self.checks.statuses(&nodes)
    }

    /// A service whose nodes are in sync.
    fn start(&mut self) -> Done {
        let first = self.create();
        let mut names = vec![first.clone()];
        for _ in 0..self.random.between(1, 4) {
            names.push(self.create());
        }
        self.act(&first, Node::start_service)?;
        self.write(&first, false, &payload::configuration(&[first.as_str()]))?;
        self.write(&first, true, b"s")?;
        let names: Vec<&str> = names.iter().map(NodeId::as_str).collect();
        self.write(&first, false, &payload::configuration(&names))?;
        self.write(&first, true, b"s")?;
        for _ in 0..self.random.up_to(4) {
            self.act(&first, |node| node.tick(MESSAGE_TIMEOUT_MS))?;
            while let Some((from, to, message, entries)) = self.take(100) {
                self.act(&to, |node| node.receive(&from, message, &entries))?;
            }
        }
        Ok(())
    }

    fn create(&mut self) -> NodeId {
        let id = NodeId::from_text(&format!("n{}", self.nodes.len()));
        let settings = Settings {
            message_timeout_ms: MESSAGE_TIMEOUT_MS,
            election_timeout_ms: ELECTION_TIMEOUT_MS,
            pre_vote: self.pre_vote,
            ticking_from_start: false,
            batching: if self.random.percent(50) { Batching::Average } else { Batching::Reference },
            send_at_signature: self.random.percent(50),
            send_at_commit: self.random.percent(50),
            wait_for_disk: false,
            seed: self.random.next(),
            trace: false,
        };
        let mut node = Node::new(id.clone(), settings, payload::decode);
        if !self.nodes.is_empty() {
            node.replica.start_backup(BackupStart::default(), &mut node.log, &mut Vec::new());
            node.log.take_calls();
        }
        self.nodes.insert(id.clone(), node);
        id
    }

    fn primary_acts(&mut self) -> Done {
        let leads = |node: &Node| node.replica.leadership() == Leadership::Leader;
        let primaries: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| leads(node)).map(|(id, _)| id.clone()).collect();
        let Some(id) = self.random.pick(&primaries).cloned() else { return Ok(()) };
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        match self.random.up_to(19) {
            0..=8 => self.act(&id, |node| node.tick(MESSAGE_TIMEOUT_MS)),
            9..=12 => self.write(&id, false, &payload::data(self.steps)),
            13..=16 => self.write(&id, true, b"s"),
            17 => self.act(&id, |node| node.step(Input::NominateSuccessor)),
            18 => {
                let retired = to_be_cleaned(node);
                if retired.is_empty() {
                    return Ok(());
                }
                let names: Vec<&str> = retired.iter().map(NodeId::as_str).collect();
                self.write(&id, false, &payload::retired_committed(&names))
            }
            _ => self.reconfigure(&id),
        }
    }

    fn reconfigure(&mut self, id: &NodeId) -> Done {
        let Some(node) = self.nodes.get(id).filter(|_| self.reconfigures) else { return Ok(()) };
        let newest = node.replica.configurations().newest();
        let mut members: Vec<NodeId> =
            newest.map(|it| it.nodes.keys().cloned().collect()).unwrap_or_default();
        members.retain(|_| self.random.percent(75));
        if self.nodes.len() < NODES_MAX && self.random.percent(50) {
            members.push(self.create());
        }
        if members.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = members.iter().map(NodeId::as_str).collect();
        self.write(id, false, &payload::configuration(&names))
    }

    /// Takes a message: in so many percent of the cases the oldest, else any.
    fn take(&mut self, oldest_percent: u64) -> Option<(NodeId, NodeId, Message, Vec<u8>)> {
        let last = self.mail.len().checked_sub(1)?;
        let at = if self.random.percent(oldest_percent) { 0 } else { self.random.up_to(last as u64) };
        Some(self.mail.remove(usize::try_from(at).unwrap_or_default()))
    }

    fn any_node(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        self.random.pick(&ids).cloned().unwrap_or_else(|| NodeId::from_text("n0"))
    }

    fn write(&mut self, id: &NodeId, committable: bool, data: &[u8]) -> Done {
        self.act(id, |node| {
            let _ = node.write(committable, data);
        })
    }

    fn act(&mut self, id: &NodeId, action: impl FnOnce(&mut Node)) -> Done {
        let Some(node) = self.nodes.get_mut(id) else { return Ok(()) };
        action(node);
        self.steps += 1;
        let calls = node.log.take_calls();
        for number in [node.replica.view().0, node.log.last().0, node.commit().0] {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
        let sent = std::mem::take(&mut node.outbox);
        for (to, message) in sent {
            let entries = node.entries_of(&message);
            self.mail.extend(entries.map(|entries| (id.clone(), to, message, entries)));
        }
        while self.mail.len() > MAIL_MAX {
            self.take(0);
        }
        let nodes = &self.nodes;
        self.checks.after_step(id, &calls, &|id| nodes.get(id))?;
        match nodes.get(id).and_then(|node| node.refused.first()) {
            Some((from, reason)) => {
                let details = format!("{id} refuses a message of {from}: {reason:?}");
                Err(Violation { invariant: "NoRefusal", details })
            }
            None => Ok(()),
        }
    }
}
