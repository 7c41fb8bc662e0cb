//! The recovery decision protocol: several nodes recover one service at the same time, each with a service of its own,
//! and agree which of these is opened; the others join it (node specification, section 11.7). Experimental.
//!
//! [`state`] has the rules. Here they meet the store: every message and every timeout is a transaction of the receiving
//! node's own service. The node sends what [`outbox`] says, again and again, and calls [`tick`] once per time-out.

pub mod message;
pub mod state;

use self::{
    message::{Gossip, IAmOpen, Message, Place, Sender, Vote},
    state::{Effect, Event, Locations, OpenKind, Phase, Refused, State},
};
use crate::{
    join::check_evidence,
    node::NodeGovernance,
    service,
    tables::{self, base64::Base64, node::QuoteInfo},
};
use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_endpoints::{ErrorCode, ErrorResponse};
use ccf_kv::{KvError, Tx};
use ccf_types::{Digest, TxId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, ops::ControlFlow};

/// A row of `recovery_decision_protocol.nodes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecidingNode {
    /// `host:port`.
    pub address: String,
    /// Digest of the public key of the node's certificate.
    pub public_key: Digest,
    /// Its evidence.
    pub quote_info: QuoteInfo,
    /// The certificate of its service.
    pub service_cert_der: Base64,
}

/// What a node that takes part knows from its configuration and its start.
#[derive(Clone, Debug)]
pub struct Deciding {
    /// What it says of itself.
    pub own: Sender,
    /// All locations, its own included.
    pub expected: Vec<Place>,
    /// Their names.
    pub names: BTreeSet<String>,
    /// The last signature of the recovered ledger.
    pub last_signed: TxId,
    /// Of the service that is recovered: hex SHA-256 of the public key.
    pub fingerprint: String,
}

/// What a message or a timeout came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Kept,
    /// The service is opened with this transaction.
    Opened(OpenKind),
    /// Give up this service, once this transaction is written, and join another one.
    Join(JoinInstead),
}

/// Which service is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinInstead {
    /// `host:port` of its node.
    pub target: String,
    /// Its certificate, PEM.
    pub service_certificate: String,
}

/// Removes what an earlier recovery has left, in the transaction that creates the service.
///
/// # Errors
/// [`KvError`]; then the transaction must be dropped.
pub(crate) fn clear(tx: &Tx) -> Result<(), KvError> {
    // Tables of which none was ever written stay away.
    if load(tx)?.is_none() {
        return Ok(());
    }
    tx.rw(&tables::DECISION_NODES).clear();
    tx.rw(&tables::DECISION_GOSSIP).clear();
    tx.rw(&tables::DECISION_VOTES).clear();
    tx.rw(&tables::DECISION_PHASE).clear();
    tx.rw(&tables::DECISION_TIMEOUT_PHASE).clear();
    tx.rw(&tables::DECISION_CHOSEN).clear();
    tx.rw(&tables::DECISION_OPEN_KIND).clear();
    Ok(())
}

