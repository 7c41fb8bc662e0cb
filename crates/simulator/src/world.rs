//! Nodes, network and clocks of a simulated run, moved by a queue of events.

use crate::{
    checks::{Checks, Violation},
    faults::Faults,
    node::Node,
    payload,
    random::Random,
};
use ccf_consensus::{BackupStart, Batching, Message, Settings};
use ccf_types::{NodeId, TxId};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// One node and its machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) node: Node,
    pub(crate) alive: bool,
    /// How fast its clock goes, in percent.
    pub(crate) clock_percent: u64,
    /// It does nothing before this time.
    pub(crate) paused_until: u64,
    ticked_at: u64,
}

/// What happens at some time.
#[derive(Debug)]
pub(crate) enum Event {
    Tick(NodeId),
    Deliver {
        from: NodeId,
        to: NodeId,
        message: Message,
        entries: Vec<u8>,
    },
    /// A disk has finished writing.
    Persisted(NodeId, TxId),
    Client,
    Administrator,
    Fault,
}

/// The whole network.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    /// Messages on these ways are lost.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) faults: Faults,
    pub(crate) checks: Checks,
    pub(crate) steps: u64,
    digest: u64,
    pub(crate) pre_vote: bool,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    scheduled: u64,
    arrivals: BTreeMap<(NodeId, NodeId), u64>,
}

impl World {
    /// A world without nodes; the seed decides which faults it will have.
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let faults = Faults::drawn(&mut random);
        World {
            now: 0,
            machines: BTreeMap::new(),
            cut: BTreeSet::new(),
            checks: Checks::new().of_disks(faults.slow_disks),
            steps: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            pre_vote: random.percent(70),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            arrivals: BTreeMap::new(),
            random,
            faults,
        }
    }

    /// A new machine with a node that waits to join.
    pub(crate) fn create(&mut self) -> NodeId {
        let id = NodeId::from_text(&format!("n{:02}", self.machines.len()));
        let settings = Settings {
            message_timeout_ms: crate::cluster::MESSAGE_TIMEOUT_MS,
            election_timeout_ms: crate::cluster::ELECTION_TIMEOUT_MS,
            pre_vote: self.pre_vote,
            ticking_from_start: false,
            batching: if self.random.percent(50) { Batching::Average } else { Batching::Reference },
            send_at_signature: self.random.percent(50),
            send_at_commit: self.random.percent(50),
            wait_for_disk: self.faults.slow_disks,
            seed: self.random.next(),
            trace: false,
        };
        let mut node = Node::new(id.clone(), settings, payload::decode);
        if !self.machines.is_empty() {
            node.replica.start_backup(BackupStart::default(), &mut node.log, &mut Vec::new());
            node.log.take_calls();
        }
        let clock_percent = self.faults.clock_percent(&mut self.random);
        let machine = Machine { node, alive: true, clock_percent, paused_until: 0, ticked_at: self.now };
        self.machines.insert(id.clone(), machine);
        self.schedule(1, Event::Tick(id.clone()));
        id
    }

    pub(crate) fn schedule(&mut self, after_ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert(self.scheduled, event);
        self.queue.push(Reverse((self.now + after_ms, self.scheduled)));
    }

    /// The next event; time moves to it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let Reverse((time, number)) = self.queue.pop()?;
        self.now = self.now.max(time);
        self.events.remove(&number)
    }

    /// Time passes on one machine.
    pub(crate) fn tick(&mut self, id: &NodeId) -> Result<(), Violation> {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else { return Ok(()) };
        let next = self.random.between(5, 15).max(machine.paused_until.saturating_sub(now));
        let mut result = Ok(());
        if machine.paused_until <= now {
            let elapsed = (now - machine.ticked_at) * machine.clock_percent / 100;
            machine.ticked_at = now;
            result = self.act(id, |node| node.tick(elapsed)).map(|_| ());
        }
        self.schedule(next, Event::Tick(id.clone()));
        result
    }

    /// A message arrives, or waits for a machine that pauses.
    pub(crate) fn deliver(
        &mut self,
        from: NodeId,
        to: &NodeId,
        message: Message,
        entries: Vec<u8>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let Some(machine) = self.machines.get(to).filter(|machine| machine.alive) else { return Ok(()) };
        if machine.paused_until > now {
            let wait = machine.paused_until - now;
            self.schedule(wait, Event::Deliver { from, to: to.clone(), message, entries });
            return Ok(());
        }
        self.act(to, |node| node.receive(&from, message, &entries)).map(|_| ())
    }

    /// Lets a node do something, checks all invariants, and puts its messages on their way.
    pub(crate) fn act<T>(
        &mut self,
        id: &NodeId,
        action: impl FnOnce(&mut Node) -> T,
    ) -> Result<Option<T>, Violation> {
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else {
            return Ok(None);
        };
        let result = action(&mut machine.node);
        self.steps += 1;
        let calls = machine.node.log.take_calls();
        let (view, last, commit) =
            (machine.node.replica.view(), machine.node.log.last(), machine.node.commit());
        for number in [self.now, view.0, last.0, commit.0] {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
        let machines = &self.machines;
        self.checks.after_step(id, &calls, &|id| machines.get(id).map(|machine| &machine.node))?;
        self.send(id);
        let last =
            self.machines.get(id).and_then(|machine| machine.node.log.entries().last()).map(|it| it.tx_id);
        if let Some(last) = last.filter(|_| self.faults.slow_disks && !calls.is_empty()) {
            let time = self.random.up_to(30);
            self.schedule(time, Event::Persisted(id.clone(), last));
        }
        if let Some((from, reason)) = self.machines.get(id).and_then(|machine| machine.node.refused.first()) {
            let details = format!("{id} refuses a message of {from}: {reason:?}");
            return Err(Violation { invariant: "NoRefusal", details });
        }
        Ok(Some(result))
    }

    /// The run so far in one number.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = (&NodeId, &Machine)> {
        self.machines.iter().filter(|(_, machine)| machine.alive)
    }

    fn send(&mut self, from: &NodeId) {
        let Some(machine) = self.machines.get_mut(from) else { return };
        let messages = std::mem::take(&mut machine.node.outbox);
        for (to, message) in messages {
            let Some(entries) = self.machines.get(from).and_then(|machine| machine.node.entries_of(&message))
            else {
                continue;
            };
            let way = (from.clone(), to.clone());
            if self.cut.contains(&way) || self.random.percent(self.faults.loss_percent) {
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.faults.duplicate_percent));
            for _ in 0..copies {
                let mut delay = self.faults.delay(&mut self.random);
                if self.faults.ordered {
                    let arrival = self.arrivals.entry(way.clone()).or_default();
                    *arrival = (*arrival).max(self.now + delay);
                    delay = *arrival - self.now;
                }
                let event =
                    Event::Deliver { from: from.clone(), to: to.clone(), message, entries: entries.clone() };
                self.schedule(delay, event);
            }
        }
    }
}
