//! A file as an answer.

use super::range::{ByteRange, digest_text, matches_tag, wanted_digest};
use ccf_crypto::hash::{HashAlgorithm, sha256};
use ccf_endpoints::{EndpointContext, ErrorCode, ErrorResponse};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// Answers with a file that never changes, or with the part of it that the `range` header names.
pub(super) fn respond(
    ctx: &mut EndpointContext<'_>,
    path: Option<&Path>,
    name: &str,
    name_header: &'static str,
    unknown: &str,
) -> Result<(), ErrorResponse> {
    let not_found = || ErrorResponse::new(ErrorCode::ResourceNotFound, unknown);
    let failed = |error: io::Error| ErrorResponse::internal(format!("{name} cannot be read: {error}"));
    let file = match File::open(path.ok_or_else(not_found)?) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_found());
    }
    let total = metadata.len();
    if total == 0 {
        return Err(ErrorResponse::new(ErrorCode::EmptyFile, "Found empty file"));
    }
    let bad_header = |text: String| ErrorResponse::new(ErrorCode::InvalidHeaderValue, text);
    let headers = ctx.request().headers();
    let part = headers.get_str("range").map(|range| ByteRange::parse(range, total)).transpose();
    let part = part.map_err(bad_header)?;
    let range = part.unwrap_or_else(|| ByteRange::whole(total));
    let mut body = vec![0; usize::try_from(range.len()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut body, range.start).map_err(failed)?;

    let response = &mut ctx.response;
    response.headers.set("accept-ranges", "bytes");
    response.headers.set(name_header, name.to_owned());
    response.headers.set("etag", format!("\"{}\"", digest_text("sha-256", sha256(&body).as_ref())));
    if let Some(wanted) = headers.get_str("want-repr-digest") {
        let (algorithm_name, algorithm) = wanted_digest(wanted);
        let digest = if range == ByteRange::whole(total) {
            algorithm.digest(&body)
        } else {
            whole_digest(&file, total, algorithm).map_err(failed)?
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
    response.set_body("application/octet-stream", body);
    Ok(())
}

fn whole_digest(
    file: &File,
    total: u64,
    algorithm: HashAlgorithm,
) -> io::Result<ccf_crypto::hash::HashValue> {
    let mut bytes = vec![0; usize::try_from(total).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(algorithm.digest(&bytes))
}
