//! A file as an answer.

use super::{
    digests::Digests,
    range::{ByteRange, digest_text, matches_tag, wanted_digest},
};
use bytes::Bytes;
use ccf_crypto::hash::{HashAlgorithm, HashValue};
use ccf_endpoints::{BodySource, EndpointContext, ErrorCode, ErrorResponse, LongBody, Method};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

/// What is sent: something that never changes.
#[derive(Clone)]
pub(super) enum Content {
    /// A file, and its length.
    File(Arc<File>, u64),
    /// Bytes made for the answer.
    Bytes(Bytes),
}

/// Longer parts are sent piece by piece. The ranges in which nodes ask for files are not longer.
const SHORT_BYTES_MAX: u64 = 4 << 20;

/// Files are hashed in pieces of this size.
const HASHED_BYTES: usize = 1 << 20;

impl Content {
    /// Opens a file; none if there is no such file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Option<Content>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then(|| Content::File(Arc::new(file), metadata.len())))
    }

    fn len(&self) -> u64 {
        match self {
            Content::File(_, len) => *len,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// A part, which lies within.
    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        match self {
            Content::File(file, _) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at)?;
                Ok(bytes.into())
            }
            Content::Bytes(bytes) => {
                let start = usize::try_from(at).map_err(io::Error::other)?;
                let end = start.checked_add(len).filter(|end| *end <= bytes.len());
                end.map(|end| bytes.slice(start..end)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

/// A part of a content, which lies within it.
#[derive(Clone)]
struct Part {
    content: Content,
    range: ByteRange,
}

impl Part {
    fn digest(&self, algorithm: HashAlgorithm) -> io::Result<HashValue> {
        let mut hasher = algorithm.begin();
        let mut at = 0;
        while at < self.bytes() {
            let left = usize::try_from(self.bytes() - at).unwrap_or(usize::MAX);
            let piece = BodySource::read(self, at, left.min(HASHED_BYTES))?;
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// The same, from memory if it was taken before.
    fn known_digest(&self, algorithm: HashAlgorithm, known: &Digests) -> io::Result<HashValue> {
        match &self.content {
            Content::File(file, _) if self.bytes() > SHORT_BYTES_MAX => {
                known.of_file(file, self.range, algorithm, || self.digest(algorithm))
            }
            _ => self.digest(algorithm),
        }
    }
}

impl BodySource for Part {
    fn bytes(&self) -> u64 {
        self.range.len()
    }

    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        self.content.read(self.range.start + at, len)
    }
}

/// Answers with a content that is `name`d, or with the part of it that the `range` header asks for.
pub(super) fn respond(
    ctx: &mut EndpointContext<'_>,
    content: Option<Content>,
    name: &str,
    name_header: &'static str,
    unknown: &str,
    digests: &Digests,
) -> Result<(), ErrorResponse> {
    let failed = |error: io::Error| unreadable(name, &error);
    let content = content.ok_or_else(|| ErrorResponse::new(ErrorCode::ResourceNotFound, unknown))?;
    let total = content.len();
    if total == 0 {
        return Err(ErrorResponse::new(ErrorCode::EmptyFile, "Found empty file"));
    }
    let bad_header = |text: String| ErrorResponse::new(ErrorCode::InvalidHeaderValue, text);
    let headers = ctx.request().headers();
    let asked = headers.get_str("range").map(|range| ByteRange::parse(range, total)).transpose();
    let asked = asked.map_err(bad_header)?;
    let whole = Part { content, range: ByteRange::whole(total) };
    let part = Part { range: asked.unwrap_or(whole.range), ..whole.clone() };

    let is_head = ctx.request().method() == Method::Head;
    let response = &mut ctx.response;
    response.headers.set("accept-ranges", "bytes");
    response.headers.set(name_header, name.to_owned());
    let digest = |part: &Part, algorithm| part.known_digest(algorithm, digests);
    let tag = digest(&part, HashAlgorithm::Sha256).map_err(failed)?;
    response.headers.set("etag", format!("\"{}\"", digest_text("sha-256", tag.as_ref())));
    if let Some(wanted) = headers.get_str("want-repr-digest") {
        let (algorithm_name, algorithm) = wanted_digest(wanted);
        let digest = digest(&whole, algorithm).map_err(failed)?;
        response.headers.set("repr-digest", digest_text(algorithm_name, digest.as_ref()));
    }
    if let Some(tags) = headers.get_str("if-none-match")
        && matches_tag(tags, |algorithm| digest(&part, algorithm).map_err(failed), bad_header)?
    {
        response.status = 304;
        return Ok(());
    }
    response.status = 200;
    if let Some(range) = asked {
        response.status = 206;
        let content_range = format!("bytes {}-{}/{total}", range.start, range.end);
        response.headers.set("content-range", content_range);
    }
    let content_type = "application/octet-stream";
    match usize::try_from(part.bytes()).ok().filter(|_| part.bytes() <= SHORT_BYTES_MAX) {
        Some(_) if is_head => response.set_body(content_type, Bytes::new()),
        Some(len) => response.set_body(content_type, BodySource::read(&part, 0, len).map_err(failed)?),
        None => response.set_long_body(content_type, LongBody::new(part.clone())),
    }
    if is_head {
        response.headers.set_length_for_head(part.bytes());
    }
    Ok(())
}

/// The answer for a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> ErrorResponse {
    ErrorResponse::internal(format!("{name} cannot be read: {error}"))
}
