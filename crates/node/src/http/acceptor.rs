//! The thread that accepts connections and hands each to the worker with the fewest sessions.
//!
//! Handing over keeps workers evenly loaded even with a handful of connections, which the kernel's own
//! distribution among several listeners does by chance only.

use super::{
    limits::KEEP_ALIVE, metrics::Gauge, server::InterfaceState, settings::Authority, tls::Configurations,
    worker::ToWorker,
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime,
    sync::{mpsc::UnboundedSender, oneshot},
    task::LocalSet,
};

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer_address: SocketAddr,
    pub(crate) interface: Arc<InterfaceState>,
    /// `None`: no TLS on this interface.
    pub(crate) tls: Option<Arc<Configurations>>,
    /// Over the soft cap.
    pub(crate) refused: bool,
    pub(crate) slot: Slot,
}

/// A worker as the acceptor sees it.
#[derive(Clone)]
pub(crate) struct WorkerDoor {
    pub(crate) inbox: UnboundedSender<ToWorker>,
    load: Arc<AtomicUsize>,
}

impl WorkerDoor {
    pub(crate) fn new(inbox: UnboundedSender<ToWorker>) -> WorkerDoor {
        WorkerDoor { inbox, load: Arc::default() }
    }
}

/// Counts a session where sessions are counted, until dropped.
pub(crate) struct Slot {
    id: u64,
    interface: Arc<InterfaceState>,
    total: Arc<Gauge>,
    load: Arc<AtomicUsize>,
}

impl Slot {
    fn new(interface: &Arc<InterfaceState>, total: &Arc<Gauge>, worker: &WorkerDoor) -> Slot {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        interface.counters.sessions.enter();
        total.enter();
        worker.load.fetch_add(1, Relaxed);
        Slot {
            id: LAST_ID.fetch_add(1, Relaxed) + 1,
            interface: interface.clone(),
            total: total.clone(),
            load: worker.load.clone(),
        }
    }

    pub(crate) fn session_id(&self) -> u64 {
        self.id
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.interface.counters.sessions.leave();
        self.total.leave();
        self.load.fetch_sub(1, Relaxed);
    }
}

/// Accepts on every listener until told to stop by the other end of `stop` being dropped.
pub(crate) fn start(
    listeners: Vec<(TcpListener, Arc<InterfaceState>)>,
    workers: Vec<WorkerDoor>,
    total: Arc<Gauge>,
    stop: oneshot::Receiver<()>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listeners = {
        let _context = runtime.enter();
        listeners
            .into_iter()
            .map(|(listener, interface)| Ok((tokio::net::TcpListener::from_std(listener)?, interface)))
            .collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, async move {
            for (listener, interface) in listeners {
                let hand_over =
                    HandOver { interface, workers: workers.clone(), total: total.clone(), turn: 0 };
                tokio::task::spawn_local(accept(listener, hand_over));
            }
            // Ends with an error when the server drops its end: the only thing it ever says.
            let _ = stop.await;
        });
    })
}

async fn accept(listener: tokio::net::TcpListener, mut hand_over: HandOver) {
    loop {
        match listener.accept().await {
            Ok((socket, peer_address)) => {
                if let Err(error) = hand_over.connection(socket, peer_address) {
                    tracing::debug!("a connection was lost before it was served: {error}");
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Most likely no file descriptors: some will be free when sessions end.
                tracing::warn!("cannot accept connections on {}: {error}", hand_over.interface.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The connection to be accepted failed, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

struct HandOver {
    interface: Arc<InterfaceState>,
    workers: Vec<WorkerDoor>,
    total: Arc<Gauge>,
    /// Where the search for the least loaded worker begins, so that equals take turns.
    turn: usize,
}

impl HandOver {
    fn connection(&mut self, socket: tokio::net::TcpStream, peer_address: SocketAddr) -> io::Result<()> {
        let interface = &self.interface;
        let settings = &interface.settings;
        let open = interface.counters.sessions.active();
        if open >= settings.max_open_sessions_hard {
            return Ok(());
        }
        let tls = match (settings.authority, interface.tls.current()) {
            (Authority::Unsecured, _) => None,
            (_, Some(tls)) => Some(tls),
            // No certificate yet (node specification, section 14.1).
            (_, None) => return Ok(()),
        };
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
        let socket = socket.into_std()?;

        let count = self.workers.len();
        let order = (0..count).map(|i| (self.turn + i) % count);
        let Some(chosen) = order.min_by_key(|&i| self.workers[i].load.load(Relaxed)) else { return Ok(()) };
        self.turn = (chosen + 1) % count;
        let worker = &self.workers[chosen];
        let accepted = Accepted {
            socket,
            peer_address,
            interface: interface.clone(),
            tls,
            refused: open >= settings.max_open_sessions_soft,
            slot: Slot::new(interface, &self.total, worker),
        };
        // A worker that is gone is stopping, and so are we.
        let _ = worker.inbox.send(ToWorker::Serve(accepted));
        Ok(())
    }
}
