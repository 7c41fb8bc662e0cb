//! The modules of one version of the application: sources from the store, bytecode kept in memory.

use crate::engine::module::{Bytecode, parse_apart};
use crate::engine::value::{JsResult, Scope};
use crate::host::Host;
use crate::tables::MODULES;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// See the module's text. Compiled once per version, shared by all interpreters.
///
/// Bytecode that other nodes stored is not used: the engine cannot check it, so it would let whoever
/// writes that table run anything.
#[derive(Default)]
pub(crate) struct ModuleSet {
    compiled: Mutex<HashMap<Box<str>, Bytecode>>,
}

/// A module that was found.
pub(crate) enum Source {
    Compiled(Bytecode),
    Text(String),
}

impl ModuleSet {
    /// The module of a normalised name, from memory or from the store as the call in progress sees it.
    pub(crate) fn source(&self, host: &Host, name: &str) -> Option<Source> {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(bytecode) = compiled {
            return Some(Source::Compiled(bytecode));
        }
        let bytes = host.invocation.with(|call| call.tx.raw(MODULES.name()).get(name.as_bytes()))??;
        Some(Source::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Compiles a module's text, unless that was done before.
    pub(crate) fn compile(&self, scope: Scope<'_>, name: &str, source: &Source) -> JsResult<Bytecode> {
        let text = match source {
            Source::Compiled(bytecode) => return Ok(bytecode.clone()),
            Source::Text(text) => text,
        };
        let bytecode = parse_apart(name, text).map_err(|error| {
            scope.throw_syntax(error.message.strip_prefix("SyntaxError: ").unwrap_or(error.reason()))
        })?;
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.insert(name.into(), bytecode.clone());
        Ok(bytecode)
    }

    /// Bytes of bytecode held in memory.
    pub(crate) fn bytecode_bytes(&self) -> usize {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.values().map(|code| code.as_bytes().len()).sum()
    }
}
