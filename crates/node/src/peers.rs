//! Messages to and from the other nodes over TCP (consensus and node-to-node specification, section 10).
//!
//! [`PeerNetwork`] owns one thread that listens, dials, reads and decrypts. Sending happens on the caller's thread: the message is
//! sealed and written to the socket before the call returns, unless the socket is full or not connected yet; then it waits
//! in a bounded queue. Nothing here retransmits: a peer that is slow or away loses messages, and consensus asks again.
//!
//! Contents of messages are [`PeerEvents`]' affair; keys and frames are those of `ccf_channels`.

mod counters;
mod dial;
mod limits;
mod link;
mod listen;
mod read;
mod state;
mod strangers;

pub use counters::PeerCounters;

use crate::vital::Vital;
use bytes::Bytes;
use ccf_channels::{
    Identity,
    forwarding::{ForwardedRequest, ForwardedResponse},
};
use ccf_crypto::{cert::Certificate, key::EcKeyPair};
use ccf_types::NodeId;
use link::When;
use parking_lot::Mutex;
use state::Shared;
use std::{
    io,
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Entrances for fuzz targets; no part of the API.
#[doc(hidden)]
pub mod fuzzing {
    pub use ccf_channels::fuzzing::{channel, forwarded, frames, handshake};
}

/// What the transport needs from the configuration.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// `node_to_node_message_limit`: messages until keys are replaced.
    pub message_limit: u64,
    /// `consensus.election_timeout`: channels are closed when nothing happened for four of them.
    pub election_timeout: Duration,
    /// `client_connection_timeout`: how long sent bytes may stay unacknowledged, and dialling may take.
    pub connection_timeout: Duration,
    /// `node_client_interface`: the local address (`host` or `host:port`) of outgoing connections.
    pub client_interface: Option<String>,
}

/// Where received messages go. Called on the transport's thread, one message after the other: must not block.
pub trait PeerEvents: Send + Sync + 'static {
    /// A consensus message (section 6) that `from` sent. `message` is authenticated; `entries`, the ledger entries behind it, are
    /// not.
    fn consensus(&self, from: &NodeId, message: &[u8], entries: Bytes);

    /// A request that `from` forwards to this node.
    fn forwarded_request(&self, from: &NodeId, request: ForwardedRequest);

    /// The answer to a request that this node forwarded to `from`.
    fn forwarded_response(&self, from: &NodeId, response: ForwardedResponse);

    /// The connection to this peer has ended: what was sent last may be lost, and so may its answers. If it was never
    /// `established`, nothing had been sent. May be called on any thread.
    fn disconnected(&self, from: &NodeId, established: bool) {
        let _ = (from, established);
    }

    /// Nothing more has arrived at this moment: the time to wake another thread once for all calls since the last one.
    fn end_of_burst(&self) {}
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// [`PeerNetwork::set_identity`] was not called yet.
    #[error("this node is not part of a service yet")]
    NoIdentity,
    /// No address and no connection.
    #[error("the address of this node is not known")]
    UnknownPeer,
    /// Connecting failed a moment ago.
    #[error("this node cannot be reached at the moment")]
    Unreachable,
    /// As much waits for this peer as may wait.
    #[error("too much is waiting for this node")]
    QueueFull,
    /// Longer than a frame may be.
    #[error("the message is too long")]
    TooLong,
    /// The network was stopped.
    #[error("stopped")]
    Stopped,
}

/// The certificates do not fit the key or each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// They do not.
    #[error(transparent)]
    Parts(#[from] ccf_channels::IdentityError),
    /// The key is not that of the id that was given at the start.
    #[error("the key is not that of this node's id")]
    OtherNode,
}

