//! One channel per peer: keys, what waits for keys, and when keys are replaced (11.3, 11.4).
//!
//! ```text
//!              send, or message without key: init
//!   Inactive ------------------------------------> Initiated -- response: final --> Established
//!      |                                               |                                 |
//!      | init: response                                | init of a higher id: response   | init: response
//!      +--------------> WaitingForFinal <--------------+---------------------------------+
//!                              |
//!                              +-- final --> Established
//! ```
//!
//! Keys that are in use stay so until the exchange replaces them: a sender's with the response, a receiver's with the response or the
//! final. Frames must reach the peer in the order in which they were handed out; any of them may be lost.
//!
//! Beyond the reference: an exchange that does not end is begun anew after [`INITIATION_GAP`](crate::limits::INITIATION_GAP) also
//! when the final, or an answer to a rollover, was lost; an init is looked at once, and answered with a fresh key, so that no
//! replay brings an old key back. Nor does the reference notice that two sides ended an exchange with different keys, which takes
//! one changed bit of the salt, as it is not signed: here a side that can open nothing any more begins anew.

mod exchange;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use ccf_crypto::key::{EphemeralKey, PublicKey};
use ccf_types::NodeId;

use crate::{
    Identity, consensus,
    forwarding::{Forwarded, ForwardedRequest, ForwardedResponse, Header},
    frame::{self, FrameKind, OutgoingFrame, entries_len},
    handshake::{SALT_LEN, Share},
    keys::{OpenError, PROTECTION_LEN, ReceiveKey, SendKey},
    limits::{FORWARDED_WAITING_MAX, MESSAGE_LIMIT_MAX, MESSAGE_LIMIT_MIN},
};

/// The channel to one peer. Times are durations since any moment, always the same one.
pub struct Channel {
    identity: Arc<Identity>,
    peer: NodeId,
    message_limit: u64,
    phase: Phase,
    send: Option<SendKey>,
    receive: Option<ReceiveKey>,
    /// The newest consensus message that found no key (quirk Q14).
    waiting_consensus: Option<(Vec<u8>, Vec<Bytes>)>,
    waiting_forwarded: VecDeque<(Header, Vec<u8>)>,
    /// Starts of the shares of the peer's inits, newest last.
    seen: VecDeque<[u8; 16]>,
    /// When the receive key last opened a message, or was put there.
    last_opened: Duration,
    last_activity: Duration,
}

/// Where the key exchange stands.
enum Phase {
    Inactive,
    Initiated { key: EphemeralKey, share: Share, salt: [u8; SALT_LEN], retry_at: Duration },
    WaitingForFinal { share: Share, peer_key: PublicKey, receive: ReceiveKey, retry_at: Duration },
    Established,
}

/// A message of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A consensus message.
    Consensus {
        /// Authenticated.
        message: Bytes,
        /// The ledger entries behind it; not authenticated.
        entries: Bytes,
    },
    /// A forwarded request.
    Request(ForwardedRequest),
    /// The answer to one.
    Response(ForwardedResponse),
}

/// Why a received frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No such kind of frame.
    #[error("a frame of an unknown kind")]
    UnknownKind,
    /// Not the bytes of such a message.
    #[error("a malformed message")]
    Malformed,
    /// The certificate is not that of the peer, or not endorsed by this service.
    #[error("a certificate that this service did not issue to that node")]
    Certificate,
    /// A signature of the key exchange is wrong.
    #[error("a key exchange with a wrong signature")]
    Signature,
    /// The tag is wrong.
    #[error("a message that was sealed with other keys, or changed")]
    NotAuthentic,
    /// Seen before.
    #[error("a message that was sent before")]
    Replayed,
    /// No key to open it with, yet.
    #[error("a message before keys were exchanged")]
    NoKeys,
    /// A step of a key exchange that is not awaited: both sides began one, or an answer came late.
    #[error("a step of another key exchange")]
    NotAwaited,
    /// This node could not do its part.
    #[error("the key exchange failed on this side")]
    Local,
}

impl Refusal {
    /// A short name, for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::UnknownKind => "unknown_kind",
            Refusal::Malformed => "malformed",
            Refusal::Certificate => "certificate",
            Refusal::Signature => "signature",
            Refusal::NotAuthentic => "not_authentic",
            Refusal::Replayed => "replayed",
            Refusal::NoKeys => "no_keys",
            Refusal::NotAwaited => "not_awaited",
            Refusal::Local => "local",
        }
    }

    /// Whether correct peers on a faultless network never cause it. The others happen when both sides start at once or keys change
    /// hands.
    #[must_use]
    pub fn is_suspicious(self) -> bool {
        !matches!(
            self,
            Refusal::NoKeys
                | Refusal::NotAwaited
                | Refusal::NotAuthentic
                | Refusal::Replayed
                | Refusal::Local
        )
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// As many forwarded messages wait for keys as may.
    #[error("too many messages wait for the key exchange")]
    QueueFull,
    /// Longer than a frame may be.
    #[error("the message is too long for a frame")]
    TooLong,
}

