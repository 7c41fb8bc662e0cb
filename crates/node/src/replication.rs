//! The thread that puts entries in order and keeps them the same on all nodes: consensus, Merkle tree, chunk ends,
//! signatures, commit.
//!
//! On a primary, workers finish entries in any order ([`Inbox`]); the replicator appends each at its place, hands the
//! bytes to the disk and to the peers, and signs when the [`policy`] says so. On a backup it judges and applies what the
//! primary sends. It never executes a request, so nothing slow runs here.

mod ahead;
pub mod disk;
mod driving;
mod flags;
#[doc(hidden)]
pub mod hostile;
mod inbox;
mod log;
pub mod policy;
mod received;
mod signatures;
mod signing;
pub mod status;
mod status_board;
mod tail;

pub use crate::historical::RecentEntries;
pub use driving::Moment;
pub use inbox::{Adoption, Inbox, PeerMessage};
pub use log::reconfiguration_of;
pub use log::{CheckSecrets, LogParts};
pub use signing::{NodeSigner, SigningError};

use ahead::Ahead;
use bytes::Bytes;
use ccf_consensus::{
    BackupStart, ElectionForm, Input, Leadership, LocalEntry, Message, Output, Reconfiguration, Refusal,
    Replica, Settings, ViewHistory,
};
use ccf_endpoints::Role;
use ccf_kv::Reserved;
use ccf_ledger::entry::Flags;
use ccf_types::{Digest, NodeId, SeqNo, TxId, View};
use inbox::{Reorder, RootQuery, Taken};
use log::NodeLog;
use parking_lot::Mutex;
use policy::{Due, SignaturePolicy};
use status::{ReplicationStatus, Term};
use status_board::SHOWN_EVERY;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tail::Payload;

/// How long a stopping node waits until what it has is on its disk and, if it is primary, committed.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// An entry with its bytes final, on its way into the ledger.
#[derive(Debug)]
pub struct FinishedEntry {
    /// Its position.
    pub tx_id: TxId,
    /// The whole entry.
    pub bytes: Bytes,
    /// Its leaf.
    pub leaf: Digest,
    /// Digest of the bytes.
    pub write_set_digest: Digest,
    /// The application's claims; zeros if there are none.
    pub claims_digest: Digest,
    /// What it does to the set of nodes.
    pub reconfiguration: Option<Reconfiguration>,
    /// The flags of its header.
    pub flags: Flags,
}

/// How far the disk has come; written by the disk thread, read by the replicator.
#[derive(Default)]
pub struct DiskProgress(Mutex<TxId>);

impl DiskProgress {
    /// The ledger ends with `last` and is in the operating system's hands.
    pub fn set(&self, last: TxId) {
        *self.0.lock() = last;
    }

    fn reached(&self) -> TxId {
        *self.0.lock()
    }
}

/// The way to the other nodes. Nothing is promised: a message may be lost.
pub trait PeerLinks: Send {
    /// A peer listens at `address`, `host:port`.
    fn add(&self, id: &NodeId, address: &str);
    /// Nothing will be sent to this peer any more.
    fn remove(&self, id: &NodeId);
    /// Whether a message to this peer would be taken now: if not, its entries need not be read.
    fn has_room(&self, to: &NodeId) -> bool {
        let _ = to;
        true
    }

    /// Sends a consensus message and the entries that follow it.
    fn send(&self, to: &NodeId, message: &[u8], entries: Bytes);
}

/// What the replicator tells the node. Called on its thread: must be short.
pub trait ReplicationEvents: Send {
    /// Everything up to `seqno` is committed.
    fn committed(&self, seqno: SeqNo) {
        let _ = seqno;
    }
    /// Another view began.
    fn view_began(&self, view: View) {
        let _ = view;
    }
    /// This node is primary now.
    fn became_primary(&self) {}
    /// The rows of retired nodes should be marked, by a transaction (consensus specification, section 8).
    fn cleanup_requested(&self) {}
    /// The own retirement is known to every future primary: the node can be stopped.
    fn retired(&self) {}
}

/// What a replicator works with.
pub struct ReplicatorParts {
    /// This node.
    pub node_id: NodeId,
    /// Timers of consensus.
    pub settings: Settings,
    /// Length of a tick of the clock.
    pub tick: Duration,
    /// Where finished entries and messages arrive.
    pub inbox: Arc<Inbox>,
    /// Where it publishes view and commit.
    pub status: Arc<ReplicationStatus>,
    /// The node's part in signatures.
    pub signer: NodeSigner,
    /// When to sign.
    pub policy: SignaturePolicy,
    /// Store, tree, ledger files.
    pub log: LogParts,
    /// How far the disk has come.
    pub progress: Arc<DiskProgress>,
    /// The other nodes.
    pub links: Box<dyn PeerLinks>,
    /// The rest of the node.
    pub events: Box<dyn ReplicationEvents>,
}

