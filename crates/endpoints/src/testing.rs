//! A service without a network, for tests of endpoints: requests go in, responses come out, transactions are
//! committed to a store in memory and kept in a list instead of a ledger.
//!
//! ```
//! use ccf_endpoints::{EndpointDefinition, Frontend, Method, Registry, testing::TestService};
//!
//! let mut app = Registry::new(Frontend::App);
//! app.install(EndpointDefinition::command(Method::Get, "/hello", |ctx| ctx.respond_json("world"))).unwrap();
//! let mut service = TestService::new(app);
//! assert_eq!(service.get("/app/hello").body, "\"world\"");
//! ```

use crate::{
    CommitNotice, CommitRecord, Decision, Dispatcher, Frontend, InterfaceRules, Method, NodeView,
    NotReplicated, Outcome, Registry, Request, Response, Role, Session,
};
use ccf_kv::Store;
use ccf_types::{Digest, SeqNo, TxId, View};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Time of all requests, in seconds since the Unix epoch: in the year 2023.
pub const NOW: u64 = 1_700_000_000;

/// A node of which every property can be set.
#[derive(Debug)]
pub struct TestNode {
    /// Whether it is primary; tell the store, too.
    pub primary: AtomicBool,
    /// Whether `/app` and `/gov` serve.
    pub open: AtomicBool,
    /// Whether too many transactions wait for commit.
    pub busy: AtomicBool,
    /// Whether it refuses to replicate.
    pub refuse: AtomicBool,
    /// The current view.
    pub view: AtomicU64,
    /// The globally committed position.
    pub committed: Mutex<TxId>,
    /// Where its interfaces redirect to; the role is put in front.
    pub redirect: Mutex<Option<String>>,
    /// What it was given to replicate.
    pub records: Mutex<Vec<CommitRecord>>,
}

impl Default for TestNode {
    /// A primary of view 2 with the globally committed position 2.10.
    fn default() -> Self {
        TestNode {
            primary: AtomicBool::new(true),
            open: AtomicBool::new(true),
            busy: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            view: AtomicU64::new(View::FIRST.0),
            committed: Mutex::new(TxId::new(2, 10)),
            redirect: Mutex::new(None),
            records: Mutex::default(),
        }
    }
}

impl NodeView for TestNode {
    fn role(&self) -> Role {
        if self.primary.load(Ordering::Relaxed) { Role::Primary } else { Role::Backup }
    }

    fn view(&self) -> View {
        View(self.view.load(Ordering::Relaxed))
    }

    fn committed(&self) -> TxId {
        *self.committed.lock()
    }

    /// Entries 1 to 20, the first of view 1, the others of view 2.
    fn view_of(&self, seqno: SeqNo) -> Option<View> {
        match seqno.0 {
            1 => Some(View(1)),
            2..=20 => Some(View(2)),
            _ => None,
        }
    }

    fn view_history(&self, since: View) -> Vec<TxId> {
        [TxId::new(1, 1), TxId::new(2, 2)].into_iter().filter(|id| id.view >= since).collect()
    }

    fn is_open(&self, frontend: Frontend) -> bool {
        frontend == Frontend::Node || self.open.load(Ordering::Relaxed)
    }

    fn too_many_pending(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    fn replicate(&self, record: CommitRecord) -> Result<(), NotReplicated> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(NotReplicated);
        }
        self.records.lock().push(record);
        Ok(())
    }

    fn redirect_address(&self, role: Role, _: &InterfaceRules) -> Option<String> {
        self.redirect.lock().as_ref().map(|address| format!("{role:?}.{address}").to_lowercase())
    }
}

/// A [`TestNode`] with a store, a dispatcher and one session.
pub struct TestService {
    /// The node.
    pub node: Arc<TestNode>,
    /// Its store, primary in view 2.
    pub store: Store,
    /// Runs the requests.
    pub dispatcher: Dispatcher,
    /// The session of the requests; replace it to be another caller.
    pub session: Session,
}

impl TestService {
    /// A service with these endpoints under `/app`, and the built-in ones under `/gov` and `/node`.
    #[must_use]
    pub fn new(app: Registry) -> TestService {
        let store = Store::new();
        store.set_primary(View::FIRST);
        let node = Arc::new(TestNode::default());
        let (gov, node_api) = (Registry::new(Frontend::Gov), Registry::new(Frontend::Node));
        let dispatcher = Dispatcher::new(store.clone(), node.clone(), app, gov, node_api);
        TestService { node, store, dispatcher, session: session(None) }
    }

    /// Makes later requests come from the holder of this certificate, or of none.
    pub fn call_as(&mut self, certificate: Option<&[u8]>) {
        self.session = session(certificate);
    }

    /// Executes a request.
    pub fn outcome(&mut self, request: &Request) -> Outcome {
        self.dispatcher.handle(request, &mut self.session, NOW).outcome
    }

    /// Executes a request; an answer that waits for global commit gets it.
    ///
    /// # Panics
    /// If there is no response: the request would be forwarded, is answered later, or a callback failed.
    pub fn send(&mut self, request: &Request) -> Response {
        match self.outcome(request) {
            Outcome::Respond(response) | Outcome::RespondAndClose(response) => response,
            Outcome::Pending(pending) => {
                let notice = CommitNotice {
                    tx_id: pending.tx_id,
                    decision: Decision::Committed,
                    write_set_digest: Digest::ZERO,
                    commit_evidence: String::new(),
                    claims_digest: pending.claims_digest,
                    receipt: None,
                };
                #[expect(clippy::panic)] // a test has failed
                pending.finish(&notice).unwrap_or_else(|error| panic!("no answer: {error}"))
            }
            #[expect(clippy::panic)] // a test has failed
            Outcome::Later(_) => panic!("the response is made on another thread"),
            #[expect(clippy::panic)] // a test has failed
            Outcome::Forward(_) => panic!("the request would be forwarded"),
        }
    }

    /// A GET request.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(&Request::simple(Method::Get, target))
    }

    /// A POST request.
    pub fn post(&mut self, target: &str, body: &str) -> Response {
        self.send(&Request::simple(Method::Post, target).with_body(body.to_owned()))
    }
}

/// A session through an interface that accepts everything.
#[must_use]
pub fn session(certificate: Option<&[u8]>) -> Session {
    Session::new(7, Arc::new(InterfaceRules::open("main")), certificate)
}
