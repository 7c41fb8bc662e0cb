//! HTTP/2 sessions, by hyper, with the same limits and the same handler as HTTP/1.1 (node specification, section
//! 14.4).

mod slowness;

use self::slowness::Slowness;
use super::{
    h1::{CONTENT_LENGTH, RequestError},
    handler::{HttpVersion, Outcome, RequestHandler},
    limits::{
        H2_CONNECTION_WINDOW_MIN, H2_HEADER_LIST_BYTES_MIN_BOUND, H2_LONG_BODIES_MAX, H2_RESET_STREAMS_MAX,
        H2_SEND_BUFFER_BYTES_MAX, H2_SHORT_BODY_BYTES, LONG_BODY_PIECE_BYTES,
    },
    serve::{NewSession, count_refusal, session_cap_response},
    session::{Phase, SessionControl, Stop},
    tls::{Configurations, PeerCertificates},
};
use bytes::{Bytes, BytesMut};
use ccf_endpoints::{HeaderValue, Headers, HeadersBuilder, LongBody, Method, Request, RequestHead, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Semaphore,
};
use tokio_rustls::LazyConfigAcceptor;

/// Serves one connection until it ends.
pub(crate) async fn serve<H: RequestHandler>(
    new: NewSession<H>,
    socket: TcpStream,
    tls: Option<Arc<Configurations>>,
) {
    let id = new.control.id;
    let watched = Watched { stream: socket, control: new.control.clone() };
    let result = match tls {
        None => Ok(converse(new, watched, PeerCertificates::default()).await),
        Some(configurations) => match handshake(watched, &configurations).await {
            Ok((stream, peer)) => Ok(converse(new, stream, peer).await),
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("session {id} ended: {error}"),
        Err(error) => tracing::debug!("session {id} ended in its handshake: {error}"),
    }
}

type TlsStream = tokio_rustls::server::TlsStream<Watched>;

async fn handshake(
    watched: Watched,
    configurations: &Configurations,
) -> io::Result<(TlsStream, PeerCertificates)> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), watched).await?;
    let config = configurations.for_hello(&start.client_hello());
    let stream = start.into_stream(config).await?;
    let peer = PeerCertificates::new(stream.get_ref().1.peer_certificates());
    Ok((stream, peer))
}

