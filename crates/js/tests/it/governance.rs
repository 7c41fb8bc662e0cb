//! Constitutions and ballots (governance specification, sections 6 and 7).

use crate::service::Service;
use ccf_js::{
    Ballot, Console, GovernanceError, GovernanceHost, GovernanceScripts, HostError, Validation, Vote,
    check_constitution,
};
use ccf_kv::Tx;
use ccf_types::SeqNo;
use std::sync::Mutex;

/// Refuses everything.
pub(crate) struct NoHost;

/// Notes what it was asked for.
#[derive(Default)]
struct Host(Mutex<Vec<String>>);

impl Host {
    fn note(&self, text: String) -> Result<(), HostError> {
        self.0.lock().unwrap().push(text);
        Ok(())
    }
}

fn no<T>() -> Result<T, HostError> {
    Err(HostError("no".to_owned()))
}

impl GovernanceHost for NoHost {
    fn trigger_ledger_rekey(&self, _: &Tx) -> Result<(), HostError> {
        no()
    }
    fn trigger_recovery_shares_refresh(&self, _: &Tx) -> Result<(), HostError> {
        no()
    }
    fn transition_service_to_open(&self, _: &Tx, _: Option<&str>, _: &str) -> Result<(), HostError> {
        no()
    }
    fn trigger_ledger_chunk(&self, _: &Tx) -> Result<(), HostError> {
        no()
    }
    fn trigger_snapshot(&self, _: &Tx) -> Result<(), HostError> {
        no()
    }
    fn shuffle_sealed_shares(&self, _: &Tx) -> Result<(), HostError> {
        no()
    }
    fn latest_ledger_secret_seqno(&self, _: &Tx) -> Result<SeqNo, HostError> {
        no()
    }
    fn generate_endorsed_certificate(&self, _: &Tx, _: &str, _: &str, _: u64) -> Result<String, HostError> {
        no()
    }
    fn generate_network_certificate(&self, _: &Tx, _: &str, _: u64) -> Result<String, HostError> {
        no()
    }
    fn set_jwt_public_signing_keys(
        &self,
        _: &Tx,
        _: &str,
        _: &serde_json::Value,
        _: &serde_json::Value,
    ) -> Result<(), HostError> {
        no()
    }
    fn remove_jwt_public_signing_keys(&self, _: &Tx, _: &str) -> Result<(), HostError> {
        no()
    }
}

impl GovernanceHost for Host {
    fn trigger_ledger_rekey(&self, _: &Tx) -> Result<(), HostError> {
        self.note("rekey".to_owned())
    }
    fn trigger_recovery_shares_refresh(&self, _: &Tx) -> Result<(), HostError> {
        self.note("shares".to_owned())
    }
    fn transition_service_to_open(
        &self,
        _: &Tx,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), HostError> {
        self.note(format!("open {previous:?} {next}"))
    }
    fn trigger_ledger_chunk(&self, _: &Tx) -> Result<(), HostError> {
        self.note("chunk".to_owned())
    }
    fn trigger_snapshot(&self, _: &Tx) -> Result<(), HostError> {
        self.note("snapshot".to_owned())
    }
    fn shuffle_sealed_shares(&self, _: &Tx) -> Result<(), HostError> {
        self.note("sealed".to_owned())
    }
    fn latest_ledger_secret_seqno(&self, _: &Tx) -> Result<SeqNo, HostError> {
        Ok(SeqNo(7))
    }
    fn generate_endorsed_certificate(
        &self,
        _: &Tx,
        csr: &str,
        from: &str,
        days: u64,
    ) -> Result<String, HostError> {
        Ok(format!("endorsed {csr} {from} {days}"))
    }
    fn generate_network_certificate(&self, _: &Tx, from: &str, days: u64) -> Result<String, HostError> {
        Ok(format!("network {from} {days}"))
    }
    fn set_jwt_public_signing_keys(
        &self,
        _: &Tx,
        issuer: &str,
        metadata: &serde_json::Value,
        jwks: &serde_json::Value,
    ) -> Result<(), HostError> {
        self.note(format!("jwt {issuer} {metadata} {jwks}"))
    }
    fn remove_jwt_public_signing_keys(&self, _: &Tx, issuer: &str) -> Result<(), HostError> {
        self.note(format!("no jwt {issuer}"))
    }
}

fn scripts() -> GovernanceScripts {
    GovernanceScripts::new(Console::silent())
}

