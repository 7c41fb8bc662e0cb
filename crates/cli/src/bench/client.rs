//! A blocking client with one connection: checks before a run, fills the store, samples commit times.

use super::{
    connection::{ConnectionError, Target},
    wire,
    workload::{Kind, Workload},
};
use rustls::{ClientConnection, StreamOwned};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Writes under way at once while the store is filled.
const PREFILL_BATCH: u64 = 100;

/// One answer, read whole.
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The header `x-ms-ccf-transaction-id`.
    pub tx_id: Option<String>,
    /// The body as text.
    pub body: String,
}

/// A blocking connection with one request at a time.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    inbox: Vec<u8>,
}

impl Client {
    /// Connects to `target`.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn open(target: &Target) -> Result<Self, ConnectionError> {
        let (socket, tls) = target.connect()?;
        Ok(Client { stream: StreamOwned::new(tls, socket), inbox: Vec::new() })
    }

    /// From now on an answer is awaited at most so long.
    ///
    /// # Errors
    /// [`ConnectionError::Io`].
    pub fn answer_within(&self, time: Duration) -> Result<(), ConnectionError> {
        Ok(self.stream.sock.set_read_timeout(Some(time))?)
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn ask(&mut self, request: &[u8]) -> Result<Answer, ConnectionError> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        self.next_answer()
    }

    fn next_answer(&mut self) -> Result<Answer, ConnectionError> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(scanned) = wire::scan(&self.inbox)?
                && self.inbox.len() >= scanned.total_bytes()
            {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let head = &self.inbox[..scanned.head_bytes];
                let answer = Answer {
                    status: scanned.status,
                    tx_id: wire::header(head, b"x-ms-ccf-transaction-id").map(text),
                    body: text(&self.inbox[scanned.head_bytes..scanned.total_bytes()]),
                };
                self.inbox.drain(..scanned.total_bytes());
                return Ok(answer);
            }
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(ConnectionError::Closed(1));
            }
            self.inbox.extend_from_slice(&chunk[..read]);
        }
    }

    /// Writes keys 0 to `keys` once, [`PREFILL_BATCH`] at a time; `progress` hears how many are done.
    ///
    /// # Errors
    /// The connection's error, or the status and body of the first refusal, as a sentence.
    pub fn prefill(
        &mut self,
        workload: &Workload,
        keys: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), String> {
        let mut first = 0;
        while first < keys {
            let end = keys.min(first + PREFILL_BATCH);
            let mut batch = Vec::new();
            (first..end).for_each(|key| workload.append(Kind::Write, key, &mut batch));
            self.stream.write_all(&batch).and_then(|()| self.stream.flush()).map_err(|e| e.to_string())?;
            for _ in first..end {
                let answer = self.next_answer().map_err(|e| e.to_string())?;
                if !(200..300).contains(&answer.status) {
                    return Err(format!("{} {}", answer.status, answer.body));
                }
            }
            progress(end);
            first = end;
        }
        Ok(())
    }
}
