//! The properties an endpoint is declared with (applications specification, sections 4.2 and 10).

use crate::openapi::SchemaRef;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which of the three parts of the API an endpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frontend {
    /// The application's endpoints, `/app`, also without the prefix.
    App,
    /// Governance, `/gov`.
    Gov,
    /// The node's own, `/node`.
    Node,
}

impl Frontend {
    /// All three.
    pub const ALL: [Frontend; 3] = [Frontend::App, Frontend::Gov, Frontend::Node];

    /// The path prefix, `/app`, `/gov` or `/node`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Frontend::App => "/app",
            Frontend::Gov => "/gov",
            Frontend::Node => "/node",
        }
    }

    /// The frontend that serves a path, and the rest of the path as it knows it (section 1.1).
    #[must_use]
    pub fn of_path(path: &[u8]) -> (Frontend, &[u8]) {
        for frontend in Frontend::ALL {
            match path.strip_prefix(frontend.prefix().as_bytes()) {
                Some(rest) if rest.first() == Some(&b'/') => return (frontend, rest),
                _ => {}
            }
        }
        (Frontend::App, path)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix()[1..])
    }
}

/// What an endpoint does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Reads and writes.
    ReadWrite,
    /// Reads only.
    ReadOnly,
    /// Reads a past state.
    Historical,
    /// Does not touch the store.
    #[serde(skip)]
    Command,
}

/// Whether a backup must hand the request to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardingRequired {
    /// Only on a session that was forwarded before.
    Sometimes,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ForwardingRequired {
    /// The word in metadata and in the OpenAPI document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ForwardingRequired::Sometimes => "sometimes",
            ForwardingRequired::Always => "always",
            ForwardingRequired::Never => "never",
        }
    }
}

/// Where an interface with redirections sends the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectionStrategy {
    /// Nowhere: answer here.
    None,
    /// To the primary, unless this is it.
    ToPrimary,
    /// To a backup, unless this is one.
    ToBackup,
}

/// A declared query parameter.
#[derive(Clone, Debug)]
pub struct QueryParameter {
    /// Name in the query string.
    pub name: String,
    /// Whether requests must have it. Only documented here; the handler's own reading enforces it.
    pub required: bool,
    /// Type of the value.
    pub schema: SchemaRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends_of_paths() {
        for (path, frontend, rest) in [
            ("/app/commit", Frontend::App, "/commit"),
            ("/commit", Frontend::App, "/commit"),
            ("/app", Frontend::App, "/app"),
            ("/app/", Frontend::App, "/"),
            ("/gov/x/y", Frontend::Gov, "/x/y"),
            ("/node/", Frontend::Node, "/"),
            ("/node", Frontend::App, "/node"),
            ("/nodex/y", Frontend::App, "/nodex/y"),
            ("/foo/bar", Frontend::App, "/foo/bar"),
            ("/app//x", Frontend::App, "//x"),
            ("//app/x", Frontend::App, "//app/x"),
            ("", Frontend::App, ""),
        ] {
            assert_eq!(Frontend::of_path(path.as_bytes()), (frontend, rest.as_bytes()), "{path}");
        }
    }

    #[test]
    fn words_of_metadata() {
        assert_eq!(serde_json::from_str::<Mode>("\"readwrite\"").ok(), Some(Mode::ReadWrite));
        assert_eq!(serde_json::from_str::<Mode>("\"historical\"").ok(), Some(Mode::Historical));
        assert!(serde_json::from_str::<Mode>("\"command\"").is_err());
        let to_backup = serde_json::to_string(&RedirectionStrategy::ToBackup);
        assert_eq!(to_backup.ok().as_deref(), Some("\"to_backup\""));
    }
}
