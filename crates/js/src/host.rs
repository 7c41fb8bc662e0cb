//! The state behind an interpreter that host functions work on: what the current call may touch, the names of
//! tables it has handles for, where modules and console lines go.

use crate::access::Access;
use crate::app::modules::ModuleSet;
use crate::console::Console;
use crate::engine::module::Bytecode;
use crate::engine::runtime::Kept;
use crate::engine::scoped::ScopedInvocation;
use crate::engine::value::{Atom, JsResult, Scope};
use crate::governance::GovernanceHost;
use crate::limits::TABLE_NAMES_MAX;
use ccf_endpoints::{Caller, NodeView, Request, historical::HistoricalState};
use ccf_kv::Tx;
use ccf_types::{Digest, MapName};
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

/// Which globals an interpreter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Endpoints of the application.
    Application,
    /// A constitution's `validate` and `resolve`, and ballots.
    GovernanceReadOnly,
    /// A constitution's `apply`.
    GovernanceReadWrite,
    /// The language alone.
    Bare,
    /// The language alone, and every import finds an empty module: for parsing modules one by one.
    Parser,
}

/// See the module's text. Lives as long as its interpreter.
pub(crate) struct Host {
    pub(crate) kind: Kind,
    pub(crate) console: Console,
    /// The call in progress.
    pub(crate) invocation: ScopedInvocation,
    /// Names of the tables that handles stand for, by the handle's number.
    tables: RefCell<Vec<MapName>>,
    tables_sealed: Cell<usize>,
    /// Modules that imports find; none in governance.
    modules: RefCell<Option<Arc<ModuleSet>>>,
    /// What installing the globals left for later use.
    pub(crate) prepared: Cell<Option<Prepared>>,
    /// `ccf.enableMetricsLogging`.
    pub(crate) metrics_logging: Cell<bool>,
    /// How many past states scripts were given since the interpreter was made.
    pub(crate) past_states: Cell<usize>,
    /// Something the next request would see differently was used: the time, chance, the store, the console.
    pub(crate) impure: Cell<bool>,
}

/// Values and names made once per interpreter.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) past_kv: Kept,
    pub(crate) body_prototype: Kept,
    pub(crate) headers_getter: Kept,
    pub(crate) headers_setter: Kept,
    pub(crate) caller_getter: Kept,
    pub(crate) caller_setter: Kept,
    pub(crate) names: Names,
}

/// Property names of requests and responses.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) headers: Atom,
    pub(crate) query: Atom,
    pub(crate) path: Atom,
    pub(crate) method: Atom,
    pub(crate) hostname: Atom,
    pub(crate) route: Atom,
    pub(crate) url: Atom,
    pub(crate) params: Atom,
    pub(crate) body: Atom,
    pub(crate) caller: Atom,
    pub(crate) status_code: Atom,
}

/// One call into a script: what it is about and what it asked for.
pub(crate) struct Invocation<'a> {
    pub(crate) access: Access,
    pub(crate) tx: &'a Tx,
    /// The request an endpoint answers.
    pub(crate) request: Option<&'a Request>,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) node: Option<&'a dyn NodeView>,
    pub(crate) governance: Option<&'a dyn GovernanceHost>,
    pub(crate) apply_writes: Cell<Option<bool>>,
    pub(crate) claims_digest: Cell<Option<Digest>>,
    /// Why the request as a whole fails, whatever the script does.
    pub(crate) fatal: RefCell<Option<String>>,
    /// The past state that the request is about.
    pub(crate) historical: Option<&'a Arc<HistoricalState>>,
    past: RefCell<Past>,
}

/// Past states that were given to the script during a call.
#[derive(Default)]
struct Past {
    /// The number of the first one.
    first: usize,
    states: Vec<(Arc<HistoricalState>, OnceCell<Tx>)>,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(access: Access, tx: &'a Tx) -> Invocation<'a> {
        Invocation {
            access,
            tx,
            request: None,
            caller: None,
            node: None,
            governance: None,
            apply_writes: Cell::new(None),
            claims_digest: Cell::new(None),
            fatal: RefCell::new(None),
            historical: None,
            past: RefCell::default(),
        }
    }

    /// Keeps a past state until the call ends; its number, which is never used again in this interpreter.
    pub(crate) fn remember(&self, host: &Host, state: &Arc<HistoricalState>) -> usize {
        let number = host.past_states.get() + 1;
        host.past_states.set(number);
        let mut past = self.past.borrow_mut();
        if past.states.is_empty() {
            past.first = number;
        }
        past.states.push((Arc::clone(state), OnceCell::new()));
        number
    }

    /// Runs `f` with the store of a past state of this call; none if it is of another one.
    pub(crate) fn in_past<R>(&self, number: usize, f: impl FnOnce(&Tx) -> R) -> Option<R> {
        let past = self.past.borrow();
        let (state, tx) = past.states.get(number.checked_sub(past.first)?)?;
        Some(f(tx.get_or_init(|| state.tx())))
    }
}

impl Host {
    pub(crate) fn new(kind: Kind, console: Console) -> Host {
        Host {
            kind,
            console,
            invocation: ScopedInvocation::new(),
            tables: RefCell::default(),
            tables_sealed: Cell::new(0),
            modules: RefCell::default(),
            prepared: Cell::new(None),
            metrics_logging: Cell::new(true),
            past_states: Cell::new(0),
            impure: Cell::new(false),
        }
    }

    pub(crate) fn set_modules(&self, modules: Arc<ModuleSet>) {
        *self.modules.borrow_mut() = Some(modules);
    }

    /// The module of a normalised name.
    pub(crate) fn find_module(&self, name: &str) -> Option<FoundModule> {
        let modules = self.modules.borrow().clone()?;
        let source = modules.source(self, name)?;
        Some(FoundModule { modules, source })
    }

    /// The number of a handle for the table; the same for the same name. `None` when too many are named.
    pub(crate) fn table_number(&self, name: &MapName) -> Option<usize> {
        let mut tables = self.tables.borrow_mut();
        if let Some(known) = tables.iter().position(|t| t == name) {
            return Some(known);
        }
        if tables.len() >= TABLE_NAMES_MAX {
            return None;
        }
        tables.push(name.clone());
        Some(tables.len() - 1)
    }

    /// The table of a handle.
    pub(crate) fn table(&self, number: usize) -> Option<MapName> {
        self.tables.borrow().get(number).cloned()
    }

    /// The interpreter's image was taken.
    pub(crate) fn seal(&self) {
        self.tables_sealed.set(self.tables.borrow().len());
    }

    /// The interpreter went back to its image.
    pub(crate) fn restore(&self) {
        self.tables.borrow_mut().truncate(self.tables_sealed.get());
        self.metrics_logging.set(true);
        self.impure.set(false);
    }
}

/// Where a module's bytecode comes from.
pub(crate) struct FoundModule {
    modules: Arc<ModuleSet>,
    source: crate::app::modules::Source,
}

impl FoundModule {
    pub(crate) fn bytecode(&self, scope: Scope<'_>, name: &str) -> JsResult<Bytecode> {
        self.modules.compile(scope, name, &self.source)
    }
}
