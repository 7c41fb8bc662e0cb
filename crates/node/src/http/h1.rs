//! HTTP/1.1, without a socket: bytes to requests, responses to bytes (node specification, section 14.4).
//!
//! A [`Decoder`] holds what a session received and yields requests as they complete; it takes each byte up
//! once, however the bytes are split over reads. An encoder appends answers to one buffer, so that answers to
//! pipelined requests leave together.
//!
//! Stricter than RFC 9112 where the specification is (bare line feeds, folded headers, both body lengths),
//! which also leaves no room for request smuggling.

mod decoder;
mod encoder;
mod error;
mod head;
mod raw;

pub(crate) use decoder::{Decoder, Limits};
pub(crate) use encoder::{CONTENT_LENGTH, CONTINUE, encode};
pub(crate) use error::RequestError;
pub(crate) use raw::{parse_request, parse_response, request_bytes, response_bytes};

#[doc(hidden)]
pub(super) mod fuzzing;
