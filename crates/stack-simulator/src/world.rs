//! Machines, network and time, moved by a queue of events; every turn of a node is judged.

use crate::{
    disk::Look,
    history::{History, violation},
    identities::{self, Keys, NODES_MAX, Nodes, keys_of},
    node::{Machine, NodeParts, Outgoing, Start},
    tamper,
};
use ccf_ledger::{
    files::ChunkName,
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_node::replication::{Moment, policy::SignaturePolicy};
use ccf_simulator::{Random, Violation};
use ccf_types::{MapName, NodeId, SeqNo, TxId};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// The faults of one run; each run has some of them only.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    pub(crate) tamper_percent: u64,
    /// Messages with entries of which one gets another flag.
    pub(crate) flags_percent: u64,
    pub(crate) delay_ms: u64,
    pub(crate) reordered: bool,
    pub(crate) partitions: bool,
    pub(crate) crashes: bool,
    pub(crate) pauses: bool,
    pub(crate) clock_jumps: bool,
    pub(crate) reconfigurations: bool,
    pub(crate) hand_overs: bool,
    pub(crate) rekeys: bool,
    pub(crate) slow_workers: bool,
    pub(crate) disk_ms: u64,
}

impl Faults {
    fn drawn(random: &mut Random) -> Faults {
        Faults {
            loss_percent: if random.percent(50) { random.up_to(20) } else { 0 },
            duplicate_percent: if random.percent(30) { random.up_to(20) } else { 0 },
            tamper_percent: if random.percent(30) { random.up_to(8) } else { 0 },
            flags_percent: if random.percent(15) { random.up_to(10) } else { 0 },
            delay_ms: random.between(1, 20),
            reordered: random.percent(30),
            partitions: random.percent(60),
            crashes: random.percent(50),
            pauses: random.percent(40),
            clock_jumps: random.percent(50),
            reconfigurations: random.percent(70),
            hand_overs: random.percent(30),
            rekeys: random.percent(60),
            slow_workers: random.percent(60),
            disk_ms: if random.percent(50) { random.between(1, 40) } else { 1 },
        }
    }

    pub(crate) fn healed() -> Faults {
        Faults {
            loss_percent: 0,
            duplicate_percent: 0,
            tamper_percent: 0,
            flags_percent: 0,
            delay_ms: 3,
            reordered: false,
            partitions: false,
            crashes: false,
            pauses: false,
            clock_jumps: false,
            reconfigurations: false,
            hand_overs: false,
            rekeys: false,
            slow_workers: false,
            disk_ms: 1,
        }
    }
}

/// What happens at some time.
pub(crate) enum Event {
    Tick(NodeId),
    Deliver(NodeId, Vec<u8>),
    Disk(NodeId),
    /// Workers finish entries.
    Workers(NodeId),
    Client,
    Administrator,
    Fault,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    /// Frames on these ways are lost.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) faults: Faults,
    pub(crate) history: History,
    pub(crate) steps: u64,
    pub(crate) views: BTreeSet<u64>,
    pub(crate) tampered: u64,
    /// How often a node mended flags in its log.
    pub(crate) mended: u64,
    /// Files of complete chunks that mended flags changed to chunks with another end.
    pub(crate) reopened: u64,
    faults_drawn: String,
    digest: u64,
    begun: Moment,
    nodes: &'static Nodes,
    /// Numbers of nodes, in the order in which they come.
    numbers: Vec<usize>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    scheduled: u64,
    arrivals: BTreeMap<(NodeId, NodeId), u64>,
}

