//! Running constitutions and ballots (governance specification, sections 6 and 7).
//!
//! Every call gets a new interpreter: nothing survives from one call to the next. Scripts run under the limits of
//! `js_runtime_options`, never below the defaults, their top level included.

use crate::access::Access;
use crate::console::Console;
use crate::engine::exception::ScriptError;
use crate::engine::module::ExportError;
use crate::engine::runtime::Runtime;
use crate::engine::value::{JsResult, Scope, Val};
use crate::globals;
use crate::host::{Host, Invocation, Kind};
use crate::limits::Limits;
use crate::tables;
use ccf_kv::Tx;
use ccf_types::SeqNo;
use std::sync::Mutex;

/// Why the node did not do what a constitution asked for; the script sees it as an `InternalError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// What `apply` can ask of the node (governance specification, section 8). Everything is written in the transaction of the
/// proposal; effects on the node itself follow from its tables once it is committed. Called on worker threads, must
/// not block.
pub trait GovernanceHost {
    /// A new ledger secret from the next seqno on (8.3).
    ///
    /// # Errors
    /// [`HostError`] if the node is not part of an open network.
    fn trigger_ledger_rekey(&self, tx: &Tx) -> Result<(), HostError>;
    /// New shares of the present ledger secret.
    ///
    /// # Errors
    /// [`HostError`] if there are too few recovery members.
    fn trigger_recovery_shares_refresh(&self, tx: &Tx) -> Result<(), HostError>;
    /// Opens the service; the texts are PEM certificates.
    ///
    /// # Errors
    /// [`HostError`] as listed in 8.3.
    fn transition_service_to_open(
        &self,
        tx: &Tx,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), HostError>;
    /// Ends the ledger chunk at the next signature.
    ///
    /// # Errors
    /// [`HostError`] if the node cannot.
    fn trigger_ledger_chunk(&self, tx: &Tx) -> Result<(), HostError>;
    /// Takes a snapshot at the next signature.
    ///
    /// # Errors
    /// [`HostError`] if the node cannot.
    fn trigger_snapshot(&self, tx: &Tx) -> Result<(), HostError>;
    /// Rewrites the sealed shares.
    ///
    /// # Errors
    /// [`HostError`] if the node cannot.
    fn shuffle_sealed_shares(&self, tx: &Tx) -> Result<(), HostError>;
    /// The seqno from which the newest ledger secret applies.
    ///
    /// # Errors
    /// [`HostError`] if the node has none.
    fn latest_ledger_secret_seqno(&self, tx: &Tx) -> Result<SeqNo, HostError>;
    /// A certificate for the CSR, signed by the service.
    ///
    /// # Errors
    /// [`HostError`] for a bad CSR or date.
    fn generate_endorsed_certificate(
        &self,
        tx: &Tx,
        csr_pem: &str,
        valid_from: &str,
        days: u64,
    ) -> Result<String, HostError>;
    /// A new self-signed certificate of the service.
    ///
    /// # Errors
    /// [`HostError`] for a bad date.
    fn generate_network_certificate(&self, tx: &Tx, valid_from: &str, days: u64)
    -> Result<String, HostError>;
    /// Replaces the keys of a JWT issuer (13.3).
    ///
    /// # Errors
    /// [`HostError`] for bad keys.
    fn set_jwt_public_signing_keys(
        &self,
        tx: &Tx,
        issuer: &str,
        metadata: &serde_json::Value,
        jwks: &serde_json::Value,
    ) -> Result<(), HostError>;
    /// Removes the keys of a JWT issuer (13.4).
    ///
    /// # Errors
    /// [`HostError`] if the node cannot.
    fn remove_jwt_public_signing_keys(&self, tx: &Tx, issuer: &str) -> Result<(), HostError>;
}

/// What `validate` answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Whether the proposal may be stored.
    pub valid: bool,
    /// Why not.
    pub description: String,
}

/// A member's vote as `resolve` sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who voted.
    pub member_id: String,
    /// For or against.
    pub vote: bool,
}

/// A ballot to run.
#[derive(Clone, Copy, Debug)]
pub struct Ballot<'a> {
    /// The ballot's source.
    pub source: &'a str,
    /// Who voted.
    pub member_id: &'a str,
    /// The proposal it is about.
    pub proposal_id: &'a str,
    /// The proposal's text.
    pub proposal: &'a str,
    /// Who proposed.
    pub proposer_id: &'a str,
}

