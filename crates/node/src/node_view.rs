//! The node as requests see it: role, commit, open frontends, and the way of a committed transaction into the ledger.

use crate::{
    backpressure::Backpressure,
    historical::Historical,
    indexing::Indexes,
    redirections::Redirections,
    replication::{FinishedEntry, Inbox, reconfiguration_of, status::ReplicationStatus},
};
use ccf_endpoints::{
    CommitRecord, Frontend, InterfaceRules, NodeView, NotReplicated, Role, historical::HistoricalQueries,
    indexing::Indexing,
};
use ccf_kv::{CommitError, Store, Tx, Written};
use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, seal},
    evidence::CommitEvidence,
    secrets::LedgerSecret,
};
use ccf_types::{Digest, SeqNo, TxId, View};
use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Which frontends serve requests.
#[derive(Default)]
pub(crate) struct OpenFrontends {
    node: AtomicBool,
    gov: AtomicBool,
    app: AtomicBool,
}

impl OpenFrontends {
    /// Opens a frontend for good.
    pub(crate) fn open(&self, frontend: Frontend) {
        self.flag(frontend).store(true, Ordering::Release);
    }

    /// Whether a frontend serves requests.
    #[must_use]
    pub(crate) fn is_open(&self, frontend: Frontend) -> bool {
        self.flag(frontend).load(Ordering::Acquire)
    }

    fn flag(&self, frontend: Frontend) -> &AtomicBool {
        match frontend {
            Frontend::Node => &self.node,
            Frontend::Gov => &self.gov,
            Frontend::App => &self.app,
        }
    }
}

/// What workers know of the node.
pub(crate) struct RunningNode {
    /// The store all requests work on.
    pub store: Store,
    /// Role, views, commit.
    pub status: Arc<ReplicationStatus>,
    /// Where finished entries go.
    pub inbox: Arc<Inbox>,
    /// Which frontends serve.
    pub frontends: OpenFrontends,
    /// The bound on uncommitted transactions.
    pub(crate) backpressure: Arc<Backpressure>,
    /// Bytes one transaction may write.
    pub(crate) transaction_bytes_max: usize,
    /// Where interfaces lead clients that want another node.
    pub redirections: Redirections,
    /// Past transactions, once the node takes part in a service.
    pub(crate) historical: OnceLock<Historical>,
    /// Indexes over committed transactions.
    pub(crate) indexes: Arc<Indexes>,
}

impl RunningNode {
    /// Builds the entry of a transaction and queues it for the replicator, without waking it.
    ///
    /// # Panics
    /// If the entry cannot be built: its place in the ledger could never be filled, so the node must stop.
    pub(crate) fn enqueue(&self, written: Written, claims_digest: Digest) {
        self.enqueue_with(written, claims_digest, Flags::NONE);
    }

    /// As [`enqueue`](Self::enqueue), with flags in the header of the entry.
    ///
    /// # Panics
    /// If the entry cannot be built.
    pub(crate) fn enqueue_with(&self, written: Written, claims_digest: Digest, flags: Flags) {
        thread_local!(static ENCODER: RefCell<DomainEncoder> = RefCell::new(DomainEncoder::new()));
        let secret: &LedgerSecret = written.context().expect("the store's context is the ledger secret");
        let sealed = ENCODER.with_borrow_mut(|encoder| {
            written.write_set.encode(encoder);
            let context = EntryContext { tx_id: written.tx_id, flags, claims_digest, secret };
            seal(encoder, &context)
        });
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => stop_on_broken_entry(written.tx_id, &error),
        };
        LAST_SEALED.set((sealed.tx_id, sealed.write_set_digest));
        self.inbox.push(FinishedEntry {
            tx_id: sealed.tx_id,
            bytes: sealed.bytes.into(),
            leaf: sealed.leaf,
            write_set_digest: sealed.write_set_digest,
            claims_digest,
            reconfiguration: reconfiguration_of(written.actions),
            flags,
        });
    }

    /// Executes a transaction of the node itself, again while others get in its way. Answers where it was written; none if
    /// it wrote nothing.
    ///
    /// # Errors
    /// What `body` says, or that this node is not primary.
    pub(crate) fn execute<E>(
        &self,
        mut body: impl FnMut(&Tx) -> Result<(), E>,
    ) -> Result<Option<TxId>, InternalError<E>> {
        for _ in 0..OWN_ATTEMPTS_MAX {
            let tx = self.store.begin();
            body(&tx).map_err(InternalError::Body)?;
            match tx.commit() {
                Ok(committed) => {
                    let Some(written) = committed.into_written() else { return Ok(None) };
                    let tx_id = written.tx_id;
                    self.enqueue(*written, Digest::ZERO);
                    self.inbox.burst_done();
                    return Ok(Some(tx_id));
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(InternalError::Commit(error)),
            }
        }
        Err(InternalError::Commit(CommitError::Conflict))
    }
}

