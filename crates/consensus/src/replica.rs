//! One replica of the log: its state, how it starts, what goes in.

mod acknowledge;
mod append;
mod commit;
mod election;
mod queries;
mod replicate;
mod retirement;
mod roles;
mod timers;
mod tracing;

use crate::{
    batch::{Batch, Batching},
    configuration::Configurations,
    limits::VIEW_MAX,
    log::Log,
    message::Message,
    output::{Output, Refusal},
    peers::Peers,
    rng::Rng,
    view_history::ViewHistory,
};
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::collections::{BTreeSet, VecDeque};

pub use queries::{Status, TxStatus};
pub use replicate::NotPrimary;
pub use roles::{Leadership, RetirementPhase};

/// What is decided before a replica starts. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A primary sends to every peer at this period.
    pub message_timeout_ms: u64,
    /// A backup stands for election after at most this time without a primary, at least half of it; a primary without
    /// answers of a majority steps down after it.
    pub election_timeout_ms: u64,
    /// Whether elections begin by sounding out whether they could be won. To be left on.
    pub pre_vote: bool,
    /// Whether the timers run before the first signature is seen. For scenario files.
    pub ticking_from_start: bool,
    /// How many entries go into a message.
    pub batching: Batching,
    /// Whether a signature is sent at once instead of at the next period.
    pub send_at_signature: bool,
    /// Whether backups are told of a commit at once instead of at the next period.
    pub send_at_commit: bool,
    /// Whether this node's own vote for a commit waits for [`Input::Persisted`].
    pub wait_for_disk: bool,
    /// Decides the random part of timers; different on every node.
    pub seed: u64,
    /// Whether [`Output::Trace`] is produced.
    pub trace: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            message_timeout_ms: 100,
            election_timeout_ms: 5000,
            pre_vote: true,
            ticking_from_start: false,
            batching: Batching::Average,
            send_at_signature: true,
            send_at_commit: true,
            wait_for_disk: false,
            seed: 0,
            trace: false,
        }
    }
}

/// What goes in.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// So many milliseconds have passed.
    Tick(u64),
    /// A message of a peer, authenticated.
    Receive {
        /// The sender.
        from: &'a NodeId,
        /// The message.
        message: Message,
        /// What follows [`Message::AppendEntries`]: the entries, back to back.
        entries: &'a [u8],
    },
    /// The own ledger has everything up to this entry on disk; only of use with [`Settings::wait_for_disk`]. Late news of an
    /// entry that was rolled back does no harm: its view tells.
    Persisted(TxId),
    /// This node will stop soon: another one should stand for election now (section 7.5).
    NominateSuccessor,
}

/// Where a backup starts: nowhere, or at a snapshot.
#[derive(Clone, Debug, Default)]
pub struct BackupStart {
    /// The snapshot's entry: the last one and committed.
    pub seqno: SeqNo,
    /// The view of the snapshot's last signature.
    pub view: View,
    /// The view history stored in the snapshot.
    pub history: ViewHistory,
    /// The trusted nodes of the snapshot, with the position of the last write of their table.
    pub configuration: Option<crate::Configuration>,
}

/// One replica. The host owns it in one place and calls it for one thing after another.
#[derive(Clone, Debug)]
pub struct Replica {
    id: NodeId,
    settings: Settings,
    rng: Rng,

    view: View,
    last: SeqNo,
    commit: SeqNo,
    /// What the own disk has; only of use with [`Settings::wait_for_disk`].
    persisted: SeqNo,
    /// Up to here the primary of this view waits for an acknowledgement, until the own disk has it; 0 if for none.
    owed: SeqNo,
    /// The signatures after `commit`, ascending.
    committable: VecDeque<SeqNo>,
    history: ViewHistory,

    leadership: Leadership,
    /// The node cast for in this view.
    voted_for: Option<NodeId>,
    /// The primary of this view, if known.
    leader: Option<NodeId>,
    votes: BTreeSet<NodeId>,
    /// Whether one conflicting suffix may still be dropped in this view.
    may_drop_conflict: bool,
    /// A new primary signs even if nothing else is unsigned.
    should_sign: bool,

    configurations: Configurations,
    peers: Peers,
    /// The entry that retired this node, the signature after it, the commit that made it known for good.
    ordered: Option<SeqNo>,
    signed: Option<SeqNo>,
    retired_committed: Option<SeqNo>,

    ticking: bool,
    elapsed_ms: u64,
    batch: Batch,
}