fn ballot(source: &str) -> Ballot<'_> {
    Ballot { source, member_id: "m1", proposal_id: "p1", proposal: "{\"a\":1}", proposer_id: "m0" }
}

#[test]
fn validate_answers() {
    let service = Service::new();
    let tx = service.store.begin();
    let run = |source: &str| scripts().validate(&tx, source, "text");
    let valid =
        run("export function validate(input) { return { valid: input === 'text', description: 'd' }; }");
    assert_eq!(valid, Ok(Validation { valid: true, description: "d".to_owned() }));
    let falsy = run("export function validate() { return { description: 'why' }; }");
    assert_eq!(falsy, Ok(Validation { valid: false, description: "why".to_owned() }));
    assert!(matches!(run("export function validate() { return 1; }"), Err(GovernanceError::Result(_))));
    let Err(GovernanceError::Thrown(error)) = run("export function validate(i) {\n JSON.parse(i); }") else {
        panic!()
    };
    assert!(error.message.starts_with("SyntaxError: "), "{error}");
    assert!(error.stack.unwrap().contains("at validate (public:ccf.gov.constitution[0]:2)"));
    assert!(matches!(
        run("export function resolve() {}"),
        Err(GovernanceError::Export { export: "validate", .. })
    ));
    assert!(matches!(run("export const validate = 1;"), Err(GovernanceError::Export { .. })));
    assert!(matches!(run("import 'x.js';"), Err(GovernanceError::Compile { .. })));
    let Err(error) = run("export function validate( {") else { panic!() };
    assert!(error.to_string().starts_with("Failed to compile public:ccf.gov.constitution[0]"), "{error}");
    let reserved = run("export function validate() { try { ccf.kv['ccf.x'] } catch {} return {}; }");
    assert!(matches!(reserved, Err(GovernanceError::Fatal(_))));
}

#[test]
fn ballots_vote() {
    let service = Service::new();
    let tx = service.store.begin();
    let run = |source: &str| scripts().vote(&tx, &ballot(source));
    assert_eq!(
        run("export function vote(p, who) { return JSON.parse(p).a === 1 && who === 'm0'; }"),
        Ok(true)
    );
    assert_eq!(run("export function vote() { return ''; }"), Ok(false));
    assert_eq!(run("export async function vote() { return false; }"), Ok(true), "a promise is truthy");
    assert!(matches!(
        run("export function vote() { throw new Error('x'); }"),
        Err(GovernanceError::Thrown(_))
    ));
    let Err(error) = run("export function other() {}") else { panic!() };
    assert_eq!(
        error.to_string(),
        "Failed to find export 'vote' in module 'public:ccf.gov.proposals_info[p1].ballots[m[m1]]'"
    );
    let Err(error) = run("export function vote() { return ccf.node.triggerSnapshot(); }") else { panic!() };
    assert!(matches!(error, GovernanceError::Thrown(_)), "no effects in ballots");
}

