//! Application bundles: endpoints' metadata and modules (applications specification, section 4).

mod disk;
pub(crate) mod install;
mod properties;
mod validate;

pub use install::{ENGINE_VERSION, install, remove};
pub use properties::{Consistency, EndpointProperties, InterpreterReuse};

use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_DEPTH_MAX, BUNDLE_MODULES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A bundle as it stands in a `set_js_app` proposal: `{"metadata": .., "modules": [..]}`. Checked by
/// [`Bundle::validate`], which every way of making one calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// The content of `app.json`.
    pub metadata: Metadata,
    /// Source files.
    pub modules: Vec<BundleModule>,
}

/// `{"endpoints": {"<path>": {"<method>": <properties>}}}`; other members are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Properties by path and method, as written.
    pub endpoints: BTreeMap<String, BTreeMap<String, Value>>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleModule {
    /// Path below `src`, with `/`, without a leading one.
    pub name: String,
    /// Source text.
    pub module: String,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A file is not UTF-8.
    #[error("{path} is not UTF-8 text")]
    Text {
        /// Which.
        path: PathBuf,
    },
    /// Not JSON, or not of the shape of a bundle.
    #[error("{path} is not {what}: {reason}")]
    Json {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What the parser says.
        reason: serde_json::Error,
    },
    /// Neither a bundle nor a folder with one.
    #[error("{path} holds no application: expected app.json with a folder src, or bundle.json")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// Something in the bundle has the wrong type or value, as `bundle.metadata.endpoints["/x"]["get"].mode`.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where in the bundle.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// More than is allowed.
    #[error("the bundle has more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
}

impl Bundle {
    /// A bundle from its JSON form.
    ///
    /// # Errors
    /// [`BundleError`] if it is none.
    pub fn parse(json: &[u8]) -> Result<Bundle, BundleError> {
        disk::parse(json, "the bundle".as_ref())
    }

    /// The bundle as it stands in a proposal.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    fn check_size(&self) -> Result<(), BundleError> {
        if self.modules.len() > BUNDLE_MODULES_MAX {
            return Err(BundleError::TooLarge { what: "modules", max: BUNDLE_MODULES_MAX as u64 });
        }
        let bytes: u64 = self.modules.iter().map(|m| m.module.len() as u64).sum();
        if bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge { what: "bytes of source", max: BUNDLE_BYTES_MAX });
        }
        Ok(())
    }
}

const fn depth_error() -> BundleError {
    BundleError::TooLarge { what: "folder levels", max: BUNDLE_DEPTH_MAX as u64 }
}
