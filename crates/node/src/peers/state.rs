//! The peers, their channels and routes; shared by senders and the transport's thread.
//!
//! Locks are taken in this order: the table of peers, one peer, one link's outbox. None is held while events are delivered.

use super::{
    PeerEvents, PeerSettings, SendError,
    counters::Counters,
    dial,
    limits::{BACKOFF_MAX, BACKOFF_MIN, EARLY_FRAME_BYTES_MAX, EARLY_FRAMES_MAX, UNREGISTERED_MAX},
    link::{Link, Pushed, When},
    strangers::Strangers,
};
use crate::attention::Attention;
use arc_swap::ArcSwapOption;
use ccf_channels::{
    Channel, Identity, Opened, Refusal, SendRefused, frame::Frame, frame::FrameKind, frame::OutgoingFrame,
};
use ccf_types::NodeId;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{HashMap, VecDeque},
    fmt::Display,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Notify};

/// Everything the handles and the thread share.
pub(super) struct Shared {
    pub(super) settings: PeerSettings,
    /// `node_client_interface`, resolved.
    pub(super) client_interface: Option<IpAddr>,
    pub(super) own_id: NodeId,
    pub(super) events: Arc<dyn PeerEvents>,
    pub(super) counters: Counters,
    pub(super) runtime: Handle,
    /// All connections, also those being made.
    pub(super) links: Mutex<HashMap<u64, Arc<Link>>>,
    /// Bytes of unfinished frames on connections without an authenticated frame.
    pub(super) unproven_bytes: AtomicUsize,
    /// Key exchanges over connections without an authenticated frame.
    pub(super) strangers: Strangers,
    pub(super) stop: Notify,
    /// Of the transport's thread.
    pub(super) attention: Attention,
    pub(super) stopped: AtomicBool,
    /// Connections with frames that wait for [`Shared::flush`].
    gathering: Mutex<Vec<Arc<Link>>>,
    /// Key exchange messages that came before the identity.
    early: Mutex<VecDeque<(Arc<Link>, Frame)>>,
    identity: ArcSwapOption<Identity>,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    next_serial: AtomicU64,
    epoch: Instant,
}

/// One other node.
pub(super) struct Peer {
    pub(super) id: NodeId,
    state: Mutex<PeerState>,
}

#[derive(Default)]
struct PeerState {
    channel: Option<Channel>,
    /// Where it listens, if it was told by [`super::PeerNetwork::add_peer`].
    address: Option<Arc<str>>,
    /// The connection that is used for sending.
    route: Option<Arc<Link>>,
    /// Pause between attempts to connect; zero after a success.
    backoff: Duration,
    dial_after: Duration,
}

