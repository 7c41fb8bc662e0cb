//! A node at work: its threads, how they report to each other, and how it stops.

use crate::{
    files_cleanup::FilesCleanup,
    forwarding::{ForwardedWork, Forwarder},
    housekeeping::Housekeeping,
    interfaces::ServerHandle,
    node_facts::NodeFacts,
    node_view::RunningNode,
    peers::{PeerEvents, PeerNetwork},
    private_recovery::PrivateRecovery,
    recovery_decision::DecisionThread,
    replication::{
        DiskProgress, Inbox, PeerLinks, PeerMessage, ReplicationEvents, Replicator, disk::DiskEvents,
        status::ReplicationStatus,
    },
    snapshots::Snapshots,
    vital::Vital,
};
use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse};
use ccf_endpoints::Role;
use ccf_governance::decision::JoinInstead;
use ccf_ledger::files::FileError;
use ccf_types::{NodeId, TxId, View};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
};
use tokio::sync::mpsc;

/// A running node.
pub(crate) struct RunningService {
    pub(super) facts: Arc<NodeFacts>,
    pub(super) node: Arc<RunningNode>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) server: ServerHandle,
    pub(super) peers: PeerNetwork,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) _cleanup: Option<FilesCleanup>,
    pub(super) _housekeeping: Housekeeping,
    pub(super) chores_begin: Option<ChoresBegin>,
    pub(super) replication: Option<JoinHandle<()>>,
    pub(super) decision: Option<DecisionThread>,
    pub(super) instead: Option<mpsc::UnboundedReceiver<JoinInstead>>,
    pub(super) failed: mpsc::UnboundedSender<String>,
    pub(super) failures: mpsc::UnboundedReceiver<String>,
}

impl RunningService {
    /// Starts the replication thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn replicate(&mut self, replicator: Replicator) -> io::Result<()> {
        let failed = self.failed.clone();
        let run = move || {
            let _vital = Vital::new("replication");
            if let Err(error) = replicator.run() {
                // If the main thread is gone the process is ending anyway.
                let _ = failed.send(error.to_string());
            }
        };
        self.replication = Some(std::thread::Builder::new().name("replication".into()).spawn(run)?);
        if let Some(begin) = self.chores_begin.take() {
            begin.now();
        }
        self.inbox.wake();
        Ok(())
    }

    /// Announces that the node will stop: a primary proposes its successor.
    pub(crate) fn give_stop_notice(&self) {
        self.facts.give_stop_notice();
        self.inbox.nominate_successor();
    }

    /// Waits until the node cannot go on as it is.
    pub(crate) async fn end(&mut self) -> End {
        let instead = async {
            match &mut self.instead {
                Some(instead) => instead.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(failure) = self.failures.recv() => End::Failure(failure),
            Some(instead) = instead => End::Join(instead),
            else => std::future::pending().await,
        }
    }

    /// Stops: no new requests, answers flushed, the rest of the ledger signed and written.
    pub(crate) fn stop(mut self) {
        drop(self.decision.take());
        self.server.stop();
        self.inbox.stop();
        if let Some(replication) = self.replication.take() {
            // A panic there has been printed already; stopping goes on.
            let _ = replication.join();
        }
        self.peers.stop();
        self.snapshots.stop();
        if let Some(historical) = self.node.historical.get() {
            historical.stop();
        }
        self.node.indexes.stop();
    }
}

/// Why a node cannot go on as it is.
pub(crate) enum End {
    /// Something failed that it cannot survive.
    Failure(String),
    /// Another node recovers the service: this one is to join that.
    Join(JoinInstead),
}

/// Tells the replicator how far the disk is, and the main thread if it fails.
pub(super) struct DiskReports {
    pub(super) progress: Arc<DiskProgress>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) status: Arc<ReplicationStatus>,
    pub(super) failures: mpsc::UnboundedSender<String>,
}

impl DiskEvents for DiskReports {
    fn written(&self, last: TxId, committable: bool) {
        self.progress.set(last);
        // A backup acknowledges what is written, a primary counts it towards a commit, which is one of a signature.
        if committable || self.status.term().role == Role::Backup {
            self.inbox.wake();
        }
    }

