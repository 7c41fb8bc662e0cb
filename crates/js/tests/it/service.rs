//! A service of one node without sockets: store, dispatcher, an application from a few lines of source.

use ccf_crypto::cert::{CertificateKind, Name, Validity, self_signed};
use ccf_crypto::key::{Curve, EcKeyPair};
use ccf_endpoints::tables::{MemberInfo, MemberStatus, UserInfo};
use ccf_endpoints::{
    CommitRecord, Dispatcher, Frontend, Handled, Headers, InterfaceRules, Method, NodeView, NotReplicated,
    Origin, Outcome, Registry, Request, Response, Role, Session,
};
use ccf_js::{Bundle, Console, JsApp, JsRuntimeOptions, RUNTIME_OPTIONS};
use ccf_kv::{Store, Tx};
use ccf_types::{SeqNo, TxId, View};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Lines of consoles and of the runtime.
pub(crate) type Lines = Arc<Mutex<Vec<String>>>;

/// See the module's text.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) app: Arc<JsApp>,
    dispatcher: Dispatcher,
    lines: Lines,
    caller: Option<Vec<u8>>,
}

struct Node(Store);

impl NodeView for Node {
    fn role(&self) -> Role {
        Role::Primary
    }
    fn view(&self) -> View {
        View::FIRST
    }
    fn committed(&self) -> TxId {
        TxId { view: View::FIRST, seqno: SeqNo(1) }
    }
    fn view_of(&self, seqno: SeqNo) -> Option<View> {
        (seqno <= self.0.begin().read_tx_id().seqno).then_some(View::FIRST)
    }
    fn view_history(&self, _since: View) -> Vec<TxId> {
        Vec::new()
    }
    fn is_open(&self, _frontend: Frontend) -> bool {
        true
    }
    fn replicate(&self, _record: CommitRecord) -> Result<(), NotReplicated> {
        Ok(())
    }
    fn redirect_address(&self, _role: Role, _interface: &InterfaceRules) -> Option<String> {
        None
    }
}

impl Service {
    /// A service without application.
    pub(crate) fn new() -> Service {
        let store = Store::new();
        store.set_primary(View::FIRST);
        let lines = Lines::default();
        let sink = lines.clone();
        let console = Console::new(move |level, tag, text| {
            sink.lock().unwrap().push(format!("{level:?} {tag:?} {text}"));
        });
        let app = Arc::new(JsApp::new(console));
        let mut registry = Registry::new(Frontend::App);
        registry.set_dynamic(app.clone());
        let node = Arc::new(Node(store.clone()));
        let dispatcher = Dispatcher::new(
            store.clone(),
            node,
            registry,
            Registry::new(Frontend::Gov),
            Registry::new(Frontend::Node),
        );
        Service { store, app, dispatcher, lines, caller: None }
    }

    /// A service with one module `m.js` that has a function for each of `endpoints`: method, path, function,
    /// further properties.
    pub(crate) fn with_app(source: &str, endpoints: &[(&str, &str, &str, Value)]) -> Service {
        let service = Service::new();
        service.deploy(&[("m.js", source)], endpoints);
        service
    }

    /// A service whose only endpoint is `GET /f`, the function `f` of the source.
    pub(crate) fn with_function(source: &str) -> Service {
        Service::with_app(source, &[("get", "/f", "f", json!({}))])
    }

    /// Replaces the application; the first module has the functions.
    pub(crate) fn deploy(&self, modules: &[(&str, &str)], endpoints: &[(&str, &str, &str, Value)]) {
        let mut paths = json!({});
        for (method, path, function, more) in endpoints {
            let mut properties = json!({
                "js_module": modules[0].0, "js_function": function, "mode": "readwrite",
                "forwarding_required": "always", "redirection_strategy": "none",
                "authn_policies": [], "openapi": {}
            });
            for (name, value) in more.as_object().unwrap() {
                properties[name] = value.clone();
            }
            paths[path][method] = properties;
        }
        let modules: Vec<Value> = modules.iter().map(|(n, m)| json!({"name": n, "module": m})).collect();
        let bundle = json!({"metadata": {"endpoints": paths}, "modules": modules});
        self.install(&Bundle::parse(bundle.to_string().as_bytes()).unwrap());
    }

