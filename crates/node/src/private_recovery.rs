//! The second half of a recovery: once the members have restored the ledger secrets, every node reads the ledger again,
//! with its private part (node specification, section 11.3; ledger specification, section 16.1).

use crate::{
    governance_host::GovernanceHost,
    node_facts::{NodeFacts, StartupState},
    node_view::RunningNode,
    replay::{ReplayPlan, ReplayProgress, ReplayState, replay_into},
    replication::Adoption,
    snapshots::{Snapshots, StartupSnapshot},
};
use ccf_endpoints::{Frontend, NodeView, Role};
use ccf_governance::{
    recovery::close,
    service::ServiceError,
    tables::{self, service::ServiceStatus},
};
use ccf_kv::Store;
use ccf_ledger::{
    chunks::ChunkAccounting,
    files::LedgerReader,
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_types::SeqNo;
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// What reading the private ledger needs.
pub(crate) struct PrivateRecovery {
    /// This node.
    pub facts: Arc<NodeFacts>,
    /// Store, replication.
    pub node: Arc<RunningNode>,
    /// The node as governance sees it.
    pub host: Arc<GovernanceHost>,
    /// All ledger secrets of this node.
    pub secrets: Arc<RwLock<LedgerSecrets>>,
    /// Whether replication reads public domains only.
    pub public_only: Arc<AtomicBool>,
    /// The ledger.
    pub reader: LedgerReader,
    /// `ledger.chunk_size`.
    pub chunk_bytes: u64,
    /// The snapshot this node started from.
    pub snapshot: Option<StartupSnapshot>,
    /// Who takes snapshots, from the end of the recovery on.
    pub snapshots: Arc<Snapshots>,
    /// Where a failure that the node cannot survive goes.
    pub failed: mpsc::UnboundedSender<String>,
}

/// Between two looks whether the entry with the secrets is committed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a committed entry may take to get to this node's disk.
const FILE_PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts to end the recovery, which fail while there is no primary, or too much is uncommitted.
const CLOSE_EVERY: Duration = Duration::from_millis(100);

impl PrivateRecovery {
    /// Reads the private ledger on a thread of its own. The secrets were written at `written_at`, which is being
    /// committed.
    pub(crate) fn begin(recovery: &Arc<PrivateRecovery>, restored: LedgerSecrets, written_at: SeqNo) {
        recovery.facts.enter(StartupState::ReadingPrivateLedger);
        let own = Arc::clone(recovery);
        let run = move || {
            if let Err(reason) = PrivateRecovery::run(&own, &restored, written_at) {
                own.fail(&reason);
            }
        };
        if let Err(error) = thread::Builder::new().name("private-recovery".into()).spawn(run) {
            recovery.fail(&error.to_string());
        }
    }

    fn fail(&self, reason: &str) {
        // If the main thread is gone the process is ending anyway.
        let _ = self.failed.send(format!("The private ledger cannot be recovered: {reason}"));
    }

    fn run(own: &Arc<PrivateRecovery>, restored: &LedgerSecrets, written_at: SeqNo) -> Result<(), String> {
        while own.node.status.committed_seqno() < written_at {
            thread::sleep(LOOK_EVERY);
        }
        let target = own.node.status.committed_seqno();
        own.wait_for_file_with(target)?;
        own.facts.recovery_target.store(target.0, Ordering::Release);
        let secrets = {
            let mut known = own.secrets.write();
            restored
                .iter()
                .try_for_each(|secret| known.add(Arc::clone(secret)))
                .map_err(|e| e.to_string())?;
            known.clone()
        };
        let private = Store::new();
        let state = own.beginning(&private, &secrets)?;
        let plan = ReplayPlan {
            reader: &own.reader,
            secrets: Some(&secrets),
            to: Some(target),
            threads: thread::available_parallelism().map_or(1, usize::from),
        };
        tracing::info!("Reading the private ledger from {} to {target}", state.last.seqno.next());
        let mut progress = |progress: ReplayProgress| {
            own.facts.recovered.store(progress.verified.0, Ordering::Release);
        };
        let outcome = replay_into(&private, state, &plan, &mut progress);
        if outcome.state.last.seqno != target {
            let reason = outcome.stopped.map_or("the ledger ends before".to_owned(), |stop| stop.to_string());
            return Err(format!(
                "it could be read up to {} of {target} only: {reason}",
                outcome.state.last.seqno
            ));
        }
        match own.node.inbox.root_at(target) {
            Some(root) if root != outcome.state.tree.root() => {
                return Err(format!("the Merkle root at {target} is not the one of the public ledger"));
            }
            Some(_) => {}
            // So much was committed meanwhile that the root is not kept; the signatures were all verified.
            None => tracing::info!("The Merkle root at {target} is not kept any more"),
        }
        let this = Arc::clone(own);
        let done = move |adopted: Result<(), String>| match adopted {
            Ok(()) => this.adopted(),
            Err(reason) => this.fail(&reason),
        };
        own.node.inbox.adopt(Adoption { private, last: target, done: Box::new(done) });
        Ok(())
    }

    /// What is committed may still be on its way to this node's disk.
    fn wait_for_file_with(&self, target: SeqNo) -> Result<(), String> {
        let since = Instant::now();
        while self.reader.read_range(target, target, usize::MAX).map_err(|e| e.to_string())?.is_none() {
            if since.elapsed() > FILE_PATIENCE {
                return Err(format!("transaction {target} is committed, but in none of the ledger files"));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The state of the snapshot this node started from, or nothing.
    fn beginning(&self, private: &Store, secrets: &LedgerSecrets) -> Result<ReplayState, String> {
        let Some(snapshot) = &self.snapshot else { return Ok(ReplayState::new(self.chunk_bytes)) };
        let installed = snapshot.install(private, Some(secrets)).map_err(|e| e.to_string())?;
        Ok(ReplayState {
            chunks: ChunkAccounting::new(self.chunk_bytes, installed.last.seqno),
            tree: installed.tree,
            last: installed.last,
            view_history: installed.view_history,
        })
    }

    /// The private state is part of the node's; called on the replicator's thread.
    fn adopted(self: Arc<PrivateRecovery>) {
        self.snapshots.set_enabled(true);
        self.facts.enter(StartupState::PartOfNetwork);
        tracing::info!("Private recovery complete");
        // Transactions: not on this thread.
        let close = move || self.close_until_done();
        if let Err(error) = thread::Builder::new().name("recovery-end".into()).spawn(close) {
            tracing::error!("The recovery cannot be ended: {error}");
        }
    }

    /// Sees to it that the recovery of the service is ended: by this node as soon as it is primary and the transaction succeeds,
    /// or by whichever other one.
    fn close_until_done(&self) {
        while !self.is_ended() && !self.node.inbox.is_stopped() {
            if self.node.role() == Role::Primary {
                self.close();
            }
            thread::sleep(CLOSE_EVERY);
        }
    }

    /// Whether the service is open for good. A backup learns of it by the commit.
    fn is_ended(&self) -> bool {
        let tx = self.node.store.begin();
        let service = tx.ro(&tables::SERVICE_INFO).get();
        service.ok().flatten().is_some_and(|service| service.status == ServiceStatus::Open)
            && self.node.is_open(Frontend::App)
    }

    /// Ends the recovery of the service, if this node is primary, knows the private state, and nobody has done so.
    pub(crate) fn close(&self) {
        if self.facts.state() != StartupState::PartOfNetwork || self.public_only.load(Ordering::Acquire) {
            return;
        }
        let before = {
            let secrets = self.secrets.read();
            secrets.latest().and_then(|latest| secrets.at(latest.from().previous())).cloned()
        };
        let Some(before) = before else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match self.node.execute(|tx| self.end(tx, &before, now)) {
            Ok(Some(at)) => {
                self.snapshots.request(at.seqno);
                tracing::info!("The service is recovered: opened at {at}");
            }
            Ok(None) => {}
            Err(reason) => tracing::info!("The recovery was not ended by this node: {reason}"),
        }
    }

    fn end(&self, tx: &ccf_kv::Tx, before: &LedgerSecret, now: u64) -> Result<(), EndError> {
        if close(&*self.host, tx, before, now)? { Ok(()) } else { Err(EndError::Done) }
    }
}

/// The recovery is not ended here.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error("it was ended before")]
    Done,
    #[error(transparent)]
    Service(#[from] ServiceError),
}
