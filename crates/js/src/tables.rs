//! The tables of the JavaScript application (applications specification, section 4.3).

use crate::options::JsRuntimeOptions;
use ccf_kv::{Json, Raw, SmallBytes, Tx, TypedMap, TypedValue};

/// Module sources by `/name.js`.
pub const MODULES: TypedMap<String, SmallBytes, Raw, Raw> = TypedMap::new("public:ccf.gov.modules");
/// Endpoint properties, as JSON text, by `VERB /path`.
pub const ENDPOINTS: TypedMap<String, SmallBytes, Raw, Raw> = TypedMap::new("public:ccf.gov.endpoints");
/// Bytecode by `/name.js`; never executed by this engine.
pub const BYTECODE: TypedMap<String, SmallBytes, Raw, Raw> =
    TypedMap::new("public:ccf.gov.modules_quickjs_bytecode");
/// Which engine wrote the bytecode.
pub const BYTECODE_VERSION: TypedValue<String, Raw> =
    TypedValue::new("public:ccf.gov.modules_quickjs_version");
/// Written when cached interpreters must go.
pub const INTERPRETER_FLUSH: TypedValue<bool> = TypedValue::new("public:ccf.gov.interpreter.flush");
/// Limits and switches.
pub const RUNTIME_OPTIONS: TypedValue<JsRuntimeOptions, Json> =
    TypedValue::new("public:ccf.gov.js_runtime_options");

/// The options a transaction sees; defaults if there are none or they do not parse.
#[must_use]
pub fn runtime_options(tx: &Tx) -> JsRuntimeOptions {
    tx.ro(&RUNTIME_OPTIONS).get().ok().flatten().unwrap_or_default()
}