    pub(crate) fn install(&self, bundle: &Bundle) {
        self.write(|tx| ccf_js::install(tx, bundle).unwrap());
    }

    /// Runs a transaction beside the application.
    pub(crate) fn write<R>(&self, f: impl FnOnce(&Tx) -> R) -> R {
        let tx = self.store.begin();
        let result = f(&tx);
        tx.commit().unwrap();
        result
    }

    pub(crate) fn options(&self, options: Value) {
        let options: JsRuntimeOptions = serde_json::from_value(options).unwrap();
        self.write(|tx| tx.wo(&RUNTIME_OPTIONS).put(&options).unwrap());
    }

    /// Registers a user with a certificate of its own; answers certificate in DER and user ID.
    pub(crate) fn add_user(&self, name: &str, data: Value) -> (Vec<u8>, String) {
        let der = certificate(name);
        let parsed = ccf_endpoints::CallerCertificate::new(&der);
        let id = parsed.user_id().clone();
        self.write(|tx| {
            tx.wo(&ccf_endpoints::tables::USER_CERTS).put(&id, &parsed.pem().to_owned()).unwrap();
            tx.wo(&ccf_endpoints::tables::USER_INFO).put(&id, &UserInfo { user_data: data }).unwrap();
        });
        (der, id.to_string())
    }

    pub(crate) fn add_member(&self, name: &str, data: Value) -> (Vec<u8>, String) {
        let der = certificate(name);
        let parsed = ccf_endpoints::CallerCertificate::new(&der);
        let id = parsed.member_id().clone();
        let info = MemberInfo { member_data: data, recovery_role: None, status: MemberStatus::Active };
        self.write(|tx| {
            tx.wo(&ccf_endpoints::tables::MEMBER_CERTS).put(&id, &parsed.pem().to_owned()).unwrap();
            tx.wo(&ccf_endpoints::tables::MEMBER_INFO).put(&id, &info).unwrap();
        });
        (der, id.to_string())
    }

    /// Later requests come from the holder of this certificate.
    pub(crate) fn call_as(&mut self, certificate: &[u8]) {
        self.caller = Some(certificate.to_vec());
    }

    pub(crate) fn handle(&self, request: &Request) -> Handled {
        let mut session = Session::internal(1, Origin::Internal, self.caller.as_deref());
        self.dispatcher.handle(request, &mut session, NOW)
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        match self.handle(request).outcome {
            Outcome::Respond(response) | Outcome::RespondAndClose(response) => response,
            other => panic!("unexpected outcome {other:?}"),
        }
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::simple(Method::Get, target))
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Response {
        self.send(&Request::simple(Method::Post, target).with_body(body.to_owned()))
    }

    pub(crate) fn put(&self, target: &str) -> Response {
        self.send(&Request::simple(Method::Put, target))
    }

    pub(crate) fn get_with_headers(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        let headers: Headers = headers.iter().copied().collect();
        self.send(&Request::simple(Method::Get, target).with_headers(headers))
    }

    /// Console lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// 2026-01-01, within the certificates' period.
const NOW: u64 = 1_767_225_600;

pub(crate) fn body(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

pub(crate) fn body_json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("not JSON: {}", body(response)))
}

pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    response.headers.get(name).map(ccf_endpoints::HeaderValue::to_text)
}

/// The message of an error answer.
pub(crate) fn message(response: &Response) -> String {
    body_json(response)["error"]["message"].as_str().unwrap_or_default().to_owned()
}

/// The result of a function whose body is `source`, called in a fresh service.
pub(crate) fn eval(source: &str) -> Value {
    let service = Service::with_function(&format!(
        "export function f(request) {{ const run = () => {{ {source} }}; \
         let result; try {{ result = run(); }} catch (e) {{ result = String(e); }} \
         return {{ body: {{ result }} }}; }}"
    ));
    let response = service.get("/app/f");
    assert_eq!(response.status, 200, "{}", body(&response));
    body_json(&response)["result"].clone()
}

/// A self-signed certificate in DER.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let validity = Validity::new(at(NOW as i64 - 86_400), at(NOW as i64 + 86_400)).unwrap();
    let name = Name::parse(&format!("CN={name}")).unwrap();
    self_signed(&key, &name, &[], CertificateKind::Ca, &validity).unwrap().der().to_vec()
}
