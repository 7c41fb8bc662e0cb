//! The properties of one endpoint (applications specification, section 4.2).

use ccf_endpoints::{ForwardingRequired, Mode, RedirectionStrategy};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A value of the endpoints table. Unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EndpointProperties {
    /// Key of the module with the function, with its leading slash.
    #[serde(default, deserialize_with = "module_key")]
    pub js_module: String,
    /// Exported function.
    #[serde(default)]
    pub js_function: String,
    /// What the function may do with the store.
    #[serde(default = "read_write")]
    pub mode: Mode,
    /// When a backup forwards the request.
    pub forwarding_required: ForwardingRequired,
    /// Where interfaces with redirections send the client.
    #[serde(default = "to_primary")]
    pub redirection_strategy: RedirectionStrategy,
    /// Names of policies, or `{"all_of": [names]}`.
    pub authn_policies: Vec<Value>,
    /// What the OpenAPI document says.
    #[serde(default)]
    pub openapi: Option<Value>,
    /// Leaves the endpoint out of the OpenAPI document.
    #[serde(default)]
    pub openapi_hidden: Option<bool>,
    /// `linearizable`: reads see every write that was answered before, whoever answered it. An addition of ours.
    #[serde(default)]
    pub consistency: Option<Consistency>,
    /// Answers to requests that wrote wait for the commit, at most so many milliseconds. An addition of ours.
    #[serde(default)]
    pub wait_for_commit_ms: Option<u64>,
    /// Which interpreter serves the requests; none: a fresh one each time.
    #[serde(default)]
    pub interpreter_reuse: Option<InterpreterReuse>,
}

/// More consistency than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Reads are executed on the primary and confirmed by a majority.
    Linearizable,
}

/// `{"key": ".."}`: endpoints with the same key and access share interpreters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InterpreterReuse {
    /// The key.
    pub key: String,
}

const fn read_write() -> Mode {
    Mode::ReadWrite
}

const fn to_primary() -> RedirectionStrategy {
    RedirectionStrategy::ToPrimary
}

fn module_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(crate::engine::module::normalize("/", &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_a_real_ledger() {
        let text = r#"{"js_module":"/logging.js","js_function":"get_public","forwarding_required":"sometimes","redirection_strategy":"none","authn_policies":["jwt","user_cert"],"mode":"readonly","openapi":{},"interpreter_reuse":{"key":"singleton_interpreter"}}"#;
        let p: EndpointProperties = serde_json::from_str(text).unwrap();
        assert_eq!((p.js_module.as_str(), p.js_function.as_str()), ("/logging.js", "get_public"));
        assert_eq!((p.mode, p.forwarding_required), (Mode::ReadOnly, ForwardingRequired::Sometimes));
        assert_eq!(p.redirection_strategy, RedirectionStrategy::None);
        assert_eq!(p.interpreter_reuse.unwrap().key, "singleton_interpreter");
    }

    #[test]
    fn defaults_and_refusals() {
        let least = r#"{"forwarding_required":"never","authn_policies":[]}"#;
        let p: EndpointProperties = serde_json::from_str(least).unwrap();
        assert_eq!((p.mode, p.redirection_strategy), (Mode::ReadWrite, RedirectionStrategy::ToPrimary));
        for bad in [
            r#"{"authn_policies":[]}"#,
            r#"{"forwarding_required":"never"}"#,
            r#"{"forwarding_required":null,"authn_policies":[]}"#,
            r#"{"forwarding_required":"never","authn_policies":[],"mode":null}"#,
            r#"{"forwarding_required":"never","authn_policies":[],"mode":"command"}"#,
            r#"{"forwarding_required":"never","authn_policies":[],"js_module":1}"#,
        ] {
            assert!(serde_json::from_str::<EndpointProperties>(bad).is_err(), "{bad}");
        }
        let nulls =
            r#"{"forwarding_required":"never","authn_policies":[],"openapi":null,"openapi_hidden":null}"#;
        assert!(serde_json::from_str::<EndpointProperties>(nulls).is_ok());
    }
}
