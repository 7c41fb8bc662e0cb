//! A file as an answer.

use super::range::{ByteRange, digest_text, matches_tag, wanted_digest};
use ccf_crypto::hash::{HashAlgorithm, HashValue, sha256};
use ccf_endpoints::{EndpointContext, ErrorCode, ErrorResponse, Method};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// What is sent: something that never changes.
pub(super) enum Content {
    /// A file, and its length.
    File(File, u64),
    /// Bytes made for the answer.
    Bytes(Vec<u8>),
}

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
        Ok(metadata.is_file().then(|| Content::File(file, metadata.len())))
    }

    fn len(&self) -> u64 {
        match self {
            Content::File(_, len) => *len,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// A part, which lies within.
    fn read(&self, range: ByteRange) -> io::Result<Vec<u8>> {
        let len = usize::try_from(range.len()).map_err(io::Error::other)?;
        match self {
            Content::File(file, _) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes)
            }
            Content::Bytes(bytes) => {
                let start = usize::try_from(range.start).map_err(io::Error::other)?;
                let part = bytes.get(start..start.saturating_add(len));
                part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn digest(&self, algorithm: HashAlgorithm) -> io::Result<HashValue> {
        Ok(algorithm.digest(&self.read(ByteRange::whole(self.len()))?))
    }
}

/// Answers with a content that is `name`d, or with the part of it that the `range` header asks for.
pub(super) fn respond(
    ctx: &mut EndpointContext<'_>,
    content: Option<Content>,
    name: &str,
    name_header: &'static str,
    unknown: &str,
) -> Result<(), ErrorResponse> {
    let failed = |error: io::Error| unreadable(name, &error);
    let content = content.ok_or_else(|| ErrorResponse::new(ErrorCode::ResourceNotFound, unknown))?;
    let total = content.len();
    if total == 0 {
        return Err(ErrorResponse::new(ErrorCode::EmptyFile, "Found empty file"));
    }
    let bad_header = |text: String| ErrorResponse::new(ErrorCode::InvalidHeaderValue, text);
    let headers = ctx.request().headers();
    let part = headers.get_str("range").map(|range| ByteRange::parse(range, total)).transpose();
    let part = part.map_err(bad_header)?;
    let range = part.unwrap_or_else(|| ByteRange::whole(total));
    let body = content.read(range).map_err(failed)?;

    let is_head = ctx.request().method() == Method::Head;
    let response = &mut ctx.response;
    response.headers.set("accept-ranges", "bytes");
    response.headers.set(name_header, name.to_owned());
    response.headers.set("etag", format!("\"{}\"", digest_text("sha-256", sha256(&body).as_ref())));
    if let Some(wanted) = headers.get_str("want-repr-digest") {
        let (algorithm_name, algorithm) = wanted_digest(wanted);
        let digest = if range == ByteRange::whole(total) {
            algorithm.digest(&body)
        } else {
            content.digest(algorithm).map_err(failed)?
        };
        response.headers.set("repr-digest", digest_text(algorithm_name, digest.as_ref()));
    }
    if let Some(tags) = headers.get_str("if-none-match")
        && matches_tag(tags, &body).map_err(bad_header)?
    {
        response.status = 304;
        return Ok(());
    }
    response.status = 200;
    if part.is_some() {
        response.status = 206;
        let content_range = format!("bytes {}-{}/{total}", range.start, range.end);
        response.headers.set("content-range", content_range);
    }
    if is_head {
        response.headers.set_length_for_head(body.len() as u64);
    }
    response.set_body("application/octet-stream", body);
    Ok(())
}

/// The answer for a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> ErrorResponse {
    ErrorResponse::internal(format!("{name} cannot be read: {error}"))
}