impl Channel {
    /// A channel without keys.
    #[must_use]
    pub fn new(identity: Arc<Identity>, peer: NodeId, message_limit: u64, now: Duration) -> Channel {
        Channel {
            identity,
            peer,
            message_limit: message_limit.clamp(MESSAGE_LIMIT_MIN, MESSAGE_LIMIT_MAX),
            phase: Phase::Inactive,
            send: None,
            receive: None,
            waiting_consensus: None,
            waiting_forwarded: VecDeque::new(),
            seen: VecDeque::new(),
            last_opened: now,
            last_activity: now,
        }
    }

    /// Later key exchanges use this identity; keys in use stay.
    pub fn set_identity(&mut self, identity: Arc<Identity>) {
        self.identity = identity;
    }

    /// Sends a consensus message, followed by ledger entries as they are. Without a key the newest one waits.
    ///
    /// # Errors
    /// [`SendRefused::TooLong`].
    pub fn send_consensus(
        &mut self,
        now: Duration,
        message: &[u8],
        entries: Vec<Bytes>,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), SendRefused> {
        self.last_activity = now;
        if self.send.is_none() {
            self.waiting_consensus = Some((message.to_vec(), entries));
            self.start(now, out);
            return Ok(());
        }
        self.seal(FrameKind::Consensus, message, &[], entries, out)?;
        self.renew_stalled(now, out);
        self.roll_over(now, out);
        Ok(())
    }

    /// Sends a forwarded request. Without a key a few wait.
    ///
    /// # Errors
    /// [`SendRefused`].
    pub fn send_request(
        &mut self,
        now: Duration,
        request: &ForwardedRequest,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), SendRefused> {
        self.send_forwarded(now, request.header(), request.encode_content(), out)
    }

    /// Sends the answer to a forwarded request. Without a key a few wait.
    ///
    /// # Errors
    /// [`SendRefused`].
    pub fn send_response(
        &mut self,
        now: Duration,
        response: &ForwardedResponse,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), SendRefused> {
        self.send_forwarded(now, response.header(), response.encode_content(), out)
    }

    /// Takes the payload of a frame of the peer. Frames to send, if any, are added to `out`, also after an error.
    ///
    /// # Errors
    /// [`Refusal`]; the channel is as before.
    pub fn receive(
        &mut self,
        now: Duration,
        kind: FrameKind,
        payload: BytesMut,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<Option<Opened>, Refusal> {
        let opened = match kind {
            FrameKind::Handshake => self.receive_handshake(now, &payload, out).map(|()| None),
            FrameKind::Consensus => self.receive_consensus(now, payload, out).map(Some),
            FrameKind::Forwarded => self.receive_forwarded(now, payload, out).map(Some),
            FrameKind::Unknown(_) => Err(Refusal::UnknownKind),
        };
        if opened.is_ok() {
            self.last_activity = now;
        }
        opened
    }

    /// Forgets keys and what waits for them.
    pub fn close(&mut self) {
        self.phase = Phase::Inactive;
        self.send = None;
        self.receive = None;
        self.waiting_consensus = None;
        self.waiting_forwarded.clear();
    }

    /// The connection broke, and with it perhaps a step of the key exchange: the next message begins anew at once.
    pub fn connection_lost(&mut self) {
        if let Phase::Initiated { retry_at, .. } | Phase::WaitingForFinal { retry_at, .. } = &mut self.phase {
            *retry_at = Duration::ZERO;
        }
    }

    /// When something was last sent or accepted.
    #[must_use]
    pub fn last_activity(&self) -> Duration {
        self.last_activity
    }

    /// Whether messages can be sealed.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.send.is_some()
    }

    /// Whether messages can be opened and no exchange is under way.
    #[must_use]
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    fn send_forwarded(
        &mut self,
        now: Duration,
        header: Header,
        content: Vec<u8>,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), SendRefused> {
        self.last_activity = now;
        if self.send.is_none() {
            self.start(now, out);
            if self.waiting_forwarded.len() >= FORWARDED_WAITING_MAX {
                return Err(SendRefused::QueueFull);
            }
            self.waiting_forwarded.push_back((header, content));
            return Ok(());
        }
        self.seal(FrameKind::Forwarded, &header.encode(), &content, Vec::new(), out)?;
        self.renew_stalled(now, out);
        self.roll_over(now, out);
        Ok(())
    }

