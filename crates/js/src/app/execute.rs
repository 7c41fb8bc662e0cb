//! One request, one endpoint function (applications specification, section 5.3).

use super::pool::{Prepared, Reused};
use super::response::{BadResult, JSON, convert};
use super::version::AppVersion;
use crate::access::Access;
use crate::bundle::EndpointProperties;
use crate::console::{Level, Tag};
use crate::engine::exception::{ScriptError, TIMEOUT_MESSAGE};
use crate::engine::module::{ExportError, Module};
use crate::engine::runtime::Runtime;
use crate::engine::value::{JsResult, Scope};
use crate::globals;
use crate::globals::request::RequestParts;
use crate::host::{Host, Invocation, Kind};
use crate::limits::{IMAGE_BYTES_MAX, Limits, REUSED_HEAP_CHECK_INTERVAL, REUSED_HEAP_DIVISOR};
use crate::options::JsRuntimeOptions;
use ccf_endpoints::historical::HistoricalState;
use ccf_endpoints::{EndpointContext, ErrorResponse, Mode, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a request ended without an answer of the script.
enum Failure {
    /// The module or its function cannot be used.
    Module(String),
    /// The function threw.
    Thrown(ScriptError),
    /// The function's result is no answer.
    Result(BadResult),
    /// No memory for an interpreter.
    NoMemory,
}

impl AppVersion {
    /// Runs the endpoint's function for the request.
    pub(super) fn execute(
        &self,
        ctx: &mut EndpointContext<'_>,
        properties: &EndpointProperties,
        options: &JsRuntimeOptions,
    ) -> Result<(), ErrorResponse> {
        let past = match properties.mode {
            Mode::Historical => match ccf_endpoints::historical::named_state(ctx)? {
                None => return Ok(()),
                some => some,
            },
            _ => None,
        };
        let writes = properties.mode == Mode::ReadWrite;
        let access = if writes { Access::ApplicationReadWrite } else { Access::ApplicationReadOnly };
        let started = Instant::now();
        let (result, call) = {
            let mut call = Invocation::new(access, &ctx.tx);
            call.request = Some(ctx.request());
            call.caller = ctx.caller();
            call.node = Some(ctx.node());
            call.historical = past.as_ref();
            let parts =
                RequestParts { route: ctx.endpoint().full_path(), params: ctx.params().iter().collect() };
            let run = Run {
                version: self,
                call: &call,
                parts: &parts,
                properties,
                limits: options.application_limits(),
            };
            let (result, metrics) = match &properties.interpreter_reuse {
                Some(reuse) => run.in_reused(&reuse.key, writes, options.max_cached_interpreters),
                None => run.in_fresh(),
            };
            let result = match call.fatal.take() {
                Some(reason) => Err(Failure::Module(reason)),
                None => result,
            };
            ((result, metrics), (call.apply_writes.get(), call.claims_digest.get()))
        };
        let (result, metrics) = result;
        let response = result.map_err(|failure| self.answer(failure, options, started.elapsed()))?;
        if metrics && self.console.is_enabled(Level::Info, Tag::Js) {
            let line = format!(
                "JS execution complete: Method={}, Path={}, Status={}, ExecMilliseconds={}",
                ctx.request().method(),
                ctx.endpoint().full_path(),
                response.status,
                started.elapsed().as_millis()
            );
            self.console.line(Level::Info, Tag::Js, &line);
        }
        ctx.response = response;
        if let Some(apply) = call.0 {
            ctx.set_apply_writes(apply);
        }
        if let Some(digest) = call.1 {
            ctx.set_claims_digest(digest);
        }
        Ok(())
    }

    fn answer(&self, failure: Failure, options: &JsRuntimeOptions, took: Duration) -> ErrorResponse {
        let (message, error) = match failure {
            Failure::Module(message) => return ErrorResponse::internal(message),
            Failure::NoMemory => return ErrorResponse::internal("No memory for a JavaScript interpreter."),
            Failure::Result(BadResult::Invalid(message)) => return ErrorResponse::internal(message),
            Failure::Result(BadResult::Json(error)) => {
                let stop = if options.return_exception_details { "" } else { "." };
                (format!("{JSON}{stop}"), error)
            }
            Failure::Thrown(error) | Failure::Result(BadResult::Thrown(error)) => {
                let message =
                    if error.timed_out { TIMEOUT_MESSAGE } else { "Exception thrown while executing." };
                if error.timed_out {
                    let (took, most) = (took.as_millis(), options.application_limits().time.as_millis());
                    let line = format!("JS execution has timed out after {took}ms (max is {most}ms)");
                    self.console.line(Level::Info, Tag::App, &line);
                }
                (message.to_owned(), error)
            }
        };
        if options.log_exception_details {
            let trace = error.stack.as_deref().unwrap_or("<no trace>");
            self.console.line(Level::Fail, Tag::Js, &format!("{}: {trace}", error.message));
        }
        let mut response = ErrorResponse::internal(message);
        if options.return_exception_details {
            let mut detail = serde_json::json!({"code": "JSException", "message": error.message});
            if let Some(stack) = error.stack {
                detail["trace"] = stack.into();
            }
            response = response.with_detail(detail);
        }
        response
    }
}

/// One execution.
struct Run<'a, 'b> {
    version: &'a AppVersion,
    call: &'a Invocation<'b>,
    parts: &'a RequestParts<'b>,
    properties: &'a EndpointProperties,
    limits: Limits,
}

impl Run<'_, '_> {
    /// In an interpreter whose global state is as new.
    fn in_fresh(&self) -> (Result<Response, Failure>, bool) {
        let taken = match self.version.prepared.take(&self.properties.js_module) {
            Some(prepared) => Ok(prepared),
            None => self.prepare(),
        };
        let mut prepared = match taken {
            Ok(prepared) => prepared,
            Err(failure) => return (Err(failure), false),
        };
        let evaluated = prepared.evaluated;
        let result = prepared.runtime.enter(|scope| {
            let host = scope.host();
            let result = host.invocation.set(self.call, || {
                let name = &self.properties.js_module;
                let Some(module) = scope.loaded_module(name) else {
                    return Err(Failure::Module(format!("Module '{name}' could not be loaded")));
                };
                self.call(scope, module, !evaluated)
            });
            (result, host.metrics_logging.get())
        });
        prepared.runtime.restore();
        self.version.prepared.put(prepared);
        result
    }

    /// In an interpreter that earlier requests with the same key used.
    fn in_reused(&self, key: &str, writes: bool, keys_max: u64) -> (Result<Response, Failure>, bool) {
        let taken = match self.version.reused.take(key, writes) {
            Some(reused) => Ok(reused),
            None => self.new_runtime().map(Reused::new),
        };
        let mut reused = match taken {
            Ok(reused) => reused,
            Err(failure) => return (Err(failure), false),
        };
        let result = reused.runtime.enter(|scope| {
            let host = scope.host();
            let result = host.invocation.set(self.call, || {
                let module = match scope.loaded_module(&self.properties.js_module) {
                    Some(module) => module,
                    None => self.load(scope)?,
                };
                self.call(scope, module, true)
            });
            (result, host.metrics_logging.get())
        });
        reused.requests += 1;
        if reused.requests >= REUSED_HEAP_CHECK_INTERVAL {
            reused.requests = 0;
            if reused.runtime.used_bytes() > self.limits.heap_bytes / REUSED_HEAP_DIVISOR {
                return result;
            }
        }
        self.version.reused.put(key, writes, reused, keys_max);
        result
    }

    fn new_runtime(&self) -> Result<Runtime, Failure> {
        let host = Host::new(Kind::Application, self.version.console.clone());
        host.set_modules(self.version.modules.clone());
        let mut runtime = Runtime::new(host, globals::FUNCTIONS).map_err(|_| Failure::NoMemory)?;
        runtime.enter(globals::install).map_err(|_| Failure::NoMemory)?;
        Ok(runtime)
    }

    /// An interpreter with the handler module in its image: evaluated, if running its top level has no effect and
    /// looks at nothing that another request would see differently.
    fn prepare(&self) -> Result<Prepared, Failure> {
        let name: Arc<str> = self.properties.js_module.as_str().into();
        let mut runtime = self.new_runtime()?;
        runtime.enter(|scope| {
            let loaded = scope.host().invocation.set(self.call, || self.load(scope));
            loaded.map(|_| ())
        })?;
        runtime.seal();
        // On trial: no invocation is set, so whatever looks at the request, the store or the console fails and is noted.
        let pure = runtime.enter(|scope| {
            let Some(module) = scope.loaded_module(&name) else { return false };
            scope.host().impure.set(false);
            let evaluated = globals::watch_clock(scope).is_ok()
                && scope.limited(&self.limits, || module.evaluate()).is_ok();
            evaluated && globals::unwatch_clock(scope).is_ok() && !scope.host().impure.get()
        });
        if pure && runtime.image_bytes() <= IMAGE_BYTES_MAX {
            runtime.seal();
            return Ok(Prepared::new(runtime, name, true));
        }
        runtime.restore();
        Ok(Prepared::new(runtime, name, false))
    }

    /// Sets `ccf.historicalState`; takes it away if there is none.
    fn show_past(&self, scope: Scope<'_>, state: Option<&Arc<HistoricalState>>) -> JsResult<()> {
        if self.call.historical.is_none() {
            return Ok(());
        }
        let ccf = scope.globals().get("ccf")?;
        if !ccf.is_object() {
            return Ok(());
        }
        let value = match state {
            Some(state) => globals::historical::object(scope, state)?,
            None => scope.undefined(),
        };
        ccf.set("historicalState", value)
    }

    fn load<'s>(&self, scope: Scope<'s>) -> Result<Module<'s>, Failure> {
        let name = &self.properties.js_module;
        let Some(found) = scope.host().find_module(name) else {
            return Err(Failure::Module(format!("Module '{name}' could not be loaded")));
        };
        let compiled = scope.limited(&self.limits, || found.bytecode(scope, name));
        let bytecode = compiled.map_err(|error| {
            let short = name.strip_prefix('/').unwrap_or(name);
            Failure::Module(format!("Failed to compile module '{short}': {error}"))
        })?;
        let loaded = scope.limited(&self.limits, || scope.load_module(name, &bytecode));
        loaded.map_err(|error| {
            Failure::Module(format!("Failed to resolve dependencies for module '{name}': {error}"))
        })
    }

    fn call<'s>(&self, scope: Scope<'s>, module: Module<'s>, evaluate: bool) -> Result<Response, Failure> {
        let name = &self.properties.js_module;
        if evaluate {
            let evaluated = scope.limited(&self.limits, || module.evaluate());
            evaluated.map_err(|error| match error.timed_out {
                true => Failure::Thrown(error),
                false => Failure::Module(format!("Failed to execute {name}: {error}")),
            })?;
        }
        let export = &self.properties.js_function;
        let function = match module.export(export) {
            Ok(function) if function.is_function() => function,
            Ok(_) => {
                return Err(Failure::Module(format!(
                    "Export '{export}' of module '{name}' is not a function"
                )));
            }
            Err(ExportError::Missing) => {
                return Err(Failure::Module(format!("Failed to find export '{export}' in module '{name}'")));
            }
            Err(ExportError::Thrown) => {
                let error = scope.describe_exception();
                return Err(Failure::Module(format!("Failed to execute {name}: {error}")));
            }
        };
        let Some(prepared) = scope.host().prepared.get() else { return Err(Failure::NoMemory) };
        let request = globals::request::build(scope, self.call, self.parts)
            .map_err(|_| Failure::Thrown(scope.describe_exception()))?;
        self.show_past(scope, self.call.historical)
            .map_err(|_| Failure::Thrown(scope.describe_exception()))?;
        let mut bad = None;
        let converted = scope.limited(&self.limits, || {
            let value = function.call(&scope.undefined(), &[&request])?;
            Ok(convert(scope, &value, &prepared.names).map_err(|error| bad = Some(error)).ok())
        });
        if self.call.historical.is_some() {
            // An interpreter that is used again must not show it to the next request; one that has no memory left for
            // that is not used again.
            let _ = self.show_past(scope, None);
        }
        match (converted, bad) {
            (_, Some(bad)) => Err(Failure::Result(bad)),
            (Err(error), None) => Err(Failure::Thrown(error)),
            (Ok(Some(response)), None) => Ok(response),
            (Ok(None), None) => Err(Failure::NoMemory),
        }
    }
}
