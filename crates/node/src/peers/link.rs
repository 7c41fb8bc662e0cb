//! One TCP connection: what waits to be written to it, and writing.
//!
//! Frames leave in the order in which they were pushed. The pusher writes them itself, at once or together with others of
//! its burst; what the socket does not take is written by the transport's thread when there is room.

use super::limits::{GATHERED_BYTES_MAX, OUTBOX_BYTES_MAX, SLICES_MAX};
use bytes::{Buf, Bytes};
use ccf_channels::frame::OutgoingFrame;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice},
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::Notify};

/// A connection, or one that is being made.
pub(super) struct Link {
    /// Later connections have greater numbers.
    pub(super) serial: u64,
    /// The address of the other end, for the log.
    pub(super) remote: String,
    /// Whether this node dialled.
    pub(super) outgoing: bool,
    /// Whether there was ever a connection.
    connected: AtomicBool,
    /// Whether a frame was authenticated that came this way.
    proven: AtomicBool,
    /// When something was last pushed or accepted, milliseconds of the network's clock.
    last_use_ms: AtomicU64,
    outbox: Mutex<Outbox>,
    want_write: Notify,
}

#[derive(Default)]
struct Outbox {
    stream: Option<Arc<TcpStream>>,
    pieces: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// The socket was full, or there is none yet: the transport's thread writes what waits.
    handed_over: bool,
    /// Something waits for [`Link::flush`].
    gathering: bool,
    closed: bool,
}

/// When frames are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At once.
    Now,
    /// With the next ones that are, or at the next [`Link::flush`].
    AtFlush,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Written, or it will be.
    Taken,
    /// It waits for [`Link::flush`], as the first one.
    Gathered,
    /// Too much waits already.
    Full,
    /// The connection is gone.
    Closed,
}

impl Link {
    pub(super) fn new(
        serial: u64,
        remote: String,
        outgoing: bool,
        stream: Option<Arc<TcpStream>>,
        now: Duration,
    ) -> Link {
        let link = Link {
            serial,
            remote,
            outgoing,
            connected: AtomicBool::new(stream.is_some()),
            proven: AtomicBool::new(false),
            last_use_ms: AtomicU64::new(0),
            outbox: Mutex::new(Outbox { handed_over: stream.is_none(), stream, ..Outbox::default() }),
            want_write: Notify::new(),
        };
        link.touch(now);
        link
    }

    /// The connection was made: what waited is written. False if it was closed meanwhile.
    pub(super) fn connected(&self, stream: &Arc<TcpStream>) -> bool {
        let mut outbox = self.outbox.lock();
        if outbox.closed {
            return false;
        }
        outbox.stream = Some(Arc::clone(stream));
        self.connected.store(true, Ordering::Relaxed);
        self.want_write.notify_one();
        true
    }

    /// Whether something may have been sent.
    pub(super) fn was_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether a frame would be taken.
    pub(super) fn has_room(&self) -> bool {
        let outbox = self.outbox.lock();
        !outbox.closed && outbox.waiting_bytes < OUTBOX_BYTES_MAX
    }

    /// Sends frames, if the socket takes them.
    pub(super) fn push(
        &self,
        frames: impl IntoIterator<Item = OutgoingFrame>,
        when: When,
        now: Duration,
    ) -> Pushed {
        let mut outbox = self.outbox.lock();
        if outbox.closed {
            return Pushed::Closed;
        }
        self.touch(now);
        let mut pushed = Pushed::Taken;
        for frame in frames {
            let len = frame.byte_count();
            if outbox.waiting_bytes > 0 && outbox.waiting_bytes.saturating_add(len) > OUTBOX_BYTES_MAX {
                pushed = Pushed::Full;
                break;
            }
            outbox.waiting_bytes += len;
            outbox.pieces.push_back(frame.head);
            outbox.pieces.extend(frame.entries.into_iter().filter(|entry| !entry.is_empty()));
        }
        if outbox.handed_over {
            return pushed;
        }
        if when == When::AtFlush && pushed == Pushed::Taken && outbox.waiting_bytes < GATHERED_BYTES_MAX {
            let is_first = !std::mem::replace(&mut outbox.gathering, true);
            return if is_first { Pushed::Gathered } else { Pushed::Taken };
        }
        if self.write_now(&mut outbox) { pushed } else { Pushed::Closed }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&self) {
        let mut outbox = self.outbox.lock();
        outbox.gathering = false;
        if !outbox.handed_over && !outbox.closed {
            self.write_now(&mut outbox);
        }
    }