/// Why a governance script did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceError {
    /// The module does not parse, or its top level threw.
    #[error("Failed to compile {module}: {reason}")]
    Compile {
        /// The module's name, as in stack traces.
        module: String,
        /// What is wrong.
        reason: ScriptError,
    },
    /// The module lacks the function.
    #[error("Failed to find export '{export}' in module '{module}'")]
    Export {
        /// The module's name.
        module: String,
        /// The function looked for.
        export: &'static str,
    },
    /// The function threw or ran out of time.
    #[error("{0}")]
    Thrown(ScriptError),
    /// The function returned something of the wrong type.
    #[error("{0}")]
    Result(&'static str),
    /// The request as a whole fails, as for a table name that nobody may use.
    #[error("{0}")]
    Fatal(String),
    /// No memory for an interpreter.
    #[error("no memory for a JavaScript interpreter")]
    NoMemory,
}

/// Runs governance scripts. One per node; used by all workers.
pub struct GovernanceScripts {
    console: Console,
    read_only: Mutex<Vec<Runtime>>,
    read_write: Mutex<Vec<Runtime>>,
}

/// Interpreters kept ready per kind.
const READY_MAX: usize = 4;
const CONSTITUTION: &str = "public:ccf.gov.constitution[0]";

impl GovernanceScripts {
    /// Scripts that write their console lines to `console`.
    #[must_use]
    pub fn new(console: Console) -> GovernanceScripts {
        GovernanceScripts { console, read_only: Mutex::default(), read_write: Mutex::default() }
    }

    /// Calls the constitution's `validate`.
    ///
    /// # Errors
    /// [`GovernanceError`]; also if the result is no object.
    pub fn validate(
        &self,
        tx: &Tx,
        constitution: &str,
        proposal: &str,
    ) -> Result<Validation, GovernanceError> {
        let call = Call { module: CONSTITUTION, source: constitution, function: "validate", host: None, tx };
        self.run(
            &call,
            |scope| Ok(vec![scope.string(proposal)?]),
            |result| {
                if !result.is_object() {
                    return Ok(Err("validate() did not return an object"));
                }
                let valid = result.get("valid")?.truthy();
                let description = result.get("description")?;
                let description =
                    if description.is_string() { description.to_text()? } else { String::new() };
                Ok(Ok(Validation { valid, description }))
            },
        )
    }

    /// Runs a ballot: whether it votes for the proposal.
    ///
    /// # Errors
    /// [`GovernanceError::Thrown`] is a vote that failed and does not count; other errors fail the request.
    pub fn vote(&self, tx: &Tx, ballot: &Ballot<'_>) -> Result<bool, GovernanceError> {
        let module =
            format!("public:ccf.gov.proposals_info[{}].ballots[m[{}]]", ballot.proposal_id, ballot.member_id);
        let call = Call { module: &module, source: ballot.source, function: "vote", host: None, tx };
        self.run(
            &call,
            |scope| Ok(vec![scope.string(ballot.proposal)?, scope.string(ballot.proposer_id)?]),
            |result| Ok(Ok(result.truthy())),
        )
    }

    /// Calls the constitution's `resolve`: the text it returned, such as `Open`, `Accepted` or `Rejected`.
    ///
    /// # Errors
    /// [`GovernanceError`].
    pub fn resolve(
        &self,
        tx: &Tx,
        constitution: &str,
        proposal: &str,
        proposer_id: &str,
        votes: &[Vote],
        proposal_id: &str,
    ) -> Result<String, GovernanceError> {
        let call = Call { module: CONSTITUTION, source: constitution, function: "resolve", host: None, tx };
        self.run(
            &call,
            |scope| resolve_arguments(scope, proposal, proposer_id, votes, proposal_id),
            |result| Ok(Ok(result.to_text()?)),
        )
    }

    /// Calls the constitution's `apply`, with its effects in `tx` and through `host`.
    ///
    /// # Errors
    /// [`GovernanceError`]; the transaction must then be dropped.
    pub fn apply(
        &self,
        tx: &Tx,
        host: &dyn GovernanceHost,
        constitution: &str,
        proposal: &str,
        proposal_id: &str,
    ) -> Result<(), GovernanceError> {
        let call =
            Call { module: CONSTITUTION, source: constitution, function: "apply", host: Some(host), tx };
        self.run(&call, |scope| Ok(vec![scope.string(proposal)?, scope.string(proposal_id)?]), |_| Ok(Ok(())))
    }