    /// Seals one message; there must be a key.
    fn seal(
        &mut self,
        kind: FrameKind,
        aad: &[u8],
        content: &[u8],
        entries: Vec<Bytes>,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), SendRefused> {
        let own_len = aad.len().saturating_add(PROTECTION_LEN).saturating_add(content.len());
        let payload_len = own_len.saturating_add(entries_len(&entries));
        let key = self.send.as_mut().ok_or(SendRefused::QueueFull)?;
        let mut head =
            frame::begin(kind, self.identity.id(), payload_len, own_len).ok_or(SendRefused::TooLong)?;
        head.extend_from_slice(aad);
        let protection_at = head.len();
        head.resize(protection_at + PROTECTION_LEN, 0);
        head.extend_from_slice(content);
        let (before, data) = head.split_at_mut(protection_at + PROTECTION_LEN);
        let protection = key.seal(aad, data).ok_or(SendRefused::TooLong)?;
        before[protection_at..].copy_from_slice(&protection);
        out.push(OutgoingFrame { head: head.into(), entries });
        Ok(())
    }

    /// Sends what waited for a key.
    fn flush(&mut self, out: &mut Vec<OutgoingFrame>) {
        // What is too long now was too long when it was given; nobody waits for the answer.
        if let Some((message, entries)) = self.waiting_consensus.take() {
            let _ = self.seal(FrameKind::Consensus, &message, &[], entries, out);
        }
        for (header, content) in std::mem::take(&mut self.waiting_forwarded) {
            let _ = self.seal(FrameKind::Forwarded, &header.encode(), &content, Vec::new(), out);
        }
    }

    fn receive_consensus(
        &mut self,
        now: Duration,
        mut payload: BytesMut,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<Opened, Refusal> {
        let len = consensus::message_len(&payload).ok_or(Refusal::Malformed)?;
        self.open(now, &mut payload, len, 0, out)?;
        let payload = payload.freeze();
        Ok(Opened::Consensus {
            message: payload.slice(..len),
            entries: payload.slice(len + PROTECTION_LEN..),
        })
    }

    fn receive_forwarded(
        &mut self,
        now: Duration,
        mut payload: BytesMut,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<Opened, Refusal> {
        let (header, len) = Header::parse(&payload).map_err(|_| Refusal::Malformed)?;
        let content_len = payload.len().checked_sub(len + PROTECTION_LEN).ok_or(Refusal::Malformed)?;
        self.open(now, &mut payload, len, content_len, out)?;
        let content = payload.freeze().slice(len + PROTECTION_LEN..);
        Ok(match header.with_content(&content).map_err(|_| Refusal::Malformed)? {
            Forwarded::Request(request) => Opened::Request(request),
            Forwarded::Response(response) => Opened::Response(response),
        })
    }

    /// Opens the message at the front of a payload in place: `aad_len` bytes, protection, and `content_len` encrypted bytes.
    fn open(
        &mut self,
        now: Duration,
        payload: &mut [u8],
        aad_len: usize,
        content_len: usize,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), Refusal> {
        let Some(key) = &mut self.receive else {
            self.start(now, out);
            return Err(Refusal::NoKeys);
        };
        let (aad, rest) = payload.split_at_mut_checked(aad_len).ok_or(Refusal::Malformed)?;
        let (protection, rest) = rest.split_first_chunk_mut::<PROTECTION_LEN>().ok_or(Refusal::Malformed)?;
        let content = rest.get_mut(..content_len).ok_or(Refusal::Malformed)?;
        let opened = key.open(aad, protection, content);
        if opened.is_ok() {
            self.last_opened = now;
        } else {
            // Perhaps the peer has other keys. Their nonces begin anew, so that its messages can look like replays.
            self.renew_stalled(now, out);
            self.renew_deaf(now, out);
        }
        self.roll_over(now, out);
        opened.map_err(|error| match error {
            OpenError::Replayed => Refusal::Replayed,
            OpenError::NotAuthentic => Refusal::NotAuthentic,
        })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Inactive => "inactive",
            Phase::Initiated { .. } => "initiated",
            Phase::WaitingForFinal { .. } => "waiting for final",
            Phase::Established => "established",
        };
        write!(f, "Channel({}, {phase})", self.peer)
    }
}
