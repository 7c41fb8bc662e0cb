//! Reading one connection: cutting it into frames and handing them on.

use super::{
    limits::{
        HANDSHAKE_REFILL, HANDSHAKES_BURST, READ_BYTES, READ_BYTES_MIN, READS_IN_A_ROW, UNPROVEN_BYTES_MAX,
        UNPROVEN_FREE_BYTES,
    },
    link::Link,
    state::Shared,
};
use crate::vital::Vital;
use bytes::BytesMut;
use ccf_channels::{
    frame::{FrameError, FrameKind, take_frame},
    limits::FRAME_BYTES_MAX,
};
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

/// Reads until the connection ends, and writes what waits for it.
pub(super) async fn run(shared: &Arc<Shared>, link: &Arc<Link>, stream: &Arc<TcpStream>) {
    let _vital = Vital::new("messages of other nodes");
    tokio::select! {
        () = link.write_waiting(stream) => {}
        () = read(shared, link, stream) => {}
    }
}

async fn read(shared: &Arc<Shared>, link: &Arc<Link>, stream: &TcpStream) {
    let mut reader = LinkReader {
        shared,
        link,
        buffer: BytesMut::new(),
        charged: 0,
        handshakes: HANDSHAKES_BURST,
        refilled: shared.now(),
        dialled_from: link.remote.parse().ok().filter(|_| !link.outgoing).map(|from: SocketAddr| from.ip()),
    };
    while stream.readable().await.is_ok() {
        let mut delivered = false;
        let ended = reader.read_available(stream, &mut delivered);
        if delivered {
            shared.events.end_of_burst();
            shared.attention.worked();
        }
        if ended {
            return;
        }
    }
}

struct LinkReader<'a> {
    shared: &'a Arc<Shared>,
    link: &'a Arc<Link>,
    buffer: BytesMut,
    /// Bytes charged to the account of connections without an authenticated frame.
    charged: usize,
    /// Key exchange messages that may still be judged.
    handshakes: u32,
    refilled: Duration,
    /// Who opened the connection, if not this node.
    dialled_from: Option<IpAddr>,
}

impl LinkReader<'_> {
    /// Reads what is there, within reason. True if the connection is to end.
    fn read_available(&mut self, stream: &TcpStream, delivered: &mut bool) -> bool {
        for _ in 0..READS_IN_A_ROW {
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
                self.buffer.reserve(READ_BYTES);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            match stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return true,
                Ok(count) => {
                    if !self.take_frames(delivered) || !self.charge() {
                        return true;
                    }
                    if count < room {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Hands on all complete frames. False if the connection is to end.
    fn take_frames(&mut self, delivered: &mut bool) -> bool {
        loop {
            match take_frame(&mut self.buffer, FRAME_BYTES_MAX) {
                Ok(None) => return true,
                Ok(Some(frame)) => {
                    if frame.kind == FrameKind::Handshake && !self.may_judge_handshake() {
                        let sender = frame.sender.as_str();
                        self.shared.refuse(
                            self.link,
                            sender,
                            "too_many_key_exchanges",
                            &"too many key exchanges",
                        );
                    } else {
                        *delivered |= self.shared.receive(self.link, frame);
                    }
                }
                Err(error) => {
                    self.shared.counters.connections_refused.add_one();
                    let reason = match error {
                        FrameError::TooLong(..) => "frame_too_long",
                        FrameError::TooShort(_) => "frame_too_short",
                        FrameError::Sender => "frame_sender",
                    };
                    self.shared.refuse(self.link, "", reason, &error);
                    return false;
                }
            }
        }
    }

    fn may_judge_handshake(&mut self) -> bool {
        let now = self.shared.now();
        let stranger = self.dialled_from.filter(|_| !self.link.is_proven());
        if stranger.is_some_and(|from| !self.shared.strangers.may_judge(from, now)) {
            return false;
        }
        while self.handshakes < HANDSHAKES_BURST && now >= self.refilled + HANDSHAKE_REFILL {
            self.refilled += HANDSHAKE_REFILL;
            self.handshakes += 1;
        }
        if self.handshakes == HANDSHAKES_BURST {
            self.refilled = now;
        }
        self.handshakes = match self.handshakes.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }

    /// Keeps the account of unfinished frames of connections that have proved nothing. False if it is overdrawn.
    fn charge(&mut self) -> bool {
        let due =
            if self.link.is_proven() { 0 } else { self.buffer.len().saturating_sub(UNPROVEN_FREE_BYTES) };
        let account = &self.shared.unproven_bytes;
        account.fetch_sub(self.charged, Ordering::Relaxed);
        let before = account.fetch_add(due, Ordering::Relaxed);
        self.charged = due;
        if due > 0 && before + due > UNPROVEN_BYTES_MAX {
            self.shared.counters.connections_refused.add_one();
            let complaint = "long frames on connections without an authenticated one";
            self.shared.refuse(self.link, "", "unproven_bytes", &complaint);
            return false;
        }
        true
    }
}

impl Drop for LinkReader<'_> {
    fn drop(&mut self) {
        self.shared.unproven_bytes.fetch_sub(self.charged, Ordering::Relaxed);
    }
}
