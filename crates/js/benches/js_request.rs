//! One JavaScript request through dispatcher and store, and what its parts cost.
//!
//! The application is `samples/logging-js`, called by a user with a certificate, 20-character private messages. `fresh`
//! is the same without its `interpreter_reuse`: every request finds new global state.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark may stop

use ccf_crypto::cert::{CertificateKind, Name, Validity, self_signed};
use ccf_crypto::key::{Curve, EcKeyPair};
use ccf_endpoints::tables::USER_CERTS;
use ccf_endpoints::{
    CallerCertificate, CommitRecord, Dispatcher, Frontend, InterfaceRules, Method, NodeView, NotReplicated,
    Origin, Outcome, Registry, Request, Role, Session,
};
use ccf_js::{Bundle, Console, JsApp, measuring};
use ccf_kv::Store;
use ccf_types::{SeqNo, TxId, View};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

struct Node;

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
    fn view_of(&self, _seqno: SeqNo) -> Option<View> {
        Some(View::FIRST)
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

const NOW: u64 = 1_767_225_600;

struct Service {
    dispatcher: Dispatcher,
    session: Session,
}

impl Service {
    fn new(reuse: bool) -> Service {
        let store = Store::new();
        store.set_primary(View::FIRST);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/logging-js");
        let mut bundle = Bundle::read(&folder).unwrap();
        if !reuse {
            for properties in bundle.metadata.endpoints.values_mut().flat_map(|m| m.values_mut()) {
                properties.as_object_mut().unwrap().remove("interpreter_reuse");
            }
        }
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let at = |s| time::OffsetDateTime::from_unix_timestamp(s).unwrap();
        let validity = Validity::new(at(NOW as i64 - 1000), at(NOW as i64 + 1000)).unwrap();
        let name = Name::parse("CN=user").unwrap();
        let user = self_signed(&key, &name, &[], CertificateKind::Ca, &validity).unwrap().der().to_vec();
        let certificate = CallerCertificate::new(&user);
        let tx = store.begin();
        ccf_js::install(&tx, &bundle).unwrap();
        tx.wo(&USER_CERTS).put(certificate.user_id(), &certificate.pem().to_owned()).unwrap();
        tx.commit().unwrap();
        let mut registry = Registry::new(Frontend::App);
        registry.set_dynamic(Arc::new(JsApp::new(Console::silent())));
        let dispatcher = Dispatcher::new(
            store.clone(),
            Arc::new(Node),
            registry,
            Registry::new(Frontend::Gov),
            Registry::new(Frontend::Node),
        );
        let session = Session::internal(1, Origin::Internal, Some(&user));
        Service { dispatcher, session }
    }

    fn send(&mut self, request: &Request) -> u16 {
        match self.dispatcher.handle(request, &mut self.session, NOW).outcome {
            Outcome::Respond(response) => response.status,
            other => panic!("{other:?}"),
        }
    }
}

fn with_head(request: Request) -> Request {
    let headers =
        [("host", "127.0.0.1:8000"), ("content-type", "application/json"), ("content-length", "40")];
    request.with_headers(headers.into_iter().collect())
}

fn requests(c: &mut Criterion) {
    for (name, reuse) in [("reused", true), ("fresh", false)] {
        let mut service = Service::new(reuse);
        let writes: Vec<Request> = (0..1000)
            .map(|id| {
                let body = format!(r#"{{"id":{id},"msg":"twenty characters {:02}"}}"#, id % 100);
                with_head(Request::simple(Method::Post, "/app/log/private")).with_body(body)
            })
            .collect();
        let reads: Vec<Request> = (0..1000)
            .map(|id| with_head(Request::simple(Method::Get, &format!("/app/log/private?id={id}"))))
            .collect();
        for request in writes.iter().chain(&reads) {
            assert_eq!(service.send(request), 200);
        }
        let mut at = 0;
        c.bench_function(&format!("write/{name}"), |b| {
            b.iter(|| {
                at = (at + 1) % writes.len();
                service.send(black_box(&writes[at]))
            });
        });
        c.bench_function(&format!("read/{name}"), |b| {
            b.iter(|| {
                at = (at + 1) % reads.len();
                service.send(black_box(&reads[at]))
            });
        });
        cpu(&format!("write/{name}"), || service.send(black_box(&writes[500])));
        cpu(&format!("read/{name}"), || service.send(black_box(&reads[500])));
    }
}

/// Prints the CPU time of one call, which other work on the machine does not blur as it does wall-clock time.
fn cpu<R>(name: &str, mut call: impl FnMut() -> R) {
    const CALLS: u32 = 5000;
    let ran = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    let before = ran();
    for _ in 0..CALLS {
        black_box(call());
    }
    if let (Some(before), Some(after)) = (before, ran()) {
        println!("{name}: {:.2} us of CPU each", (after - before) as f64 / f64::from(CALLS) / 1000.0);
    }
}

fn interpreters(c: &mut Criterion) {
    c.bench_function("interpreter/create", |b| b.iter(measuring::create));
    let mut restorable = measuring::Restorable::new();
    println!("image: {} bytes", restorable.image_bytes());
    c.bench_function("interpreter/restore", |b| b.iter(|| restorable.restore()));
    cpu("interpreter/create", measuring::create);
    cpu("interpreter/restore", || restorable.restore());
}

criterion_group!(benches, interpreters, requests);
criterion_main!(benches);