/// The other nodes. Clones are handles to the same network; all calls may come from any thread. The network stops when the last handle
/// is dropped.
#[derive(Clone)]
pub struct PeerNetwork {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// The transport's thread; ends it when dropped.
struct Thread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl PeerNetwork {
    /// Starts the thread. Until [`PeerNetwork::set_identity`] every received frame is dropped (quirk Q13).
    ///
    /// # Errors
    /// If the thread cannot be started, or the client interface is no local address.
    pub fn start(
        settings: PeerSettings,
        listener: TcpListener,
        own_id: NodeId,
        events: Arc<dyn PeerEvents>,
    ) -> io::Result<PeerNetwork> {
        let client_interface =
            settings.client_interface.as_deref().map(dial::resolve_interface).transpose()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let shared =
            Arc::new(Shared::new(settings, client_interface, own_id, events, runtime.handle().clone()));
        let on_thread = Arc::clone(&shared);
        let handle =
            thread::Builder::new().name("peers".into()).stack_size(limits::STACK_BYTES).spawn(move || {
                let _vital = Vital::new("connections to other nodes");
                runtime.block_on(listen::run(Arc::clone(&on_thread), listener));
                on_thread.clear();
                // A lookup of a name may hang in a thread of its own.
                runtime.shutdown_background();
            })?;
        let thread = Arc::new(Thread { shared: Arc::clone(&shared), handle: Mutex::new(Some(handle)) });
        Ok(PeerNetwork { shared, thread })
    }

    /// The key of this node, its certificate endorsed by the service, and the service's certificate. Again after a renewal: keys in
    /// use stay.
    ///
    /// # Errors
    /// [`IdentityError`] if the key is not that of the node's certificate and identifier, or the service did not sign it.
    #[expect(clippy::needless_pass_by_value, reason = "the node gives its certificate away")]
    pub fn set_identity(
        &self,
        key: &EcKeyPair,
        certificate: Certificate,
        service: Certificate,
    ) -> Result<(), IdentityError> {
        let identity = Identity::with_copy_of_key(key, &certificate, service)?;
        if *identity.id() != self.shared.own_id {
            return Err(IdentityError::OtherNode);
        }
        self.shared.set_identity(&Arc::new(identity));
        Ok(())
    }

    /// Makes a peer known, or changes its address (`host:port`). It is dialled at the first message.
    pub fn add_peer(&self, id: &NodeId, address: &str) {
        self.shared.add_peer(id, address);
    }

    /// Forgets a peer and its keys and closes its connection.
    pub fn remove_peer(&self, id: &NodeId) {
        self.shared.remove_peer(id);
    }

    /// Sends a consensus message (section 6). `entries` follow `message` as they are, unauthenticated. While keys are missing the
    /// newest message waits for them.
    ///
    /// # Errors
    /// [`SendError`]: the message is lost, and that is all.
    pub fn send_consensus(
        &self,
        to: &NodeId,
        message: &[u8],
        entries: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), SendError> {
        let entries = entries.into_iter().collect();
        self.shared
            .send(to, When::Now, |channel, now, out| channel.send_consensus(now, message, entries, out))
    }

    /// Forwards a request, at the latest at the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError`]: it was not sent.
    pub fn send_forwarded_request(&self, to: &NodeId, request: &ForwardedRequest) -> Result<(), SendError> {
        self.shared.send(to, When::AtFlush, |channel, now, out| channel.send_request(now, request, out))
    }

    /// Answers a forwarded request, at the latest at the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError`]: it was not sent.
    pub fn send_forwarded_response(
        &self,
        to: &NodeId,
        response: &ForwardedResponse,
    ) -> Result<(), SendError> {
        self.shared.send(to, When::AtFlush, |channel, now, out| channel.send_response(now, response, out))
    }

    /// Whether a message would be taken now, as far as one can know. What is not is counted as lost.
    pub(crate) fn has_room(&self, to: &NodeId) -> bool {
        self.shared.has_room(to)
    }

    /// Writes what the calls for forwarded messages gathered: one system call and one wake-up for all messages of a burst.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// Has the transport's thread wait for something. What is done then must be next to nothing.
    pub(crate) fn spawn(&self, waiting: impl Future<Output = ()> + Send + 'static) {
        self.shared.runtime.spawn(waiting);
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> PeerCounters {
        self.shared.counters.read()
    }

    /// Closes everything and waits for the thread, unless called on it. Further calls do nothing.
    pub fn stop(&self) {
        self.thread.end();
    }
}

impl Thread {
    fn end(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.stop.notify_one();
        let handle = self.handle.lock().take();
        if let Some(handle) = handle.filter(|handle| handle.thread().id() != thread::current().id()) {
            // A panic there was reported there.
            let _ = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end();
    }
}
