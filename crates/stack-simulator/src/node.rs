//! One node: replicator, store, ledger, secrets and channels as a real node has them; only threads, sockets and clocks are not.

use crate::{
    disk::Disk,
    identities::{Keys, keys_of},
};
use bytes::{Bytes, BytesMut};
use ccf_channels::{
    Channel, Opened,
    frame::{OutgoingFrame, take_frame},
};
use ccf_consensus::{BackupStart, Batching, Leadership, Replica, Settings};
use ccf_crypto::cose::SignatureClaims;
use ccf_endpoints::Decision;
use ccf_governance::recovery::SecretLinks;
use ccf_kv::{Store, Tx, Written};
use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, seal},
    files::FileError,
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
    signature::SigningMode,
};
use ccf_node::{
    log_hooks,
    replication::{
        Beginning, DiskProgress, FinishedEntry, Inbox, LogParts, Moment, NodeSigner, PeerLinks, PeerMessage,
        ReplicationEvents, Replicator, ReplicatorParts, SigningError,
        policy::SignaturePolicy,
        reconfiguration_of,
        status::{ReplicationStatus, Term},
    },
    snapshots::Snapshots,
};
use ccf_types::{Digest, NodeId, SeqNo, TxId};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// Messages on one key before it is replaced, at most; few, so that it happens.
const MESSAGE_LIMIT: u64 = 400;

/// What a node is made with.
pub(crate) struct NodeParts {
    pub(crate) keys: &'static Keys,
    pub(crate) seed: u64,
    /// Entries in a message.
    pub(crate) batch: u64,
    pub(crate) policy: SignaturePolicy,
    pub(crate) secrets: LedgerSecrets,
    pub(crate) public_only: bool,
    pub(crate) now: Moment,
}

/// How it begins.
pub(crate) enum Start {
    NewService,
    Backup,
    /// On what a replay of its ledger gave.
    Recovery(Store, Disk, Arc<DiskProgress>, MerkleTree, Beginning),
}

/// A frame on its way.
pub(crate) struct Outgoing {
    pub(crate) to: NodeId,
    pub(crate) frame: OutgoingFrame,
}

/// What the replicator said.
#[derive(Default)]
struct Said {
    links: Vec<Link>,
    cleanup_wanted: bool,
    retired: bool,
}

enum Link {
    Add(NodeId),
    Remove(NodeId),
    Send(NodeId, Vec<u8>, Bytes),
}

/// A node and its machine.
pub(crate) struct Machine {
    pub(crate) keys: &'static Keys,
    pub(crate) replicator: Replicator,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) status: Arc<ReplicationStatus>,
    pub(crate) store: Store,
    pub(crate) secrets: Arc<RwLock<LedgerSecrets>>,
    pub(crate) disk: Disk,
    /// It recovers a service, and knows the public state only.
    pub(crate) public_only: bool,
    pub(crate) alive: bool,
    /// How fast its clock goes, in percent.
    pub(crate) clock_percent: u64,
    /// It does nothing before this time.
    pub(crate) paused_until: u64,
    pub(crate) ticked_at: u64,
    /// Entries that workers have not finished yet.
    pub(crate) unfinished: Vec<FinishedEntry>,
    /// Up to where its commits were judged.
    pub(crate) judged: SeqNo,
    /// Up to where its log is known to have the decided versions.
    pub(crate) exact: SeqNo,
    /// Its own time.
    clock: Duration,
    born: Moment,
    said: Arc<Mutex<Said>>,
    channels: BTreeMap<NodeId, Channel>,
    /// Transactions whose fate was told.
    decided: Arc<Mutex<Vec<(TxId, Decision)>>>,
}

