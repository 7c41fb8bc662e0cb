//! The decoder as a fuzz target.

use super::{Decoder, Limits, error::RequestError};
use crate::http::settings::{InterfaceSettings, SizeLimit};
use std::sync::Arc;

/// What a decoder made of a byte stream, for comparison: a line per request, then the error if there was one
/// (without the fragment it quotes, which depends on what had arrived).
#[must_use]
pub fn decode_in_pieces(data: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut settings = InterfaceSettings::new("fuzz");
    settings.max_body_size = SizeLimit::new(64, "64");
    settings.max_header_size = SizeLimit::new(48, "48");
    settings.max_headers_count = 6;
    let mut decoder = Decoder::new(Arc::new(Limits::of(&settings)));
    let mut seen = Vec::new();
    let mut rest = data;
    for cut in cuts.into_iter().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        decoder.buffer_mut().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(decoded)) => seen.push(format!("{decoded:?}")),
                Ok(None) => break,
                Err(error) => {
                    seen.push(match error {
                        RequestError::Malformed { reason, at, .. } => format!("{reason} at {at}"),
                        other => format!("{other:?}"),
                    });
                    return seen;
                }
            }
        }
    }
    seen
}

/// The fuzz target: the first byte chooses how the rest is cut. Panics if cutting changes what is decoded.
pub fn decoder_target(input: &[u8]) {
    let Some((&seed, data)) = input.split_first() else { return };
    let step = usize::from(seed % 16) + 1;
    let whole = decode_in_pieces(data, []);
    let cut = decode_in_pieces(data, std::iter::repeat_n(step, data.len() / step));
    assert_eq!(whole, cut, "cut into pieces of {step}");
}
