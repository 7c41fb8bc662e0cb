//! One run: a time of faults, a time to come back, and the end of the whole network.

use crate::{
    history::violation,
    node::{Machine, Start},
    recovery,
    transactions::{self, KEYS, MAPS},
    world::{Done, Event, Faults, World, name, secret},
};
use ccf_consensus::quorum;
use ccf_governance::{retirement::removable_nodes, tables};
use ccf_ledger::secrets::LedgerSecrets;
use ccf_simulator::Violation;
use ccf_types::{NodeId, SeqNo, TxId};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// The longest time without a primary before a node stands for election.
pub(crate) const ELECTION_TIMEOUT_MS: u64 = 100;

/// The longest time of faults, in milliseconds.
const FAULTS_MS_MAX: u64 = 1500;

/// How long a healed network may take to commit something new everywhere: lost steps of key exchanges cost half a second each.
const RECOVERY_MS_MAX: u64 = 12_000;

/// A run that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The whole run in one number: the same for the same seed.
    pub digest: u64,
    /// Turns of nodes.
    pub steps: u64,
    /// Entries that were committed before the end of the network.
    pub committed: u64,
    /// Entries that were written, also those that were lost.
    pub written: usize,
    /// Views that had a primary.
    pub views: usize,
    /// Nodes there ever were.
    pub nodes: usize,
    /// Rekeys that were committed.
    pub rekeys: usize,
    /// Frames that were changed on their way.
    pub tampered: u64,
    /// How often a node mended flags in its log.
    pub mended: u64,
    /// Files of complete chunks that this changed to chunks with another end.
    pub reopened: u64,
    /// Writes whose clients were told that they are committed.
    pub told: usize,
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
    /// The faults that were drawn for the run, in one line.
    pub faults: String,
}

struct Run {
    world: World,
    asked: BTreeSet<(NodeId, u64)>,
    healed: bool,
    values: u64,
    /// Writes of clients who want to know, and whether they were told.
    watched: usize,
}

/// Runs one seed.
///
/// # Errors
/// [`Failure`] at the first violation.
pub fn simulate_stack(seed: u64) -> Result<Report, Failure> {
    let world = World::new(seed);
    let mut run = Run { world, asked: BTreeSet::new(), healed: false, values: 0, watched: 0 };
    let result = run.whole();
    let world = &run.world;
    match result {
        Ok(committed) => Ok(Report {
            seed,
            digest: world.digest(),
            steps: world.steps,
            committed: committed.0,
            written: world.history.written(),
            views: world.views.len(),
            nodes: world.machines.len(),
            rekeys: world
                .history
                .rekeys
                .keys()
                .filter(|at| world.history.committed_at(at.seqno) == Some(**at))
                .count(),
            tampered: world.tampered,
            mended: world.mended,
            reopened: world.reopened,
            told: run.watched,
        }),
        Err(violation) => Err(Failure {
            seed,
            step: world.steps,
            time_ms: world.now,
            violation,
            faults: world.faults_drawn().to_owned(),
        }),
    }
}

impl Run {
    fn whole(&mut self) -> Result<SeqNo, Violation> {
        self.start()?;
        let faults_until = self.world.random.between(200, FAULTS_MS_MAX);
        self.world.schedule(5, Event::Client);
        self.world.schedule(60, Event::Administrator);
        self.world.schedule(60, Event::Fault);
        while self.world.now < faults_until {
            self.one_event()?;
        }
        self.heal();
        let deadline = self.world.now + RECOVERY_MS_MAX;
        let start = self.world.history.committed();
        while !self.recovered(start) {
            if self.world.now > deadline {
                return violation("Progress", self.describe());
            }
            self.one_event()?;
        }
        let committed = self.world.history.committed();
        recovery::recover(&mut self.world)?;
        Ok(committed)
    }

    fn start(&mut self) -> Done {
        let secrets = self.world.history.secrets(TxId::default());
        let first = self.world.create(secrets, false, Start::NewService)?;
        let Some(machine) = self.world.machines.get_mut(&first) else { return Ok(()) };
        if transactions::create_service(machine).is_none() {
            return violation("Simulator", "the genesis transaction fails".to_owned());
        }
        self.world.workers(&first)?;
        let others = self.world.random.up_to(3);
        if others > 0 {
            self.reconfigure(&first, usize::try_from(others).unwrap_or_default(), &[])?;
        }
        Ok(())
    }

    fn one_event(&mut self) -> Done {
        let Some(event) = self.world.next() else { return Ok(()) };
        match event {
            Event::Tick(id) => self.world.tick(&id),
            Event::Deliver(to, frame) => self.world.deliver(to, frame),
            Event::Disk(id) => self.world.disk(&id),
            Event::Workers(id) => self.world.workers(&id),
            Event::Client => {
                let pause = self.world.random.between(1, 25);
                self.world.schedule(pause, Event::Client);
                self.clients()
            }
            Event::Administrator => {
                let pause = self.world.random.between(30, 300);
                self.world.schedule(pause, Event::Administrator);
                self.stop_removable();
                if self.healed { Ok(()) } else { self.administrator() }
            }
            Event::Fault => {
                let pause = self.world.random.between(10, 250);
                self.world.schedule(pause, Event::Fault);
                if self.healed { Ok(()) } else { self.fault() }
            }
        }
    }

