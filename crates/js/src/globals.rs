//! What scripts find in the global object beyond the language itself (applications specification, section 6;
//! governance specification, sections 7.3 and 8): one table of all host functions, and their installation.

mod consensus;
mod console;
mod convert;
pub(crate) use convert::replace_surrogates;
mod crypto;
mod gov;
pub use gov::check_constitution;
mod handle;
pub(crate) mod historical;
mod host_effects;
pub(crate) mod request;
mod rpc;

use crate::engine::function::{ANY, Body, Def};
use crate::engine::value::{JsResult, Scope, Val};
use crate::host::{Kind, Names, Prepared};

/// Where a function exists.
pub(crate) const APP: u8 = 1;
pub(crate) const GOV: u8 = 2;
/// `apply` only.
pub(crate) const GOV_RW: u8 = 4;

const fn def(object: &'static str, name: &'static str, args: u8, contexts: u8, body: Body) -> Def {
    Def { object, name, min: args, max: args, comma: true, contexts, body }
}

const fn any(object: &'static str, name: &'static str, contexts: u8, body: Body) -> Def {
    Def { object, name, min: 0, max: ANY, comma: true, contexts, body }
}

impl Def {
    const fn or_one_more(mut self) -> Def {
        self.max = self.min + 1;
        self
    }

    const fn up_to(mut self, max: u8) -> Def {
        self.max = max;
        self
    }

    const fn no_comma(mut self) -> Def {
        self.comma = false;
        self
    }
}

/// Functions that hang on no global: `object` starts with a dot.
const BODY: &str = ".body";
const HANDLE: &str = ".handle";
const ACCESSOR: &str = ".accessor";

