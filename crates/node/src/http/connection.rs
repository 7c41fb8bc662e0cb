//! A socket with TLS or without: what HTTP/1.1 sessions read from and write to.

use super::{
    limits::{LINGER, LINGER_BYTES_MAX, READ_BYTES, TLS_LEFTOVER_BYTES_MAX},
    session::{SessionControl, Stop},
    tls::{Configurations, Output, PeerCertificates, Progress, TlsEngine, TlsError},
};
use bytes::BytesMut;
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The network failed or the client is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client took too long.
    #[error("timed out")]
    TimedOut,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Bytes were read, though perhaps none for the application.
    Some,
    /// The client sends nothing more.
    End,
    /// The node stops.
    Drain,
}

/// Buffers of a worker that its sessions use in turns, never across a wait.
#[derive(Debug)]
pub(crate) struct Scratch {
    incoming: RefCell<Vec<u8>>,
    outgoing: RefCell<Output>,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            incoming: RefCell::new(vec![0; TLS_LEFTOVER_BYTES_MAX + READ_BYTES]),
            outgoing: RefCell::default(),
        }
    }
}

/// A client's connection.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<TlsEngine>,
    /// Ready to be sent; the socket did not take it yet.
    unsent: Vec<u8>,
    /// The client has said that it sends nothing more.
    peer_closed: bool,
    control: Rc<SessionControl>,
    scratch: Rc<Scratch>,
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        tls: Option<Arc<Configurations>>,
        control: Rc<SessionControl>,
        scratch: Rc<Scratch>,
    ) -> Connection {
        Connection {
            socket,
            tls: tls.map(TlsEngine::new),
            unsent: Vec::new(),
            peer_closed: false,
            control,
            scratch,
        }
    }

    /// Completes the TLS handshake. Application data that came with it is appended to `plaintext`.
    pub(crate) async fn handshake(
        &mut self,
        plaintext: &mut BytesMut,
    ) -> Result<PeerCertificates, ConnectionError> {
        while self.tls.as_ref().is_some_and(|tls| !tls.is_ready()) {
            if self.fill(plaintext).await? != Fill::Some {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(self.tls.as_ref().map(TlsEngine::peer_certificates).unwrap_or_default())
    }

    /// Waits for bytes and appends what is in them for the application to `plaintext`.
    pub(crate) async fn fill(&mut self, plaintext: &mut BytesMut) -> Result<Fill, ConnectionError> {
        let filled = poll_fn(|cx| self.poll_fill(cx, plaintext)).await;
        // Handshake messages, and the alert that says why the handshake failed.
        if !self.unsent.is_empty() {
            let sent = self.flush().await;
            filled.as_ref().map_or(Ok(()), |_| sent)?;
        }
        filled
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &mut BytesMut,
    ) -> Poll<Result<Fill, ConnectionError>> {
        match self.control.poll_stop(cx) {
            Some(Stop::Drain) => return Poll::Ready(Ok(Fill::Drain)),
            Some(Stop::TimedOut) => return Poll::Ready(Err(ConnectionError::TimedOut)),
            None => {}
        }
        if self.peer_closed {
            return Poll::Ready(Ok(Fill::End));
        }
        let incoming = &mut *self.scratch.incoming.borrow_mut();
        let kept = match &self.tls {
            Some(tls) => {
                let leftover = tls.leftover();
                incoming[..leftover.len()].copy_from_slice(leftover);
                leftover.len()
            }
            None => 0,
        };
        let mut buffer = ReadBuf::new(&mut incoming[kept..kept + READ_BYTES]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Ok(Fill::End));
        }
        self.control.touch();
        let incoming = &mut incoming[..kept + read];
        match &mut self.tls {
            None => {
                plaintext.extend_from_slice(incoming);
                Poll::Ready(Ok(Fill::Some))
            }
            Some(tls) => {
                let output = &mut *self.scratch.outgoing.borrow_mut();
                output.clear();
                let progress = tls.receive(incoming, plaintext, output);
                self.unsent.extend_from_slice(output.filled());
                // What came before the end is served first.
                self.peer_closed = progress? == Progress::PeerClosed;
                Poll::Ready(Ok(Fill::Some))
            }
        }
    }

    /// Sends `plaintext`.
    pub(crate) async fn send(&mut self, plaintext: &[u8]) -> Result<(), ConnectionError> {
        {
            let output = &mut *self.scratch.outgoing.borrow_mut();
            output.clear();
            let bytes = match &mut self.tls {
                Some(tls) => {
                    tls.send(plaintext, output)?;
                    output.filled()
                }
                None => plaintext,
            };
            let mut rest = bytes;
            if self.unsent.is_empty() {
                match self.socket.try_write(bytes) {
                    Ok(written) => rest = bytes.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.unsent.extend_from_slice(rest);
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        let mut sent = 0;
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += poll_fn(|cx| {
                if self.control.poll_stop(cx) == Some(Stop::TimedOut) {
                    return Poll::Ready(Err(ConnectionError::TimedOut));
                }
                Pin::new(&mut self.socket).poll_write(cx, rest).map_err(ConnectionError::from)
            })
            .await?;
            self.control.touch();
        }
        self.unsent = Vec::new();
        Ok(())
    }

    /// Ends the connection: says so to the client, then drops for a moment what it still sends, so that the last
    /// answer is not lost when the socket closes on unread bytes.
    pub(crate) async fn close(mut self, linger: bool) {
        if let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_ready()) {
            let output = &mut *self.scratch.outgoing.borrow_mut();
            output.clear();
            if tls.close(output).is_ok() {
                self.unsent.extend_from_slice(output.filled());
            }
        }
        if self.control.stop() == Some(Stop::TimedOut) {
            // Nobody may be listening: what the socket does not take at once is lost.
            let _ = self.socket.try_write(&self.unsent);
            return;
        }
        if self.flush().await.is_err()
            || poll_fn(|cx| Pin::new(&mut self.socket).poll_shutdown(cx)).await.is_err()
        {
            return;
        }
        // A node that stops does not wait for its clients to hang up.
        if linger && self.control.stop().is_none() {
            let _ = tokio::time::timeout(LINGER, self.drop_input()).await;
        }
    }

    async fn drop_input(&mut self) {
        let mut dropped = 0;
        while dropped < LINGER_BYTES_MAX {
            let read = poll_fn(|cx| {
                let incoming = &mut *self.scratch.incoming.borrow_mut();
                let mut buffer = ReadBuf::new(incoming);
                Pin::new(&mut self.socket).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            })
            .await;
            match read {
                Ok(read) if read > 0 => dropped += read,
                _ => return,
            }
        }
    }
}