/// How a node begins.
pub enum Beginning {
    /// A new service: this node is its primary.
    NewService,
    /// The first node of a recovered service, whose ledger ends with the signature `last`.
    Recovery {
        /// The last signature.
        last: TxId,
        /// Where its views start.
        history: ViewHistory,
    },
    /// One more node of a network, with nothing or with a snapshot.
    Backup(BackupStart),
}

/// The state of the replication thread.
pub struct Replicator {
    replica: Replica,
    log: NodeLog,
    /// None while somebody else drives.
    ahead: Option<Ahead>,
    inbox: Arc<Inbox>,
    status: Arc<ReplicationStatus>,
    signer: NodeSigner,
    policy: SignaturePolicy,
    progress: Arc<DiskProgress>,
    links: Box<dyn PeerLinks>,
    events: Box<dyn ReplicationEvents>,
    reorder: Reorder,
    /// The position taken for a signature whose predecessors are not all here yet, and whether its state is to become a
    /// snapshot.
    reserved: Option<(Reserved, bool)>,
    /// Own entries in the log that consensus has not taken yet.
    fresh: Vec<LocalEntry>,
    outputs: Vec<Output>,
    /// The entries of the last message, for the next peer.
    payload: Option<Payload>,
    persisted: TxId,
    /// When the present turn began: there is no other clock in it.
    now: Moment,
    last_signed: Instant,
    signature_requested: bool,
    tick: Duration,
    last_tick: Instant,
    last_shown: Instant,
    root_queries: Vec<RootQuery>,
    stopping: bool,
}

impl Replicator {
    /// A replicator that begins as told. Afterwards the store takes transactions if the node is primary.
    #[must_use]
    pub fn begin(parts: ReplicatorParts, beginning: Beginning, now: Moment) -> Replicator {
        let last = match &beginning {
            Beginning::NewService => TxId::default(),
            Beginning::Recovery { last, .. } => *last,
            Beginning::Backup(start) => TxId { view: start.view, seqno: start.seqno },
        };
        let mut replicator = Replicator {
            replica: Replica::new(parts.node_id, parts.settings),
            log: NodeLog::new(parts.log, last),
            ahead: None,
            inbox: parts.inbox,
            status: parts.status,
            signer: parts.signer,
            policy: parts.policy,
            progress: parts.progress,
            links: parts.links,
            events: parts.events,
            reorder: Reorder::new(last.seqno.next()),
            reserved: None,
            fresh: Vec::new(),
            outputs: Vec::new(),
            payload: None,
            persisted: last,
            now,
            last_signed: now.clock,
            signature_requested: false,
            tick: parts.tick,
            last_tick: now.clock,
            last_shown: now.clock,
            root_queries: Vec::new(),
            stopping: false,
        };
        let Replicator { replica, log, outputs, .. } = &mut replicator;
        match beginning {
            Beginning::NewService => replica.start_service(log, outputs),
            Beginning::Recovery { last, history } => replica.recover_service(last, history, log, outputs),
            Beginning::Backup(start) => replica.start_backup(start, log, outputs),
        }
        if last.seqno > SeqNo::NONE {
            replicator.publish();
            replicator.status.commit(last.seqno);
        }
        replicator.carry_out();
        replicator.inbox.board.show(replicator.replica.status());
        replicator
    }

    /// Works until the inbox is stopped; then signs what is unsigned, waits for the disk and returns.
    ///
    /// # Errors
    /// [`SigningError`] if a signature cannot be made: the node must stop.
    pub fn run(mut self) -> Result<(), SigningError> {
        match self.log.decode_ahead() {
            Ok(ahead) => self.ahead = Some(ahead),
            Err(error) => tracing::warn!("No thread for decoding entries ahead of their turn: {error}"),
        }
        let mut taken = Taken::default();
        loop {
            let now = Instant::now();
            let due = self.due(now);
            let tick = self.last_tick + self.tick;
            let (deadline, gather) = match due {
                Due::Now => (now, true),
                Due::At(moment) => (moment.min(tick), true),
                Due::Idle => (tick, false),
            };
            let stopped = self.inbox.take(Some(deadline), gather, &mut taken);
            self.pass(&mut taken, Moment::now())?;
            if stopped && !self.stopping {
                self.stopping = true;
                return self.finish();
            }
        }
    }