pub(crate) type Done = Result<(), Violation>;

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let faults = Faults::drawn(&mut random);
        let mut numbers: Vec<usize> = (0..NODES_MAX).collect();
        for at in (1..numbers.len()).rev() {
            numbers.swap(at, usize::try_from(random.up_to(at as u64)).unwrap_or_default());
        }
        let secret = Arc::new(secret(&mut random, SeqNo(1), None));
        World {
            now: 0,
            nodes: identities::of_seed(seed),
            machines: BTreeMap::new(),
            cut: BTreeSet::new(),
            history: History::new(secret),
            steps: 0,
            views: BTreeSet::new(),
            tampered: 0,
            mended: 0,
            reopened: 0,
            faults_drawn: format!("{faults:?}"),
            digest: 0xcbf2_9ce4_8422_2325,
            begun: Moment {
                clock: Instant::now(),
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            },
            numbers,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            arrivals: BTreeMap::new(),
            random,
            faults,
        }
    }

    /// Whether more nodes can be made.
    pub(crate) fn has_room(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// The keys of the next node to come.
    pub(crate) fn next_keys(&self) -> Option<&'static Keys> {
        self.nodes.get(*self.numbers.last()?)
    }

    /// A new machine.
    pub(crate) fn create(
        &mut self,
        secrets: LedgerSecrets,
        public_only: bool,
        start: Start,
    ) -> Result<NodeId, Violation> {
        let Some(keys) = self.numbers.pop().and_then(|number| self.nodes.get(number)) else {
            return violation("Simulator", "no more nodes".to_owned());
        };
        let delay = Duration::from_millis(self.random.between(5, 40));
        let parts = NodeParts {
            keys,
            seed: self.random.next(),
            batch: self.random.between(1, 30),
            policy: SignaturePolicy::new(self.random.between(3, 20), delay, 0),
            secrets,
            public_only,
            now: self.begun,
        };
        let mut machine = Machine::create(parts, start).map_err(broken("Disk"))?;
        machine.ticked_at = self.now;
        if self.faults.clock_jumps && self.random.percent(40) {
            machine.clock_percent = self.random.between(60, 160);
        }
        let id = machine.id().clone();
        self.machines.insert(id.clone(), machine);
        self.schedule(1, Event::Tick(id.clone()));
        Ok(id)
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

    pub(crate) fn alive(&self) -> impl Iterator<Item = (&NodeId, &Machine)> {
        self.machines.iter().filter(|(_, machine)| machine.alive)
    }

    /// The faults of this run, in one line.
    pub(crate) fn faults_drawn(&self) -> &str {
        &self.faults_drawn
    }

    pub(crate) fn is_alive(&self, id: &NodeId) -> bool {
        self.machines.get(id).is_some_and(|machine| machine.alive)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Time passes on one machine.
    pub(crate) fn tick(&mut self, id: &NodeId) -> Done {
        let now = self.now;
        let next = self.random.between(5, 15);
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else { return Ok(()) };
        let next = next.max(machine.paused_until.saturating_sub(now));
        if machine.paused_until <= now {
            machine.advance_clock((now - machine.ticked_at) * machine.clock_percent / 100);
            machine.ticked_at = now;
            self.turn(id)?;
        }
        self.schedule(next, Event::Tick(id.clone()));
        Ok(())
    }

    /// A frame arrives, or waits for a machine that pauses.
    pub(crate) fn deliver(&mut self, to: NodeId, frame: Vec<u8>) -> Done {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&to).filter(|machine| machine.alive) else { return Ok(()) };
        if machine.paused_until > now {
            let wait = machine.paused_until - now;
            self.schedule(wait, Event::Deliver(to, frame));
            return Ok(());
        }
        let (answers, came) = machine.receive(&frame);
        self.send(&to, answers);
        if came { self.turn(&to) } else { Ok(()) }
    }

    /// A disk does the next thing.
    pub(crate) fn disk(&mut self, id: &NodeId) -> Done {
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else { return Ok(()) };
        let mends = machine.disk.is_mending();
        let chunks = if mends { machine.disk.complete_chunks().map_err(broken("Disk"))? } else { Vec::new() };
        machine.disk.work().map_err(broken("Disk"))?;
        if mends {
            let after = machine.disk.complete_chunks().map_err(broken("Disk"))?;
            let is_same = |one: &ChunkName| after.iter().any(|it| (it.start, it.end) == (one.start, one.end));
            self.reopened += chunks.iter().filter(|one| !is_same(one)).count() as u64;
            machine.disk.check_files().map_err(broken("Files"))?;
        }
        if machine.disk.is_busy() {
            let wait = self.random.up_to(self.faults.disk_ms);
            self.schedule(wait, Event::Disk(id.clone()));
        }
        self.turn(id)
    }

    /// Workers finish some of the entries, in any order.
    pub(crate) fn workers(&mut self, id: &NodeId) -> Done {
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else { return Ok(()) };
        while let Some(last) = machine.unfinished.len().checked_sub(1) {
            let at = usize::try_from(self.random.up_to(last as u64)).unwrap_or_default();
            machine.inbox.push(machine.unfinished.swap_remove(at));
            if self.faults.slow_workers && self.random.percent(40) {
                break;
            }
        }
        machine.inbox.wake();
        if !machine.unfinished.is_empty() {
            let wait = self.random.between(1, 30);
            self.schedule(wait, Event::Workers(id.clone()));
        }
        self.turn(id)
    }

    /// A node gets its turn; what it did is judged, what it says is sent.
    pub(crate) fn turn(&mut self, id: &NodeId) -> Done {
        let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.alive) else { return Ok(()) };
        let was_busy = machine.disk.is_busy();
        machine.turn().map_err(broken("Signing"))?;
        self.steps += 1;
        let starts_disk = !was_busy && machine.disk.is_busy();
        let outgoing = machine.take_outgoing();
        let replica = machine.replicator.replica();
        let number = machine.keys.number;
        if machine.is_primary() {
            self.views.insert(replica.view().0);
        }
        let numbers =
            [self.now, number as u64, replica.view().0, replica.last().seqno.0, replica.committed().seqno.0];
        for number in numbers {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
        self.judge(id)?;
        if starts_disk {
            let wait = self.random.up_to(self.faults.disk_ms);
            self.schedule(wait, Event::Disk(id.clone()));
        }
        self.send(id, outgoing);
        Ok(())
    }

    /// Every invariant, as far as this node can have broken it.
    fn judge(&mut self, id: &NodeId) -> Done {
        let Some(machine) = self.machines.get_mut(id) else { return Ok(()) };
        let who = name(id);
        let Look { untouched, before: mut previous, mended, new } = machine.disk.look();
        let judged = machine.judged;
        let first = new.first().map(|entry| entry.tx_id.seqno);
        if first.is_some_and(|first| first <= judged) {
            return violation("CommittedPrefix", format!("{who} replaces entries below its commit {judged}"));
        }
        if previous == TxId::default() && untouched > SeqNo::NONE {
            // A recovered node: its log begins behind what it has read.
            previous = self.history.committed_at(untouched).unwrap_or_default();
        }
        self.mended += u64::from(!mended.is_empty());
        for entry in mended.iter().chain(&new) {
            self.history.observe(previous, entry)?;
            previous = entry.tx_id;
        }
        machine.exact = machine.exact.min(untouched);
        let last = machine.replicator.last();
        let committed = machine.replica().committed();
        if committed.seqno < judged || machine.replica().last() != last {
            return violation(
                "Order",
                format!("{who}: last {last}, consensus has {}, commit {committed}", machine.replica().last()),
            );
        }
        for seqno in (judged.0 + 1..=committed.seqno.0).map(SeqNo) {
            let Some(entry) = machine.disk.entry(seqno) else {
                return violation(
                    "CommittedPrefix",
                    format!("{who} commits {seqno}, which is not in its log"),
                );
            };
            if self.history.committed() >= seqno && self.history.committed_at(seqno) != Some(entry.tx_id) {
                return violation(
                    "CommittedPrefix",
                    format!("{who} commits {}, others {:?}", entry.tx_id, self.history.committed_at(seqno)),
                );
            }
        }
        if committed.seqno > judged {
            machine.judged = committed.seqno;
            self.history.commit(&who, committed, &|seqno| machine.disk.entry(seqno))?;
            // The root that the signature signs: its own flags are covered by the next one.
            let root = machine.replicator.root_at(committed.seqno.previous());
            if root != self.history.root_before(committed.seqno) {
                return violation("Root", format!("{who} has another Merkle root before {committed}"));
            }
            self.committed_values(id, committed)?;
        }
        let Some(machine) = self.machines.get_mut(id) else { return Ok(()) };
        let log = |seqno| machine.disk.entry(seqno);
        machine.exact = self.history.check_decided(&who, last.seqno, machine.exact, &log)?;
        let version = machine.store.tx_id().seqno;
        let unlogged = version > last.seqno;
        if version < last.seqno || (unlogged && !machine.is_primary()) {
            return violation("Unlogged", format!("{who}: the store is at {version}, the log at {last}"));
        }
        if !unlogged && (!new.is_empty() || self.steps.is_multiple_of(16)) {
            self.history.compare(&who, &machine.store, last, !machine.public_only)?;
        }
        for (tx_id, decision) in machine.take_decided() {
            let at = self.history.committed_at(tx_id.seqno);
            if (decision == ccf_endpoints::Decision::Committed) != (at == Some(tx_id)) {
                return violation(
                    "Status",
                    format!("{who} says that {tx_id} is {decision:?}; committed is {at:?}"),
                );
            }
        }
        Ok(())
    }

    /// What a reader of committed values sees.
    fn committed_values(&self, id: &NodeId, committed: TxId) -> Done {
        let (Some(machine), Some(model)) = (self.machines.get(id), self.history.model(committed)) else {
            return Ok(());
        };
        let tx = machine.store.begin();
        for map in crate::transactions::MAPS
            .into_iter()
            .filter(|map| !machine.public_only || map.starts_with("public:"))
        {
            let handle_name = MapName::parse(map).map_err(broken("Simulator"))?;
            let handle = tx.raw(&handle_name);
            for key in 0..crate::transactions::KEYS {
                let key = vec![u8::try_from(key).unwrap_or_default()];
                let seen = handle.get_globally_committed(&key);
                let expected = model.get(&(map.to_owned(), key));
                if seen.as_ref().map(ccf_kv::SmallBytes::as_slice) != expected.map(Vec::as_slice) {
                    return violation("Committed", format!("{}: {map} at {committed}", name(id)));
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: &NodeId, outgoing: Vec<Outgoing>) {
        for Outgoing { to, frame } in outgoing {
            let way = (from.clone(), to.clone());
            if self.cut.contains(&way) || self.random.percent(self.faults.loss_percent) {
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.faults.duplicate_percent));
            for _ in 0..copies {
                let (bytes, changes) = tamper::with_faults(&mut self.random, &self.faults, &frame);
                self.tampered += changes;
                let mut delay = self.random.up_to(self.faults.delay_ms);
                if !self.faults.reordered {
                    let arrival = self.arrivals.entry(way.clone()).or_default();
                    *arrival = (*arrival).max(self.now + delay);
                    delay = *arrival - self.now;
                }
                self.schedule(delay, Event::Deliver(to.clone(), bytes));
            }
        }
    }

    /// The next event of a network without clients, operators and faults.
    pub(crate) fn next_event(&mut self) -> Done {
        match self.next() {
            Some(Event::Tick(id)) => self.tick(&id),
            Some(Event::Deliver(to, frame)) => self.deliver(to, frame),
            Some(Event::Disk(id)) => self.disk(&id),
            Some(Event::Workers(id)) => self.workers(&id),
            Some(Event::Client | Event::Administrator | Event::Fault) | None => Ok(()),
        }
    }

    /// Everybody forgets what is under way: the end of the network.
    pub(crate) fn forget_events(&mut self) {
        self.queue.clear();
        self.events.clear();
    }
}

/// A secret that the seed decides.
pub(crate) fn secret(random: &mut Random, from: SeqNo, previous: Option<SeqNo>) -> LedgerSecret {
    let mut raw = [0; 32];
    for part in raw.chunks_exact_mut(8) {
        part.copy_from_slice(&random.next().to_le_bytes());
    }
    LedgerSecret::new(&raw, from, previous)
}

/// A node as failures name it: the same in every process.
pub(crate) fn name(id: &NodeId) -> String {
    keys_of(id).map_or_else(|| "nobody".to_owned(), |keys| format!("n{}", keys.number))
}

pub(crate) fn broken<E: Display>(invariant: &'static str) -> impl FnOnce(E) -> Violation {
    move |error| Violation { invariant, details: error.to_string() }
}