/// Every host function. Their order is their number, nothing more.
pub(crate) static FUNCTIONS: &[Def] = &[
    def("ccf", "strToBuf", 1, APP | GOV, convert::str_to_buf),
    def("ccf", "bufToStr", 1, APP | GOV, convert::buf_to_str),
    def("ccf", "jsonCompatibleToBuf", 1, APP | GOV, convert::json_compatible_to_buf),
    def("ccf", "bufToJsonCompatible", 1, APP | GOV, convert::buf_to_json_compatible),
    def("ccf", "pemToId", 1, APP | GOV, crypto::pem_to_id),
    def("ccf", "enableUntrustedDateTime", 1, APP | GOV, convert::enable_untrusted_date_time),
    def("ccf", "enableMetricsLogging", 1, APP | GOV, convert::enable_metrics_logging),
    def("ccf", "tcbHexToPolicy", 2, APP | GOV, gov::tcb_hex_to_policy),
    def("ccf.gov", "validateConstitution", 1, APP | GOV, gov::validate_constitution),
    def("ccf.rpc", "setApplyWrites", 1, APP, rpc::set_apply_writes).no_comma(),
    def("ccf.rpc", "setClaimsDigest", 1, APP, rpc::set_claims_digest).no_comma(),
    def("ccf.consensus", "getLastCommittedTxId", 0, APP, consensus::last_committed_tx_id),
    def("ccf.consensus", "getStatusForTxId", 2, APP, consensus::status_for_tx_id),
    def("ccf.consensus", "getViewForSeqno", 1, APP, consensus::view_for_seqno),
    def("ccf.historical", "getStateRange", 4, APP, historical::state_range),
    def("ccf.historical", "dropCachedStates", 1, APP, historical::drop_cached_states),
    def("ccf.crypto", "sign", 3, APP | GOV, crypto::sign),
    def("ccf.crypto", "verifySignature", 4, APP | GOV, crypto::verify_signature),
    def("ccf.crypto", "generateAesKey", 1, APP | GOV, crypto::generate_aes_key),
    def("ccf.crypto", "generateRsaKeyPair", 1, APP | GOV, crypto::generate_rsa_key_pair).or_one_more(),
    def("ccf.crypto", "generateEcdsaKeyPair", 1, APP | GOV, crypto::generate_ecdsa_key_pair),
    def("ccf.crypto", "generateEddsaKeyPair", 1, APP | GOV, crypto::generate_eddsa_key_pair),
    def("ccf.crypto", "wrapKey", 3, APP | GOV, crypto::wrap_key),
    def("ccf.crypto", "unwrapKey", 3, APP | GOV, crypto::unwrap_key),
    def("ccf.crypto", "digest", 2, APP | GOV, crypto::digest),
    def("ccf.crypto", "isValidX509CertBundle", 1, APP | GOV, crypto::is_valid_cert_bundle),
    def("ccf.crypto", "isValidX509CertChain", 2, APP | GOV, crypto::is_valid_cert_chain),
    def("ccf.crypto", "pubPemToJwk", 1, APP | GOV, crypto::pub_pem_to_jwk).or_one_more(),
    def("ccf.crypto", "pemToJwk", 1, APP | GOV, crypto::pem_to_jwk).or_one_more(),
    def("ccf.crypto", "pubRsaPemToJwk", 1, APP | GOV, crypto::pub_rsa_pem_to_jwk).or_one_more(),
    def("ccf.crypto", "rsaPemToJwk", 1, APP | GOV, crypto::rsa_pem_to_jwk).or_one_more(),
    def("ccf.crypto", "pubEddsaPemToJwk", 1, APP | GOV, crypto::pub_eddsa_pem_to_jwk).or_one_more(),
    def("ccf.crypto", "eddsaPemToJwk", 1, APP | GOV, crypto::eddsa_pem_to_jwk).or_one_more(),
    def("ccf.crypto", "pubJwkToPem", 1, APP | GOV, crypto::pub_jwk_to_pem),
    def("ccf.crypto", "jwkToPem", 1, APP | GOV, crypto::jwk_to_pem),
    def("ccf.crypto", "pubRsaJwkToPem", 1, APP | GOV, crypto::pub_rsa_jwk_to_pem),
    def("ccf.crypto", "rsaJwkToPem", 1, APP | GOV, crypto::rsa_jwk_to_pem),
    def("ccf.crypto", "pubEddsaJwkToPem", 1, APP | GOV, crypto::pub_eddsa_jwk_to_pem),
    def("ccf.crypto", "eddsaJwkToPem", 1, APP | GOV, crypto::eddsa_jwk_to_pem),
    def("snp_attestation", "verifySnpAttestation", 2, APP | GOV, gov::verify_snp_attestation).up_to(4),
    def("ccf.node", "triggerLedgerRekey", 0, GOV_RW, host_effects::trigger_ledger_rekey).no_comma(),
    def("ccf.node", "transitionServiceToOpen", 2, GOV_RW, host_effects::transition_service_to_open)
        .no_comma(),
    def("ccf.node", "triggerRecoverySharesRefresh", 0, GOV_RW, host_effects::trigger_recovery_shares_refresh)
        .no_comma(),
    any("ccf.node", "triggerLedgerChunk", GOV_RW, host_effects::trigger_ledger_chunk),
    any("ccf.node", "triggerSnapshot", GOV_RW, host_effects::trigger_snapshot),
    any("ccf.node", "shuffleSealedShares", GOV_RW, host_effects::shuffle_sealed_shares),
    def("ccf.network", "getLatestLedgerSecretSeqno", 0, GOV_RW, host_effects::latest_ledger_secret_seqno)
        .no_comma(),
    def("ccf.network", "generateEndorsedCertificate", 3, GOV_RW, host_effects::generate_endorsed_certificate)
        .no_comma(),
    def("ccf.network", "generateNetworkCertificate", 2, GOV_RW, host_effects::generate_network_certificate)
        .no_comma(),
    def("ccf", "refreshAppBytecodeCache", 0, GOV_RW, host_effects::refresh_app_bytecode_cache).no_comma(),
    def("ccf", "setJwtPublicSigningKeys", 3, GOV_RW, host_effects::set_jwt_public_signing_keys).no_comma(),
    def("ccf", "removeJwtPublicSigningKeys", 1, GOV_RW, host_effects::remove_jwt_public_signing_keys)
        .no_comma(),
    any("console", "log", APP | GOV, console::info),
    any("console", "info", APP | GOV, console::info),
    any("console", "warn", APP | GOV, console::warn),
    any("console", "error", APP | GOV, console::error),
    any("Math", "random", APP | GOV, convert::random),
    any(ACCESSOR, "kv", APP | GOV, handle::table),
    any(ACCESSOR, "past kv", APP, handle::past_table),
    any(ACCESSOR, "impure", APP | GOV, convert::note_impure),
    any(ACCESSOR, "get headers", APP, request::get_headers),
    any(ACCESSOR, "set headers", APP, request::set_headers),
    any(ACCESSOR, "get caller", APP, request::get_caller),
    any(ACCESSOR, "set caller", APP, request::set_caller),
    def(BODY, "text", 0, APP, request::body_text),
    def(BODY, "json", 0, APP, request::body_json),
    def(BODY, "arrayBuffer", 0, APP, request::body_array_buffer),
    def(HANDLE, "has", 1, APP | GOV, handle::has),
    def(HANDLE, "get", 1, APP | GOV, handle::get),
    def(HANDLE, "set", 2, APP | GOV, handle::set),
    def(HANDLE, "delete", 1, APP | GOV, handle::delete),
    def(HANDLE, "clear", 0, APP | GOV, handle::clear),
    def(HANDLE, "forEach", 1, APP | GOV, handle::for_each),
    def(HANDLE, "getVersionOfPreviousWrite", 1, APP | GOV, handle::version_of_previous_write),
    any(HANDLE, "get size", APP | GOV, handle::size),
];

