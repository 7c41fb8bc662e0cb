//! Why a request was refused, and the answer that says so.

use crate::http::settings::SizeLimit;
use ccf_endpoints::{ErrorCode, ErrorResponse, Response};

/// A request that ends its session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// The bytes are no HTTP request.
    #[error("{reason}")]
    Malformed {
        /// What is wrong with them.
        reason: Malformed,
        /// Where, counted from the request's first byte.
        at: u64,
        /// The bytes around it.
        fragment: Vec<u8>,
    },
    /// The body is larger than allowed.
    #[error("request body is too large")]
    BodyTooLarge,
    /// A header's name is longer than allowed.
    #[error("header name is too large")]
    NameTooLarge {
        /// The beginning of the name.
        name: Vec<u8>,
    },
    /// A header's value is longer than allowed.
    #[error("header value is too large")]
    ValueTooLarge {
        /// The header's name.
        name: Vec<u8>,
    },
    /// More headers than allowed.
    #[error("too many headers")]
    TooManyHeaders,
    /// Request line and headers together are longer than this node takes.
    #[error("request head is too large")]
    HeadTooLarge {
        /// The bound, bytes.
        limit: usize,
    },
}

macro_rules! malformed {
    ($($variant:ident => $name:literal, $reason:literal;)*) => {
        /// Ways of not being an HTTP request; names and texts are those of the llhttp parser, which clients of
        /// the reference know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Malformed { $($variant),* }

        impl Malformed {
            fn name(self) -> &'static str {
                match self { $(Malformed::$variant => $name),* }
            }
            fn reason(self) -> &'static str {
                match self { $(Malformed::$variant => $reason),* }
            }
        }
    };
}

malformed! {
    Method => "HPE_INVALID_METHOD", "Invalid method encountered";
    Target => "HPE_INVALID_URL", "Invalid characters in url";
    Version => "HPE_INVALID_VERSION", "Invalid HTTP version";
    BareLineFeed => "HPE_CR_EXPECTED", "Missing expected CR before LF";
    HeaderName => "HPE_INVALID_HEADER_TOKEN", "Invalid header token";
    HeaderValue => "HPE_INVALID_HEADER_TOKEN", "Invalid header value char";
    FoldedHeader => "HPE_INVALID_HEADER_TOKEN", "Unexpected space at the start of a header";
    ContentLength => "HPE_INVALID_CONTENT_LENGTH", "Invalid character in Content-Length";
    ContentLengthTwice => "HPE_UNEXPECTED_CONTENT_LENGTH", "Duplicate Content-Length";
    ContentLengthAndChunks => "HPE_UNEXPECTED_CONTENT_LENGTH",
        "Content-Length can't be present with Transfer-Encoding";
    TransferEncoding => "HPE_INVALID_TRANSFER_ENCODING", "Request has invalid `Transfer-Encoding`";
    ChunkSize => "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk size";
    ChunkLine => "HPE_STRICT", "Chunk line is too long or badly ended";
    ChunkEnd => "HPE_STRICT", "Expected CRLF after chunk data";
    Trailer => "HPE_INVALID_HEADER_TOKEN", "Invalid trailer";
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name(), self.reason())
    }
}

/// The size limits an answer quotes.
pub(crate) struct QuotedLimits<'a> {
    pub(crate) body: &'a SizeLimit,
    pub(crate) header: &'a SizeLimit,
    pub(crate) headers_count: usize,
}

impl RequestError {
    /// A request with a method outside the table, from a transport that has parsed it itself.
    pub(crate) fn unknown_method(method: &str) -> RequestError {
        RequestError::Malformed { reason: Malformed::Method, at: 0, fragment: method.into() }
    }

    /// The answer to send before closing (node specification, section 14.4).
    pub(crate) fn response(&self, limits: &QuotedLimits<'_>) -> Response {
        let (code, message) = match self {
            RequestError::Malformed { reason, at, fragment } => {
                let mut text = format!(
                    "Unable to parse data as a HTTP request. Error message is: HTTP parsing failed ({reason}) \
                     around byte {at}\nError occurred while parsing fragment:\n"
                )
                .into_bytes();
                text.extend_from_slice(fragment);
                return Response::with_body(400, "text/plain", text);
            }
            RequestError::BodyTooLarge => (
                ErrorCode::RequestBodyTooLarge,
                format!("HTTP request body is too large (max size allowed: {})", limits.body.text),
            ),
            RequestError::NameTooLarge { name } => (
                ErrorCode::RequestHeaderTooLarge,
                format!(
                    "Header key for '{}' is too large (max size allowed: {})",
                    String::from_utf8_lossy(name),
                    limits.header.text
                ),
            ),
            RequestError::ValueTooLarge { name } => (
                ErrorCode::RequestHeaderTooLarge,
                format!(
                    "Header value for '{}' is too large (max size allowed: {})",
                    String::from_utf8_lossy(name),
                    limits.header.text
                ),
            ),
            RequestError::TooManyHeaders => (
                ErrorCode::RequestHeaderTooLarge,
                format!("Too many headers (max number allowed: {})", limits.headers_count),
            ),
            RequestError::HeadTooLarge { limit } => (
                ErrorCode::RequestHeaderTooLarge,
                format!("Request head is too large (max size allowed: {limit} bytes)"),
            ),
        };
        ErrorResponse::new(code, message).into_response()
    }
}
