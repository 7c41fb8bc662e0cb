//! A file as an answer. Its digest stands before it, so of a long file the answer may have to wait for that.

use super::{
    content::{Content, Part},
    digests::{Digests, SHORT_BYTES_MAX},
    range::{ByteRange, digest_text, matches_tag, wanted_digest},
};
use bytes::Bytes;
use ccf_crypto::hash::{HashAlgorithm, HashValue};
use ccf_endpoints::{BodySource, EndpointContext, ErrorCode, ErrorResponse, LongBody, Method, Response};
use std::io;

/// What is asked for.
struct Answer {
    whole: Part,
    part: Part,
    /// Whether there was a `range` header.
    is_range: bool,
    is_head: bool,
    name: String,
    name_header: &'static str,
    wanted_digest: Option<String>,
    if_none_match: Option<String>,
}

/// Digests of this answer that were taken for it.
type Taken = Vec<(ByteRange, HashAlgorithm, HashValue)>;

/// Why there is no answer yet.
enum Unready {
    /// There will be none but this.
    Refused(ErrorResponse),
    /// This digest is to be taken first.
    Lacks(Part, HashAlgorithm),
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
    let content = content.ok_or_else(|| ErrorResponse::new(ErrorCode::ResourceNotFound, unknown))?;
    let total = content.bytes();
    if total == 0 {
        return Err(ErrorResponse::new(ErrorCode::EmptyFile, "Found empty file"));
    }
    let headers = ctx.request().headers();
    let asked = headers.get_str("range").map(|range| ByteRange::parse(range, total)).transpose();
    let asked = asked.map_err(bad_header)?;
    let whole = Part { content, range: ByteRange::whole(total) };
    let answer = Answer {
        part: Part { range: asked.unwrap_or(whole.range), ..whole.clone() },
        whole,
        is_range: asked.is_some(),
        is_head: ctx.request().method() == Method::Head,
        name: name.to_owned(),
        name_header,
        wanted_digest: headers.get_str("want-repr-digest").map(str::to_owned),
        if_none_match: headers.get_str("if-none-match").map(str::to_owned),
    };
    match answer.make(digests, &Taken::new()) {
        Ok(response) => ctx.response = response,
        Err(Unready::Refused(error)) => return Err(error),
        Err(Unready::Lacks(..)) => {
            let digests = digests.clone();
            ctx.respond_later(async move {
                answer.make_later(&digests).await.unwrap_or_else(ErrorResponse::into_response)
            });
        }
    }
    Ok(())
}

impl Answer {
    /// The answer, once its digests were taken one after the other.
    async fn make_later(&self, digests: &Digests) -> Result<Response, ErrorResponse> {
        let mut taken = Taken::new();
        loop {
            let (part, algorithm) = match self.make(digests, &taken) {
                Ok(response) => return Ok(response),
                Err(Unready::Refused(error)) => return Err(error),
                Err(Unready::Lacks(part, algorithm)) => (part, algorithm),
            };
            let range = part.range;
            let digest = digests.take(part, algorithm).map_err(|error| unreadable(&self.name, &error))?;
            let Some(digest) = digest else {
                let text = "Too many digests of files are wanted at this moment";
                return Err(ErrorResponse::with_status(503, ErrorCode::InternalError, text));
            };
            let digest = digest.await.map_err(|error| unreadable(&self.name, &error))?;
            taken.push((range, algorithm, digest));
        }
    }

    /// The answer, from the digests that are known or quickly taken.
    fn make(&self, digests: &Digests, taken: &Taken) -> Result<Response, Unready> {
        let failed = |error: io::Error| Unready::Refused(unreadable(&self.name, &error));
        let digest = |part: &Part, algorithm| {
            let own = taken.iter().find(|(range, by, _)| *range == part.range && *by == algorithm);
            let known = match own {
                Some((_, _, digest)) => Some(digest.clone()),
                None => digests.known(part, algorithm).map_err(failed)?,
            };
            known.ok_or_else(|| Unready::Lacks(part.clone(), algorithm))
        };
        let part = &self.part;
        let mut response = Response::default();
        response.headers.set("accept-ranges", "bytes");
        response.headers.set(self.name_header, self.name.clone());
        let tag = digest(part, HashAlgorithm::Sha256)?;
        response.headers.set("etag", format!("\"{}\"", digest_text("sha-256", tag.as_ref())));
        if let Some(wanted) = &self.wanted_digest {
            let (algorithm_name, algorithm) = wanted_digest(wanted);
            let digest = digest(&self.whole, algorithm)?;
            response.headers.set("repr-digest", digest_text(algorithm_name, digest.as_ref()));
        }
        let malformed = |text| Unready::Refused(bad_header(text));
        if let Some(tags) = &self.if_none_match
            && matches_tag(tags, |algorithm| digest(part, algorithm), malformed)?
        {
            response.status = 304;
            return Ok(response);
        }
        response.status = 200;
        if self.is_range {
            response.status = 206;
            let (ByteRange { start, end }, total) = (part.range, self.whole.bytes());
            response.headers.set("content-range", format!("bytes {start}-{end}/{total}"));
        }
        let content_type = "application/octet-stream";
        match usize::try_from(part.bytes()).ok().filter(|_| part.bytes() <= SHORT_BYTES_MAX) {
            Some(_) if self.is_head => response.set_body(content_type, Bytes::new()),
            Some(len) => response.set_body(content_type, part.read(0, len).map_err(failed)?),
            None => response.set_long_body(content_type, LongBody::new(part.clone())),
        }
        if self.is_head {
            response.headers.set_length_for_head(part.bytes());
        }
        Ok(response)
    }
}

fn bad_header(text: String) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidHeaderValue, text)
}

/// The answer for a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> ErrorResponse {
    ErrorResponse::internal(format!("{name} cannot be read: {error}"))
}
