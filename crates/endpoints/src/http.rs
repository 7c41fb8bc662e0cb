//! What travels over HTTP, as values: methods, headers, requests and responses.

mod headers;
mod long_body;
mod method;
mod query;
mod request;
mod response;

pub use headers::{Headers, HeadersBuilder, InvalidHeader};
pub use long_body::{BodySource, LongBody};
pub use method::{Method, UnknownMethod};
pub use query::{FromQuery, Query, decode_query, percent_decode};
pub use request::{Request, RequestHead};
pub use response::{HeaderValue, Response, ResponseHeaders, status_reason};