/// A transaction of the node itself did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InternalError<E> {
    /// Its own reason.
    #[error("{0}")]
    Body(E),
    /// The store's.
    #[error("{0}")]
    Commit(CommitError),
}

/// How often a transaction of the node itself is tried.
const OWN_ATTEMPTS_MAX: usize = 100;

thread_local! {
    /// The transaction this worker sealed last, for answers that wait for its commit.
    static LAST_SEALED: Cell<(TxId, Digest)> = const { Cell::new((TxId::new(0, 0), Digest::ZERO)) };
}

impl RunningNode {
    /// The write set digest and the commit evidence of the transaction this worker has just executed; for one that
    /// wrote nothing the digest is zero.
    #[must_use]
    pub(crate) fn evidence_of(&self, tx_id: TxId) -> (Digest, String) {
        let (sealed, digest) = LAST_SEALED.get();
        let digest = if sealed == tx_id { digest } else { Digest::ZERO };
        let context = self.store.context();
        let evidence =
            context.downcast_ref::<LedgerSecret>().map(|secret| CommitEvidence::new(secret, tx_id));
        (digest, evidence.map(|evidence| evidence.as_str().to_owned()).unwrap_or_default())
    }
}

/// A transaction has its place but no entry: going on would leave a hole in the ledger.
fn stop_on_broken_entry(tx_id: TxId, error: &dyn std::fmt::Display) -> ! {
    tracing::error!("The entry of transaction {tx_id} cannot be built: {error}. Exiting.");
    std::process::abort();
}

impl NodeView for RunningNode {
    fn role(&self) -> Role {
        self.status.term().role
    }

    fn view(&self) -> View {
        self.status.term().view
    }

    fn committed(&self) -> TxId {
        self.status.committed()
    }

    fn view_of(&self, seqno: SeqNo) -> Option<View> {
        if seqno > self.store.version() { None } else { self.status.view_of(seqno) }
    }

    fn view_history(&self, since: View) -> Vec<TxId> {
        let term = self.status.term();
        // A view without entries shows the start of the next one that has some.
        let starts =
            |view: u64| term.history.iter().find(|start| start.view.0 >= view).map(|start| start.seqno);
        (since.0.max(1)..=term.view.0)
            .filter_map(|view| Some(TxId { view: View(view), seqno: starts(view)? }))
            .collect()
    }

    fn is_open(&self, frontend: Frontend) -> bool {
        self.frontends.is_open(frontend)
    }

    fn too_many_pending(&self) -> bool {
        self.backpressure.too_many_pending()
    }

    fn transaction_bytes_max(&self) -> usize {
        self.transaction_bytes_max
    }

    fn replicate(&self, record: CommitRecord) -> Result<(), NotReplicated> {
        self.enqueue(*record.written, record.claims_digest);
        Ok(())
    }

    fn barrier(&self) -> TxId {
        let barrier = TxId { view: self.status.term().view, seqno: self.store.version().next() };
        self.inbox.request_signature();
        barrier
    }

    fn historical(&self) -> Option<&dyn HistoricalQueries> {
        self.historical.get().map(|historical| historical as _)
    }

    fn indexing(&self) -> Option<&dyn Indexing> {
        Some(&*self.indexes)
    }

    fn redirect_address(&self, to: Role, interface: &InterfaceRules) -> Option<String> {
        self.redirections.address(to, &interface.name, &self.store, self.status.term().primary.as_ref())
    }
}
