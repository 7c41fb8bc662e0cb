//! Events for the validation of traces against the formal model (section 15). The host writes them out.

use crate::{
    configuration::{Configuration, Configurations},
    message::Message,
    replica::{Leadership, RetirementPhase},
};
use ccf_types::{NodeId, SeqNo, TxId, View};

/// An event and the state it is seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The state, at the moment the format defines for the event.
    pub state: TraceState,
    /// The event.
    pub event: TraceEvent,
}

/// The state of a replica as traces show it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the trace format, section 15")]
pub struct TraceState {
    pub id: NodeId,
    pub view: View,
    pub last: SeqNo,
    pub commit: SeqNo,
    pub leadership: Leadership,
    pub phase: Option<RetirementPhase>,
    pub pre_vote_enabled: bool,
    pub ordered: Option<SeqNo>,
    pub signed: Option<SeqNo>,
    pub retired_committed: Option<SeqNo>,
    /// The first and the last committable index; both the same if there is one.
    pub committable: Option<(SeqNo, SeqNo)>,
}

/// What happened. Variants are named as the functions of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "variants and fields are those of the trace format, section 15")]
pub enum TraceEvent {
    BecomePreVoteCandidate { configurations: Configurations },
    BecomeCandidate { configurations: Configurations },
    BecomeLeader { configurations: Configurations },
    BecomeFollower { configurations: Configurations },
    StepDownAndNominateSuccessor { configurations: Configurations },
    Replicate { entry: TxId, committable: bool },
    AddConfiguration { configurations: Configurations, added: Configuration },
    Commit { to: SeqNo, configurations: Configurations },
    SendAppendEntries { to: NodeId, packet: Message, matched: SeqNo, sent: SeqNo },
    RecvAppendEntries { from: NodeId, packet: Message },
    ExecuteAppendEntriesSync { from: NodeId },
    SendAppendEntriesResponse { to: NodeId, packet: Message },
    RecvAppendEntriesResponse { from: NodeId, packet: Message, matched: SeqNo, sent: SeqNo },
    SendRequestVote { to: NodeId, packet: Message },
    RecvRequestVote { from: NodeId, packet: Message },
    RecvRequestVoteResponse { from: NodeId, packet: Message },
    RecvProposeRequestVote { from: NodeId, packet: Message },
}