/// The state in the store; `None` before [`begin`].
///
/// # Errors
/// [`KvError`].
pub fn load(tx: &Tx) -> Result<Option<State>, KvError> {
    let Some(phase) = tx.ro(&tables::DECISION_PHASE).get()? else { return Ok(None) };
    let mut votes = BTreeSet::new();
    tx.ro(&tables::DECISION_VOTES).for_each(|name| {
        votes.insert(name);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(Some(State {
        phase,
        lane: tx.ro(&tables::DECISION_TIMEOUT_PHASE).get()?.unwrap_or(Phase::Gossiping),
        gossip: tx.ro(&tables::DECISION_GOSSIP).entries()?.into_iter().collect(),
        chosen: tx.ro(&tables::DECISION_CHOSEN).get()?,
        votes,
        open_kind: tx.ro(&tables::DECISION_OPEN_KIND).get()?,
    }))
}

/// Writes what an event has changed.
fn store(tx: &Tx, before: Option<&State>, after: &State) -> Result<(), KvError> {
    if before.map(|state| state.phase) != Some(after.phase) {
        tx.rw(&tables::DECISION_PHASE).put(&after.phase)?;
    }
    if before.map(|state| state.lane) != Some(after.lane) {
        tx.rw(&tables::DECISION_TIMEOUT_PHASE).put(&after.lane)?;
    }
    for (name, tx_id) in &after.gossip {
        if before.and_then(|state| state.gossip.get(name)) != Some(tx_id) {
            tx.rw(&tables::DECISION_GOSSIP).put(name, tx_id)?;
        }
    }
    for name in &after.votes {
        if !before.is_some_and(|state| state.votes.contains(name)) {
            tx.rw(&tables::DECISION_VOTES).insert(name)?;
        }
    }
    if let Some(chosen) = &after.chosen
        && before.and_then(|state| state.chosen.as_ref()) != Some(chosen)
    {
        tx.rw(&tables::DECISION_CHOSEN).put(chosen)?;
    }
    if let Some(kind) = &after.open_kind
        && before.and_then(|state| state.open_kind.as_ref()) != Some(kind)
    {
        tx.rw(&tables::DECISION_OPEN_KIND).put(kind)?;
    }
    Ok(())
}

fn refused(refusal: &Refused) -> ErrorResponse {
    let text = refusal.to_string();
    match refusal {
        Refused::Voted(_) => ErrorResponse::internal(text),
        Refused::Open => ErrorResponse::new(ErrorCode::InvalidNodeState, text),
        Refused::Unexpected(_) => ErrorResponse::invalid_input(text),
    }
}

/// The answer of a node that takes no part.
#[must_use]
pub fn not_deciding() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidNodeState, "This node cannot do recovery-decision-protocol")
}

