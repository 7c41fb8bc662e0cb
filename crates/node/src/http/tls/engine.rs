//! TLS of one HTTP/1.1 session, without a socket: ciphertext in, plaintext out, and the reverse.
//!
//! Built on the TLS library's unbuffered interface: records are opened in the buffer they were received in and
//! sealed straight into the buffer that is sent.

use super::certificates::{Configurations, PeerCertificates};
use crate::http::limits::TLS_LEFTOVER_BYTES_MAX;
use bytes::BytesMut;
use rustls::{
    server::{Accepted, Acceptor, ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
        WriteTraffic,
    },
};
use std::sync::Arc;

/// The session's TLS has failed; an alert may stand in the output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The peer broke the protocol, or the two have nothing in common.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    /// More unprocessed bytes than any record or handshake message needs.
    #[error("a TLS message is too large")]
    MessageTooLarge,
    /// The keys have encrypted as much as they may.
    #[error("the TLS keys are exhausted")]
    KeysExhausted,
}

/// A growing output buffer of which only a prefix is filled, so that it is not cleared again and again.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    filled: usize,
}

impl Output {
    /// What has been put in.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Empties it, keeping its memory.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(bytes);
        self.filled = self.bytes.len();
    }

    fn free(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    fn make_room(&mut self, needed: InsufficientSizeError) {
        self.bytes.resize(self.filled + needed.required_size, 0);
    }
}

/// TLS state of one session.
pub(crate) struct TlsEngine {
    stage: Stage,
    /// Received bytes of an incomplete record or message.
    leftover: Vec<u8>,
}

#[expect(clippy::large_enum_variant, reason = "the first message is short-lived")]
enum Stage {
    /// The client's first message is not complete. It is read beforehand because the configuration depends on
    /// what protocols it names.
    Hello {
        configurations: Arc<Configurations>,
        acceptor: Acceptor,
        given: usize,
    },
    Connected(Box<UnbufferedServerConnection>),
    Failed,
}

/// What [`TlsEngine::receive`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    Open,
    /// The client will send nothing more.
    PeerClosed,
}

impl TlsEngine {
    /// A session that has received nothing yet.
    pub(crate) fn new(configurations: Arc<Configurations>) -> TlsEngine {
        TlsEngine {
            stage: Stage::Hello { configurations, acceptor: Acceptor::default(), given: 0 },
            leftover: Vec::new(),
        }
    }

