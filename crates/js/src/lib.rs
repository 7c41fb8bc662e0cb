//! The JavaScript runtime: applications deployed in the store, constitutions and ballots, and the `ccf` global they
//! see. Built on QuickJS-ng.
//!
//! - [`JsApp`] finds and runs the endpoints that governance has installed; [`Bundle`] is what gets installed.
//! - [`GovernanceScripts`] runs constitutions and ballots; the node serves their `apply` phase as a
//!   [`GovernanceHost`].
//!
//! A request finds an interpreter whose global state is as fresh as if it had just been created, yet pays for a copy
//! of some hundred kilobytes only: interpreters are prepared once per version of the application, and their memory is put
//! back to that state after each request (`engine`). This crate opens no file but where [`Bundle::read_dir`] is
//! asked to, and has no logger: lines go to a [`Console`].
// Forbidden but in `engine`, which says why.
#![deny(unsafe_code)]

mod access;
mod app;
mod bundle;
mod console;
mod engine;
mod globals;
mod governance;
mod host;
pub mod limits;
#[doc(hidden)]
pub mod measuring;
mod options;
mod tables;

pub use access::{Access, Permission};
pub use app::{JsApp, JsMetrics};
pub use bundle::{
    Bundle, BundleError, BundleModule, Consistency, ENGINE_VERSION, EndpointProperties, InterpreterReuse,
    Metadata, install, remove,
};
pub use console::{Console, Filter, Level, Sink, Tag};
pub use engine::exception::ScriptError;
pub use globals::check_constitution;
pub use governance::{
    Ballot, GovernanceError, GovernanceHost, GovernanceScripts, HostError, Validation, Vote,
};
pub use options::JsRuntimeOptions;
pub use tables::{
    BYTECODE, BYTECODE_VERSION, ENDPOINTS, INTERPRETER_FLUSH, MODULES, RUNTIME_OPTIONS, runtime_options,
};