    fn failed(&self, error: FileError) {
        // If the main thread is gone the process is ending anyway.
        let _ = self.failures.send(format!("Writing the ledger failed: {error}"));
    }
}

/// The replicator's way to the other nodes.
pub(super) struct Links(pub(super) PeerNetwork);

impl PeerLinks for Links {
    fn add(&self, id: &NodeId, address: &str) {
        self.0.add_peer(id, address);
    }

    fn remove(&self, id: &NodeId) {
        self.0.remove_peer(id);
    }

    fn has_room(&self, to: &NodeId) -> bool {
        self.0.has_room(to)
    }

    fn send(&self, to: &NodeId, message: &[u8], entries: Bytes) {
        let entries = (!entries.is_empty()).then_some(entries);
        // What is lost is sent again when the peer says what it lacks.
        let _ = self.0.send_consensus(to, message, entries);
    }
}

/// The other nodes' way to the replicator.
pub(super) struct PeerInbox {
    pub(super) inbox: Arc<Inbox>,
    pub(super) work: ForwardedWork,
    pub(super) forwarder: Arc<Forwarder>,
}

impl PeerEvents for PeerInbox {
    fn consensus(&self, from: &NodeId, message: &[u8], entries: Bytes) {
        self.inbox.receive(PeerMessage { from: from.clone(), message: message.to_vec(), entries });
    }

    fn forwarded_request(&self, from: &NodeId, request: ForwardedRequest) {
        self.work.take(from, request);
    }

    fn forwarded_response(&self, from: &NodeId, response: ForwardedResponse) {
        self.forwarder.answered(from, response);
    }

    fn end_of_burst(&self) {
        self.work.end_of_burst();
        self.forwarder.deliver();
    }

    fn disconnected(&self, from: &NodeId, established: bool) {
        self.forwarder.disconnected(from, established);
    }
}

/// What the replicator tells the node.
pub(super) struct Reports {
    pub(super) node: Arc<RunningNode>,
    pub(super) recovery: Arc<PrivateRecovery>,
    pub(super) chores: Chores,
    pub(super) forwarder: Arc<Forwarder>,
}

impl ReplicationEvents for Reports {
    fn view_began(&self, view: View) {
        self.forwarder.view_began(view);
    }

    fn became_primary(&self) {
        // The primary before may have been lost while it ended the recovery of the service.
        let recovery = Arc::clone(&self.recovery);
        self.chores.run(move || recovery.close());
    }

    fn cleanup_requested(&self) {
        let node = Arc::clone(&self.node);
        self.chores.run(move || crate::retirement::mark_retired_committed(&node));
    }
}

/// Lets chores begin: not before the first transaction of a service is in the log, since a node that begins a service
/// as its primary would do some of them at once.
pub(super) struct ChoresBegin(Sender<()>);

impl ChoresBegin {
    fn now(self) {
        // A thread that has ended needs no start.
        let _ = self.0.send(());
    }
}

/// A thread for transactions of the node itself and other work that must not hold up replication.
#[derive(Clone)]
pub(super) struct Chores(Sender<Box<dyn FnOnce() + Send>>);

impl Chores {
    /// Starts the thread, which does nothing before it may begin; it ends with the last handle.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start() -> io::Result<(Chores, ChoresBegin)> {
        let (sender, receiver) = channel::<Box<dyn FnOnce() + Send>>();
        let (begin, may_begin) = channel();
        let run = move || {
            let _vital = Vital::new("chores");
            // Without its start the node ends, and nothing is left to do.
            if may_begin.recv().is_ok() {
                receiver.into_iter().for_each(|chore| chore());
            }
        };
        std::thread::Builder::new().name("chores".into()).spawn(run)?;
        Ok((Chores(sender), ChoresBegin(begin)))
    }

    /// Does `chore` after those before it.
    pub(super) fn run(&self, chore: impl FnOnce() + Send + 'static) {
        // The thread ends only when the process does.
        let _ = self.0.send(Box::new(chore));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn chores_wait_until_they_may_begin() {
        let (chores, begin) = Chores::start().unwrap();
        let (done, is_done) = channel();
        chores.run(move || done.send(()).unwrap());
        assert!(is_done.recv_timeout(Duration::from_millis(100)).is_err(), "done too early");
        begin.now();
        is_done.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
