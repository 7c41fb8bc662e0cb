//! `js_runtime_options` (applications specification, section 5.7; governance specification, section 11).

use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The JSON value of `public:ccf.gov.js_runtime_options`. Every member may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsRuntimeOptions {
    /// Whether uncaught exceptions of the application are logged.
    pub log_exception_details: bool,
    /// Reused interpreters kept per node.
    pub max_cached_interpreters: u64,
    /// Milliseconds per call; zero interrupts at the first opportunity.
    pub max_execution_time_ms: u64,
    /// Bytes per interpreter.
    pub max_heap_bytes: u64,
    /// Bytes of stack per call.
    pub max_stack_bytes: u64,
    /// Whether the 500 answer to an uncaught exception has its text and stack.
    pub return_exception_details: bool,
}

impl Default for JsRuntimeOptions {
    fn default() -> Self {
        let limits = Limits::default();
        JsRuntimeOptions {
            log_exception_details: false,
            max_cached_interpreters: 10,
            max_execution_time_ms: 5000,
            max_heap_bytes: limits.heap_bytes as u64,
            max_stack_bytes: limits.stack_bytes as u64,
            return_exception_details: false,
        }
    }
}

impl JsRuntimeOptions {
    /// The limits of application code: exactly as configured.
    #[must_use]
    pub fn application_limits(&self) -> Limits {
        let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Limits {
            heap_bytes: bytes(self.max_heap_bytes),
            stack_bytes: bytes(self.max_stack_bytes),
            time: Duration::from_millis(self.max_execution_time_ms),
        }
    }

    /// The limits of governance code: never below the defaults, so that no proposal can lock members out.
    #[must_use]
    pub fn governance_limits(&self) -> Limits {
        self.application_limits().max(Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_members_have_defaults() {
        let options: JsRuntimeOptions = serde_json::from_str(r#"{"max_heap_bytes":100}"#).unwrap();
        assert_eq!(options.max_heap_bytes, 100);
        assert_eq!(options.max_execution_time_ms, 5000);
        assert_eq!(options.application_limits().heap_bytes, 100);
        assert_eq!(options.governance_limits().heap_bytes, 104_857_600);
        assert_eq!(
            serde_json::to_string(&JsRuntimeOptions::default()).unwrap(),
            r#"{"log_exception_details":false,"max_cached_interpreters":10,"max_execution_time_ms":5000,"max_heap_bytes":104857600,"max_stack_bytes":1048576,"return_exception_details":false}"#
        );
    }
}