impl Machine {
    pub(crate) fn create(parts: NodeParts, start: Start) -> Result<Machine, FileError> {
        let keys = parts.keys;
        let inbox = Arc::new(Inbox::default());
        let status = Arc::new(ReplicationStatus::new(Term::unstarted()));
        let secrets = Arc::new(RwLock::new(parts.secrets));
        let retired = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::new(Mutex::new(Said::default()));
        let (store, disk, progress, tree, beginning) = match start {
            Start::Recovery(store, disk, progress, tree, beginning) => {
                (store, disk, progress, tree, beginning)
            }
            new => {
                let progress = Arc::new(DiskProgress::default());
                let beginning = match new {
                    Start::NewService => Beginning::NewService,
                    _ => Beginning::Backup(BackupStart::default()),
                };
                (Store::new(), Disk::create(Arc::clone(&progress))?, progress, MerkleTree::new(), beginning)
            }
        };
        log_hooks::install(
            &store,
            keys.id.clone(),
            Arc::clone(&keys.encryption),
            Arc::clone(&secrets),
            Arc::clone(&retired),
        );
        let replicator_parts = ReplicatorParts {
            node_id: keys.id.clone(),
            settings: Settings {
                message_timeout_ms: 20,
                election_timeout_ms: crate::run::ELECTION_TIMEOUT_MS,
                wait_for_disk: true,
                // Sizes vary by some bytes from one process to the next, as signatures do: nothing may depend on them.
                batching: Batching::Count(parts.batch),
                seed: parts.seed,
                ..Settings::default()
            },
            tick: Duration::from_millis(1),
            inbox: Arc::clone(&inbox),
            status: Arc::clone(&status),
            signer: NodeSigner {
                node_id: keys.id.clone(),
                node_key: Arc::clone(&keys.key),
                endorsed_certificate: Arc::new(RwLock::new(keys.certificate.to_pem())),
                service_key: Arc::clone(&keys.service.key),
                claims: SignatureClaims::default(),
                mode: SigningMode::Dual,
            },
            policy: parts.policy,
            log: LogParts {
                store: store.clone(),
                secrets: Arc::clone(&secrets),
                retired,
                check_secrets: {
                    let known = Arc::clone(&secrets);
                    Box::new(move |seqno, writes| {
                        log_hooks::check_secrets(seqno, writes, &keys.id, &keys.encryption, &known)
                    })
                },
                links: Arc::new(Mutex::new(SecretLinks::default())),
                public_only: Arc::new(AtomicBool::new(parts.public_only)),
                disk: disk.sink(),
                reader: disk.reader(),
                tree,
                // Likewise: chunks end where it is asked for.
                chunk_bytes: u64::from(u32::MAX),
                snapshots: Snapshots::never(),
                recent: Arc::default(),
            },
            progress,
            links: Box::new(Ears(Arc::clone(&said))),
            events: Box::new(Ears(Arc::clone(&said))),
        };
        let replicator = Replicator::begin(replicator_parts, beginning, parts.now);
        Ok(Machine {
            keys,
            judged: replicator.replica().committed().seqno,
            exact: replicator.replica().committed().seqno,
            replicator,
            inbox,
            status,
            store,
            secrets,
            disk,
            public_only: parts.public_only,
            alive: true,
            clock_percent: 100,
            paused_until: 0,
            ticked_at: 0,
            unfinished: Vec::new(),
            clock: Duration::ZERO,
            born: parts.now,
            said,
            channels: BTreeMap::new(),
            decided: Arc::default(),
        })
    }

    pub(crate) fn id(&self) -> &NodeId {
        &self.keys.id
    }

    pub(crate) fn replica(&self) -> &Replica {
        self.replicator.replica()
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.replica().leadership() == Leadership::Leader && self.store.primary_view().is_some()
    }

    pub(crate) fn advance_clock(&mut self, elapsed_ms: u64) {
        self.clock += Duration::from_millis(elapsed_ms);
    }

    /// The replication thread gets its turn.
    pub(crate) fn turn(&mut self) -> Result<(), SigningError> {
        self.replicator.turn(self.born.after(self.clock))
    }

    /// A client's transaction, or one of the node itself: executed and ordered; its entry is not finished yet. None if the
    /// node takes none, or nothing was written.
    pub(crate) fn execute<E>(&mut self, body: impl FnOnce(&Tx) -> Result<(), E>) -> Option<TxId> {
        self.execute_with(Flags::NONE, body)
    }

    /// As [`execute`](Self::execute), with flags for the header of the entry.
    pub(crate) fn execute_with<E>(
        &mut self,
        flags: Flags,
        body: impl FnOnce(&Tx) -> Result<(), E>,
    ) -> Option<TxId> {
        let tx = self.store.begin();
        body(&tx).ok()?;
        let written = tx.commit().ok()?.into_written()?;
        let tx_id = written.tx_id;
        self.unfinished.push(finished(*written, flags)?);
        Some(tx_id)
    }