async fn converse<H: RequestHandler>(
    new: NewSession<H>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: PeerCertificates,
) -> Result<(), hyper::Error> {
    let settings = &new.interface.settings;
    let control = new.control.clone();
    control.set_midway(None);
    control.enter(Phase::Waiting);
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    let header_bytes = u32::try_from(new.interface.limits.header_bytes()).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(settings.max_concurrent_streams_count)
        .initial_stream_window_size(settings.initial_window_size)
        // Streams that wait for their turn must not stop those whose turn it is.
        .initial_connection_window_size(
            settings
                .initial_window_size
                .saturating_mul(settings.max_concurrent_streams_count)
                .clamp(H2_CONNECTION_WINDOW_MIN, i32::MAX as u32),
        )
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(header_bytes.saturating_mul(4).max(H2_HEADER_LIST_BYTES_MIN_BOUND))
        .max_pending_accept_reset_streams(H2_RESET_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES_MAX);
    let state =
        (!new.refused).then(|| RefCell::new(new.handler.open_session(&new.info(HttpVersion::Http2, peer))));
    let session = Rc::new(Session {
        new,
        state,
        long_bodies: Semaphore::new(H2_LONG_BODIES_MAX),
        executing: Cell::new(0),
        closing: Rc::default(),
    });
    let service = hyper::service::service_fn({
        let session = session.clone();
        move |request| {
            let session = session.clone();
            async move { Ok::<_, Infallible>(session.serve(request).await) }
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut closing = false;
    let mut answered = false;
    poll_fn(|cx| {
        let stop = control.poll_stop(cx);
        if stop == Some(Stop::TimedOut) {
            return Poll::Ready(Ok(()));
        }
        if !closing && (stop.is_some() || answered) {
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
        let asked = session.closing.get();
        let done = connection.as_mut().poll(cx);
        // The end is announced after the answer: what was handed over before a poll is written by it.
        if done.is_pending() && !closing && session.closing.get() {
            answered = asked;
            cx.waker().wake_by_ref();
        }
        done
    })
    .await
}

struct Session<H: RequestHandler> {
    new: NewSession<H>,
    state: Option<RefCell<H::Session>>,
    /// Places for bodies that are not short.
    long_bodies: Semaphore,
    /// Requests being executed.
    executing: Cell<usize>,
    /// The last answer has been handed over.
    closing: Rc<Cell<bool>>,
}

type HttpResponse = http::Response<Answer>;

/// The body of an answer, which tells when it has been handed over if the session ends with it.
struct Answer {
    body: AnswerBody,
    last: Option<Rc<Cell<bool>>>,
}

enum AnswerBody {
    Whole(Full<Bytes>),
    /// A long one, and how much of it has been handed over.
    Long(LongBody, u64),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.body {
            AnswerBody::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            AnswerBody::Long(body, sent) => {
                // Asked for when the client can take more.
                let piece = body.piece(*sent, LONG_BODY_PIECE_BYTES);
                *sent += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Poll::Ready(match piece {
                    Ok(piece) if piece.is_empty() => None,
                    piece => Some(piece.map(Frame::data)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            AnswerBody::Whole(body) => body.is_end_stream(),
            AnswerBody::Long(body, sent) => *sent >= body.bytes(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            AnswerBody::Whole(body) => body.size_hint(),
            AnswerBody::Long(body, sent) => SizeHint::with_exact(body.bytes().saturating_sub(*sent)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(closing) = &self.last {
            closing.set(true);
        }
    }
}

impl<H: RequestHandler> Session<H> {
    async fn serve(&self, request: http::Request<Incoming>) -> HttpResponse {
        let mut is_last = false;
        let is_head = request.method() == http::Method::HEAD;
        let response = self.execute(request, &mut is_last).await;
        // Closing without an answer: HTTP/2 has no such thing for one stream, so it gets an empty one.
        let response = response.unwrap_or_else(|| Response::status(500));
        to_http(&response, is_head, is_last.then(|| self.closing.clone()))
    }

    /// Executes a request; `is_last` becomes true if the session ends with the answer.
    async fn execute(&self, request: http::Request<Incoming>, is_last: &mut bool) -> Option<Response> {
        let Some(state) = &self.state else {
            *is_last = true;
            return Some(session_cap_response());
        };
        let request = match self.read(request).await {
            Ok(request) => request,
            Err(Unreadable::Refused(error)) => {
                count_refusal(&self.new.interface.counters, &error);
                *is_last = true;
                return Some(self.new.interface.limits.response(&error));
            }
            Err(Unreadable::Lost) => return None,
        };
        let _executing = Executing::new(self);
        if let Some(room) = self.new.handler.wait_for_room(&request) {
            room.await;
        }
        let mut outcome = self.new.handler.handle(&mut state.borrow_mut(), request);
        self.new.handler.batch_done();
        while let Outcome::Pending(pending) = outcome {
            self.new.worker.waits();
            outcome = pending.await;
        }
        match outcome {
            Outcome::Respond(response) => Some(response),
            Outcome::RespondAndClose(response) => {
                *is_last = true;
                Some(response)
            }
            Outcome::Close | Outcome::Pending(_) => {
                *is_last = true;
                None
            }
        }
    }

    async fn read(&self, request: http::Request<Incoming>) -> Result<Request, Unreadable> {
        let (parts, body) = request.into_parts();
        let method = Method::parse(parts.method.as_str().as_bytes())
            .map_err(|_| Unreadable::Refused(RequestError::unknown_method(parts.method.as_str())))?;
        let target = match parts.uri.path_and_query() {
            Some(target) => target.as_str(),
            None => parts.uri.authority().map_or("", |a| a.as_str()),
        };
        let headers = self.headers(&parts, target)?;
        let head = RequestHead::new(method, Bytes::copy_from_slice(target.as_bytes()), headers);
        Ok(Request::new(head, self.body(body).await?))
    }

    /// The pseudo headers stand among the others.
    fn headers(&self, parts: &http::request::Parts, target: &str) -> Result<Headers, Unreadable> {
        let limits = &self.new.interface.limits;
        if parts.headers.len() > limits.headers_count() {
            return Err(RequestError::TooManyHeaders.into());
        }
        let mut headers = HeadersBuilder::default();
        if let Some(authority) = parts.uri.authority() {
            headers.push(b":authority", authority.as_str().as_bytes());
        }
        headers.push(b":method", parts.method.as_str().as_bytes());
        headers.push(b":path", target.as_bytes());
        if let Some(scheme) = parts.uri.scheme_str() {
            headers.push(b":scheme", scheme.as_bytes());
        }
        for (name, value) in &parts.headers {
            if name.as_str().len() > limits.header_bytes() {
                return Err(RequestError::NameTooLarge { name: name.as_str().into() }.into());
            }
            if value.len() > limits.header_bytes() {
                return Err(RequestError::ValueTooLarge { name: name.as_str().into() }.into());
            }
            headers.push(name.as_str().as_bytes(), value.as_bytes());
        }
        Ok(headers.finish())
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Unreadable> {
        let limit = self.new.interface.limits.body_bytes();
        if body.size_hint().lower() > limit as u64 {
            return Err(RequestError::BodyTooLarge.into());
        }
        let mut body = Slowness::watch(body);
        let mut place = None;
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(data) = body.data(first.len() + rest.len()).await.map_err(|_| Unreadable::Lost)? {
            let so_far = first.len() + rest.len() + data.len();
            if so_far > limit {
                return Err(RequestError::BodyTooLarge.into());
            }
            if first.is_empty() && rest.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&data);
            }
            if so_far > H2_SHORT_BODY_BYTES && place.is_none() {
                // The semaphore is never closed. Those before are not waited for longer than their time.
                place = self.long_bodies.acquire().await.ok();
                body.begin_anew();
            }
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }
}

/// A request that is not executed.
enum Unreadable {
    /// It breaks a rule.
    Refused(RequestError),
    /// The client went away.
    Lost,
}

impl From<RequestError> for Unreadable {
    fn from(error: RequestError) -> Self {
        Unreadable::Refused(error)
    }
}

/// Stops the session's clock while a request is executed.
struct Executing<'a, H: RequestHandler>(&'a Session<H>);

impl<'a, H: RequestHandler> Executing<'a, H> {
    fn new(session: &'a Session<H>) -> Self {
        session.executing.set(session.executing.get() + 1);
        session.new.control.enter(Phase::Executing);
        Executing(session)
    }
}

impl<H: RequestHandler> Drop for Executing<'_, H> {
    fn drop(&mut self) {
        let left = self.0.executing.get() - 1;
        self.0.executing.set(left);
        if left == 0 {
            self.0.new.control.enter(Phase::Waiting);
        }
    }
}

fn to_http(response: &Response, is_head: bool, last: Option<Rc<Cell<bool>>>) -> HttpResponse {
    let body = match &response.long_body {
        _ if is_head || matches!(response.status, 204 | 304) => AnswerBody::Whole(Full::default()),
        Some(long) => AnswerBody::Long(long.clone(), 0),
        None => AnswerBody::Whole(Full::new(response.body.clone())),
    };
    let mut length = response.body_bytes();
    let mut builder = http::Response::builder().status(response.status);
    for (name, value) in response.headers.iter() {
        if let (CONTENT_LENGTH, HeaderValue::Number(number)) = (name, value) {
            // Of an answer with a body nobody else knows the length.
            length = if is_head { *number } else { length };
            continue;
        }
        let mut text = Vec::new();
        value.write_to(&mut text);
        builder = builder.header(name, text);
    }
    builder = builder.header(http::header::CONTENT_LENGTH, length);
    // Names are tokens and values hold no line ends; what else HTTP/2 might object to is our own doing.
    builder.body(Answer { body, last: last.clone() }).unwrap_or_else(|_| {
        let mut failed = http::Response::new(Answer { body: AnswerBody::Whole(Full::default()), last });
        *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}

/// Runs hyper's streams on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A stream whose traffic the session's clock sees.
struct Watched {
    stream: TcpStream,
    control: Rc<SessionControl>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.control.poll_stop(cx) == Some(Stop::TimedOut) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if result.is_ready() {
            self.control.touch();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if result.is_ready() {
            self.control.touch();
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