    /// Clients of every node that thinks it is primary, and its own transactions.
    fn clients(&mut self) -> Done {
        for id in self.primaries() {
            let asked = self.healed && {
                let view = self.world.machines.get(&id).map_or(0, |machine| machine.replica().view().0);
                !self.asked.insert((id.clone(), view))
            };
            let writes = if asked { 0 } else { self.world.random.between(1, 3) };
            let Some(machine) = self.world.machines.get_mut(&id) else { continue };
            if machine.take_cleanup_wanted() {
                machine.execute(transactions::clean_up);
            }
            for _ in 0..writes {
                self.values += 1;
                let random = &mut self.world.random;
                let map = if random.percent(50) { MAPS[0] } else { MAPS[1] };
                let (key, value) =
                    (random.up_to(KEYS - 1), Some(self.values).filter(|_| !random.percent(10)));
                let waits = random.percent(60);
                let Some(tx_id) = machine.execute(|tx| transactions::client(tx, map, key, value)) else {
                    continue;
                };
                if waits {
                    self.watched += 1;
                    machine.watch(tx_id);
                }
            }
            self.soon(&id)?;
        }
        Ok(())
    }

    /// The workers of a node finish what it executed, now or later.
    fn soon(&mut self, id: &NodeId) -> Done {
        if self.world.faults.slow_workers && self.world.random.percent(50) {
            let wait = self.world.random.between(1, 60);
            self.world.schedule(wait, Event::Workers(id.clone()));
            return Ok(());
        }
        self.world.workers(id)
    }

    fn administrator(&mut self) -> Done {
        let primaries = self.primaries();
        let Some(id) = self.world.random.pick(&primaries).cloned() else { return Ok(()) };
        if self.world.random.percent(30) {
            // An operator wants the chunk to end.
            let Some(machine) = self.world.machines.get(&id) else { return Ok(()) };
            machine.inbox.request_chunk(machine.store.version());
        }
        if self.world.faults.hand_overs && self.world.random.percent(20) {
            if let Some(machine) = self.world.machines.get(&id) {
                machine.inbox.nominate_successor();
            }
            self.world.turn(&id)?;
        }
        if self.world.faults.rekeys && self.world.random.percent(40) {
            self.rekey(&id)?;
        }
        if !self.world.faults.reconfigurations || !self.world.random.percent(50) {
            return Ok(());
        }
        let Some(machine) = self.world.machines.get(&id) else { return Ok(()) };
        let configurations = machine.replica().configurations();
        let Some(newest) = configurations.newest().filter(|_| configurations.iter().count() < 4) else {
            return Ok(());
        };
        let members: Vec<NodeId> = newest.nodes.keys().cloned().collect();
        let replace_all = self.world.random.percent(10);
        let mut kept = members.clone();
        kept.retain(|_| !replace_all && self.world.random.percent(75));
        let added = usize::try_from(self.world.random.up_to(2)).unwrap_or_default();
        let live = kept.iter().filter(|id| self.world.is_alive(id)).count();
        // New nodes are trusted one after the other: each of the sets must be able to decide (seed 328 found one that was not).
        let decides = |added: usize| live + added >= quorum(kept.len() + added);
        let size = kept.len() + added;
        if !self.world.has_room() || size == 0 || size > 5 || !decides(added) || !decides(added.min(1)) {
            return Ok(());
        }
        let retired: Vec<NodeId> = members.into_iter().filter(|id| !kept.contains(id)).collect();
        self.reconfigure(&id, added, &retired)
    }

    /// Trusts `added` new nodes, which join at once, and retires others.
    fn reconfigure(&mut self, primary: &NodeId, added: usize, retired: &[NodeId]) -> Done {
        // The secrets that a joiner is given are those of the moment before its row is written.
        let Some(machine) = self.world.machines.get(primary) else { return Ok(()) };
        let secrets: Vec<_> = machine.secrets.read().iter().map(Arc::clone).collect();
        for number in 0..added {
            let Some(keys) = self.world.next_keys() else { break };
            let Some(machine) = self.world.machines.get_mut(primary) else { return Ok(()) };
            let leave = if number == 0 { retired } else { &[] };
            if machine.execute(|tx| transactions::reconfigure(tx, &[keys], leave)).is_none() {
                return Ok(());
            }
            let mut own = LedgerSecrets::default();
            // They are those of one node: no two contradict each other.
            for secret in &secrets {
                let _ = own.add(Arc::clone(secret));
            }
            self.world.create(own, false, Start::Backup)?;
        }
        if added == 0 && !retired.is_empty() {
            let Some(machine) = self.world.machines.get_mut(primary) else { return Ok(()) };
            machine.execute(|tx| transactions::reconfigure(tx, &[], retired));
        }
        self.soon(primary)
    }