    /// Tells the client of a transaction its fate once it is known.
    pub(crate) fn watch(&self, tx_id: TxId) {
        let decided = Arc::clone(&self.decided);
        self.status.when_decided(tx_id, Box::new(move |decision| decided.lock().push((tx_id, decision))));
    }

    pub(crate) fn take_decided(&self) -> Vec<(TxId, Decision)> {
        std::mem::take(&mut self.decided.lock())
    }

    pub(crate) fn take_cleanup_wanted(&self) -> bool {
        std::mem::take(&mut self.said.lock().cleanup_wanted)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.said.lock().retired
    }

    /// What the node sends now.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        let links = std::mem::take(&mut self.said.lock().links);
        let mut outgoing = Vec::new();
        for link in links {
            match link {
                Link::Add(id) => drop(self.channel(&id)),
                Link::Remove(id) => drop(self.channels.remove(&id)),
                Link::Send(to, message, entries) => {
                    let (now, mut frames) = (self.clock, Vec::new());
                    let entries = if entries.is_empty() { Vec::new() } else { vec![entries] };
                    // What is too long is lost.
                    let _ = self.channel(&to).send_consensus(now, &message, entries, &mut frames);
                    outgoing.extend(frames.into_iter().map(|frame| Outgoing { to: to.clone(), frame }));
                }
            }
        }
        outgoing
    }

    /// A frame arrives. Answers what the channel sends back at once, and whether a message came out.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> (Vec<Outgoing>, bool) {
        let mut stream = BytesMut::from(frame);
        let Ok(Some(frame)) = take_frame(&mut stream, u32::MAX) else { return (Vec::new(), false) };
        let from = frame.sender.to_node_id();
        if keys_of(&from).is_none() || from == *self.id() {
            return (Vec::new(), false);
        }
        let (now, mut frames) = (self.clock, Vec::new());
        let opened = self.channel(&from).receive(now, frame.kind, frame.payload, &mut frames);
        let came = match opened {
            Ok(Some(Opened::Consensus { message, entries })) => {
                self.inbox.receive(PeerMessage { from: from.clone(), message: message.to_vec(), entries });
                true
            }
            _ => false,
        };
        (frames.into_iter().map(|frame| Outgoing { to: from.clone(), frame }).collect(), came)
    }

    fn channel(&mut self, peer: &NodeId) -> &mut Channel {
        let (identity, now) = (&self.keys.identity, self.clock);
        self.channels
            .entry(peer.clone())
            .or_insert_with(|| Channel::new(Arc::clone(identity), peer.clone(), MESSAGE_LIMIT, now))
    }
}

/// Builds the entry of a transaction as a worker does.
fn finished(written: Written, flags: Flags) -> Option<FinishedEntry> {
    let mut encoder = DomainEncoder::new();
    written.write_set.encode(&mut encoder);
    let secret: &LedgerSecret = written.context()?;
    let context = EntryContext { tx_id: written.tx_id, flags, claims_digest: Digest::ZERO, secret };
    let sealed = seal(&mut encoder, &context).ok()?;
    Some(FinishedEntry {
        tx_id: sealed.tx_id,
        bytes: sealed.bytes.into(),
        leaf: sealed.leaf,
        write_set_digest: sealed.write_set_digest,
        claims_digest: Digest::ZERO,
        reconfiguration: reconfiguration_of(written.actions),
        flags,
    })
}

struct Ears(Arc<Mutex<Said>>);

impl PeerLinks for Ears {
    fn add(&self, id: &NodeId, _: &str) {
        self.0.lock().links.push(Link::Add(id.clone()));
    }

    fn remove(&self, id: &NodeId) {
        self.0.lock().links.push(Link::Remove(id.clone()));
    }

    fn send(&self, to: &NodeId, message: &[u8], entries: Bytes) {
        self.0.lock().links.push(Link::Send(to.clone(), message.to_vec(), entries));
    }
}

impl ReplicationEvents for Ears {
    fn cleanup_requested(&self) {
        self.0.lock().cleanup_wanted = true;
    }

    fn retired(&self) {
        self.0.lock().retired = true;
    }
}