    /// Whether application data may be sent and received.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(&self.stage, Stage::Connected(connection) if !connection.is_handshaking())
    }

    /// The client's certificates, once ready.
    pub(crate) fn peer_certificates(&self) -> PeerCertificates {
        match &self.stage {
            Stage::Connected(connection) => PeerCertificates::new(connection.peer_certificates()),
            Stage::Hello { .. } | Stage::Failed => PeerCertificates::default(),
        }
    }

    /// Bytes kept from the last call, to be placed before newly received ones.
    pub(crate) fn leftover(&self) -> &[u8] {
        &self.leftover
    }

    /// Takes up `incoming`: [`leftover`](TlsEngine::leftover), then newly received bytes. Plaintext is appended
    /// to `plaintext`, what must be sent to `output`.
    pub(crate) fn receive(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut BytesMut,
        output: &mut Output,
    ) -> Result<Progress, TlsError> {
        let result = self.process(incoming, plaintext, output);
        if result.is_err() {
            self.stage = Stage::Failed;
            self.leftover = Vec::new();
        }
        result
    }

    fn process(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut BytesMut,
        output: &mut Output,
    ) -> Result<Progress, TlsError> {
        if let Stage::Hello { configurations, acceptor, given } = &mut self.stage {
            match read_hello(acceptor, incoming, given, output)? {
                None => return self.keep(incoming).map(|()| Progress::Open),
                Some(accepted) => {
                    let config = configurations.for_hello(&accepted.client_hello());
                    self.stage = Stage::Connected(Box::new(UnbufferedServerConnection::new(config)?));
                }
            }
        }
        let Stage::Connected(connection) = &mut self.stage else {
            return Err(TlsError::Protocol(rustls::Error::HandshakeNotComplete));
        };
        let mut used = 0;
        let mut progress = Progress::Open;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                connection.process_tls_records(incoming.get_mut(used..).unwrap_or_default());
            let mut done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plaintext.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, output),
                // The caller sends the output before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => progress = Progress::PeerClosed,
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => done = true,
                Ok(ConnectionState::Closed) => {
                    progress = Progress::PeerClosed;
                    done = true;
                }
                // Early data is not offered, and other states do not exist.
                Ok(_) => return Err(TlsError::Protocol(rustls::Error::HandshakeNotComplete)),
                Err(error) => {
                    write_alerts(connection, incoming.get_mut(used..).unwrap_or_default(), output);
                    return Err(error.into());
                }
            }
            used += discard;
            if done {
                break;
            }
        }
        self.keep(incoming.get(used..).unwrap_or_default())?;
        Ok(progress)
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        if rest.len() > TLS_LEFTOVER_BYTES_MAX {
            return Err(TlsError::MessageTooLarge);
        }
        if rest.is_empty() {
            self.leftover = Vec::new();
        } else {
            self.leftover.clear();
            self.leftover.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Appends `plaintext`, encrypted, to `output`. Must be [ready](TlsEngine::is_ready).
    pub(crate) fn send(&mut self, plaintext: &[u8], output: &mut Output) -> Result<(), TlsError> {
        self.write(output, |traffic, free| traffic.encrypt(plaintext, free))
    }

    /// Appends the message that ends the session.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub(crate) fn close(&mut self, output: &mut Output) -> Result<(), TlsError> {
        self.write(output, |traffic, free| traffic.queue_close_notify(free))
    }

    fn write(
        &mut self,
        output: &mut Output,
        mut put: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        let Stage::Connected(connection) = &mut self.stage else {
            return Err(TlsError::Protocol(rustls::Error::HandshakeNotComplete));
        };
        // A fragment of a handshake message may be waiting for its rest: the library wants to see it again.
        let mut waiting = std::mem::take(&mut self.leftover);
        let result = loop {
            let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(&mut waiting);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => match put(&mut traffic, output.free()) {
                    Ok(written) => {
                        output.filled += written;
                        break Ok(());
                    }
                    Err(EncryptError::InsufficientSize(needed)) => output.make_room(needed),
                    Err(EncryptError::EncryptExhausted) => break Err(TlsError::KeysExhausted),
                },
                ConnectionState::EncodeTlsData(data) => encode(data, output),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                _ => break Err(TlsError::Protocol(rustls::Error::HandshakeNotComplete)),
            }
            waiting.drain(..discard);
        };
        self.leftover = waiting;
        result
    }
}

/// Gives the bytes not yet given to the acceptor and returns the client's hello once it is complete.
fn read_hello(
    acceptor: &mut Acceptor,
    incoming: &[u8],
    given: &mut usize,
    output: &mut Output,
) -> Result<Option<Accepted>, TlsError> {
    let mut rest = incoming.get(*given..).unwrap_or_default();
    loop {
        let before = rest.len();
        if before == 0 {
            return Ok(None);
        }
        // Reading from memory fails only when the library's own bound on a message is reached.
        acceptor.read_tls(&mut rest).map_err(|_| TlsError::MessageTooLarge)?;
        *given += before - rest.len();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Some(accepted)),
            Ok(None) if rest.len() == before => return Err(TlsError::MessageTooLarge),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // Writing to memory cannot fail.
                let _ = alert.write_all(&mut bytes);
                output.append(&bytes);
                return Err(error.into());
            }
        }
    }
}

/// Takes the alert that a failure queued. `incoming` is what the failing call saw: the library wants to see it
/// again.
fn write_alerts(connection: &mut UnbufferedServerConnection, incoming: &mut [u8], output: &mut Output) {
    while let Ok(ConnectionState::EncodeTlsData(data)) = connection.process_tls_records(incoming).state {
        encode(data, output);
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, output: &mut Output) {
    loop {
        match data.encode(output.free()) {
            Ok(written) => break output.filled += written,
            Err(EncodeError::InsufficientSize(needed)) => output.make_room(needed),
            Err(EncodeError::AlreadyEncoded) => break,
        }
    }
}
