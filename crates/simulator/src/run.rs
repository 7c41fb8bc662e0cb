//! One simulated run: a time of faults, then a time to recover.

use crate::{
    checks::Violation,
    node::Node,
    payload,
    world::{Event, World},
};
use ccf_consensus::{Input, Leadership, quorum};
use ccf_types::{NodeId, SeqNo, View};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A run that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The whole run in one number: the same for the same seed.
    pub digest: u64,
    /// How many times a node did something.
    pub steps: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Entries that were written, also those that were lost.
    pub written: usize,
    /// Views that had a primary.
    pub views: usize,
    /// Nodes there ever were.
    pub nodes: usize,
}

/// A run that broke an invariant or made no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed, which replays it.
    pub seed: u64,
    /// The step it was seen at.
    pub step: u64,
    /// The simulated time, in milliseconds.
    pub time_ms: u64,
    /// What does not hold.
    pub violation: Violation,
}

/// Nodes that may ever exist in a run.
const NODES_MAX: usize = 10;

/// The longest time of faults, in milliseconds.
const FAULTS_MS_MAX: u64 = 2500;

/// How long a healed network may take to commit something new: thirty election timeouts.
const RECOVERY_MS_MAX: u64 = 3000;

/// Entries without a signature that a primary may have before it signs, at most.
const UNSIGNED_MAX: u64 = 8;

/// Runs one seed.
///
/// # Errors
/// [`Failure`] at the first violation.
pub fn simulate(seed: u64) -> Result<Report, Failure> {
    let mut run = Run { world: World::new(seed), asked: BTreeSet::new() };
    let result = run.whole();
    let world = &run.world;
    let (written, views) = world.checks.totals();
    match result {
        Ok(()) => Ok(Report {
            seed,
            digest: world.digest(),
            steps: world.steps,
            committed: world.checks.committed().0,
            written,
            views,
            nodes: world.machines.len(),
        }),
        Err(violation) => Err(Failure { seed, step: world.steps, time_ms: world.now, violation }),
    }
}

struct Run {
    world: World,
    /// Primaries that wrote something after the network healed.
    asked: BTreeSet<(NodeId, View)>,
}

type Done = Result<(), Violation>;

impl Run {
    fn whole(&mut self) -> Done {
        self.start()?;
        let faults_until = self.world.random.between(300, FAULTS_MS_MAX);
        self.world.schedule(5, Event::Client);
        self.world.schedule(40, Event::Administrator);
        self.world.schedule(60, Event::Fault);
        while self.world.now < faults_until {
            self.one_event(false)?;
        }
        self.heal();
        let deadline = self.world.now + RECOVERY_MS_MAX;
        let start = self.world.checks.committed();
        while !self.recovered(start) {
            if self.world.now > deadline {
                return Err(Violation { invariant: "Progress", details: self.describe() });
            }
            if !self.world.pre_vote {
                self.stop_abandoned();
            }
            self.one_event(true)?;
        }
        let nodes: Vec<&Node> = self.world.machines.values().map(|machine| &machine.node).collect();
        self.world.checks.statuses(&nodes)
    }

    /// A service of one node, which is asked to trust others at once.
    fn start(&mut self) -> Done {
        let first = self.world.create();
        let others = self.world.random.up_to(4);
        let mut names = vec![first.clone()];
        names.extend((0..others).map(|_| self.world.create()));
        self.world.act(&first, Node::start_service)?;
        self.write(&first, false, &payload::configuration(&[first.as_str()]))?;
        self.write(&first, true, b"s")?;
        if names.len() > 1 {
            let names: Vec<&str> = names.iter().map(NodeId::as_str).collect();
            self.write(&first, false, &payload::configuration(&names))?;
            self.write(&first, true, b"s")?;
        }
        Ok(())
    }

    fn one_event(&mut self, healed: bool) -> Done {
        let Some(event) = self.world.next() else { return Ok(()) };
        match event {
            Event::Tick(id) => self.world.tick(&id),
            Event::Deliver { from, to, message, entries } => self.world.deliver(from, &to, message, entries),
            Event::Persisted(id, last) => {
                self.world.act(&id, |node| node.step(Input::Persisted(last))).map(|_| ())
            }
            Event::Client => {
                let pause = self.world.random.between(1, 20);
                self.world.schedule(pause, Event::Client);
                self.clients(healed)
            }
            Event::Administrator => {
                let pause = self.world.random.between(20, 400);
                self.world.schedule(pause, Event::Administrator);
                self.stop_removable();
                if healed { Ok(()) } else { self.administrator() }
            }
            Event::Fault => {
                let pause = self.world.random.up_to(2 * self.world.faults.interval_ms);
                self.world.schedule(pause.max(1), Event::Fault);
                if healed { Ok(()) } else { self.fault() }
            }
        }
    }