    fn run<R>(
        &self,
        call: &Call<'_>,
        args: impl for<'s> FnOnce(Scope<'s>) -> JsResult<Vec<Val<'s>>>,
        read: impl for<'s> FnOnce(Val<'s>) -> JsResult<Result<R, &'static str>>,
    ) -> Result<R, GovernanceError> {
        let (ready, kind, access) = match call.host {
            Some(_) => (&self.read_write, Kind::GovernanceReadWrite, Access::GovernanceReadWrite),
            None => (&self.read_only, Kind::GovernanceReadOnly, Access::GovernanceReadOnly),
        };
        let taken = ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut runtime = match taken {
            Some(runtime) => runtime,
            None => prepared(kind, self.console.clone()).ok_or(GovernanceError::NoMemory)?,
        };
        let limits = tables::runtime_options(call.tx).governance_limits();
        let mut invocation = Invocation::new(access, call.tx);
        invocation.governance = call.host;
        let result = runtime.enter(|scope| {
            let host = scope.host();
            host.invocation.set(&invocation, || execute(scope, &limits, call, args, read))
        });
        runtime.restore();
        let mut ready = ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ready.len() < READY_MAX {
            ready.push(runtime);
        }
        drop(ready);
        match invocation.fatal.into_inner() {
            Some(reason) => Err(GovernanceError::Fatal(reason)),
            None => result,
        }
    }
}

impl std::fmt::Debug for GovernanceScripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GovernanceScripts")
    }
}

/// An interpreter with the globals of `kind` and an image to go back to.
pub(crate) fn prepared(kind: Kind, console: Console) -> Option<Runtime> {
    let mut runtime = Runtime::new(Host::new(kind, console), globals::FUNCTIONS).ok()?;
    runtime.enter(globals::install).ok()?;
    runtime.seal();
    Some(runtime)
}

/// One function of one module.
struct Call<'a> {
    module: &'a str,
    source: &'a str,
    function: &'static str,
    host: Option<&'a dyn GovernanceHost>,
    tx: &'a Tx,
}

fn execute<'s, R>(
    scope: Scope<'s>,
    limits: &Limits,
    call: &Call<'_>,
    args: impl FnOnce(Scope<'s>) -> JsResult<Vec<Val<'s>>>,
    read: impl FnOnce(Val<'s>) -> JsResult<Result<R, &'static str>>,
) -> Result<R, GovernanceError> {
    let function = find_function(scope, limits, call)?;
    let called = scope.limited(limits, || {
        let args = args(scope)?;
        let args: Vec<&Val<'s>> = args.iter().collect();
        read(function.call(&scope.undefined(), &args)?)
    });
    called.map_err(GovernanceError::Thrown)?.map_err(GovernanceError::Result)
}

fn find_function<'s>(scope: Scope<'s>, limits: &Limits, call: &Call<'_>) -> Result<Val<'s>, GovernanceError> {
    let compiled = scope.limited(limits, || {
        let module = scope.declare_module(call.module, call.source)?;
        module.evaluate()?;
        Ok(module)
    });
    let module =
        compiled.map_err(|reason| GovernanceError::Compile { module: call.module.to_owned(), reason })?;
    let missing = || GovernanceError::Export { module: call.module.to_owned(), export: call.function };
    match module.export(call.function) {
        Ok(function) if function.is_function() => Ok(function),
        Ok(_) | Err(ExportError::Missing) => Err(missing()),
        Err(ExportError::Thrown) => {
            scope.take_exception();
            Err(missing())
        }
    }
}

fn resolve_arguments<'s>(
    scope: Scope<'s>,
    proposal: &str,
    proposer_id: &str,
    votes: &[Vote],
    proposal_id: &str,
) -> JsResult<Vec<Val<'s>>> {
    let list = scope.array()?;
    for (i, vote) in (0u32..).zip(votes) {
        let entry = scope.object()?;
        entry.set("member_id", scope.string(&vote.member_id)?)?;
        entry.set("vote", scope.boolean(vote.vote))?;
        list.set_index(i, entry)?;
    }
    Ok(vec![scope.string(proposal)?, scope.string(proposer_id)?, list, scope.string(proposal_id)?])
}
