//! What a replica wants done, in order.

use crate::{message::Message, replica::Leadership, trace::Traced};
use ccf_types::{NodeId, SeqNo, View};
use std::sync::Arc;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message. Entries `previous.seqno + 1 ..= last.seqno` of the ledger follow [`Message::AppendEntries`]; the host
    /// attaches them when the message leaves and drops the message if one is gone by then.
    Send {
        /// The receiver.
        to: NodeId,
        /// The message.
        message: Message,
    },
    /// A peer was added; this is where it listens.
    PeerAdded {
        /// Which one.
        id: NodeId,
        /// Its address, `host:port`.
        address: Arc<str>,
    },
    /// Nothing will be sent to this peer any more.
    PeerRemoved(NodeId),
    /// Everything up to here is committed. [`crate::Log::compact`] was told before.
    Committed(SeqNo),
    /// The role changed, or the view of a follower.
    RoleChanged {
        /// The role now.
        leadership: Leadership,
        /// The view now.
        view: View,
    },
    /// Write `retired_committed` for nodes whose retirement is committed (section 8).
    RequestCleanup,
    /// The own retirement is known to all future primaries: this node may be stopped.
    RetiredCommitted,
    /// A peer sent what no correct peer sends; the message was dropped. To be logged and counted.
    Refused {
        /// Who.
        from: NodeId,
        /// What was wrong.
        reason: Refusal,
    },
    /// An event for trace validation; only if [`crate::Settings::trace`] is set.
    Trace(Box<Traced>),
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It claims to come from this node.
    FromSelf,
    /// Its view is beyond [`crate::limits::VIEW_MAX`].
    View,
    /// Positions or views contradict each other.
    Inconsistent,
    /// A second primary in one view.
    SecondPrimary,
    /// A conflicting entry after conflicts of this view were resolved.
    SecondConflict,
    /// A view that does not begin at a signature.
    ViewStart,
    /// Entries that cannot be cut from the bytes, or bytes left over.
    Framing,
    /// An entry that could not be verified.
    Entry,
    /// An acknowledgement of entries that were never sent.
    UnknownEntries,
}

impl Refusal {
    /// A short name, for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::FromSelf => "from_self",
            Refusal::View => "view",
            Refusal::Inconsistent => "inconsistent",
            Refusal::SecondPrimary => "second_primary",
            Refusal::SecondConflict => "second_conflict",
            Refusal::ViewStart => "view_start",
            Refusal::Framing => "framing",
            Refusal::Entry => "entry",
            Refusal::UnknownEntries => "unknown_entries",
        }
    }
}
