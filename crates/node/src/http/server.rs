//! The server: listeners, acceptor and workers together.

use super::{
    acceptor::{self, WorkerDoor},
    h1::Limits,
    handler::RequestHandler,
    limits::LISTEN_BACKLOG,
    metrics::{self, Gauge, InterfaceCounters, InterfaceMetrics, SessionMetrics},
    settings::{Authority, InterfaceSettings, ServerSettings},
    tls::{InterfaceTls, TlsIdentity, TlsIdentityError},
    worker::{self, ToWorker},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("interface {interface} cannot listen on {address}: {error}")]
pub struct BindError {
    /// Name of the interface.
    pub interface: String,
    /// The address as configured.
    pub address: String,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// The server's threads cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refused a thread, a timer or a socket.
    #[error("the server's threads cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// There must be between 1 and [`ServerSettings::WORKERS_MAX`] workers.
    #[error("{0} worker threads were asked for; at least 1 and at most {max} are possible", max = ServerSettings::WORKERS_MAX)]
    Workers(usize),
}

/// An interface that listens, but does not serve yet: connections wait in the kernel's queue.
#[derive(Debug)]
pub struct Interface {
    settings: InterfaceSettings,
    listener: TcpListener,
    address: SocketAddr,
}

impl Interface {
    /// Listens on `address` (`host:port`; port 0 means any).
    ///
    /// # Errors
    /// [`BindError`] if the address does not exist here or is in use.
    pub fn bind(settings: InterfaceSettings, address: &str) -> Result<Interface, BindError> {
        match listen(address) {
            Ok((listener, local)) => Ok(Interface { settings, listener, address: local }),
            Err(error) => Err(BindError { interface: settings.name, address: address.to_owned(), error }),
        }
    }

    /// The address listened on, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }
}

fn listen(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in address.to_socket_addrs()? {
        match listen_on(candidate) {
            Ok(listener) => {
                let local = listener.local_addr()?;
                return Ok((listener, local));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// An interface as acceptor and sessions see it.
#[derive(Debug)]
pub(crate) struct InterfaceState {
    pub(crate) name: Arc<str>,
    pub(crate) settings: InterfaceSettings,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tls: InterfaceTls,
    pub(crate) counters: InterfaceCounters,
}

/// A running server. Dropping it stops it without grace.
#[derive(Debug)]
pub struct Server {
    interfaces: Vec<Arc<InterfaceState>>,
    total: Arc<Gauge>,
    workers: Vec<mpsc::UnboundedSender<ToWorker>>,
    accepting: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts serving. Interfaces with an authority that has no certificate yet close what connects to them,
    /// see [`Server::set_certificate`].
    ///
    /// # Errors
    /// [`StartError`] if threads cannot be started.
    pub fn start<H: RequestHandler>(
        settings: &ServerSettings,
        interfaces: Vec<Interface>,
        handler: &Arc<H>,
    ) -> Result<Server, StartError> {
        if !(1..=ServerSettings::WORKERS_MAX).contains(&settings.workers) {
            return Err(StartError::Workers(settings.workers));
        }
        let mut listeners = Vec::new();
        for Interface { settings, listener, .. } in interfaces {
            let state = Arc::new(InterfaceState {
                name: Arc::from(settings.name.as_str()),
                limits: Arc::new(Limits::of(&settings)),
                tls: InterfaceTls::default(),
                counters: InterfaceCounters::default(),
                settings,
            });
            listeners.push((listener, state));
        }
        let (stop, stopped) = oneshot::channel();
        let mut server = Server {
            interfaces: listeners.iter().map(|(_, state)| state.clone()).collect(),
            total: Arc::default(),
            workers: Vec::new(),
            accepting: Some(stop),
            threads: Vec::new(),
        };
        let mut doors = Vec::new();
        for index in 0..settings.workers {
            let (sender, inbox) = mpsc::unbounded_channel();
            server.threads.push(worker::start(index, handler.clone(), settings.idle_timeout, inbox)?);
            server.workers.push(sender.clone());
            doors.push(WorkerDoor::new(sender));
        }
        server.threads.push(acceptor::start(listeners, doors, server.total.clone(), stopped)?);
        Ok(server)
    }

    /// Presents a certificate on every interface with this authority, to connections that arrive from now on.
    ///
    /// # Errors
    /// [`TlsIdentityError`] if the certificate cannot be used; interfaces keep what they had.
    pub fn set_certificate(
        &self,
        authority: Authority,
        identity: &TlsIdentity,
    ) -> Result<(), TlsIdentityError> {
        for interface in &self.interfaces {
            if interface.settings.authority == authority && authority != Authority::Unsecured {
                interface.tls.set(identity, interface.settings.protocol)?;
            }
        }
        Ok(())
    }

    /// The session counters now.
    #[must_use]
    pub fn metrics(&self) -> SessionMetrics {
        let interfaces = self.interfaces.iter().map(|interface| InterfaceMetrics {
            name: interface.settings.name.clone(),
            active: interface.counters.sessions.active(),
            peak: interface.counters.sessions.peak(),
            soft_cap: interface.settings.max_open_sessions_soft,
            hard_cap: interface.settings.max_open_sessions_hard,
            errors_parsing: metrics::read(&interface.counters.parsing),
            errors_request_payload_too_large: metrics::read(&interface.counters.payload_too_large),
            errors_request_header_too_large: metrics::read(&interface.counters.header_too_large),
        });
        SessionMetrics {
            active: self.total.active(),
            peak: self.total.peak(),
            interfaces: interfaces.collect(),
        }
    }

    /// Stops: accepts nothing more, answers the requests received completely, closes all sessions, ends all
    /// threads. Sessions that have not ended after `grace` are dropped. Blocks until all of that is done.
    pub fn stop(mut self, grace: Duration) {
        self.shut_down(grace);
    }

    fn shut_down(&mut self, grace: Duration) {
        drop(self.accepting.take());
        // The acceptor is the last thread; once it is gone no worker is given a session after its stop.
        if let Some(acceptor) = self.threads.pop() {
            join(acceptor);
        }
        for worker in &self.workers {
            // A worker that is gone needs no stopping.
            let _ = worker.send(ToWorker::Stop { grace });
        }
        self.workers.clear();
        let until = Instant::now() + grace + STUCK_PATIENCE;
        for thread in self.threads.drain(..) {
            join_until(thread, until);
        }
    }
}

/// How much longer than its grace a worker may take to end. What holds it up is an endpoint that does not return; the node
/// must stop all the same (node specification, section 1.4).
const STUCK_PATIENCE: Duration = Duration::from_secs(2);

fn join_until(thread: JoinHandle<()>, until: Instant) {
    while !thread.is_finished() {
        if Instant::now() >= until {
            let name = thread.thread().name().unwrap_or("a server thread");
            tracing::error!("{name} is busy with a request that does not end: it is left behind");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    join(thread);
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or("server thread").to_owned();
    if thread.join().is_err() {
        tracing::error!("{name} panicked");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down(Duration::ZERO);
    }
}