impl Deciding {
    fn locations(&self) -> Locations<'_> {
        Locations { own: &self.own.location.name, expected: &self.names }
    }

    /// Applies an event to the state in the store, and opens the service if it says so.
    fn apply(
        &self,
        tx: &Tx,
        node: &dyn NodeGovernance,
        event: Event<'_>,
        now: u64,
    ) -> Result<(Effect, State), ErrorResponse> {
        let before = load(tx)?.ok_or_else(not_deciding)?;
        let mut state = before.clone();
        let effect = state.take(self.locations(), event).map_err(|refusal| refused(&refusal))?;
        store(tx, Some(&before), &state)?;
        if effect == Effect::Open {
            let previous = tx.ro(&tables::PREVIOUS_SERVICE_IDENTITY).get()?;
            let next =
                service::service_info(tx).map_err(|error| ErrorResponse::internal(error.to_string()))?;
            service::open(node, tx, previous.as_deref(), &next.cert, now)
                .map_err(|error| ErrorResponse::internal(format!("Unable to open service: {error}")))?;
        }
        Ok((effect, state))
    }

    fn outcome(effect: Effect, state: &State) -> Outcome {
        match (effect, state.open_kind) {
            (Effect::Open, Some(kind)) => Outcome::Opened(kind),
            _ => Outcome::Kept,
        }
    }

    /// The node begins, with its own gossip. `public_key` is that of its certificate. Alone it opens at once.
    ///
    /// # Errors
    /// The error; then the transaction must be dropped.
    pub fn begin(
        &self,
        tx: &Tx,
        node: &dyn NodeGovernance,
        public_key: &PublicKey,
        now: u64,
    ) -> Result<Outcome, ErrorResponse> {
        store(tx, None, &State::default())?;
        self.note(tx, &self.own, public_key)?;
        let own = &self.own.location.name;
        let (effect, state) =
            self.apply(tx, node, Event::Gossip { from: own, tx_id: self.last_signed }, now)?;
        Ok(Self::outcome(effect, &state))
    }

    /// One time-out has passed.
    ///
    /// # Errors
    /// The error; then the transaction must be dropped.
    pub fn tick(&self, tx: &Tx, node: &dyn NodeGovernance, now: u64) -> Result<Outcome, ErrorResponse> {
        let (effect, state) = self.apply(tx, node, Event::Timeout, now)?;
        Ok(Self::outcome(effect, &state))
    }

    /// Takes a message; `certificate` is what the sender proved to possess.
    ///
    /// # Errors
    /// The error answer; then the transaction must be dropped.
    pub fn receive(
        &self,
        tx: &Tx,
        node: &dyn NodeGovernance,
        message: &Message,
        certificate: &Certificate,
        now: u64,
    ) -> Result<Outcome, ErrorResponse> {
        if load(tx)?.is_none() {
            return Err(not_deciding());
        }
        let sender = message.info();
        let key = certificate.public_key().map_err(|error| {
            ErrorResponse::invalid_input(format!("The caller's certificate cannot be used: {error}"))
        })?;
        check_evidence(tx, &sender.quote_info, key.id())?;
        let from = sender.location.name.as_str();
        let place = self.expected.iter().find(|place| place.name == from);
        let place = place.ok_or_else(|| refused(&Refused::Unexpected(from.to_owned())))?;
        self.note(tx, sender, key)?;
        let event = match message {
            Message::Gossip(Gossip { txid, .. }) => Event::Gossip { from, tx_id: *txid },
            Message::Vote(_) => Event::Vote { from },
            Message::IAmOpen(IAmOpen { prev_service_fingerprint, txid, .. }) => {
                if *prev_service_fingerprint != self.fingerprint {
                    let text = "The sender recovers another service than this node";
                    return Err(ErrorResponse::invalid_input(text));
                }
                if *txid < self.last_signed {
                    let own = self.last_signed;
                    tracing::warn!(
                        "The service that {from} opens ends at {txid}, this node's ledger at {own}"
                    );
                }
                Event::Opened { from }
            }
        };
        let (effect, state) = self.apply(tx, node, event, now)?;
        if effect != Effect::Join {
            return Ok(Self::outcome(effect, &state));
        }
        let service = Certificate::from_der(&sender.service_cert_der.0).map_err(|error| {
            ErrorResponse::invalid_input(format!("The sender's service certificate cannot be read: {error}"))
        })?;
        let target = place.address.clone();
        Ok(Outcome::Join(JoinInstead { target, service_certificate: service.to_pem() }))
    }

    /// Keeps who is at a location: another node there would be another voter.
    fn note(&self, tx: &Tx, sender: &Sender, key: &PublicKey) -> Result<(), ErrorResponse> {
        let nodes = tx.rw(&tables::DECISION_NODES);
        let name = &sender.location.name;
        let row = DecidingNode {
            address: sender.location.address.clone(),
            public_key: *key.id(),
            quote_info: sender.quote_info.clone(),
            service_cert_der: sender.service_cert_der.clone(),
        };
        match nodes.get(name)? {
            Some(known) if known.public_key != row.public_key => {
                let text = format!("Another node takes part for the location {name} already");
                Err(ErrorResponse::new(ErrorCode::NodeAlreadyExists, text))
            }
            Some(known) if known == row => Ok(()),
            _ => Ok(nodes.put(name, &row)?),
        }
    }

    /// What the node sends now, each message with the address it is for.
    #[must_use]
    pub fn outbox(&self, state: &State) -> Vec<(String, Message)> {
        let own = &self.own.location.name;
        let others = self.expected.iter().filter(|place| place.name != *own);
        let info = || self.own.clone();
        let mut messages = Vec::new();
        for other in others {
            let mut say = |message| messages.push((other.address.clone(), message));
            match state.phase {
                Phase::Gossiping => say(Message::Gossip(Gossip { info: info(), txid: self.last_signed })),
                Phase::Voting => {
                    say(Message::Gossip(Gossip { info: info(), txid: self.last_signed }));
                    if state.chosen.as_ref() == Some(&other.name) {
                        say(Message::Vote(Vote { info: info() }));
                    }
                }
                Phase::Opening => say(Message::IAmOpen(IAmOpen {
                    info: info(),
                    prev_service_fingerprint: self.fingerprint.clone(),
                    txid: self.last_signed,
                })),
                Phase::Joining | Phase::Open => {}
            }
        }
        messages
    }
}