impl Shared {
    pub(super) fn new(
        settings: PeerSettings,
        client_interface: Option<IpAddr>,
        own_id: NodeId,
        events: Arc<dyn PeerEvents>,
        runtime: Handle,
    ) -> Shared {
        Shared {
            settings,
            client_interface,
            own_id,
            events,
            counters: Counters::default(),
            runtime,
            links: Mutex::default(),
            unproven_bytes: AtomicUsize::new(0),
            strangers: Strangers::default(),
            stop: Notify::new(),
            attention: Attention::new(),
            stopped: AtomicBool::new(false),
            gathering: Mutex::default(),
            early: Mutex::default(),
            identity: ArcSwapOption::empty(),
            peers: RwLock::default(),
            next_serial: AtomicU64::new(1),
            epoch: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// How long a channel or connection may be silent (section 3).
    pub(super) fn idle_time(&self) -> Duration {
        self.settings.election_timeout.saturating_mul(4).max(Duration::from_millis(100))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn set_identity(self: &Arc<Self>, identity: &Arc<Identity>) {
        self.identity.store(Some(Arc::clone(identity)));
        for peer in self.peers.read().values() {
            if let Some(channel) = &mut peer.state.lock().channel {
                channel.set_identity(Arc::clone(identity));
            }
        }
        self.receive_early();
    }

    fn receive_early(self: &Arc<Self>) {
        let early = std::mem::take(&mut *self.early.lock());
        for (link, frame) in early {
            self.receive(&link, frame);
        }
    }

    /// A peer may ask for keys a moment before this node learns that it is trusted: the last such messages are kept, lest
    /// it take the peer seconds to ask again. Everything else is dropped (quirk Q13).
    fn keep_early(self: &Arc<Self>, link: &Arc<Link>, frame: Frame) {
        if frame.kind == FrameKind::Handshake && frame.payload.len() <= EARLY_FRAME_BYTES_MAX {
            let mut early = self.early.lock();
            if early.len() >= EARLY_FRAMES_MAX {
                early.pop_front();
            }
            early.push_back((Arc::clone(link), frame));
        }
        self.counters.frames_before_identity.add_one();
        // The identity may have come between the look for it and now.
        if self.identity.load().is_some() {
            self.receive_early();
        }
    }

    pub(super) fn add_peer(&self, id: &NodeId, address: &str) {
        if *id == self.own_id || self.is_stopped() {
            return;
        }
        let peer =
            Arc::clone(self.peers.write().entry(id.clone()).or_insert_with(|| Arc::new(Peer::new(id))));
        let mut state = peer.state.lock();
        if state.address.as_deref() != Some(address) {
            state.address = Some(address.into());
            state.backoff = Duration::ZERO;
            state.dial_after = Duration::ZERO;
        }
    }

    pub(super) fn remove_peer(&self, id: &NodeId) {
        let removed = self.peers.write().remove(id);
        if let Some(peer) = removed {
            peer.state.lock().close();
            self.events.disconnected(id, true);
        }
    }

    /// Ends all connections and forgets all peers.
    pub(super) fn clear(&self) {
        for (_, peer) in self.peers.write().drain() {
            peer.state.lock().close();
        }
        for (_, link) in self.links.lock().drain() {
            link.close();
        }
    }

    /// Has the channel to `to` make frames, and sends them.
    pub(super) fn send(
        self: &Arc<Self>,
        to: &NodeId,
        when: When,
        make: impl FnOnce(&mut Channel, Duration, &mut Vec<OutgoingFrame>) -> Result<(), SendRefused>,
    ) -> Result<(), SendError> {
        if self.is_stopped() {
            return Err(SendError::Stopped);
        }
        let identity = self.identity.load();
        let identity = identity.as_ref().ok_or(SendError::NoIdentity)?;
        let peer = self.peers.read().get(to).cloned().ok_or(SendError::UnknownPeer)?;
        let mut state = peer.state.lock();
        let now = self.now();
        let link = self.route(&peer, &mut state, now)?;
        // Asked before sealing, so that a lost message costs nothing.
        if !link.has_room() {
            self.counters.messages_lost.add_one();
            return Err(SendError::QueueFull);
        }
        let channel = state.channel.get_or_insert_with(|| self.new_channel(identity, &peer.id, now));
        let mut frames = Vec::with_capacity(1);
        make(channel, now, &mut frames).map_err(|refused| match refused {
            SendRefused::QueueFull => SendError::QueueFull,
            SendRefused::TooLong => SendError::TooLong,
        })?;
        if frames.is_empty() {
            return Ok(());
        }
        match link.push(frames, when, now) {
            Pushed::Taken => {}
            Pushed::Gathered => self.gathering.lock().push(link),
            Pushed::Full | Pushed::Closed => {
                self.counters.messages_lost.add_one();
                return Err(SendError::QueueFull);
            }
        }
        Ok(())
    }

    /// Whether the connection to a peer takes more; true if there is none, as it is made by sending.
    pub(super) fn has_room(&self, to: &NodeId) -> bool {
        let Some(peer) = self.peers.read().get(to).cloned() else { return true };
        let route = peer.state.lock().route.clone();
        let has_room = route.is_none_or(|link| link.is_closed() || link.has_room());
        if !has_room {
            self.counters.messages_lost.add_one();
        }
        has_room
    }

    /// Writes what waits for it.
    pub(super) fn flush(&self) {
        let gathering = std::mem::take(&mut *self.gathering.lock());
        gathering.iter().for_each(|link| link.flush());
    }

    fn new_channel(&self, identity: &Arc<Identity>, peer: &NodeId, now: Duration) -> Channel {
        Channel::new(Arc::clone(identity), peer.clone(), self.settings.message_limit, now)
    }

    /// The connection to a peer; begins one if there is none.
    fn route(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        state: &mut PeerState,
        now: Duration,
    ) -> Result<Arc<Link>, SendError> {
        if let Some(link) = state.route.as_ref().filter(|link| !link.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let address = state.address.clone().ok_or(SendError::UnknownPeer)?;
        if now < state.dial_after {
            return Err(SendError::Unreachable);
        }
        let link = Arc::new(Link::new(self.next_serial(), address.to_string(), true, None, now));
        self.links.lock().insert(link.serial, Arc::clone(&link));
        state.route = Some(Arc::clone(&link));
        // The pause is over only when a frame arrived: a listener that hangs up at once is no peer.
        state.backoff = (state.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        state.dial_after = now + state.backoff;
        if let Some(channel) = &mut state.channel {
            channel.connection_lost();
        }
        self.runtime.spawn(dial::run(Arc::clone(self), Arc::clone(peer), Arc::clone(&link)));
        Ok(link)
    }

    /// A connection ended, or could not be made: peers that used it find another at their next message.
    pub(super) fn link_ended(&self, link: &Arc<Link>) {
        let established = link.was_connected();
        link.close();
        self.links.lock().remove(&link.serial);
        let mut disconnected = Vec::new();
        for peer in self.peers.read().values() {
            let mut state = peer.state.lock();
            if state.route.as_ref().is_some_and(|route| route.serial == link.serial) {
                state.route = None;
                if let Some(channel) = &mut state.channel {
                    channel.connection_lost();
                }
                disconnected.push(peer.id.clone());
            }
        }
        disconnected.iter().for_each(|peer| self.events.disconnected(peer, established));
    }

    /// Takes a frame that arrived on `link`. True if something was delivered.
    pub(super) fn receive(self: &Arc<Self>, link: &Arc<Link>, frame: Frame) -> bool {
        let guard = self.identity.load();
        let Some(identity) = guard.as_ref() else {
            self.keep_early(link, frame);
            return false;
        };
        let sender = frame.sender;
        if sender.as_str() == self.own_id.as_str() {
            self.refuse(link, sender.as_str(), "from_self", &"frames that claim to be from this node");
            return false;
        }
        let known = self.peers.read().get(sender.as_str()).cloned();
        let is_new = known.is_none();
        let is_handshake = frame.kind == FrameKind::Handshake;
        // Only a key exchange introduces a node.
        let introduce = || if is_handshake { self.introduce(identity, &sender.to_node_id()) } else { None };
        let introduced = known.or_else(introduce);
        let Some(peer) = introduced else {
            self.counters.frames_dropped.add_one();
            return false;
        };
        let opened = self.open(identity, link, &peer, frame);
        if is_new && opened.is_err() {
            self.forget_unproven(&peer);
        }
        match opened {
            Ok(opened) => {
                self.counters.frames_accepted.add_one();
                opened.is_some_and(|opened| {
                    self.deliver(&peer.id, opened);
                    true
                })
            }
            Err(refusal) if refusal.is_suspicious() => {
                self.refuse(link, sender.as_str(), refusal.name(), &refusal);
                false
            }
            Err(refusal) => {
                self.counters.frames_dropped.add_one();
                self.note_dropped(link, &peer.id, refusal);
                false
            }
        }
    }

    /// What cannot be opened, or was sent before, can be left over from earlier keys, or somebody sends it in the name of a
    /// node: that is said now and then.
    fn note_dropped(&self, link: &Link, sender: &NodeId, refusal: Refusal) {
        let unopened = matches!(refusal, Refusal::NotAuthentic | Refusal::Replayed);
        if unopened && self.counters.refusals.may_log(sender.as_str(), refusal.name()) {
            tracing::info!("Dropped from {} ({sender}): {refusal}", link.remote);
        }
    }

    fn open(
        self: &Arc<Self>,
        identity: &Arc<Identity>,
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        frame: Frame,
    ) -> Result<Option<Opened>, Refusal> {
        let mut state = peer.state.lock();
        let now = self.now();
        let channel = state.channel.get_or_insert_with(|| self.new_channel(identity, &peer.id, now));
        let mut frames = Vec::new();
        let is_handshake = frame.kind == FrameKind::Handshake;
        let opened = channel.receive(now, frame.kind, frame.payload, &mut frames);
        let begins = is_handshake && !channel.is_established();
        let is_open = state.route.as_ref().is_some_and(|route| !route.is_closed());
        if opened.is_ok() && begins {
            // The first step of a key exchange is the same whoever it is for: anybody who has seen it can send it here. It is answered
            // where it came from; what follows goes there only once the peer has answered too.
            if !is_open {
                state.route = Some(Arc::clone(link));
            }
        } else if opened.is_ok() {
            link.set_proven(now);
            state.backoff = Duration::ZERO;
            state.dial_after = Duration::ZERO;
            // Of several connections the newest over which the peer proved itself is used, and where keys were exchanged just now or
            // are to be; others are read on.
            let newer = |route: &Arc<Link>| route.serial < link.serial || !route.is_proven();
            if !is_open || is_handshake || !frames.is_empty() || state.route.as_ref().is_some_and(newer) {
                state.route = Some(Arc::clone(link));
            }
        }
        if !frames.is_empty() {
            let route = state.route.as_ref().filter(|_| opened.is_err()).unwrap_or(link);
            if route.push(frames, When::Now, now) != Pushed::Taken {
                self.counters.messages_lost.add_one();
            }
        }
        opened
    }

    /// Makes a place for a node that speaks before anybody told its address. It must be there before the node is answered: what it
    /// sends next may be read by another thread at once. None if there are too many.
    fn introduce(&self, identity: &Arc<Identity>, id: &NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write();
        if let Some(peer) = peers.get(id) {
            return Some(Arc::clone(peer));
        }
        let unregistered = peers.values().filter(|peer| peer.state.lock().address.is_none()).count();
        if unregistered >= UNREGISTERED_MAX {
            return None;
        }
        let peer = Arc::new(Peer::new(id));
        peer.state.lock().channel = Some(self.new_channel(identity, id, self.now()));
        peers.insert(id.clone(), Arc::clone(&peer));
        Some(peer)
    }

    /// Takes the place away again if nobody has said anything believable of this node meanwhile.
    fn forget_unproven(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers.write();
        let state = peer.state.lock();
        let proven = state.channel.as_ref().is_some_and(Channel::can_send);
        let is_there = peers.get(&peer.id).is_some_and(|there| Arc::ptr_eq(there, peer));
        if is_there && !proven && state.address.is_none() {
            drop(state);
            peers.remove(&peer.id);
        }
    }

    fn deliver(&self, from: &NodeId, opened: Opened) {
        match opened {
            Opened::Consensus { message, entries } => self.events.consensus(from, &message, entries),
            Opened::Request(request) => self.events.forwarded_request(from, request),
            Opened::Response(response) => self.events.forwarded_response(from, response),
        }
    }

    /// Counts a frame that no correct peer sends, and logs it now and then.
    pub(super) fn refuse(&self, link: &Link, sender: &str, reason: &'static str, complaint: &dyn Display) {
        let subject = if sender.is_empty() { &link.remote } else { sender };
        if self.counters.refusals.note(subject, reason) {
            tracing::warn!("Refused from {} ({sender}): {complaint}", link.remote);
        }
    }

    /// Closes what was silent for too long.
    pub(super) fn close_idle(&self) {
        let (now, idle) = (self.now(), self.idle_time());
        let unproven = idle.min(super::limits::UNPROVEN_TIME_MAX);
        for link in self.links.lock().values() {
            let allowed = if link.outgoing || link.is_proven() { idle } else { unproven };
            if link.unused_for(now) >= allowed {
                link.close();
            }
        }
        self.peers.write().retain(|_, peer| {
            let mut state = peer.state.lock();
            if state
                .channel
                .as_ref()
                .is_some_and(|channel| now.saturating_sub(channel.last_activity()) >= idle)
            {
                state.close();
            }
            state.address.is_some() || state.channel.is_some()
        });
    }
}

impl Peer {
    fn new(id: &NodeId) -> Peer {
        Peer { id: id.clone(), state: Mutex::default() }
    }

    pub(super) fn address(&self) -> Option<Arc<str>> {
        self.state.lock().address.clone()
    }
}

impl PeerState {
    /// Drops keys and what waits, and ends the connection.
    fn close(&mut self) {
        self.channel = None;
        if let Some(link) = self.route.take() {
            link.close();
        }
    }
}