    /// One round of work on what was taken.
    fn pass(&mut self, taken: &mut Taken, now: Moment) -> Result<(), SigningError> {
        self.now = now;
        self.tick_clock();
        self.receive_all(&taken.messages);
        taken.messages.clear();
        if std::mem::take(&mut taken.nominate_successor) {
            self.step(Input::NominateSuccessor);
        }
        self.signature_requested |= std::mem::take(&mut taken.sign);
        self.take_entries(taken);
        taken.chunk_requests.drain(..).for_each(|seqno| self.log.chunks.request(seqno));
        self.append_ready()?;
        if self.due(now.clock) == Due::Now {
            self.reserve_signature()?;
        }
        self.replicate();
        if let Some(adoption) = taken.adoption.take() {
            let adopted = self.log.adopt_private(&adoption, self.replica.committed());
            (adoption.done)(adopted);
        }
        self.log.flush();
        self.note_disk();
        if std::mem::take(&mut taken.finish_recovery) {
            self.log.disk.finish_recovery();
        }
        self.root_queries.append(&mut taken.root_queries);
        self.answer_root_queries();
        self.show_status();
        Ok(())
    }

    fn show_status(&mut self) {
        let since = self.now.clock.saturating_duration_since(self.last_shown);
        if since >= SHOWN_EVERY || self.inbox.board.is_wanted() {
            self.last_shown = self.now.clock;
            self.inbox.board.show(self.replica.status());
        }
    }

    fn tick_clock(&mut self) {
        let elapsed = self.now.clock.saturating_duration_since(self.last_tick);
        if elapsed >= self.tick {
            let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.last_tick += Duration::from_millis(elapsed_ms);
            self.step(Input::Tick(elapsed_ms));
            let idle = self.log.last().seqno == self.log.last_signature();
            let due = idle.then(|| self.log.snapshots.signature_due_at(self.log.last().seqno)).flatten();
            self.signature_requested |= due.is_some_and(|due| due <= self.now.wall);
        }
    }

    fn receive_all(&mut self, messages: &[PeerMessage]) {
        let mut later = messages.iter().skip(1);
        // One for each message; the first has its turn at once.
        let mut slots = VecDeque::from([None]);
        for message in messages {
            while let Some(ahead) = &self.ahead
                && slots.len() <= ahead::MESSAGES_MAX
                && let Some(later) = later.next()
            {
                slots.push_back(ahead.offer(&later.entries));
            }
            let slot = slots.pop_front().flatten();
            self.log.expect(slot.map(|slot| slot.take()).unwrap_or_default());
            self.receive(message);
        }
        self.log.expect(VecDeque::new());
    }

    fn receive(&mut self, message: &PeerMessage) {
        match Message::decode(&message.message) {
            Ok(decoded) => {
                self.step(Input::Receive {
                    from: &message.from,
                    message: decoded,
                    entries: &message.entries,
                });
            }
            Err(error) => self.refused(&message.from, "undecodable", &error),
        }
    }

    /// A peer sent what no correct peer sends.
    fn refused(&self, from: &NodeId, reason: &'static str, complaint: &dyn std::fmt::Display) {
        if self.status.refusals.note(from.as_str(), reason) {
            tracing::warn!("A message of node {from} is refused: {complaint}");
        }
    }

    fn step(&mut self, input: Input<'_>) {
        // Consensus must know of all entries of the log before anything else happens to it.
        self.replicate();
        self.replica.step(input, &mut self.log, &mut self.outputs);
        self.carry_out();
    }

    /// Takes the entries of this view that the workers have finished. Others were rolled back (quirk Q17).
    fn take_entries(&mut self, taken: &mut Taken) {
        let leading = self.replica.can_replicate();
        let view = self.replica.view();
        for entry in taken.entries.drain(..) {
            if leading && entry.tx_id.view == view {
                self.reorder.insert(entry);
            }
        }
    }

    fn append_ready(&mut self) -> Result<(), SigningError> {
        loop {
            if self.reserved.as_ref().is_some_and(|(reserved, _)| reserved.seqno() == self.reorder.next()) {
                self.sign()?;
            }
            let Some(entry) = self.reorder.pop() else {
                return Ok(());
            };
            self.fresh.push(self.log.append_own(entry, false));
        }
    }

    /// Gives consensus the entries appended since the last time.
    fn replicate(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        if self.replica.replicate(&fresh, &mut self.log, &mut self.outputs).is_err() {
            // Entries are taken only from a primary in its view, so this is a mistake of ours.
            tracing::error!("Consensus refused entries of its own primary. Exiting.");
            std::process::abort();
        }
        self.carry_out();
    }

    /// Tells consensus how far the disk has come: this node's own vote for a commit waits for it.
    fn note_disk(&mut self) {
        let reached = self.progress.reached();
        if reached != self.persisted {
            self.persisted = reached;
            self.step(Input::Persisted(reached));
            // What the disk had of a view that was rolled back says nothing of the entries that are there now.
            if self.status.view_of(reached.seqno) == Some(reached.view) {
                self.log.persisted(reached.seqno, !self.replica.peers().is_empty());
            }
        }
    }

