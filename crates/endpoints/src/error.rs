//! Error answers: codes, the status each usually has, and the OData body (applications specification,
//! sections 2.2 and 2.4).

mod code;

pub use code::ErrorCode;

use crate::http::Response;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// An error answer: status, code, message and details.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// Error code.
    pub code: ErrorCode,
    /// Text for people.
    pub message: String,
    /// Objects with particulars; the field is left out of the body when there are none.
    pub details: Vec<Value>,
    /// Headers of the answer.
    pub headers: Vec<(Cow<'static, str>, String)>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    details: &'a [Value],
    message: &'a str,
}

impl ErrorResponse {
    /// An error with the code's usual status.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::with_status(code.usual_status(), code, message)
    }

    /// An error with a status of its own.
    #[must_use]
    pub fn with_status(status: u16, code: ErrorCode, message: impl Into<String>) -> ErrorResponse {
        ErrorResponse { status, code, message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    /// 400 `InvalidInput`.
    #[must_use]
    pub fn invalid_input(message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::new(ErrorCode::InvalidInput, message)
    }

    /// 400 `InvalidQueryParameterValue`.
    #[must_use]
    pub fn invalid_query(message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::new(ErrorCode::InvalidQueryParameterValue, message)
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::new(ErrorCode::InternalError, message)
    }

    /// The same error with one more detail object.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> ErrorResponse {
        self.details.push(detail);
        self
    }

    /// The same error with one more response header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> ErrorResponse {
        self.headers.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// The JSON body: `{"error":{"code":..,"details":[..],"message":..}}`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let body = Body {
            error: Inner { code: self.code.as_str(), details: &self.details, message: &self.message },
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The HTTP answer.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = Response::with_body(self.status, "application/json", self.body());
        for (name, value) in self.headers {
            response.headers.set(name, value);
        }
        response
    }
}

impl From<serde_json::Error> for ErrorResponse {
    /// Bad JSON from the caller: 400 `InvalidInput` with the library's text.
    fn from(error: serde_json::Error) -> Self {
        ErrorResponse::invalid_input(error.to_string())
    }
}

impl From<ccf_kv::KvError> for ErrorResponse {
    /// A table holds what its declaration does not allow: 500 `InternalError`.
    fn from(error: ccf_kv::KvError) -> Self {
        ErrorResponse::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn body_has_details_only_when_there_are_some() {
        let error = ErrorResponse::new(ErrorCode::ResourceNotFound, "Unknown path: /x.");
        assert_eq!(error.body(), br#"{"error":{"code":"ResourceNotFound","message":"Unknown path: /x."}}"#);
        let error = error.with_detail(json!({"code": "A"}));
        assert_eq!(
            String::from_utf8_lossy(&error.body()),
            r#"{"error":{"code":"ResourceNotFound","details":[{"code":"A"}],"message":"Unknown path: /x."}}"#
        );
        assert_eq!(error.into_response().status, 404);
    }
}
