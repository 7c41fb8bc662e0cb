//! Putting an application into the store and taking it out (applications specification, section 4.4). Governance does
//! the same from a constitution's script; this is for programs that embed an application and for tests.

use super::Bundle;
use crate::tables::{BYTECODE, BYTECODE_VERSION, ENDPOINTS, INTERPRETER_FLUSH, MODULES};
use ccf_kv::{KvError, SmallBytes, Tx};
use serde_json::Value;
use std::ops::ControlFlow;

/// What this engine calls itself in the bytecode version table.
pub const ENGINE_VERSION: &str = "quickjs-ng-0.16.2";

/// Replaces the application in the store by the bundle, without stored bytecode. The bundle must be valid.
///
/// # Errors
/// [`KvError`] if a value cannot be written.
pub fn install(tx: &Tx, bundle: &Bundle) -> Result<(), KvError> {
    remove(tx);
    let modules = tx.raw(MODULES.name());
    for module in &bundle.modules {
        modules.put(format!("/{}", module.name).as_bytes(), module.module.as_bytes());
    }
    tx.wo(&INTERPRETER_FLUSH).put(&true)?;
    let endpoints = tx.raw(ENDPOINTS.name());
    for (path, methods) in &bundle.metadata.endpoints {
        for (method, properties) in methods {
            let mut properties = properties.clone();
            if let Some(Value::String(module)) = properties.get_mut("js_module") {
                module.insert(0, '/');
            }
            let key = format!("{} {path}", method.to_ascii_uppercase());
            endpoints.put(key.as_bytes(), properties.to_string().as_bytes());
        }
    }
    Ok(())
}

/// Removes the application from the store; its own tables and the runtime options stay.
pub fn remove(tx: &Tx) {
    for table in
        [MODULES.name(), ENDPOINTS.name(), BYTECODE.name(), BYTECODE_VERSION.name(), INTERPRETER_FLUSH.name()]
    {
        tx.raw(table).clear();
    }
}

/// Marks the stored bytecode as this engine's, empties it, and answers the modules to compile.
pub(crate) fn start_bytecode_refresh(tx: &Tx) -> Vec<(String, SmallBytes)> {
    tx.raw(BYTECODE_VERSION.name()).put(&ccf_kv::UNIT[..], ENGINE_VERSION.as_bytes());
    tx.raw(BYTECODE.name()).clear();
    let mut modules = Vec::new();
    tx.raw(MODULES.name()).for_each::<()>(|name, source| {
        modules.push((String::from_utf8_lossy(name).into_owned(), SmallBytes::copy_from(source)));
        ControlFlow::Continue(())
    });
    modules
}

/// Stores a module's bytecode.
pub(crate) fn store_bytecode(tx: &Tx, name: &str, bytecode: &[u8]) {
    tx.raw(BYTECODE.name()).put(name.as_bytes(), bytecode);
}
