//! Applications deployed in the store: finding an endpoint, and what belongs to one version of an application.

mod execute;
pub(crate) mod modules;
mod pool;
mod response;
mod version;

use crate::bundle::{Consistency, EndpointProperties};
use crate::console::Console;
use crate::options::JsRuntimeOptions;
use crate::tables::{BYTECODE, BYTECODE_VERSION, ENDPOINTS, INTERPRETER_FLUSH, MODULES, RUNTIME_OPTIONS};
use ccf_endpoints::authn::Policies;
use ccf_endpoints::{
    DispatchError, DynamicEndpoints, DynamicMatch, DynamicOperation, EndpointDefinition, Frontend, Method,
    MethodSet, PathTemplate, RouteTable,
};
use ccf_kv::{State, Tx, UNIT};
use ccf_types::{MapName, SeqNo, View};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use version::AppVersion;

/// Serves the application that governance has installed. One per node, shared by all workers; give it to
/// [`ccf_endpoints::Registry::set_dynamic`].
///
/// Everything derived from the application's tables is kept until one of them changes. Versions are compared together
/// with the view, so that a rollback never makes two different contents look the same.
pub struct JsApp {
    console: Console,
    policies: Policies,
    current: Mutex<Option<Arc<Installed>>>,
}

/// What an application's bytecode takes, and the limits in force: the content of `/node/js_metrics`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "JavaScriptMetrics")]
pub struct JsMetrics {
    /// Bytes of all bytecode values in the store.
    pub bytecode_size: u64,
    /// Whether they were written by this engine.
    pub bytecode_used: bool,
    /// Bytes.
    pub max_heap_size: u64,
    /// Bytes.
    pub max_stack_size: u64,
    /// Milliseconds.
    pub max_execution_time: u64,
    /// As configured.
    pub max_cached_interpreters: u64,
}

/// Everything derived from one state of the application's tables.
struct Installed {
    key: Key,
    version: Arc<AppVersion>,
    routes: RouteTable<Entry>,
}

/// One endpoint, or why requests to it fail.
struct Entry {
    endpoint: Result<Arc<EndpointDefinition>, String>,
    /// None if it is hidden.
    operation: Option<DynamicOperation>,
}

/// Which state of the tables something was derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    code: CodeKey,
    options: Option<SeqNo>,
}

/// The part of [`Key`] that interpreters depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CodeKey {
    view: View,
    endpoints: Option<SeqNo>,
    modules: Option<SeqNo>,
    flush: Option<SeqNo>,
}

impl Key {
    fn of(tx: &Tx) -> Key {
        let state: &State = tx.state();
        let version = |name: &MapName| state.map(name).map(ccf_kv::MapState::version);
        Key {
            code: CodeKey {
                view: tx.commit_view(),
                endpoints: version(ENDPOINTS.name()),
                modules: version(MODULES.name()),
                flush: version(INTERPRETER_FLUSH.name()),
            },
            options: version(RUNTIME_OPTIONS.name()),
        }
    }
}

impl JsApp {
    /// The application of a node.
    #[must_use]
    pub fn new(console: Console) -> JsApp {
        JsApp::with_policies(console, Policies::default())
    }

    /// The same with authentication policies beyond the built-in ones.
    #[must_use]
    pub fn with_policies(console: Console, policies: Policies) -> JsApp {
        JsApp { console, policies, current: Mutex::default() }
    }

    /// The content of `/node/js_metrics`.
    #[must_use]
    pub fn metrics(&self, tx: &Tx) -> JsMetrics {
        let options = crate::tables::runtime_options(tx);
        let mut bytecode_size = 0;
        tx.raw(BYTECODE.name()).for_each::<()>(|_, value| {
            bytecode_size += value.len() as u64;
            std::ops::ControlFlow::Continue(())
        });
        let written_by = tx.ro(&BYTECODE_VERSION).get().ok().flatten();
        JsMetrics {
            bytecode_size,
            bytecode_used: written_by.as_deref() == Some(crate::bundle::install::ENGINE_VERSION),
            max_cached_interpreters: options.max_cached_interpreters,
            max_execution_time: options.max_execution_time_ms,
            max_heap_size: options.max_heap_bytes,
            max_stack_size: options.max_stack_bytes,
        }
    }

    /// Bytes of bytecode compiled from the application's modules and held in memory.
    #[must_use]
    pub fn compiled_bytes(&self) -> usize {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or(0, |installed| installed.version.modules.bytecode_bytes())
    }