/// Functions of `ccf.crypto` that older applications call on `ccf` itself.
const OLD_PLACES: [&str; 7] = [
    "generateAesKey",
    "generateRsaKeyPair",
    "generateEcdsaKeyPair",
    "wrapKey",
    "digest",
    "isValidX509CertBundle",
    "isValidX509CertChain",
];

/// Adds the globals of the interpreter's kind. Called once, while the interpreter is prepared.
pub(crate) fn install(scope: Scope<'_>) -> JsResult<()> {
    let host = scope.host();
    let here = match host.kind {
        Kind::Application => APP,
        Kind::GovernanceReadOnly => GOV,
        Kind::GovernanceReadWrite => GOV | GOV_RW,
        Kind::Bare | Kind::Parser => return Ok(()),
    };
    let global = scope.globals();
    let ccf = scope.object()?;
    global.set_hidden("ccf", ccf.clone())?;
    global.set_hidden("console", scope.object()?)?;
    global.set_hidden("snp_attestation", scope.object()?)?;
    let (body, handles) = (scope.object()?, scope.object()?);
    for (number, function) in FUNCTIONS.iter().enumerate() {
        if function.contexts & here == 0 {
            continue;
        }
        let owner = match function.object {
            ACCESSOR => continue,
            BODY => body.clone(),
            HANDLE if function.name == "get size" => {
                let getter = scope.host_function(number)?;
                handles.define_accessor(scope.atom("size"), &getter, &scope.undefined())?;
                continue;
            }
            HANDLE => handles.clone(),
            path => object_at(&global, path)?,
        };
        let value = scope.host_function(number)?;
        if matches!(function.object, "Math" | HANDLE | BODY) {
            owner.set_hidden(function.name, value)?;
        } else {
            owner.set(function.name, value)?;
        }
    }
    let crypto = ccf.get("crypto")?;
    for name in OLD_PLACES {
        ccf.set(name, crypto.get(name)?)?;
    }
    scope.set_handle_prototype(handles);
    let make_kv = scope.eval_script("<init>", MAKE_KV)?;
    let kv = make_kv.call(&scope.undefined(), &[&accessor(scope, "kv")?])?;
    ccf.set("kv", kv)?;
    let accessor_kept = |name| {
        let made = if here == APP { accessor(scope, name)? } else { scope.undefined() };
        JsResult::Ok(scope.keep(made))
    };
    let past_kv = if here == APP {
        let make = scope.eval_script("<init>", MAKE_PAST_KV)?;
        make.call(&scope.undefined(), &[&accessor(scope, "past kv")?])?
    } else {
        scope.undefined()
    };
    host.prepared.set(Some(Prepared {
        past_kv: scope.keep(past_kv),
        body_prototype: scope.keep(body),
        headers_getter: accessor_kept("get headers")?,
        headers_setter: accessor_kept("set headers")?,
        caller_getter: accessor_kept("get caller")?,
        caller_setter: accessor_kept("set caller")?,
        names: Names {
            headers: scope.atom("headers"),
            query: scope.atom("query"),
            path: scope.atom("path"),
            method: scope.atom("method"),
            hostname: scope.atom("hostname"),
            route: scope.atom("route"),
            url: scope.atom("url"),
            params: scope.atom("params"),
            body: scope.atom("body"),
            caller: scope.atom("caller"),
            status_code: scope.atom("statusCode"),
        },
    }));
    Ok(())
}