    fn carry_out(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, message } => self.send(&to, &message),
                Output::PeerAdded { id, address } => self.links.add(&id, &address),
                Output::PeerRemoved(id) => self.links.remove(&id),
                Output::Committed(seqno) => {
                    self.publish();
                    self.status.commit(seqno);
                    self.log.commit_files(seqno);
                    self.events.committed(seqno);
                }
                Output::RoleChanged { leadership, view } => self.role_changed(leadership, view),
                Output::RequestCleanup => self.events.cleanup_requested(),
                Output::RetiredCommitted => self.events.retired(),
                Output::Refused { from, reason } => match self.log.take_refusal() {
                    Some((at, refused)) if reason == Refusal::Entry => {
                        self.refused(&from, refused.name(), &format_args!("transaction {at}: {refused}"));
                    }
                    _ => self.refused(&from, reason.name(), &format_args!("{reason:?}")),
                },
                Output::Trace(_) => {}
            }
        }
        self.outputs = outputs;
        self.status.signed(self.log.last_signature());
        self.publish();
    }

    fn send(&mut self, to: &NodeId, message: &Message) {
        let entries = match message {
            Message::AppendEntries(request) if request.last.seqno > request.previous.seqno => {
                let (first, last) = (request.previous.seqno.next(), request.last.seqno);
                let known = self.payload.take().filter(|known| known.first == first && known.last == last);
                if last > self.log.last().seqno {
                    return; // rolled back meanwhile
                }
                if !self.links.has_room(to) {
                    return;
                }
                let Some(payload) = known.or_else(|| self.log.payload(first, last)) else { return };
                let bytes = payload.bytes.clone();
                self.payload = Some(payload);
                bytes
            }
            _ => Bytes::new(),
        };
        self.links.send(to, &message.encode(ElectionForm::Release), entries);
    }

    fn role_changed(&mut self, leadership: Leadership, view: View) {
        self.payload = None;
        self.reserved = None;
        self.fresh.clear();
        if leadership == Leadership::Leader {
            self.log.drop_unlogged(view);
            self.log.lead(view);
            self.last_signed = self.now.clock;
            tracing::info!("This node is primary in view {view}, after {}", self.log.last());
            self.events.became_primary();
        } else {
            self.log.follow(view);
            tracing::info!("This node is {} in view {view}, after {}", leadership.as_str(), self.log.last());
        }
        self.reorder = Reorder::new(self.log.last().seqno.next());
    }

    /// Publishes role, view, primary and view history if something of them is new.
    fn publish(&mut self) {
        let replica = &self.replica;
        let role = if replica.can_replicate() { Role::Primary } else { Role::Backup };
        let starts = replica.history().starts();
        let known = self.status.term();
        let same = known.view == replica.view()
            && known.role == role
            && known.primary.as_ref() == replica.primary()
            && known.starts == starts.len()
            && known.history.last().map(|start| start.seqno) == starts.last().copied();
        if !same {
            let is_new_view = known.view != replica.view();
            drop(known);
            self.status.set_term(Term::new(replica.view(), role, replica.primary().cloned(), starts));
            if is_new_view {
                self.events.view_began(replica.view());
            }
        }
    }

    fn answer_root_queries(&mut self) {
        let last = self.log.last().seqno;
        for query in std::mem::take(&mut self.root_queries) {
            if query.seqno <= last {
                let root = self.log.tree.root_of(query.seqno.next().0).ok();
                query.answer(root);
            } else {
                self.root_queries.push(query);
            }
        }
    }

    /// Signs the rest and waits a while until it is on disk and committed.
    fn finish(mut self) -> Result<(), SigningError> {
        let patience = Instant::now() + STOP_PATIENCE;
        let mut taken = Taken::default();
        loop {
            let unlogged = self.replica.can_replicate() && self.log.last().seqno < self.log.store.version();
            if !unlogged && self.log.last().seqno > self.log.last_signature() && self.reserved.is_none() {
                self.reserve_signature()?;
                self.replicate();
                self.log.flush();
            }
            let leading = self.replica.can_replicate();
            let settled = if leading {
                self.status.committed_seqno() == self.log.last().seqno
            } else {
                self.progress.reached() == self.log.last()
            };
            let now = Instant::now();
            if settled || now >= patience {
                break;
            }
            self.inbox.sleep(patience.min(now + self.tick));
            self.inbox.take(Some(now), true, &mut taken);
            self.pass(&mut taken, Moment::now())?;
        }
        self.log.disk.finish();
        Ok(())
    }
}