    fn rekey(&mut self, id: &NodeId) -> Done {
        let drawn = secret(&mut self.world.random, SeqNo::NONE, None);
        let Some(machine) = self.world.machines.get_mut(id) else { return Ok(()) };
        if let Some(tx_id) = machine.execute(|tx| transactions::rekey(tx, &drawn)) {
            let new = ccf_ledger::secrets::LedgerSecret::new(
                drawn.danger_raw(),
                tx_id.seqno.next(),
                Some(tx_id.seqno),
            );
            self.world.history.rekeys.insert(tx_id, Arc::new(new));
        }
        self.soon(id)
    }

    /// Operators stop nodes once their retirement is known for good.
    fn stop_removable(&mut self) {
        let most = self.world.alive().max_by_key(|(_, machine)| machine.replica().committed().seqno);
        let removable =
            most.and_then(|(_, machine)| removable_nodes(&machine.store.begin()).ok()).unwrap_or_default();
        for (id, _) in removable {
            let stops = self.world.random.percent(30);
            if let Some(machine) = self.world.machines.get_mut(&id) {
                machine.alive &= !stops;
            }
        }
    }

    fn fault(&mut self) -> Done {
        let ids: Vec<NodeId> = self.world.alive().map(|(id, _)| id.clone()).collect();
        let Some(id) = self.world.random.pick(&ids).cloned() else { return Ok(()) };
        match self.world.random.up_to(6) {
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
            2 if self.world.faults.partitions => {
                if let Some(other) = self.world.random.pick(&ids).cloned() {
                    self.world.cut.insert((id, other));
                }
            }
            3 if self.world.faults.crashes && self.can_lose(&id) => {
                if let Some(machine) = self.world.machines.get_mut(&id) {
                    machine.alive = false;
                    machine.disk.tear(&mut self.world.random, false).map_err(crate::world::broken("Disk"))?;
                }
            }
            4 if self.world.faults.pauses => {
                let until = self.world.now + self.world.random.between(10, 400);
                if let Some(machine) = self.world.machines.get_mut(&id) {
                    machine.paused_until = until;
                }
            }
            5 if self.world.faults.clock_jumps => {
                let jump = self.world.random.up_to(ELECTION_TIMEOUT_MS);
                if let Some(machine) = self.world.machines.get_mut(&id) {
                    machine.advance_clock(jump);
                }
                self.world.turn(&id)?;
            }
            _ => self.world.cut.clear(),
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.healed = true;
        self.world.faults = Faults::healed();
        self.world.cut.clear();
        for machine in self.world.machines.values_mut() {
            machine.clock_percent = 100;
            machine.paused_until = 0;
        }
    }

    /// Whether something new is committed and every live member of the newest configuration knows.
    fn recovered(&self, start: SeqNo) -> bool {
        self.world.history.committed() > start
            && self.world.alive().any(|(id, machine)| {
                let last = machine.replica().committed();
                machine.is_primary()
                    && last == machine.replica().last()
                    && last == machine.store.tx_id()
                    && last.view == machine.replica().view()
                    && self.asked.contains(&(id.clone(), last.view.0))
                    && machine.replica().configurations().newest().is_some_and(|newest| {
                        newest.nodes.keys().filter(|id| self.world.is_alive(id)).all(|id| {
                            self.world.machines.get(id).is_some_and(|it| it.replica().committed() == last)
                        })
                    })
            })
    }

    /// Whether majorities of all configurations that any live node knows are left without this one.
    fn can_lose(&self, id: &NodeId) -> bool {
        self.world.alive().all(|(_, machine)| {
            // Nothing is under way that could make this node needed.
            let settled = machine.store.tx_id() == machine.replica().last();
            let counts = |member: &NodeId| member != id && self.world.is_alive(member);
            settled && machine.replica().configurations().iter().all(|it| it.has_quorum(counts))
        })
    }

    fn primaries(&self) -> Vec<NodeId> {
        let ready = |machine: &Machine| machine.is_primary() && machine.paused_until <= self.world.now;
        self.world.alive().filter(|(_, machine)| ready(machine)).map(|(id, _)| id.clone()).collect()
    }

    fn describe(&self) -> String {
        let one = |(id, machine): (&NodeId, &Machine)| {
            let replica = machine.replica();
            let configurations: Vec<String> = replica
                .configurations()
                .iter()
                .map(|it| format!("{}{:?}", it.seqno, it.nodes.keys().map(name).collect::<Vec<_>>()))
                .collect();
            let nodes = machine.store.begin().ro(&tables::NODES).entries().map_or(0, |rows| rows.len());
            format!(
                "{} {} {:?} view {} last {} commit {} store {} disk {} retired {} rows {nodes} {}",
                name(id),
                if machine.alive { "alive" } else { "crashed" },
                replica.leadership(),
                replica.view(),
                replica.last(),
                replica.committed(),
                machine.store.tx_id(),
                machine.disk.written(),
                machine.is_retired(),
                configurations.join(" ")
            )
        };
        self.world.machines.iter().map(one).collect::<Vec<_>>().join("\n  ")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms, step {}: {}", self.seed, self.time_ms, self.step, self.violation)?;
        write!(f, "\n  {}", self.faults)
    }
}
