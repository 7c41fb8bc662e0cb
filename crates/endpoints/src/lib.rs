//! The HTTP-facing model without a socket: requests and responses, the registry of endpoints, dispatch,
//! authentication, errors and OpenAPI.
//!
//! A transport parses bytes once into a [`Request`], hands it to the [`Dispatcher`] with its [`Session`]
//! and writes the [`Response`] it gets back. An application declares its endpoints once with an
//! [`EndpointDefinition`]; routing, authentication and the OpenAPI document all come from there.
//! Nothing here opens a socket, a file or a clock.
#![forbid(unsafe_code)]

mod error;
mod http;

pub use crate::error::{ErrorCode, ErrorResponse};
pub use crate::http::{
    HeaderValue, Headers, HeadersBuilder, InvalidHeader, Method, Query, Request, RequestHead, Response,
    ResponseHeaders, UnknownMethod, decode_query, percent_decode, status_reason,
};