/// While module top levels run on trial, looking at the clock is noted: the result then depends on when it was
/// made and cannot serve later requests.
pub(crate) fn watch_clock(scope: Scope<'_>) -> JsResult<()> {
    let watch = scope.eval_script("<init>", WATCH_CLOCK)?;
    watch.call(&scope.undefined(), &[&accessor(scope, "impure")?]).map(|_| ())
}

/// Ends [`watch_clock`].
pub(crate) fn unwatch_clock(scope: Scope<'_>) -> JsResult<()> {
    scope.eval_script("<init>", UNWATCH_CLOCK).map(|_| ())
}

/// A proxy in which every name has a table and which cannot be changed.
const MAKE_KV: &str = "(get) => new Proxy(Object.freeze(Object.create(null)), \
    Object.freeze({ __proto__: null, get, has: () => true, set: () => false }))";

/// The same for the tables of a past state, by its number.
const MAKE_PAST_KV: &str = "(get) => (state) => new Proxy(Object.freeze(Object.create(null)), \
    Object.freeze({ __proto__: null, get: (_, name) => get(state, name), has: () => true, set: () => false }))";

/// `Date` becomes an accessor that remembers the real one in itself.
const WATCH_CLOCK: &str = "(note) => { const real = Date; \
    const get = () => { note(); return real; }; get.real = real; \
    Object.defineProperty(globalThis, 'Date', { get, set: note, configurable: true, enumerable: false }); }";

const UNWATCH_CLOCK: &str = "{ const d = Object.getOwnPropertyDescriptor(globalThis, 'Date'); \
    if (d && d.get && d.get.real) { Object.defineProperty(globalThis, 'Date', \
    { value: d.get.real, writable: true, configurable: true, enumerable: false }); } }";

fn accessor<'s>(scope: Scope<'s>, name: &str) -> JsResult<Val<'s>> {
    let number = FUNCTIONS.iter().position(|f| f.object == ACCESSOR && f.name == name);
    match number {
        Some(number) => scope.host_function(number),
        None => Err(scope.throw_internal("no such accessor")),
    }
}

/// The object at a dotted path, made on the way where missing.
fn object_at<'s>(global: &Val<'s>, path: &str) -> JsResult<Val<'s>> {
    let mut at = global.clone();
    for part in path.split('.') {
        let next = at.get(part)?;
        at = if next.is_object() {
            next
        } else {
            let made = at.scope().object()?;
            at.set(part, made.clone())?;
            made
        };
    }
    Ok(at)
}
