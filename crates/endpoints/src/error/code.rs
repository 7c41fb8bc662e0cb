//! The error codes and their usual statuses: the one table of both (applications specification, section
//! 2.4).

use std::{borrow::Cow, fmt};

macro_rules! codes {
    ($($name:ident => $status:literal,)*) => {
        /// An error code of the framework, or one of an application's own.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // the variants are the codes
        pub enum ErrorCode {
            $($name,)*
            /// A code of an application; its usual status is 400.
            Custom(Cow<'static, str>),
        }

        impl ErrorCode {
            /// Every code of the framework.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            /// The code's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self { $(ErrorCode::$name => stringify!($name),)* ErrorCode::Custom(text) => text }
            }

            /// The status the code usually travels with.
            #[must_use]
            pub fn usual_status(&self) -> u16 {
                match self { $(ErrorCode::$name => $status,)* ErrorCode::Custom(_) => 400 }
            }
        }
    };
}

codes! {
    AuthorizationFailed => 403,
    InternalError => 500,
    NotImplemented => 501,
    InvalidAuthenticationInfo => 401,
    InvalidHeaderValue => 400,
    MissingRequiredHeader => 400,
    InvalidInput => 400,
    InvalidQueryParameterValue => 400,
    InvalidResourceName => 400,
    ResourceNotFound => 404,
    UnsupportedHttpVerb => 405,
    UnsupportedContentType => 406,
    RequestBodyTooLarge => 413,
    RequestHeaderTooLarge => 431,
    TransactionTooLarge => 413,
    EmptyFile => 500,
    PreconditionFailed => 412,
    SessionCapExhausted => 503,
    FrontendNotOpen => 404,
    NodeAlreadyRecovering => 403,
    ServiceNotWaitingForRecoveryShares => 403,
    ProposalNotOpen => 400,
    ProposalFailedToValidate => 400,
    ProposalReplay => 400,
    ProposalCreatedTooLongAgo => 400,
    InvalidCreatedAt => 400,
    VoteAlreadyExists => 400,
    StateDigestMismatch => 400,
    ProposalNotFound => 404,
    VoteNotFound => 404,
    TransactionCommitAttemptsExceedLimit => 503,
    TransactionReplicationFailed => 503,
    TooManyPendingTransactions => 503,
    TransactionPendingOrUnknown => 404,
    TransactionInvalid => 404,
    PrimaryNotFound => 503,
    BackupNotFound => 503,
    RequestAlreadyForwarded => 503,
    NodeCannotHandleRequest => 308,
    NodeNotRetiredCommitted => 400,
    InvalidNodeState => 400,
    NodeAlreadyExists => 400,
    StartupSeqnoIsOld => 400,
    CSRPublicKeyInvalid => 400,
    InvalidQuote => 500,
    SessionConsistencyLost => 500,
    JSException => 500,
    MissingApiVersionParameter => 400,
    UnsupportedApiVersionValue => 400,
}

impl From<&'static str> for ErrorCode {
    /// The framework's code of this text, or an application's own.
    fn from(text: &'static str) -> Self {
        ErrorCode::ALL
            .iter()
            .find(|code| code.as_str() == text)
            .cloned()
            .unwrap_or(ErrorCode::Custom(Cow::Borrowed(text)))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_finds_the_code() {
        assert_eq!(ErrorCode::from("InvalidQuote"), ErrorCode::InvalidQuote);
        assert_eq!(ErrorCode::from("Mine").as_str(), "Mine");
        assert_eq!(ErrorCode::from("Mine").usual_status(), 400);
    }
}
