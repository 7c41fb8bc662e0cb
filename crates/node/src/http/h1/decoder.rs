//! Bytes to requests.
//!
//! The decoder looks at every byte once, in order, so what it answers depends on the bytes alone and never on
//! how they were split over reads. A complete request leaves as slices of the buffer it was received in.

use super::{
    error::{Malformed, QuotedLimits, RequestError},
    head::{self, BadLine, RequestLine},
};
use crate::http::{
    limits::{CHUNK_LINE_BYTES_MAX, FRAGMENT_BYTES_MAX, HEAD_BYTES_MIN_BOUND},
    settings::{InterfaceSettings, SizeLimit},
};
use bytes::{Buf, Bytes, BytesMut};
use ccf_endpoints::{Headers, Request, RequestHead, Response};
use std::{ops::Range, sync::Arc};

/// What a decoder accepts.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    body: SizeLimit,
    header: SizeLimit,
    headers_count: usize,
    head_bytes: usize,
}

impl Limits {
    /// The limits of an interface.
    pub(crate) fn of(settings: &InterfaceSettings) -> Limits {
        Limits {
            body: settings.max_body_size.clone(),
            header: settings.max_header_size.clone(),
            headers_count: settings.max_headers_count,
            head_bytes: settings.max_header_size.bytes.saturating_mul(4).max(HEAD_BYTES_MIN_BOUND),
        }
    }

    /// The answer to a refused request.
    pub(crate) fn response(&self, error: &RequestError) -> Response {
        error.response(&QuotedLimits {
            body: &self.body,
            header: &self.header,
            headers_count: self.headers_count,
        })
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.body.bytes
    }

    pub(crate) fn header_bytes(&self) -> usize {
        self.header.bytes
    }

    pub(crate) fn headers_count(&self) -> usize {
        self.headers_count
    }
}

/// One request and what its head asks of the connection.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) request: Request,
    /// `connection: close`: the client wants no further answer.
    pub(crate) close: bool,
}

/// Decodes the requests of one session.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Arc<Limits>,
    buffer: BytesMut,
    head: HeadProgress,
    state: State,
    /// The most the buffer held since memory was last given back.
    buffer_peak: usize,
}

#[derive(Debug)]
enum State {
    /// Reading request line and headers.
    Head,
    /// The head is complete; the body of known length is not.
    Body { head_len: usize, body_len: usize },
    /// The head has been taken out of the buffer, chunks follow.
    Chunks(Box<Chunks>),
}

/// The part of a head read so far. Positions count from the start of the buffer, which is the request's
/// first byte.
#[derive(Debug, Default)]
struct HeadProgress {
    /// No line feed before this position is unseen.
    scanned: usize,
    line_start: usize,
    request_line: Option<RequestLine>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    has_upper_case: bool,
    content_length: Option<usize>,
    chunked: bool,
    close: bool,
    expects_continue: bool,
}

#[derive(Debug)]
struct Chunks {
    head: RequestHead,
    body: Vec<u8>,
    phase: ChunkPhase,
    /// Bytes of the request taken out of the buffer.
    consumed: usize,
    trailers: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum ChunkPhase {
    Size,
    Data(usize),
    DataEnd,
    Trailers,
}

impl Decoder {
    /// A decoder at the beginning of a session.
    pub(crate) fn new(limits: Arc<Limits>) -> Decoder {
        Decoder {
            limits,
            buffer: BytesMut::new(),
            head: HeadProgress::default(),
            state: State::Head,
            buffer_peak: 0,
        }
    }

    /// Where received bytes go: append only.
    pub(crate) fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next complete request; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`RequestError`] if the session must be answered and closed; the decoder is not used any more then.
    pub(crate) fn next(&mut self) -> Result<Option<Decoded>, RequestError> {
        self.buffer_peak = self.buffer_peak.max(self.buffer.len());
        if matches!(self.state, State::Head) && !self.read_head()? {
            return Ok(None);
        }
        match self.state {
            State::Body { head_len, body_len } => {
                if self.buffer.len() - head_len < body_len {
                    return Ok(None);
                }
                let head = self.take_head(head_len);
                let body = self.buffer.split_to(body_len).freeze();
                Ok(Some(self.finish(head, body)))
            }
            State::Chunks(_) => self.read_chunks(),
            State::Head => Ok(None),
        }
    }