    /// What is derived from the tables as the transaction sees them.
    fn installed(&self, tx: &Tx) -> Arc<Installed> {
        let key = Key::of(tx);
        // A deployment must not slip between this look and the commit.
        let _ = tx.raw(INTERPRETER_FLUSH.name()).version_of_previous_write(&UNIT);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installed) = current.as_ref().filter(|installed| installed.key == key) {
            return installed.clone();
        }
        let version = match current.as_ref().filter(|installed| installed.key.code == key.code) {
            Some(installed) => installed.version.clone(),
            None => Arc::new(AppVersion::new(self.console.clone())),
        };
        let options = Arc::new(crate::tables::runtime_options(tx));
        let installed = Arc::new(Installed { key, routes: self.routes(tx, &version, &options), version });
        // A request that still sees an older state must not displace the newer one.
        let newer = current.as_ref().is_some_and(|known| {
            known.key.code.view > key.code.view
                || (known.key.code.view == key.code.view && known.key.newest() > key.newest())
        });
        if !newer {
            *current = Some(installed.clone());
        }
        installed
    }

    fn routes(
        &self,
        tx: &Tx,
        version: &Arc<AppVersion>,
        options: &Arc<JsRuntimeOptions>,
    ) -> RouteTable<Entry> {
        let mut routes = RouteTable::default();
        let Some(map) = tx.state().map(ENDPOINTS.name()) else { return routes };
        for record in map {
            let Some((method, template)) = parse_key(record.key) else {
                let key = String::from_utf8_lossy(record.key);
                self.console.line(
                    crate::Level::Fail,
                    crate::Tag::Js,
                    &format!("Endpoint '{key}' is ignored: its key is not a method and a path template"),
                );
                continue;
            };
            let entry = self.entry(method, &template, record.value, version, options);
            routes.insert(method, template, entry);
        }
        routes
    }

    fn entry(
        &self,
        method: Method,
        template: &PathTemplate,
        properties: &[u8],
        version: &Arc<AppVersion>,
        options: &Arc<JsRuntimeOptions>,
    ) -> Entry {
        let properties: EndpointProperties = match serde_json::from_slice(properties) {
            Ok(properties) => properties,
            Err(error) => {
                let reason = format!("Endpoint {method} {} cannot be read: {error}", template.as_str());
                return Entry { endpoint: Err(reason), operation: None };
            }
        };
        let operation = (!properties.openapi_hidden.unwrap_or(false)).then(|| DynamicOperation {
            method,
            full_path: format!("{}{}", Frontend::App.prefix(), template.as_str()),
            openapi: properties.openapi.clone().unwrap_or_else(|| serde_json::json!({})),
        });
        let endpoint =
            self.policies.parse(&properties.authn_policies).map_err(|e| e.to_string()).map(|authn| {
                let (version, options) = (version.clone(), options.clone());
                let (mode, forwarding, redirection) =
                    (properties.mode, properties.forwarding_required, properties.redirection_strategy);
                let linearizable = properties.consistency == Some(Consistency::Linearizable);
                let wait = properties.wait_for_commit_ms.map(Duration::from_millis);
                let handler = move |ctx: &mut ccf_endpoints::EndpointContext<'_>| {
                    version.execute(ctx, &properties, &options)
                };
                let definition = EndpointDefinition::new(method, template.as_str(), mode, handler)
                    .in_frontend(Frontend::App)
                    .forwarding(forwarding)
                    .redirection(redirection)
                    .authn(authn);
                let definition = if linearizable { definition.linearizable() } else { definition };
                Arc::new(match wait {
                    Some(at_most) => definition.wait_for_commit(at_most),
                    None => definition,
                })
            });
        Entry { endpoint, operation }
    }
}

impl Key {
    fn newest(&self) -> Option<SeqNo> {
        self.code.endpoints.max(self.code.modules).max(self.code.flush).max(self.options)
    }
}

impl DynamicEndpoints for JsApp {
    fn find(&self, tx: &Tx, method: Method, path: &[u8]) -> Result<Option<DynamicMatch>, DispatchError> {
        let installed = self.installed(tx);
        let Some(route) = installed.routes.find(method, path)? else { return Ok(None) };
        match &route.value.endpoint {
            Ok(endpoint) => Ok(Some(DynamicMatch { endpoint: endpoint.clone(), captures: route.captures })),
            Err(reason) => Err(DispatchError(reason.clone())),
        }
    }

    fn methods(&self, tx: &Tx, path: &[u8]) -> Result<MethodSet, DispatchError> {
        Ok(self.installed(tx).routes.methods(path))
    }

    fn operations(&self, tx: &Tx) -> Result<Vec<DynamicOperation>, DispatchError> {
        let installed = self.installed(tx);
        Ok(installed.routes.values().filter_map(|entry| entry.operation.clone()).collect())
    }
}

impl std::fmt::Debug for JsApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JsApp")
    }
}

/// Splits a key of the endpoints table: `VERB /path`.
fn parse_key(key: &[u8]) -> Option<(Method, PathTemplate)> {
    let (verb, path) = std::str::from_utf8(key).ok()?.split_once(' ')?;
    if !path.starts_with('/') {
        return None;
    }
    Some((verb.parse().ok()?, PathTemplate::parse(path).ok()?))
}