#[test]
fn resolve_gets_its_arguments() {
    let service = Service::new();
    let tx = service.store.begin();
    let votes =
        [Vote { member_id: "a".to_owned(), vote: true }, Vote { member_id: "b".to_owned(), vote: false }];
    let source = "export function resolve(...args) { return JSON.stringify(args); }";
    let got = scripts().resolve(&tx, source, "{}", "who", &votes, "id").unwrap();
    assert_eq!(got, r#"["{}","who",[{"member_id":"a","vote":true},{"member_id":"b","vote":false}],"id"]"#);
    let source = "export function resolve() { return undefined; }";
    assert_eq!(scripts().resolve(&tx, source, "{}", "who", &[], "id"), Ok("undefined".to_owned()));
}

#[test]
fn apply_reaches_the_host_and_writes() {
    let service = Service::new();
    let host = Host::default();
    let source = "export function apply(proposal, id) {
        const b = ccf.strToBuf;
        ccf.kv['public:ccf.gov.t'].set(b(id), b(proposal));
        ccf.node.triggerLedgerRekey(); ccf.node.triggerRecoverySharesRefresh(); ccf.node.triggerLedgerChunk(1, 2);
        ccf.node.triggerSnapshot(); ccf.node.shuffleSealedShares(); ccf.node.transitionServiceToOpen(undefined, b('next'));
        ccf.setJwtPublicSigningKeys('i', { a: 1 }, { keys: [] }); ccf.removeJwtPublicSigningKeys('i');
        const made = [ccf.network.getLatestLedgerSecretSeqno(), ccf.network.generateEndorsedCertificate('csr', 'from', 3),
          ccf.network.generateNetworkCertificate('from', 4)];
        ccf.kv['public:made'].set(b('made'), ccf.jsonCompatibleToBuf(made)); }";
    let tx = service.store.begin();
    scripts().apply(&tx, &host, source, "the proposal", "id").unwrap();
    tx.commit().unwrap();
    let tx = service.store.begin();
    let get = |map: &str, key: &str| {
        let value = tx.raw(&ccf_types::MapName::parse(map).unwrap()).get(key.as_bytes()).unwrap();
        String::from_utf8(value.to_vec()).unwrap()
    };
    assert_eq!(get("public:ccf.gov.t", "id"), "the proposal");
    assert_eq!(get("public:made", "made"), r#"[7,"endorsed csr from 3","network from 4"]"#);
    assert_eq!(
        *host.0.lock().unwrap(),
        [
            "rekey",
            "shares",
            "chunk",
            "snapshot",
            "sealed",
            "open None next",
            "jwt i {\"a\":1} {\"keys\":[]}",
            "no jwt i"
        ]
    );
    let failing = "export function apply() { ccf.node.triggerSnapshot(); }";
    let Err(GovernanceError::Thrown(error)) = scripts().apply(&tx, &NoHost, failing, "", "") else {
        panic!()
    };
    assert_eq!(error.message, "InternalError: no");
}

#[test]
fn nothing_survives_a_call_and_limits_hold() {
    let service = Service::new();
    let tx = service.store.begin();
    let scripts = scripts();
    let source =
        "globalThis.n = (globalThis.n ?? 0) + 1; export function resolve() { return `${++globalThis.n}`; }";
    for _ in 0..3 {
        assert_eq!(scripts.resolve(&tx, source, "", "", &[], ""), Ok("2".to_owned()));
    }
    let deep = "export function resolve() { const f = () => f() + 1; return f(); }";
    let Err(GovernanceError::Thrown(error)) = scripts.resolve(&tx, deep, "", "", &[], "") else { panic!() };
    assert_eq!(error.message, "InternalError: stack overflow");
    let bomb = "export function resolve() { const a = []; for (;;) a.push(new ArrayBuffer(1 << 20)); }";
    let Err(GovernanceError::Thrown(error)) = scripts.resolve(&tx, bomb, "", "", &[], "") else { panic!() };
    assert_eq!(error.message, "InternalError: out of memory");
    assert_eq!(scripts.resolve(&tx, source, "", "", &[], ""), Ok("2".to_owned()));
}

#[test]
fn constitutions_are_checked() {
    let good =
        "export function apply(a, b) {} export function resolve(a, b, c) {} export function validate(a) {}";
    assert_eq!(check_constitution(good), Ok(()));
    let no = |text: &str| check_constitution(text).unwrap_err();
    assert_eq!(no(""), "constitution is empty");
    assert_eq!(
        no("export function"),
        "proposed constitution does not export a function named apply: Failed to compile proposed constitution"
    );
    assert_eq!(
        no("export function apply(a, b) {}"),
        "proposed constitution does not export a function named resolve: Failed to find export 'resolve' in module \
         'proposed constitution'"
    );
    assert_eq!(
        no(&good.replace("validate(a)", "validate(a, b, c)")),
        "proposed constitution exports function validate with 3 args, expected 1 arg (input)"
    );
    assert!(
        no(&good.replace("resolve(a, b, c)", "resolve(a)"))
            .contains("with 1 arg, expected between 3 and 4 args")
    );
    assert!(no(&format!("ccf.kv; {good}")).contains("fails when it is loaded: ReferenceError"));
}

#[test]
fn bytecode_refresh_checks_every_module() {
    let service = Service::with_function("export function f() {}");
    let tx = service.store.begin();
    let source = "export function apply() { ccf.refreshAppBytecodeCache(); }";
    scripts().apply(&tx, &NoHost, source, "", "").unwrap();
    tx.commit().unwrap();
    let metrics = service.app.metrics(&service.store.begin());
    assert!(metrics.bytecode_used && metrics.bytecode_size > 0);
    let bad = Service::with_function("export function");
    let Err(GovernanceError::Thrown(error)) = scripts().apply(&bad.store.begin(), &NoHost, source, "", "")
    else {
        panic!()
    };
    assert!(
        error.message.starts_with("InternalError: Unable to serialize bytecode for JS module '/m.js'"),
        "{error}"
    );
}
