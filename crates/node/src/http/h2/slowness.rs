//! Bodies must come at some speed, as in HTTP/1.1: slower senders hold a stream for nothing.

use crate::http::limits::{REQUEST_BYTES_PER_SECOND_MIN, REQUEST_SECONDS_BASE};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Duration, Instant, timeout_at};

/// A body and how long it may take.
pub(super) struct Slowness<B> {
    body: B,
    begun: Instant,
    /// The time that is allowed whatever has come.
    base: Duration,
}

/// The client went away, or is too slow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl<B: Body<Data = Bytes> + Unpin> Slowness<B> {
    pub(super) fn watch(body: B) -> Self {
        Slowness { body, begun: Instant::now(), base: Duration::from_secs(REQUEST_SECONDS_BASE.into()) }
    }

    /// The client was made to wait: its time counts from now.
    pub(super) fn begin_anew(&mut self) {
        self.begun = Instant::now();
    }

    /// The next piece, `received` bytes having come before.
    pub(super) async fn data(&mut self, received: usize) -> Result<Option<Bytes>, Lost> {
        loop {
            let earned = Duration::from_secs((received / REQUEST_BYTES_PER_SECOND_MIN) as u64);
            let frame = timeout_at(self.begun + self.base + earned, self.body.frame());
            let Some(frame) = frame.await.map_err(|_| Lost)? else { return Ok(None) };
            // Trailers are ignored.
            if let Ok(data) = frame.map_err(|_| Lost)?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Frame;
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll, ready},
    };
    use tokio::time::sleep;

    /// The base time of these tests, and how long pauses are that must not be allowed by it.
    const BASE: Duration = Duration::from_millis(50);

    /// Pieces, each after a pause.
    struct Pieces(Vec<(Duration, usize)>, Option<Pin<Box<tokio::time::Sleep>>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some((pause, bytes)) = self.0.first().copied() else { return Poll::Ready(None) };
            let pause = self.1.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(pause.as_mut().poll(cx));
            self.1 = None;
            self.0.remove(0);
            Poll::Ready(Some(Ok(Frame::data(vec![0; bytes].into()))))
        }
    }

    /// The bytes that came until the body ended, or until the sender was given up.
    fn read(pieces: &[(Duration, usize)]) -> (usize, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut body = Slowness { base: BASE, ..Slowness::watch(Pieces(pieces.to_vec(), None)) };
            let mut received = 0;
            loop {
                match body.data(received).await {
                    Ok(Some(data)) => received += data.len(),
                    Ok(None) => return (received, true),
                    Err(Lost) => return (received, false),
                }
            }
        })
    }

    #[test]
    fn who_sends_too_slowly_is_given_up_however_often_something_comes() {
        let drop_by_drop = vec![(BASE / 4, 1); 1000];
        let (received, ended) = read(&drop_by_drop);
        assert!(!ended && received < 100, "{received} bytes");
        let nothing = vec![(BASE / 4, 0); 1000];
        assert_eq!(read(&nothing), (0, false));
        let silent = [(Duration::ZERO, 1000), (Duration::from_secs(3600), 1)];
        assert_eq!(read(&silent), (1000, false));
    }

    #[test]
    fn what_has_come_earns_time() {
        let minute = 60 * REQUEST_BYTES_PER_SECOND_MIN;
        let pieces = [(Duration::ZERO, minute), (4 * BASE, 1), (4 * BASE, minute)];
        assert_eq!(read(&pieces), (2 * minute + 1, true));
    }
}