/// What a step works on besides the replica.
pub(crate) struct Host<'a> {
    pub(crate) log: &'a mut dyn Log,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Replica {
    /// A replica that waits for a start: one of the three functions below, or a message of a primary.
    #[must_use]
    pub fn new(id: NodeId, settings: Settings) -> Replica {
        Replica {
            rng: Rng::new(settings.seed),
            ticking: settings.ticking_from_start,
            batch: Batch::new(settings.batching),
            id,
            settings,
            view: View::UNKNOWN,
            last: SeqNo::NONE,
            commit: SeqNo::NONE,
            persisted: SeqNo::NONE,
            owed: SeqNo::NONE,
            committable: VecDeque::new(),
            history: ViewHistory::default(),
            leadership: Leadership::None,
            voted_for: None,
            leader: None,
            votes: BTreeSet::new(),
            may_drop_conflict: false,
            should_sign: false,
            configurations: Configurations::default(),
            peers: Peers::new(),
            ordered: None,
            signed: None,
            retired_committed: None,
            elapsed_ms: 0,
        }
    }

    /// Starts a new service: primary of view 2 with an empty log. The first entry must name this node.
    ///
    /// # Panics
    /// If the replica has started already.
    pub fn start_service(&mut self, log: &mut dyn Log, out: &mut Vec<Output>) {
        assert!(self.is_unstarted(), "a replica starts once");
        self.view = View(self.view.0 + View::FIRST.0);
        self.become_leader(&mut Host { log, out });
    }

    /// Starts a recovered service: primary, two views after the last signature of the ledger, which counts as
    /// committed. `history` is what the ledger tells up to there. The first entry must name this node.
    ///
    /// # Panics
    /// If the replica has started already.
    pub fn recover_service(
        &mut self,
        last: TxId,
        history: ViewHistory,
        log: &mut dyn Log,
        out: &mut Vec<Output>,
    ) {
        assert!(self.is_unstarted(), "a replica starts once");
        assert_eq!(history.view_at(last.seqno), last.view, "the history knows the view of the last entry");
        (self.last, self.commit, self.persisted) = (last.seqno, last.seqno, last.seqno);
        self.history = history;
        self.view = View(last.view.0 + View::FIRST.0);
        self.become_leader(&mut Host { log, out });
    }

    /// Starts as a backup that waits for a primary.
    ///
    /// # Panics
    /// If the replica has started already.
    pub fn start_backup(&mut self, start: BackupStart, log: &mut dyn Log, out: &mut Vec<Output>) {
        assert!(self.is_unstarted(), "a replica starts once");
        (self.last, self.commit, self.persisted) = (start.seqno, start.seqno, start.seqno);
        self.history = start.history;
        let mut host = Host { log, out };
        if let Some(configuration) = start.configuration {
            self.add_configuration(configuration.seqno, configuration.nodes, &mut host);
        }
        host.log.set_view(start.view);
        self.adopt_view(start.view, &mut host);
    }

    /// Processes one input. Effects are appended to `out`, to be carried out in order.
    pub fn step(&mut self, input: Input<'_>, log: &mut dyn Log, out: &mut Vec<Output>) {
        let mut host = Host { log, out };
        match input {
            Input::Tick(elapsed_ms) => self.tick(elapsed_ms, &mut host),
            Input::Receive { from, message, entries } => self.receive(from, message, entries, &mut host),
            Input::Persisted(tx_id) => self.note_persisted(tx_id, &mut host),
            Input::NominateSuccessor => self.nominate_successor(&mut host),
        }
        self.check_invariants();
    }

    fn receive(&mut self, from: &NodeId, message: Message, entries: &[u8], host: &mut Host<'_>) {
        if *from == self.id {
            return host.refuse(from, Refusal::FromSelf);
        }
        let view = match message {
            Message::AppendEntries(request) => request.view,
            Message::AppendEntriesResponse(response) => response.view,
            Message::RequestVote(request) | Message::RequestPreVote(request) => request.view,
            Message::RequestVoteResponse(response) | Message::RequestPreVoteResponse(response) => {
                response.view
            }
            Message::ProposeRequestVote(view) => view,
        };
        if view.0 > VIEW_MAX {
            return host.refuse(from, Refusal::View);
        }
        match message {
            Message::AppendEntries(request) => self.receive_append_entries(from, request, entries, host),
            Message::AppendEntriesResponse(response) => {
                self.receive_append_entries_response(from, response, host);
            }
            Message::RequestVote(_) | Message::RequestPreVote(_) => {
                self.receive_request_vote(from, message, host);
            }
            Message::RequestVoteResponse(_) | Message::RequestPreVoteResponse(_) => {
                self.receive_vote_response(from, message, host);
            }
            Message::ProposeRequestVote(view) => self.receive_propose_request_vote(from, view, host),
        }
    }

    fn is_unstarted(&self) -> bool {
        self.leadership == Leadership::None && self.view == View::UNKNOWN && self.last == SeqNo::NONE
    }

    fn check_invariants(&self) {
        assert!(self.commit <= self.last, "commit lies within the log");
        assert!(
            self.committable.front().is_none_or(|first| *first > self.commit),
            "committable means not committed"
        );
        assert!(
            self.committable.back().is_none_or(|last| *last <= self.last),
            "signatures lie within the log"
        );
        assert!(self.view_at(self.last) <= self.view, "no entry is of a later view than the current one");
        assert!(!self.peers.contains_key(&self.id), "no replica is its own peer");
        assert!(self.persisted <= self.last, "what is on disk is in the log");
        if self.leadership == Leadership::Leader {
            assert!(self.leader.as_ref() == Some(&self.id), "a primary knows itself");
            assert!(
                self.peers.values().all(|peer| peer.matched <= self.last),
                "no peer has more than the primary"
            );
        }
    }
}

impl Host<'_> {
    pub(crate) fn refuse(&mut self, from: &NodeId, reason: Refusal) {
        self.out.push(Output::Refused { from: from.clone(), reason });
    }

    pub(crate) fn send(&mut self, to: &NodeId, message: Message) {
        self.out.push(Output::Send { to: to.clone(), message });
    }
}