    /// Clients and the signing timer of every node that thinks it is primary.
    fn clients(&mut self, healed: bool) -> Done {
        for id in self.primaries() {
            let Some(machine) = self.world.machines.get_mut(&id) else { continue };
            if std::mem::take(&mut machine.node.cleanup_wanted) {
                let retired = to_be_cleaned(&machine.node);
                if !retired.is_empty() {
                    let names: Vec<&str> = retired.iter().map(NodeId::as_str).collect();
                    self.write(&id, false, &payload::retired_committed(&names))?;
                }
            }
            let Some(machine) = self.world.machines.get(&id) else { continue };
            let view = machine.node.replica.view();
            if healed {
                if self.asked.insert((id.clone(), view)) {
                    self.write(&id, false, &payload::data(self.world.steps))?;
                }
            } else if self.world.random.percent(60) {
                self.write(&id, false, &payload::data(self.world.steps))?;
            }
            let Some(machine) = self.world.machines.get(&id) else { continue };
            let node = &machine.node;
            let signed = node.replica.committable().next_back().unwrap_or(node.commit());
            let unsigned = node.log.last().0 - signed.0;
            let due = node.replica.should_sign() || unsigned > 0;
            if due && (healed || unsigned >= UNSIGNED_MAX || self.world.random.percent(30)) {
                self.write(&id, true, b"s")?;
            }
        }
        Ok(())
    }

    /// Changes the set of nodes, or asks a primary to hand over.
    fn administrator(&mut self) -> Done {
        let primaries = self.primaries();
        let Some(id) = self.world.random.pick(&primaries).cloned() else { return Ok(()) };
        if self.world.faults.hand_overs && self.world.random.percent(20) {
            self.world.act(&id, |node| node.step(Input::NominateSuccessor))?;
        }
        if !self.world.faults.reconfigurations || !self.world.random.percent(60) {
            return Ok(());
        }
        let Some(machine) = self.world.machines.get(&id) else { return Ok(()) };
        let configurations = machine.node.replica.configurations();
        let Some(newest) = configurations.newest().filter(|_| configurations.iter().count() < 4) else {
            return Ok(());
        };
        let mut members: Vec<NodeId> = newest.nodes.keys().cloned().collect();
        let replace_all = self.world.random.percent(10);
        members.retain(|_| !replace_all && self.world.random.percent(75));
        let room = NODES_MAX - self.world.machines.len();
        let added = self.world.random.up_to(if replace_all { 3 } else { 2 });
        for _ in 0..added.min(room as u64) {
            members.push(self.world.create());
        }
        let live = members.iter().filter(|id| self.is_alive(id)).count();
        if members.is_empty() || live < quorum(members.len()) {
            return Ok(());
        }
        let names: Vec<&str> = members.iter().map(NodeId::as_str).collect();
        self.write(&id, false, &payload::configuration(&names))
    }

    /// Operators stop nodes once their retirement is known for good.
    fn stop_removable(&mut self) {
        let committed = self.world.checks.committed();
        let most = self.world.alive().max_by_key(|(_, machine)| machine.node.commit());
        let removable =
            most.map(|(_, machine)| machine.node.log.removable(committed.min(machine.node.commit())));
        for id in removable.unwrap_or_default() {
            if let Some(machine) = self.world.machines.get_mut(&id) {
                machine.alive &= !self.world.random.percent(30);
            }
        }
    }

