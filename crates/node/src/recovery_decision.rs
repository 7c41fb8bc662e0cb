//! This node's part in the recovery decision protocol: it sends what the protocol says, again and again, and counts the
//! time-outs (node specification, section 11.7). The rules are in [`ccf_governance::decision`].

use crate::{
    config::DecisionProtocol,
    governance_host::GovernanceHost,
    join::client::{Client, Failure},
    node_view::RunningNode,
};
use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_endpoints::ErrorResponse;
use ccf_governance::decision::{
    Deciding, JoinInstead, Outcome, load,
    message::Message,
    state::{OpenKind, Phase, State},
};
use ccf_kv::Tx;
use ccf_types::NodeId;
use hyper::Method;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    io,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// Where endpoints find the decision, once this node takes part in one.
pub(crate) type DecisionSlot = Arc<OnceLock<Arc<Decision>>>;

/// The decision as one node sees it.
pub(crate) struct Decision {
    deciding: Deciding,
    host: Arc<GovernanceHost>,
    node: Arc<RunningNode>,
    /// Where it goes when this node gives up its service.
    instead: mpsc::UnboundedSender<JoinInstead>,
    /// What was said last of a failure: the same is not said again.
    complaint: Mutex<String>,
}

impl Decision {
    /// A decision that has not begun.
    pub(crate) fn new(
        deciding: Deciding,
        host: Arc<GovernanceHost>,
        node: Arc<RunningNode>,
        instead: mpsc::UnboundedSender<JoinInstead>,
    ) -> Decision {
        Decision { deciding, host, node, instead, complaint: Mutex::default() }
    }

    /// Takes a message, in the transaction of the request that brought it.
    ///
    /// # Errors
    /// The error answer; then the transaction must be dropped.
    pub(crate) fn receive(
        &self,
        tx: &Tx,
        message: &Message,
        certificate: &Certificate,
        now: u64,
    ) -> Result<Outcome, ErrorResponse> {
        let outcome = self.deciding.receive(tx, &*self.host, message, certificate, now)?;
        tell(&outcome);
        Ok(outcome)
    }

    /// One time-out has passed, in the transaction of the request that says so.
    ///
    /// # Errors
    /// The error answer; then the transaction must be dropped.
    pub(crate) fn tick(&self, tx: &Tx, now: u64) -> Result<Outcome, ErrorResponse> {
        let outcome = self.deciding.tick(tx, &*self.host, now)?;
        tell(&outcome);
        Ok(outcome)
    }

    /// The transaction with which this node gives up its service is written.
    pub(crate) fn join_instead(&self, instead: JoinInstead) {
        // If the main thread is gone the process is ending anyway.
        let _ = self.instead.send(instead);
    }

    /// Whether this is the identifier of the node itself.
    pub(crate) fn is_of(&self, id: &NodeId) -> bool {
        *id == self.host.facts.node_id
    }

    fn execute(&self, body: impl Fn(&Tx, u64) -> Result<Outcome, ErrorResponse>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let done = self.node.execute(|tx| body(tx, now).map(drop).map_err(|error| error.message));
        if let Err(reason) = done {
            self.complain(reason.to_string());
        }
    }

    fn complain(&self, reason: String) {
        let mut last = self.complaint.lock();
        if *last != reason {
            tracing::warn!("The recovery decision does not go on: {reason}");
            *last = reason;
        }
    }

    fn state(&self) -> Option<State> {
        load(&self.node.store.begin()).unwrap_or_else(|error| {
            self.complain(error.to_string());
            None
        })
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Kept => {}
        Outcome::Opened(OpenKind::Quorum) => {
            tracing::info!("Recovery decision: most locations chose this node, which opens its service");
        }
        Outcome::Opened(OpenKind::Failover) => {
            tracing::warn!(
                "Recovery decision: this node opens its service without a majority of the locations"
            );
        }
        Outcome::Join(instead) => {
            tracing::info!(
                "Recovery decision: the service of {} is joined instead of this one",
                instead.target
            );
        }
    }
}

/// The thread that sends. Ends when dropped.
pub(crate) struct DecisionThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DecisionThread {
    /// Begins the decision. `public_key` is that of the certificate that `client` shows.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        decision: Arc<Decision>,
        client: Client,
        public_key: PublicKey,
        config: &DecisionProtocol,
    ) -> io::Result<DecisionThread> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (retry, failover) = (config.message_retry_timeout.duration(), config.failover_timeout.duration());
        let run = move || {
            decision.execute(|tx, now| {
                let outcome = decision.deciding.begin(tx, &*decision.host, &public_key, now)?;
                tell(&outcome);
                Ok(outcome)
            });
            runtime.block_on(run(&decision, Arc::new(client), retry, failover, stopped));
        };
        let thread = std::thread::Builder::new().name("recovery-decision".into()).spawn(run)?;
        Ok(DecisionThread { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for DecisionThread {
    fn drop(&mut self) {
        // A thread that has ended hears nothing.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

async fn run(
    decision: &Decision,
    client: Arc<Client>,
    retry: Duration,
    failover: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut sends = JoinSet::new();
    // What is under way; a node that does not answer is not asked twice at a time.
    let mut busy = HashSet::new();
    let mut again = every(Instant::now(), retry);
    let mut timeouts = (!failover.is_zero()).then(|| every(Instant::now() + failover, failover));
    let mut shown = None;
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = again.tick() => {
                let Some(state) = decision.state() else { continue };
                if shown != Some(state.phase) {
                    tracing::info!("Recovery decision: {:?}{}", state.phase, choice(&state));
                    shown = Some(state.phase);
                }
                if matches!(state.phase, Phase::Joining | Phase::Open) {
                    return;
                }
                for (address, message) in decision.deciding.outbox(&state) {
                    let path = format!("/node{}", message.path());
                    let Ok(body) = message.body() else { continue };
                    let key = (address, path);
                    if busy.insert(key.clone()) {
                        let client = Arc::clone(&client);
                        sends.spawn(async move {
                            let (address, path) = &key;
                            let sent = client.send(Method::PUT, address, path, body).await;
                            (key, sent)
                        });
                    }
                }
            }
            () = next(timeouts.as_mut()) => {
                decision.execute(|tx, now| decision.tick(tx, now));
            }
            Some(Ok((key, sent))) = sends.join_next() => {
                match sent {
                    Ok(answer) if answer.status < 300 => {}
                    Ok(answer) => tracing::debug!("{} answers to {}: {}", key.0, key.1, answer.summary()),
                    Err(Failure::Handshake(reason) | Failure::Connection(reason)) => {
                        tracing::debug!("{} does not answer to {}: {reason}", key.0, key.1);
                    }
                }
                busy.remove(&key);
            }
        }
    }
}

fn every(first: Instant, period: Duration) -> Interval {
    let mut interval = interval_at(first, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn next(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn choice(state: &State) -> String {
    state.chosen.as_ref().map(|chosen| format!(", the choice is {chosen}")).unwrap_or_default()
}