    /// Writes what waits; the transport's thread goes on if the socket is full. False if the connection is gone.
    fn write_now(&self, outbox: &mut Outbox) -> bool {
        match outbox.write() {
            Ok(true) => true,
            Ok(false) => {
                outbox.handed_over = true;
                self.want_write.notify_one();
                true
            }
            Err(()) => {
                outbox.close();
                false
            }
        }
    }

    /// Ends the connection; its reader sees the end of the stream.
    pub(super) fn close(&self) {
        self.outbox.lock().close();
        self.want_write.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.outbox.lock().closed
    }

    pub(super) fn set_proven(&self, now: Duration) {
        self.proven.store(true, Ordering::Relaxed);
        self.touch(now);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// How long nothing was pushed or accepted.
    pub(super) fn unused_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.last_use_ms.load(Ordering::Relaxed)))
    }

    fn touch(&self, now: Duration) {
        self.last_use_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Writes what the socket did not take at once. Runs until the connection closes.
    pub(super) async fn write_waiting(&self, stream: &TcpStream) {
        loop {
            self.want_write.notified().await;
            loop {
                if stream.writable().await.is_err() {
                    self.close();
                    return;
                }
                let mut outbox = self.outbox.lock();
                if outbox.closed {
                    return;
                }
                match outbox.write() {
                    Ok(true) => {
                        outbox.handed_over = false;
                        break;
                    }
                    Ok(false) => {}
                    Err(()) => {
                        outbox.close();
                        return;
                    }
                }
            }
        }
    }
}

impl Outbox {
    /// Writes until all is written (true) or the socket is full (false).
    fn write(&mut self) -> Result<bool, ()> {
        let Some(stream) = &self.stream else { return Ok(false) };
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count =
                slices.iter_mut().zip(&self.pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count();
            let written = match stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(()),
            };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(written);
            advance(&mut self.pieces, written);
        }
        Ok(true)
    }

    fn close(&mut self) {
        self.closed = true;
        self.pieces.clear();
        self.waiting_bytes = 0;
        if let Some(stream) = self.stream.take() {
            // It may be closed already.
            let _ = socket2::SockRef::from(&*stream).shutdown(Shutdown::Both);
        }
    }
}

/// Drops `written` bytes from the front.
fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = pieces.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_consumed_byte_by_byte() {
        for step in 1..=7 {
            let mut pieces: VecDeque<Bytes> =
                [&b"abc"[..], b"d", b"efg"].into_iter().map(Bytes::from_static).collect();
            let mut left = b"abcdefg".to_vec();
            while !left.is_empty() {
                let written = step.min(left.len());
                left.drain(..written);
                advance(&mut pieces, written);
                assert_eq!(pieces.iter().flatten().copied().collect::<Vec<u8>>(), left);
            }
            assert!(pieces.is_empty());
        }
    }

    #[test]
    fn what_waits_is_bounded_but_one_frame_always_passes() {
        let frame = |len: usize| OutgoingFrame { head: vec![0; len].into(), entries: Vec::new() };
        let link = Link::new(1, String::new(), true, None, Duration::ZERO);
        let push = |len| link.push([frame(len)], When::Now, Duration::ZERO);
        assert_eq!(push(OUTBOX_BYTES_MAX + 1), Pushed::Taken);
        assert!(!link.has_room());
        assert_eq!(push(1), Pushed::Full);
        link.close();
        assert_eq!(push(1), Pushed::Closed);
    }
}
