//! Dispatch of native endpoints against a real store: what a request costs besides HTTP, TLS and the entry.

use bytes::Bytes;
use ccf_crypto::{
    cert::{CertificateKind, Name, Validity, self_signed},
    key::{Curve, EcKeyPair},
};
use ccf_endpoints::{
    AuthnPolicy, CommitRecord, Dispatcher, EndpointDefinition, Frontend, Headers, InterfaceRules, Method,
    NodeView, NotReplicated, Outcome, Registry, Request, RequestHead, Role, Session,
    authn::{JwtAbsent, UserCert, UserCoseSign1},
    json, json_answer,
    tables::USER_CERTS,
    testing::NOW,
};
use ccf_kv::{Json, Store, TypedMap};
use ccf_types::{SeqNo, TxId, View};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc};

const RECORDS: TypedMap<u64, String, Json, Json> = TypedMap::new("records");

/// A primary that forgets what it replicates.
struct Sink;

impl NodeView for Sink {
    fn role(&self) -> Role {
        Role::Primary
    }
    fn view(&self) -> View {
        View::FIRST
    }
    fn committed(&self) -> TxId {
        TxId::new(2, 1)
    }
    fn view_of(&self, _: SeqNo) -> Option<View> {
        Some(View::FIRST)
    }
    fn view_history(&self, _: View) -> Vec<TxId> {
        Vec::new()
    }
    fn is_open(&self, _: Frontend) -> bool {
        true
    }
    fn replicate(&self, record: CommitRecord) -> Result<(), NotReplicated> {
        black_box(record);
        Ok(())
    }
    fn redirect_address(&self, _: Role, _: &InterfaceRules) -> Option<String> {
        None
    }
}

#[derive(serde::Deserialize)]
struct Record {
    id: u64,
    msg: String,
}

fn registry() -> Registry {
    let standard = || {
        [Arc::new(JwtAbsent) as Arc<dyn AuthnPolicy>, Arc::new(UserCert), Arc::new(UserCoseSign1::default())]
    };
    let user = || [Arc::new(UserCert) as Arc<dyn AuthnPolicy>];
    let mut app = Registry::new(Frontend::App);
    let mut install = |definition: EndpointDefinition| app.install(definition).unwrap_or_default();
    install(EndpointDefinition::read_only(Method::Get, "/nothing", |_| Ok(())).authn(user()));
    install(EndpointDefinition::read_only(Method::Get, "/open", |_| Ok(())));
    let write = json(|ctx, record: Record| {
        ctx.tx.wo(&RECORDS).put(&record.id, &record.msg)?;
        Ok(true)
    });
    install(EndpointDefinition::read_write(Method::Post, "/log/private", write).authn(standard()));
    let read = json_answer(|ctx| {
        let id = ctx.request().query().required("id")?;
        Ok(ctx.tx.ro(&RECORDS).get(&id)?)
    });
    install(EndpointDefinition::read_only(Method::Get, "/log/private", read).authn(standard()));
    app
}

fn request(method: Method, target: &'static str, body: &'static str) -> Request {
    let headers: Headers = [
        ("host", "127.0.0.1:8000"),
        ("content-type", "application/json"),
        ("content-length", "40"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
    ]
    .into_iter()
    .collect();
    let head = RequestHead::new(method, Bytes::from_static(target.as_bytes()), headers);
    Request::new(head, Bytes::from_static(body.as_bytes()))
}

fn dispatch(criterion: &mut Criterion) {
    let store = Store::new();
    store.set_primary(View::FIRST);
    let (Ok(key), Ok(name)) = (EcKeyPair::generate(Curve::P384), Name::parse("CN=user0")) else { return };
    let at = |offset| time::OffsetDateTime::from_unix_timestamp(NOW as i64 + offset);
    let (Ok(from), Ok(to)) = (at(-1), at(1)) else { return };
    let Ok(validity) = Validity::new(from, to) else { return };
    let Ok(user) = self_signed(&key, &name, &[], CertificateKind::Ca, &validity) else { return };
    let tx = store.begin();
    let _ = tx.wo(&USER_CERTS).put(&user.user_id(), &user.to_pem());
    for id in 0..100_000 {
        let _ = tx.wo(&RECORDS).put(&id, &"twenty characters ok".to_owned());
    }
    let _ = tx.commit();

    let registries = (Registry::new(Frontend::Gov), Registry::new(Frontend::Node));
    let dispatcher = Dispatcher::new(store.clone(), Arc::new(Sink), registry(), registries.0, registries.1);
    let mut session = Session::new(1, Arc::new(InterfaceRules::open("main")), Some(user.der()));
    for (name, method, target, body) in [
        ("dispatch without authentication or store", Method::Get, "/app/open", ""),
        ("dispatch with user_cert, nothing to do", Method::Get, "/app/nothing", ""),
        ("read by key", Method::Get, "/app/log/private?id=4242", ""),
        ("write by key", Method::Post, "/app/log/private", r#"{"id":4242,"msg":"twenty characters ok"}"#),
    ] {
        let request = request(method, target, body);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let handled = dispatcher.handle(black_box(&request), &mut session, NOW);
                assert!(matches!(&handled.outcome, Outcome::Respond(response) if response.status == 200));
                handled
            });
            store.compact(store.version());
        });
    }
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