    fn fault(&mut self) -> Done {
        let ids: Vec<NodeId> = self.world.alive().map(|(id, _)| id.clone()).collect();
        let Some(id) = self.world.random.pick(&ids).cloned() else { return Ok(()) };
        match self.world.random.up_to(7) {
            0 if self.world.faults.partitions => {
                let sides: Vec<bool> = ids.iter().map(|_| self.world.random.percent(50)).collect();
                for (one, side) in ids.iter().zip(&sides) {
                    for (other, other_side) in ids.iter().zip(&sides) {
                        if side != other_side {
                            self.world.cut.insert((one.clone(), other.clone()));
                        }
                    }
                }
            }
            1 if self.world.faults.partitions => {
                for other in &ids {
                    self.world.cut.insert((id.clone(), other.clone()));
                    self.world.cut.insert((other.clone(), id.clone()));
                }
            }
            2 if self.world.faults.one_way_cuts => {
                if let Some(other) = self.world.random.pick(&ids).cloned() {
                    self.world.cut.insert((id, other));
                }
            }
            3 if self.world.faults.crashes && self.can_lose(&id) => {
                if let Some(machine) = self.world.machines.get_mut(&id) {
                    machine.alive = false;
                }
            }
            4 if self.world.faults.pauses => {
                let until = self.world.now + self.world.random.between(10, 400);
                if let Some(machine) = self.world.machines.get_mut(&id) {
                    machine.paused_until = until;
                }
            }
            5 | 6 if self.world.faults.clock_jumps => {
                let jump = self.world.random.up_to(crate::cluster::ELECTION_TIMEOUT_MS);
                self.world.act(&id, |node| node.tick(jump))?;
            }
            _ => self.world.cut.clear(),
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.world.faults = self.world.faults.healed();
        self.world.cut.clear();
        for machine in self.world.machines.values_mut() {
            machine.clock_percent = 100;
            machine.paused_until = 0;
        }
    }

    /// Stops the nodes of configurations that were never to be, as an operator would: they hear of nothing any more, and without
    /// pre-votes they disturb every primary by standing for election for ever.
    fn stop_abandoned(&mut self) {
        let committed = self.world.checks.committed();
        let members: BTreeSet<NodeId> = self
            .world
            .alive()
            .map(|(_, machine)| &machine.node.replica)
            .filter(|replica| replica.committed().seqno == committed)
            .flat_map(|replica| replica.configurations().iter().flat_map(|it| it.nodes.keys().cloned()))
            .collect();
        for (id, machine) in &mut self.world.machines {
            let is_abandoned = self.world.checks.is_abandoned(machine.node.replica.last());
            machine.alive &= members.is_empty() || members.contains(id) || !is_abandoned;
        }
    }

    /// Whether something new is committed and every live member of the newest configuration knows.
    fn recovered(&self, start: SeqNo) -> bool {
        self.world.checks.committed() > start
            && self.world.alive().any(|(id, machine)| {
                let node = &machine.node;
                let last = node.replica.committed();
                node.replica.leadership() == Leadership::Leader
                    && last == node.replica.last()
                    && last.view == node.replica.view()
                    && self.asked.contains(&(id.clone(), last.view))
                    && node.replica.configurations().newest().is_some_and(|newest| {
                        newest.nodes.keys().filter(|id| self.is_alive(id)).all(|id| {
                            self.world
                                .machines
                                .get(id)
                                .is_some_and(|other| other.node.replica.committed() == last)
                        })
                    })
            })
    }

    /// Whether majorities are left without this one: of all configurations that any live node knows, and of those that a crashed
    /// one had not committed, which may still be on their way to others.
    fn can_lose(&self, id: &NodeId) -> bool {
        self.world.machines.values().all(|machine| {
            let replica = &machine.node.replica;
            let matters = |seqno| machine.alive || seqno > self.world.checks.committed();
            let configurations = replica.configurations().iter().filter(|it| matters(it.seqno));
            configurations.into_iter().all(|it| it.has_quorum(|member| member != id && self.is_alive(member)))
        })
    }

    fn write(&mut self, id: &NodeId, committable: bool, data: &[u8]) -> Done {
        self.world.act(id, |node| node.write(committable, data)).map(|_| ())
    }

    fn primaries(&self) -> Vec<NodeId> {
        let leads = |node: &Node| node.replica.leadership() == Leadership::Leader;
        let ready =
            |machine: &crate::world::Machine| leads(&machine.node) && machine.paused_until <= self.world.now;
        self.world.alive().filter(|(_, machine)| ready(machine)).map(|(id, _)| id.clone()).collect()
    }

    fn is_alive(&self, id: &NodeId) -> bool {
        self.world.machines.get(id).is_some_and(|machine| machine.alive)
    }

    fn describe(&self) -> String {
        let one = |(id, machine): (&NodeId, &crate::world::Machine)| {
            let replica = &machine.node.replica;
            let newest: Vec<String> = replica
                .configurations()
                .iter()
                .map(|it| format!("{}{:?}", it.seqno, it.nodes.keys().collect::<Vec<_>>()))
                .collect();
            format!(
                "{id} {} {:?} view {} last {} commit {} {:?} {}",
                if machine.alive { "alive" } else { "crashed" },
                replica.leadership(),
                replica.view(),
                replica.last(),
                replica.committed(),
                replica.retirement_phase(),
                newest.join(" ")
            )
        };
        let nodes = self.world.machines.iter().map(one).collect::<Vec<_>>().join("\n  ");
        format!("pre-vote {}\n  {nodes}", if self.world.pre_vote { "on" } else { "off" })
    }
}

/// Nodes whose retirement is committed and that no entry calls removable yet.
pub(crate) fn to_be_cleaned(node: &Node) -> Vec<NodeId> {
    let reconfigurations: BTreeMap<_, _> = node.log.reconfigurations();
    let committed: Vec<_> = reconfigurations.range(..=node.commit()).map(|(_, nodes)| nodes).collect();
    let Some(newest) = committed.last() else { return Vec::new() };
    let done = node.log.removable(node.log.last());
    let ever: BTreeSet<&NodeId> = committed.iter().flat_map(|nodes| nodes.keys()).collect();
    ever.into_iter().filter(|id| !newest.contains_key(*id) && !done.contains(id)).cloned().collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms, step {}: {}", self.seed, self.time_ms, self.step, self.violation)
    }
}