    /// Whether a request has begun and is not complete.
    pub(crate) fn is_midway(&self) -> bool {
        !self.buffer.is_empty() || !matches!(self.state, State::Head)
    }

    /// Bytes held of a request that is not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Chunks(chunks) => self.buffer.len() + chunks.body.len(),
            State::Head | State::Body { .. } => self.buffer.len(),
        }
    }

    /// Whether the client waits for a `100 Continue` before it sends the body. True once per request.
    pub(crate) fn take_expects_continue(&mut self) -> bool {
        let nothing_yet = match &self.state {
            State::Head => false,
            State::Body { head_len, .. } => self.buffer.len() == *head_len,
            State::Chunks(chunks) => self.buffer.is_empty() && chunks.body.is_empty(),
        };
        nothing_yet && std::mem::take(&mut self.head.expects_continue)
    }

    /// Gives memory back while a session waits with an empty buffer.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if self.buffer.is_empty() && self.buffer_peak > keep {
            self.buffer = BytesMut::new();
            self.buffer_peak = 0;
        }
    }

    /// Reads lines until the head is complete; then sets the state of its body and returns true.
    fn read_head(&mut self) -> Result<bool, RequestError> {
        if self.head.scanned == 0 && !self.skip_empty_lines() {
            return Ok(false);
        }
        loop {
            // A line feed after the bound is as good as none.
            let end = self.buffer.len().min(self.limits.head_bytes);
            let found = memchr::memchr(b'\n', self.buffer.get(self.head.scanned..end).unwrap_or_default());
            let Some(offset) = found else {
                self.head.scanned = end;
                let bound = self.limits.head_bytes;
                self.check_partial_line(self.head.line_start..self.buffer.len().min(bound + 1))?;
                if self.buffer.len() > bound {
                    return Err(RequestError::HeadTooLarge { limit: bound });
                }
                return Ok(false);
            };
            let line_feed = self.head.scanned + offset;
            self.head.scanned = line_feed + 1;
            let start = std::mem::replace(&mut self.head.line_start, line_feed + 1);
            if line_feed == start || self.buffer.get(line_feed - 1) != Some(&b'\r') {
                self.check_partial_line(start..line_feed)?;
                return Err(self.malformed(Malformed::BareLineFeed, line_feed));
            }
            let line = start..line_feed - 1;
            if self.head.request_line.is_none() {
                let parsed = head::parse_request_line(&self.buffer[line.clone()])
                    .map_err(|e| self.bad_line(e, line.start))?;
                // The request line stands at the start of the buffer: positions in both are the same.
                self.head.request_line = Some(parsed);
            } else if line.is_empty() {
                return self.end_of_head(line_feed + 1).map(|()| true);
            } else {
                self.header_line(line)?;
            }
        }
    }

    /// Skips empty lines before a request. Returns whether there is anything after them.
    fn skip_empty_lines(&mut self) -> bool {
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
        }
        !self.buffer.is_empty() && &self.buffer[..] != b"\r"
    }

    /// Refuses what no method begins with; garbage without a line end must be answered too. The method is
    /// always the first thing found wrong.
    fn check_method(&self) -> Result<(), RequestError> {
        match self.head.request_line {
            None => head::check_method_prefix(&self.buffer).map_err(|e| self.bad_line(e, 0)),
            Some(_) => Ok(()),
        }
    }

    /// Takes the measures of a line that has no proper end (yet): the same as of complete lines, so that a
    /// header that is too large is refused before it is all there.
    fn check_partial_line(&self, line: Range<usize>) -> Result<(), RequestError> {
        self.check_method()?;
        let line = self.buffer.get(line).unwrap_or_default();
        if self.head.request_line.is_some() && line.len() > self.limits.header.bytes {
            if self.head.headers.len() >= self.limits.headers_count {
                return Err(RequestError::TooManyHeaders);
            }
            // The next byte may be the line feed that makes this a line end.
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.check_header_size(line, head::split_header_line(line))?;
        }
        Ok(())
    }

    fn check_header_size(&self, line: &[u8], split: Option<(usize, usize)>) -> Result<(), RequestError> {
        let limit = self.limits.header.bytes;
        let (colon, value_start) = split.unwrap_or((line.len(), line.len()));
        if colon > limit {
            // Not the whole name, so that the answer does not depend on how much of it has come.
            let name = line.get(..=limit).unwrap_or_default().to_vec();
            return Err(RequestError::NameTooLarge { name });
        }
        if line.len() - value_start > limit {
            let name = line.get(..colon).unwrap_or_default().to_ascii_lowercase();
            return Err(RequestError::ValueTooLarge { name });
        }
        Ok(())
    }

    fn header_line(&mut self, at: Range<usize>) -> Result<(), RequestError> {
        if self.head.headers.len() >= self.limits.headers_count {
            return Err(RequestError::TooManyHeaders);
        }
        let line = &self.buffer[at.clone()];
        let split = head::split_header_line(line);
        self.check_header_size(line, split)?;
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(self.malformed(Malformed::FoldedHeader, at.start));
        }
        let Some((colon, value_start)) = split else {
            let bad = BadLine { reason: Malformed::HeaderName, at: line.len() };
            return Err(self.bad_line(bad, at.start));
        };
        let parsed =
            head::parse_header_line(line, colon, value_start).map_err(|e| self.bad_line(e, at.start))?;
        let (name, value) = (&line[parsed.name.clone()], &line[parsed.value.clone()]);
        let value_at = at.start + parsed.value.start;
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.head.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let tokens = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
                self.head.close |= tokens.into_iter().any(|t| t.eq_ignore_ascii_case(b"close"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.head.content_length.is_some() {
                    return Err(self.malformed(Malformed::ContentLengthTwice, value_at));
                }
                if self.head.chunked {
                    return Err(self.malformed(Malformed::ContentLengthAndChunks, value_at));
                }
                let Some(length) = head::parse_content_length(value) else {
                    return Err(self.malformed(Malformed::ContentLength, value_at));
                };
                self.head.content_length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.head.content_length.is_some() {
                    return Err(self.malformed(Malformed::ContentLengthAndChunks, value_at));
                }
                if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(self.malformed(Malformed::TransferEncoding, value_at));
                }
                self.head.chunked = true;
            }
            _ => {}
        }
        self.head.has_upper_case |= parsed.has_upper_case;
        let shift = |r: Range<usize>| at.start + r.start..at.start + r.end;
        self.head.headers.push((shift(parsed.name), shift(parsed.value)));
        Ok(())
    }

    fn end_of_head(&mut self, head_len: usize) -> Result<(), RequestError> {
        if self.head.chunked {
            let head = self.take_head(head_len);
            self.head.scanned = 0;
            self.state = State::Chunks(Box::new(Chunks {
                head,
                body: Vec::new(),
                phase: ChunkPhase::Size,
                consumed: head_len,
                trailers: 0,
                trailer_bytes: 0,
            }));
        } else {
            let body_len = self.head.content_length.unwrap_or(0);
            if body_len > self.limits.body.bytes {
                return Err(RequestError::BodyTooLarge);
            }
            self.state = State::Body { head_len, body_len };
        }
        Ok(())
    }

    /// Takes the head out of the buffer. What it said of body and connection stays in `self.head`.
    fn take_head(&mut self, head_len: usize) -> RequestHead {
        if self.head.has_upper_case {
            for (name, _) in &self.head.headers {
                self.buffer[name.clone()].make_ascii_lowercase();
            }
        }
        let block = self.buffer.split_to(head_len).freeze();
        let (method, target) = match self.head.request_line.take() {
            Some(line) => (line.method, block.slice(line.target)),
            // No head is complete without its request line.
            None => (ccf_endpoints::Method::Get, Bytes::new()),
        };
        let mut headers = Headers::in_block(block);
        for (name, value) in self.head.headers.drain(..) {
            // Ranges of the head lie in the head, and a head is far below 4 GiB.
            let _ = headers.push_range(name, value);
        }
        RequestHead::new(method, target, headers)
    }

    fn finish(&mut self, head: RequestHead, body: Bytes) -> Decoded {
        let close = self.head.close;
        let headers = std::mem::take(&mut self.head.headers);
        self.head = HeadProgress { headers, ..HeadProgress::default() };
        self.state = State::Head;
        Decoded { request: Request::new(head, body), close }
    }

    fn read_chunks(&mut self) -> Result<Option<Decoded>, RequestError> {
        let State::Chunks(mut chunks) = std::mem::replace(&mut self.state, State::Head) else {
            return Ok(None);
        };
        loop {
            match chunks.phase {
                ChunkPhase::Size => {
                    let Some(line) = self.take_line(CHUNK_LINE_BYTES_MAX, chunks.consumed)? else { break };
                    let Some(size) = head::parse_chunk_size(&line) else {
                        return Err(self.malformed_chunk(Malformed::ChunkSize, chunks.consumed, &line));
                    };
                    chunks.consumed += line.len() + 2;
                    if size > self.limits.body.bytes.saturating_sub(chunks.body.len()) {
                        return Err(RequestError::BodyTooLarge);
                    }
                    chunks.phase = if size == 0 { ChunkPhase::Trailers } else { ChunkPhase::Data(size) };
                }
                ChunkPhase::Data(left) => {
                    let take = left.min(self.buffer.len());
                    if take == 0 {
                        break;
                    }
                    chunks.body.extend_from_slice(&self.buffer[..take]);
                    self.buffer.advance(take);
                    chunks.consumed += take;
                    chunks.phase =
                        if take == left { ChunkPhase::DataEnd } else { ChunkPhase::Data(left - take) };
                }
                ChunkPhase::DataEnd => {
                    let have = self.buffer.len().min(2);
                    if self.buffer[..have] != b"\r\n"[..have] {
                        return Err(self.malformed(Malformed::ChunkEnd, chunks.consumed));
                    }
                    if have < 2 {
                        break;
                    }
                    self.buffer.advance(2);
                    chunks.consumed += 2;
                    chunks.phase = ChunkPhase::Size;
                }
                ChunkPhase::Trailers => {
                    let bound = self.limits.head_bytes - chunks.trailer_bytes;
                    let Some(line) = self.take_line(bound, chunks.consumed)? else { break };
                    if line.is_empty() {
                        let Chunks { head, body, .. } = *chunks;
                        return Ok(Some(self.finish(head, Bytes::from(body))));
                    }
                    chunks.trailers += 1;
                    chunks.trailer_bytes += line.len() + 2;
                    if chunks.trailers > self.limits.headers_count {
                        return Err(RequestError::TooManyHeaders);
                    }
                    let split = head::split_header_line(&line);
                    self.check_header_size(&line, split)?;
                    let good = split.is_some_and(|(c, v)| head::parse_header_line(&line, c, v).is_ok());
                    if !good {
                        return Err(self.malformed_chunk(Malformed::Trailer, chunks.consumed, &line));
                    }
                    chunks.consumed += line.len() + 2;
                }
            }
        }
        self.state = State::Chunks(chunks);
        Ok(None)
    }

    /// Takes a line with its CRLF out of the buffer and returns it without; `None` if it is not complete.
    /// With its CRLF it has at most `limit` bytes.
    fn take_line(&mut self, limit: usize, consumed: usize) -> Result<Option<Bytes>, RequestError> {
        let end = self.buffer.len().min(limit);
        let found = memchr::memchr(b'\n', self.buffer.get(self.head.scanned..end).unwrap_or_default());
        let Some(offset) = found else {
            if self.buffer.len() >= limit {
                return Err(self.malformed(Malformed::ChunkLine, consumed));
            }
            self.head.scanned = end;
            return Ok(None);
        };
        let line_feed = self.head.scanned + offset;
        self.head.scanned = 0;
        if line_feed == 0 || self.buffer[line_feed - 1] != b'\r' {
            return Err(self.malformed(Malformed::ChunkLine, consumed + line_feed));
        }
        let mut line = self.buffer.split_to(line_feed + 1).freeze();
        line.truncate(line_feed - 1);
        Ok(Some(line))
    }

    fn malformed(&self, reason: Malformed, at: usize) -> RequestError {
        let fragment = self.buffer.get(..FRAGMENT_BYTES_MAX).unwrap_or(&self.buffer).to_vec();
        RequestError::Malformed { reason, at: at as u64, fragment }
    }

    fn malformed_chunk(&self, reason: Malformed, at: usize, line: &[u8]) -> RequestError {
        RequestError::Malformed { reason, at: at as u64, fragment: line.to_vec() }
    }

    fn bad_line(&self, bad: BadLine, line_start: usize) -> RequestError {
        self.malformed(bad.reason, line_start + bad.at)
    }
}

#[cfg(test)]
mod tests;
