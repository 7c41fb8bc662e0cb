//! The `api-version` query parameter (governance 3.1).

use ccf_endpoints::{EndpointContext, ErrorCode, ErrorResponse};

/// Versions of the governance API, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// `2023-06-01-preview`
    Preview20230601,
    /// `2024-07-01`
    V20240701,
}

impl ApiVersion {
    /// All of them, oldest first.
    pub const ALL: [ApiVersion; 2] = [ApiVersion::Preview20230601, ApiVersion::V20240701];

    /// The version as it stands in the query.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ApiVersion::Preview20230601 => "2023-06-01-preview",
            ApiVersion::V20240701 => "2024-07-01",
        }
    }

    /// The version a query asks for.
    ///
    /// # Errors
    /// 400 `MissingApiVersionParameter`, or `UnsupportedApiVersionValue` if there is no such version or the endpoint is
    /// younger.
    pub fn of_request(context: &EndpointContext<'_>, since: ApiVersion) -> Result<ApiVersion, ErrorResponse> {
        let offered = || {
            let names: Vec<&str> =
                ApiVersion::ALL.into_iter().filter(|v| *v >= since).map(ApiVersion::as_str).collect();
            names.join(", ")
        };
        let Some(given) = context.request().query().get("api-version") else {
            let text = format!(
                "The api-version query parameter (?api-version=) is required for all requests. The supported api-versions \
                 are: {}",
                offered()
            );
            return Err(ErrorResponse::new(ErrorCode::MissingApiVersionParameter, text));
        };
        match ApiVersion::ALL.into_iter().find(|v| v.as_str() == given) {
            Some(version) if version >= since => Ok(version),
            _ => {
                let text = format!(
                    "Unsupported api-version '{given}'. The supported api-versions are: {}",
                    offered()
                );
                Err(ErrorResponse::new(ErrorCode::UnsupportedApiVersionValue, text))
            }
        }
    }
}

/// A handler that first checks the version, and logs its refusals as one line.
pub(super) fn checked(
    since: ApiVersion,
    handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
) -> impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static {
    move |context| {
        ApiVersion::of_request(context, since)?;
        handler(context).inspect_err(|error| {
            let request = context.request();
            let path = String::from_utf8_lossy(request.path());
            let (method, status) = (request.method(), error.status);
            tracing::info!(target: "gov", "{method} {path} returning error {status}: {}", error.message);
        })
    }
}
