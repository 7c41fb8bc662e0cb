//! One TLS connection of the load generator: many requests in one write, answers matched in order.

use super::{
    wire::{self, Scanned, WireError},
    workload::Kind,
};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes taken from the socket by one system call.
pub const READ_BYTES: usize = 64 * 1024;

/// Where and how to connect.
#[derive(Clone)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Name for the TLS handshake.
    pub name: ServerName<'static>,
    /// TLS configuration, shared by all connections.
    pub tls: Arc<ClientConfig>,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was, or should have been, sent: nanoseconds of the run's clock.
    pub at_ns: u64,
    /// What it does.
    pub kind: Kind,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The server does not speak our HTTP.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The server closed the connection while requests were open.
    #[error("the server closed the connection with {0} request(s) unanswered")]
    Closed(usize),
    /// The server answered something nobody asked.
    #[error("the server sent an answer without a request")]
    Unasked,
}

/// A connected and authenticated socket with its queue of unanswered requests.
pub struct Connection {
    socket: mio::net::TcpStream,
    tls: ClientConnection,
    /// Requests formatted but not yet handed to TLS.
    pub outbox: Vec<u8>,
    inbox: Vec<u8>,
    in_flight: VecDeque<Sent>,
}

impl Target {
    /// Opens a TCP connection and completes the TLS handshake, blocking.
    ///
    /// # Errors
    /// [`ConnectionError`] from the operating system or TLS.
    pub fn connect(&self) -> Result<(TcpStream, ClientConnection), ConnectionError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no address for {}", self.address));
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(mut socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
                    let mut tls = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())?;
                    tls.set_buffer_limit(None);
                    while tls.is_handshaking() {
                        tls.complete_io(&mut socket)?;
                    }
                    return Ok((socket, tls));
                }
                Err(e) => last = e,
            }
        }
        Err(last.into())
    }
}

impl Connection {
    /// Connects to `target` and makes the socket non-blocking.
    ///
    /// # Errors
    /// [`ConnectionError`] from the operating system or TLS.
    pub fn open(target: &Target) -> Result<Self, ConnectionError> {
        let (socket, tls) = target.connect()?;
        socket.set_nonblocking(true)?;
        Ok(Connection {
            socket: mio::net::TcpStream::from_std(socket),
            tls,
            outbox: Vec::new(),
            inbox: Vec::with_capacity(READ_BYTES),
            in_flight: VecDeque::new(),
        })
    }

    /// The socket, for registration with the event loop.
    pub fn socket(&mut self) -> &mut mio::net::TcpStream {
        &mut self.socket
    }

    /// Notes that a request was appended to [`Connection::outbox`].
    pub fn asked(&mut self, sent: Sent) {
        self.in_flight.push_back(sent);
    }

    /// Requests that wait for an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Encrypts what is in the outbox and writes as much as the socket takes.
    ///
    /// # Errors
    /// [`ConnectionError::Io`].
    pub fn flush(&mut self) -> Result<(), ConnectionError> {
        if !self.outbox.is_empty() {
            self.tls.writer().write_all(&self.outbox)?;
            self.outbox.clear();
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads all that has arrived and calls `answered` for each complete answer. `scratch` has [`READ_BYTES`].
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use afterwards.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut answered: impl FnMut(Sent, Scanned),
    ) -> Result<(), ConnectionError> {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) => return Err(ConnectionError::Closed(self.in_flight.len())),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            let mut arrived = &scratch[..count];
            while !arrived.is_empty() {
                self.tls.read_tls(&mut arrived)?;
                let mut plaintext = self.tls.process_new_packets()?.plaintext_bytes_to_read();
                while plaintext > 0 {
                    let filled = self.inbox.len();
                    self.inbox.resize(filled + plaintext, 0);
                    let read = self.tls.reader().read(&mut self.inbox[filled..])?;
                    self.inbox.truncate(filled + read);
                    plaintext -= read.min(plaintext);
                    if read == 0 {
                        break;
                    }
                }
            }
            self.match_answers(&mut answered)?;
            // A short read drained the socket; the next arrival raises a new event.
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    fn match_answers(&mut self, answered: &mut impl FnMut(Sent, Scanned)) -> Result<(), ConnectionError> {
        let mut start = 0;
        while start < self.inbox.len() {
            let Some(scanned) = wire::scan(&self.inbox[start..])? else { break };
            if self.inbox.len() - start < scanned.total_bytes() {
                break;
            }
            start += scanned.total_bytes();
            let sent = self.in_flight.pop_front().ok_or(ConnectionError::Unasked)?;
            answered(sent, scanned);
        }
        self.inbox.drain(..start);
        Ok(())
    }

    /// Says goodbye; errors no longer matter.
    pub fn close(mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}
