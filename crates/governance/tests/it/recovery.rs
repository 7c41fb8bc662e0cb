//! Disaster recovery of the ledgers of real services, with the keys of their members: from the public state through the
//! members' shares to the private entries of every time.

use crate::{
    golden::{chunks, unpack},
    service::{Node, VERSION, days, encryption_key},
};
use ccf_crypto::{
    cert::{Certificate, CertificateKind, Issuer, Name, SigningRequest, parse_valid_from, self_signed},
    cose::{Endorsement, MemberRequest, MessageType},
    key::{Curve, EcKeyPair, PublicKey, RsaKeyPair},
    sharing::{Share, SharedSecret},
};
use ccf_endpoints::{
    Dispatcher, Frontend, HeadersBuilder, InterfaceRules, Method, NodeView, Outcome, Registry, Request,
    Session,
};
use ccf_governance::{
    Governance, NodeGovernance, NodePhase,
    expiry::{self, CertificateOf},
    genesis::OwnPlatform,
    recovery::{
        RecoveredService, RecoveryGenesisError, SecretChainError, SecretLinks, SecretsForNode, close,
        create_recovered_service, last_signature, secrets_for_node,
    },
    service,
    tables::{
        self,
        base64::Base64,
        node::{NodeInfo, NodeStatus},
        secrets::{HistoricalSecret, RecoveryShares},
        service::ServiceStatus,
    },
};
use ccf_js::{Console, GovernanceScripts};
use ccf_kv::{MapWrites, SmallBytes, Store, Tx, WriteSet};
use ccf_ledger::{
    entry::{Entry, Record},
    files::{Block, ChunkReader},
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_types::{MapName, MemberId, NodeId, SeqNo, TxId, View};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

const GOLDEN: [&str; 4] =
    ["acme_containing_service", "cose_flipflop_service", "expired_service", "sgx_service"];

/// A member of a golden service.
struct Member {
    id: MemberId,
    key: EcKeyPair,
    encryption: RsaKeyPair,
}

impl Member {
    fn read(directory: &Path, i: usize) -> Member {
        let read = |file: &str| fs::read_to_string(directory.join(format!("member{i}_{file}.pem"))).unwrap();
        Member {
            id: Certificate::from_pem(&read("cert")).unwrap().member_id(),
            key: EcKeyPair::from_pem(&read("privk")).unwrap(),
            encryption: RsaKeyPair::from_pem(&read("enc_privk")).unwrap(),
        }
    }

    fn share(&self, shares: &RecoveryShares) -> Option<Vec<u8>> {
        let encrypted = shares.encrypted_shares.get(&self.id)?;
        Some(self.encryption.oaep_decrypt(&[], &encrypted.0).unwrap().to_vec())
    }
}

/// A ledger up to its last signature, with the members of its service.
struct Ledger {
    entries: Vec<Vec<u8>>,
    members: Vec<Member>,
}

impl Ledger {
    fn open(name: &str) -> Ledger {
        let directory = unpack(name);
        let (mut entries, mut signed) = (Vec::new(), 0);
        for chunk in chunks(directory.path(), name) {
            let mut reader = ChunkReader::open(&chunk).unwrap();
            let mut block = Block::default();
            while reader.next_block(&mut block).unwrap() {
                for (_, _, bytes) in block.entries() {
                    let is_signature = writes(&Entry::parse(bytes).unwrap())
                        .iter()
                        .any(|map| map.name() == tables::TREE.name());
                    entries.push(bytes.to_vec());
                    signed = if is_signature { entries.len() } else { signed };
                }
            }
        }
        entries.truncate(signed);
        let common = directory.path().join(name).join("common");
        let members = (0..3).filter(|i| common.join(format!("member{i}_cert.pem")).exists());
        Ledger { members: members.map(|i| Member::read(&common, i)).collect(), entries }
    }

    fn last(&self) -> TxId {
        Entry::parse(self.entries.last().unwrap()).unwrap().tx_id()
    }

    /// Decrypts all entries before this one: how many hold something private.
    fn decrypt_before(&self, end: SeqNo, secrets: &LedgerSecrets) -> usize {
        let mut private = 0;
        for bytes in &self.entries {
            let entry = Entry::parse(bytes).unwrap();
            if entry.seqno() < end {
                let domain = entry.decrypt(secrets).unwrap();
                private += usize::from(domain.records().map(Result::unwrap).count() > 0);
            }
        }
        private
    }
}

/// What an entry writes in public.
fn writes(entry: &Entry<'_>) -> Vec<MapWrites> {
    let small = SmallBytes::copy_from;
    let mut maps: Vec<MapWrites> = Vec::new();
    for record in entry.public_records() {
        match (record.unwrap(), maps.last_mut()) {
            (Record::Map { name, .. }, _) => maps.push(MapWrites::new(MapName::parse(name).unwrap())),
            (Record::Write { key, value }, Some(map)) => map.put(small(key), small(value)),
            (Record::Remove { key }, Some(map)) => map.remove(small(key)),
            _ => panic!("a record without a map"),
        }
    }
    maps
}

/// The public state of a ledger, as a recovering node has it after replaying.
struct Replayed {
    store: Store,
    links: SecretLinks,
}

impl Replayed {
    /// Applies every entry; `at` sees the state after each.
    fn new(ledger: &Ledger, mut at: impl FnMut(&Tx, &SecretLinks)) -> Replayed {
        let (store, mut links) = (Store::new(), SecretLinks::default());
        for bytes in &ledger.entries {
            let entry = Entry::parse(bytes).unwrap();
            let maps = writes(&entry);
            for map in &maps {
                if map.name() == tables::HISTORICAL_LEDGER_SECRET.name() {
                    let (_, value) = map.iter().next().unwrap();
                    let link: HistoricalSecret = serde_json::from_slice(value.unwrap()).unwrap();
                    links.observe(entry.seqno(), link);
                }
            }
            store.apply(entry.tx_id(), WriteSet::new(maps).unwrap()).unwrap();
            at(&store.begin(), &links);
        }
        Replayed { store, links }
    }
}

#[test]
fn members_keys_open_every_ledger_secret_there_ever_was() {
    // Where shares of today's form were issued, the seqnos from which the secrets apply that they lead to, and private
    // entries among those they open.
    type Found = Vec<(u64, Vec<u64>, usize)>;
    let expected: [Found; 4] = [
        vec![(19, vec![1], 0)],
        vec![(13, vec![1], 13)],
        vec![(60, vec![1, 29], 3)],
        vec![(137, vec![1, 38, 71, 102], 0)],
    ];
    for (name, expected) in GOLDEN.into_iter().zip(expected) {
        let ledger = Ledger::open(name);
        let mut found: Vec<(SeqNo, LedgerSecrets)> = Vec::new();
        Replayed::new(&ledger, |tx, links| {
            let table = tx.ro(&tables::RECOVERY_SHARES);
            if table.version_of_previous_write() != Some(tx.read_tx_id().seqno) {
                return;
            }
            let wrapped = table.get().unwrap().unwrap();
            let threshold = tx.ro(&tables::SERVICE_CONFIG).get().unwrap().unwrap().recovery_threshold;
            let shares: Vec<Vec<u8>> = ledger.members.iter().filter_map(|m| m.share(&wrapped)).collect();
            let Ok(shares) =
                shares.iter().map(|bytes| Share::from_bytes(bytes)).collect::<Result<Vec<_>, _>>()
            else {
                // The shares of services before 4.0.9, which nobody reads any more.
                assert!(shares.iter().all(|share| share.len() == 113), "{name}");
                return;
            };
            let secret = SharedSecret::recover(&shares, usize::try_from(threshold).unwrap()).unwrap();
            let latest = secret.unwrap(&wrapped.wrapped_latest_ledger_secret.0).unwrap();
            found.push((tx.read_tx_id().seqno, links.restore(&latest).unwrap()));
        });
        // Each issue opens everything up to and including the next one.
        let ends = found.iter().skip(1).map(|(version, _)| version.next()).chain([SeqNo(u64::MAX)]);
        let opened = found.iter().zip(ends).map(|((version, secrets), end)| {
            let private = ledger.decrypt_before(end, secrets);
            (version.0, secrets.iter().map(|secret| secret.from().0).collect(), private)
        });
        assert_eq!(opened.collect::<Found>(), expected, "{name}");
    }
}

/// The recovering node: one store, the endpoints of `/gov`.
struct Recovering {
    node: Arc<Node>,
    dispatcher: Dispatcher,
    last_signed: TxId,
    service_cert: String,
}

impl Recovering {
    /// Replays a ledger and creates the new service.
    fn new(ledger: &Ledger) -> Recovering {
        let Replayed { store, links } = Replayed::new(ledger, |_, _| {});
        let last_signed = ledger.last();
        let last = last_signature(&store.begin()).unwrap().unwrap();
        assert_eq!((last.tx_id, last.is_cose_only), (last_signed, false));
        store.compact(last_signed.seqno);
        let service_key = EcKeyPair::generate(Curve::P384).unwrap();
        let name = Name::parse("CN=CCF Service").unwrap();
        let service_cert = self_signed(&service_key, &name, &[], CertificateKind::Ca, &days(90)).unwrap();
        let node_key = EcKeyPair::generate(Curve::P384).unwrap();
        let csr = SigningRequest::create(&node_key, &name, &[]).unwrap();
        let issuer = Issuer::new(&service_cert, &service_key).unwrap();
        let endorsed = issuer.endorse(&csr, CertificateKind::Leaf, &days(90)).unwrap().to_pem();
        let node_id = node_key.public_key().node_id();
        let (view, seqno) = (View(last_signed.view.0 + 2), last_signed.seqno.next());
        let (_, old) = store.begin().ro(&tables::NODES).entries().unwrap().pop().unwrap();
        let recovered = RecoveredService {
            create_tx_id: TxId { view, seqno },
            service_cert: service_cert.to_pem(),
            service_data: Some(json!("again")),
            node_id: node_id.clone(),
            node: NodeInfo {
                encryption_pub_key: encryption_key().public_key().to_pem(),
                ledger_secret_seqno: Some(SeqNo(5)),
                public_key: Some(node_key.public_key().to_pem()),
                retired_committed: false,
                ..old
            },
            node_endorsed_cert: endorsed,
            sealing: None,
            join_policy: OwnPlatform::Virtual { measurement: "m".to_owned(), host_data: "ab".to_owned() },
        };
        store.set_primary(view);
        let tx = store.begin();
        create_recovered_service(&tx, &recovered).unwrap();
        assert_eq!(tx.commit().unwrap().tx_id(), Some(recovered.create_tx_id));

        let secret = LedgerSecret::random(seqno, None).unwrap();
        let node = Node::over(store.clone(), secret, service_key, node_id);
        *node.links.lock().unwrap() = links;
        *node.phase.lock().unwrap() = NodePhase::PartOfPublicNetwork;
        let mut gov = Registry::new(Frontend::Gov);
        let as_node: Arc<dyn NodeGovernance> = Arc::clone(&node) as _;
        let scripts = GovernanceScripts::new(Console::silent());
        Arc::new(Governance::new(as_node, scripts)).install(&mut gov).unwrap();
        let view: Arc<dyn NodeView> = Arc::clone(&node) as _;
        let (app, node_api) = (Registry::new(Frontend::App), Registry::new(Frontend::Node));
        let dispatcher = Dispatcher::new(store, view, app, gov, node_api);
        Recovering { node, dispatcher, last_signed, service_cert: service_cert.to_pem() }
    }

    fn tx(&self) -> Tx {
        self.node.store.begin()
    }

    fn commit(&self, tx: Tx) {
        if let Some(written) = tx.commit().unwrap().into_written() {
            self.node.enter(&written);
        }
    }

    fn status(&self) -> ServiceStatus {
        self.tx().ro(&tables::SERVICE_INFO).get().unwrap().unwrap().status
    }

    /// Opens the service as an accepted proposal does.
    fn open(&self, previous: Option<&str>, next: &str) -> Result<bool, String> {
        let tx = self.tx();
        let opened = service::open(self.node.as_ref(), &tx, previous, next, 1_800_000_000)
            .map_err(|e| e.to_string())?;
        self.commit(tx);
        Ok(opened)
    }

    fn previous_identity(&self) -> String {
        self.tx().ro(&tables::PREVIOUS_SERVICE_IDENTITY).get().unwrap().unwrap()
    }

    fn wait_for_shares(&self) {
        assert_eq!(self.open(Some(&self.previous_identity()), &self.service_cert), Ok(false));
        assert_eq!(self.status(), ServiceStatus::WaitingForRecoveryShares);
    }

    fn ask(&self, request: &Request) -> (u16, Value) {
        let mut session = Session::new(1, Arc::new(InterfaceRules::open("main")), None);
        let handled = self.dispatcher.handle(request, &mut session, 1_800_000_000);
        let Outcome::Respond(response) = handled.outcome else { panic!("{:?}", handled.outcome) };
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }

    fn submit_as(&self, signer: &Member, of: &MemberId, payload: &Value) -> (u16, Value) {
        let body = payload.to_string();
        let kind = MessageType::RecoveryShare;
        let signed =
            MemberRequest::sign(&signer.key, signer.id.as_str(), kind, 1_800_000_000, None, body.as_bytes());
        let mut headers = HeadersBuilder::default();
        headers.push(b"content-type", b"application/cose");
        let path = format!("/gov/recovery/members/{of}:recover?{VERSION}");
        let request = Request::simple(Method::Post, &path).with_headers(headers.finish());
        self.ask(&request.with_body(signed.unwrap()))
    }

    /// What a member does: fetch, decrypt, submit.
    fn submit(&self, member: &Member) -> (u16, Value) {
        let path = format!("/gov/recovery/encrypted-shares/{}?{VERSION}", member.id);
        let (status, answer) = self.ask(&Request::simple(Method::Get, &path));
        assert_eq!((status, &answer["memberId"]), (200, &json!(member.id)), "{answer}");
        let encrypted = Base64::decode(answer["encryptedShare"].as_str().unwrap()).unwrap();
        let share = member.encryption.oaep_decrypt(&[], &encrypted.0).unwrap();
        self.submit_as(member, &member.id, &json!({"share": Base64::encode(&share)}))
    }

    fn submitted(&self) -> usize {
        self.tx().ro(&tables::SUBMITTED_SHARES).size()
    }
}

#[test]
fn a_recovered_service_begins_with_what_stays_of_the_old_one() {
    let ledger = Ledger::open("expired_service");
    let before = Replayed::new(&ledger, |_, _| {});
    let before = before.store.begin();
    let recovering = Recovering::new(&ledger);
    let after = recovering.tx();
    let old = before.ro(&tables::SERVICE_INFO).get().unwrap().unwrap();
    let created =
        TxId { view: View(recovering.last_signed.view.0 + 2), seqno: recovering.last_signed.seqno.next() };
    let info: Value = serde_json::to_value(after.ro(&tables::SERVICE_INFO).get().unwrap().unwrap()).unwrap();
    assert_eq!(
        info,
        json!({
            "cert": recovering.service_cert,
            "current_service_create_txid": created,
            "previous_service_identity_version": old.current_service_create_txid.unwrap().seqno,
            "recovery_count": 2,
            "service_data": "again",
            "status": "Recovering",
        })
    );
    assert_eq!(recovering.previous_identity(), old.cert);
    let signed = before.ro(&tables::SIGNATURES).get().unwrap().unwrap().root;
    assert_eq!(after.ro(&tables::PREVIOUS_SERVICE_LAST_SIGNED_ROOT).get().unwrap(), Some(signed));
    let own = &recovering.node.node_id;
    for (id, node) in after.ro(&tables::NODES).entries().unwrap() {
        let expected = if id == *own { NodeStatus::Trusted } else { NodeStatus::Retired };
        assert_eq!((node.status, node.retired_committed && id == *own), (expected, false), "{id}");
        assert!(id != *own || node.ledger_secret_seqno.is_none());
    }
    assert!(after.ro(&tables::NODE_ENDORSED_CERTIFICATES).has(own).unwrap());
    assert!(after.ro(&tables::VIRTUAL_MEASUREMENTS).has(&"m".to_owned()).unwrap());
    assert!(after.ro(&tables::VIRTUAL_HOST_DATA).contains(&"ab".to_owned()).unwrap());
    for name in ["members.info", "members.certs", "users.certs", "constitution", "service.config"] {
        let name = MapName::parse(&format!("public:ccf.gov.{name}")).unwrap();
        let rows = |tx: &Tx| {
            tx.state().map(&name).map(|map| map.iter().map(|r| r.value.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(rows(&before), rows(&after), "{name}");
    }
}

#[test]
fn ledgers_that_cannot_be_recovered_say_why() {
    let ledger = Ledger::open("expired_service");
    let replayed = Replayed::new(&ledger, |_, _| {});
    let (node_id, node) = replayed.store.begin().ro(&tables::NODES).entries().unwrap().pop().unwrap();
    let recovered = RecoveredService {
        create_tx_id: TxId::new(9, 1),
        service_cert: String::new(),
        service_data: None,
        node_id,
        node,
        node_endorsed_cert: String::new(),
        sealing: None,
        join_policy: OwnPlatform::Virtual { measurement: String::new(), host_data: String::new() },
    };
    let attempt = |tx: &Tx| create_recovered_service(tx, &recovered);
    assert!(matches!(attempt(&Store::new().begin()), Err(RecoveryGenesisError::NoService)));
    let tx = replayed.store.begin();
    tx.rw(&tables::TREE).clear();
    assert!(matches!(attempt(&tx), Err(RecoveryGenesisError::NoSignature)));
    let tx = replayed.store.begin();
    let mut info = tx.ro(&tables::SERVICE_INFO).get().unwrap().unwrap();
    info.current_service_create_txid = None;
    tx.rw(&tables::SERVICE_INFO).put(&info).unwrap();
    assert!(matches!(attempt(&tx), Err(RecoveryGenesisError::NoCreateTxId)));
}

#[test]
fn from_the_public_ledger_to_the_private_state_of_real_services() {
    for (name, private) in GOLDEN.into_iter().zip([0, 13, 3, 0]) {
        let ledger = Ledger::open(name);
        let recovering = Recovering::new(&ledger);
        let node = recovering.node.as_ref();
        let (own, next) = (&node.node_id, recovering.service_cert.clone());
        let previous = recovering.previous_identity();
        // Opening wants both identities.
        let wrong = "Previous service identity does not match.";
        assert_eq!(recovering.open(None, &next), Err(wrong.to_owned()));
        assert_eq!(recovering.open(Some(&next), &next), Err(wrong.to_owned()));
        let wrong = "the next service identity does not match the current service certificate";
        assert_eq!(recovering.open(Some(&previous), &previous), Err(wrong.to_owned()));
        assert_eq!(recovering.submit(&ledger.members[0]).0, 403);
        recovering.wait_for_shares();
        let kind = recovering.tx().ro(&tables::LAST_RECOVERY_TYPE).get().unwrap();
        assert_eq!(kind.as_deref(), Some("RECOVERY_SHARES"));

        let config = recovering.tx().ro(&tables::SERVICE_CONFIG).get().unwrap().unwrap();
        let needed = usize::try_from(config.recovery_threshold).unwrap();
        let shares = recovering.tx().ro(&tables::RECOVERY_SHARES).get().unwrap().unwrap();
        let members: Vec<&Member> =
            ledger.members.iter().filter(|m| shares.encrypted_shares.contains_key(&m.id)).collect();
        for (i, member) in members.iter().take(needed).enumerate() {
            let (status, answer) = recovering.submit(member);
            let mut text = format!("{}/{needed} recovery shares successfully submitted", i + 1);
            if i + 1 == needed {
                text.push_str("\nEnd of recovery procedure initiated");
            }
            let expected = json!({"message": text, "submittedCount": i + 1, "recoveryThreshold": needed, "fullKeySubmitted": false});
            assert_eq!((status, answer), (200, expected), "{name}");
        }

        // Every node of the new service can read the old entries now.
        let at = node.store.version();
        let value =
            recovering.tx().raw(tables::ENCRYPTED_LEDGER_SECRETS.name()).get(&[0; 8]).unwrap().to_vec();
        let for_nodes: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&value).unwrap();
        assert!(
            for_nodes[own.as_str()]
                .iter()
                .all(|s| s["version"].is_u64() && s["previous_secret_stored_version"].is_u64())
        );
        let secrets = secrets_for_node(&value, at, own, encryption_key()).unwrap();
        let SecretsForNode::Restored(secrets) = secrets else { panic!("{name}: {secrets:?}") };
        assert_eq!(ledger.decrypt_before(SeqNo(u64::MAX), &secrets), private, "{name}");
        let stranger = NodeId::from_text("stranger");
        assert!(matches!(
            secrets_for_node(&value, at, &stranger, encryption_key()),
            Ok(SecretsForNode::Nothing)
        ));

        // The end of the recovery: the next one will find the whole chain again.
        *node.phase.lock().unwrap() = NodePhase::ReadingPrivateLedger;
        assert_eq!(recovering.submit(members[0]).0, 403);
        *node.phase.lock().unwrap() = NodePhase::PartOfNetwork;
        let created = recovering.last_signed.seqno.next();
        let tx = recovering.tx();
        // Shares are for active members.
        assert!(close(node, &tx, secrets.latest().unwrap(), 1_800_000_000).unwrap());
        recovering.commit(tx);
        let closed_at = node.store.version();
        assert_eq!(recovering.status(), ServiceStatus::Open);
        assert_eq!(recovering.submitted(), 0);
        let link = recovering.tx().ro(&tables::HISTORICAL_LEDGER_SECRET).get().unwrap().unwrap();
        assert_eq!(link.next_version, Some(created));
        let mut links = node.links.lock().unwrap().clone();
        links.observe(closed_at, link);
        let current = node.secrets.lock().unwrap()[0].clone();
        let chain = links.restore(current.danger_raw()).unwrap();
        let froms = |secrets: &LedgerSecrets| secrets.iter().map(|s| s.from()).collect::<Vec<_>>();
        assert_eq!(froms(&chain), [froms(&secrets), vec![created]].concat(), "{name}");
        assert_eq!(chain.latest().unwrap().previous_stored_at(), Some(closed_at));
        ledger.decrypt_before(SeqNo(u64::MAX), &chain);
        check_endorsement(&ledger, &recovering);
        let tx = recovering.tx();
        assert!(!close(node, &tx, secrets.latest().unwrap(), 1_800_000_000).unwrap(), "only once");
        let names = node.log.lock().unwrap().tables[&closed_at].clone();
        let mut expected = vec![
            "public:ccf.gov.service.info",
            "public:ccf.internal.encrypted_submitted_shares",
            "public:ccf.internal.historical_encrypted_ledger_secret",
            "public:ccf.internal.previous_service_identity_endorsement",
            "public:ccf.internal.recovery_shares",
            "public:ccf.internal.sealed_shares",
        ];
        expected.sort_unstable();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    }
}

/// The new service vouches for the one before, or, if that was written by a release without endorsements, for itself.
fn check_endorsement(ledger: &Ledger, recovering: &Recovering) {
    let record = recovering.tx().ro(&tables::IDENTITY_ENDORSEMENT).get().unwrap().unwrap();
    let before = Replayed::new(ledger, |_, _| {}).store.begin();
    let key = recovering.node.service_key.public_key();
    assert_eq!(record.endorsing_key, key.spki_der());
    let endorsement = Endorsement::verify(&record.endorsement, key).unwrap();
    let created =
        TxId { view: View(recovering.last_signed.view.0 + 2), seqno: recovering.last_signed.seqno.next() };
    match before.ro(&tables::IDENTITY_ENDORSEMENT).get().unwrap() {
        Some(previous) => {
            let version = before.ro(&tables::IDENTITY_ENDORSEMENT).version_of_previous_write();
            assert_eq!(record.previous_version, version);
            assert_eq!(endorsement.key, PublicKey::from_spki_der(&previous.endorsing_key).unwrap());
            assert_eq!(endorsement.end, Some(recovering.last_signed));
            let root = recovering.tx().ro(&tables::PREVIOUS_SERVICE_LAST_SIGNED_ROOT).get().unwrap();
            assert_eq!(endorsement.end_root, root);
            // A first endorsement has no end; what it began with goes on.
            let begin = match previous.endorsement_epoch_end {
                None => previous.endorsement_epoch_begin,
                Some(end) => TxId { view: View(end.view.0 + 2), seqno: end.seqno.next() },
            };
            assert_eq!(endorsement.begin, begin);
        }
        None => {
            assert_eq!((endorsement.begin, endorsement.end), (created, None));
            assert_eq!(endorsement.key, *key);
        }
    }
}

#[test]
fn shares_that_are_refused_and_shares_that_restore_nothing() {
    let ledger = Ledger::open("expired_service");
    let recovering = Recovering::new(&ledger);
    recovering.wait_for_shares();
    let [first, second] = [&ledger.members[0], &ledger.members[1]];
    let error = |answer: (u16, Value)| {
        let error = &answer.1["error"];
        (answer.0, error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let valid = json!({"share": Base64::encode(&[1; 44])});
    let (status, code, _) = error(recovering.submit_as(first, &second.id, &valid));
    assert_eq!((status, code.as_str()), (400, "InvalidAuthenticationInfo"));
    let (status, code, _) = error(recovering.submit_as(first, &MemberId::from_text("xy"), &valid));
    assert_eq!((status, code.as_str()), (400, "InvalidResourceName"));
    for payload in [json!({}), json!({"share": 5}), json!([1])] {
        let (status, code, _) = error(recovering.submit_as(first, &first.id, &payload));
        assert_eq!((status, code.as_str()), (400, "InvalidInput"), "{payload}");
    }
    let (status, code, text) = error(recovering.submit_as(first, &first.id, &json!({"share": "!"})));
    assert_eq!(
        (status, code.as_str(), text.as_str()),
        (500, "InternalError", "Error submitting recovery shares.")
    );
    assert_eq!(recovering.submitted(), 0);

    // Setting the threshold in place of a ledger that has the one we want.
    let threshold = |threshold: u64| {
        let tx = recovering.tx();
        let config = tx.rw(&tables::SERVICE_CONFIG);
        let mut value = config.get().unwrap().unwrap();
        value.recovery_threshold = threshold;
        config.put(&value).unwrap();
        recovering.commit(tx);
    };
    threshold(2);
    let bad = |length: usize, x: u8| {
        let mut share = vec![1; length];
        share[0] = x;
        share[1..4].fill(0);
        json!({"share": Base64::encode(&share)})
    };
    let failed = (500, "InternalError".to_owned(), "Failed to initiate private recovery.".to_owned());
    // A share of another length is taken, and spoils the set; so do two of one position, wrong shares, a wrong key.
    for (one, two) in [(bad(43, 1), bad(44, 2)), (bad(44, 1), bad(44, 1)), (bad(44, 1), bad(44, 2))] {
        let (status, answer) = recovering.submit_as(first, &first.id, &one);
        assert_eq!((status, &answer["message"]), (200, &json!("1/2 recovery shares successfully submitted")));
        // A second one of the same member replaces it.
        assert_eq!(recovering.submit_as(first, &first.id, &one).1["submittedCount"], 1);
        assert_eq!(error(recovering.submit_as(second, &second.id, &two)), failed);
        assert_eq!(recovering.submitted(), 0, "all are cleared");
    }
    assert_eq!(error(recovering.submit_as(first, &first.id, &bad(44, 0))), failed);
    assert_eq!(recovering.submitted(), 0);
    let written = recovering.tx().ro(&tables::ENCRYPTED_LEDGER_SECRETS).version_of_previous_write();
    assert!(written.is_none_or(|written| written <= recovering.last_signed.seqno), "nothing was restored");

    // The full secret of an owner is enough, whatever the others sent.
    let wrapped = recovering.tx().ro(&tables::RECOVERY_SHARES).get().unwrap().unwrap();
    let shares: Vec<Share> = ledger
        .members
        .iter()
        .filter_map(|m| m.share(&wrapped))
        .map(|b| Share::from_bytes(&b).unwrap())
        .collect();
    let full = SharedSecret::recover(&shares, shares.len()).unwrap().to_full_share();
    threshold(3);
    assert_eq!(recovering.submit_as(first, &first.id, &bad(44, 9)).0, 200);
    let payload = json!({"share": Base64::encode(full.to_bytes().as_slice())});
    let (status, answer) = recovering.submit_as(second, &second.id, &payload);
    let text = "Full recovery key successfully submitted\nEnd of recovery procedure initiated";
    let expected =
        json!({"message": text, "submittedCount": 2, "recoveryThreshold": 3, "fullKeySubmitted": true});
    assert_eq!((status, answer), (200, expected));
}

#[test]
fn chains_of_secrets_that_are_odd_or_broken() {
    let raw = |n: u8| [n; 32];
    let secret = |n: u8| LedgerSecret::new(&raw(n), SeqNo(1), None);
    let link = |next: Option<u64>, previous: Option<(u8, u8, u64, Option<u64>)>| HistoricalSecret {
        next_version: next.map(SeqNo),
        previous_ledger_secret: previous.map(|(new, old, version, stored)| {
            ccf_governance::tables::secrets::PreviousSecret {
                encrypted_data: Base64(secret(new).key().seal_blob(&[], &raw(old)).unwrap()),
                previous_secret_stored_version: stored.map(SeqNo),
                version: SeqNo(version),
            }
        }),
    };
    let mut links = SecretLinks::default();
    assert_eq!(links.restore(&raw(1)).unwrap_err(), SecretChainError::Empty);
    links.observe(SeqNo(5), link(Some(1), None));
    links.observe(SeqNo(20), link(None, Some((2, 1, 1, Some(5)))));
    links.observe(SeqNo(50), link(Some(40), Some((3, 2, 21, Some(20)))));
    // Written again by another primary.
    links.observe(SeqNo(53), link(Some(40), Some((3, 2, 21, Some(20)))));
    let secrets = links.restore(&raw(3)).unwrap();
    let found: Vec<_> = secrets
        .iter()
        .map(|s| (s.from().0, s.danger_raw()[0], s.previous_stored_at().map(|v| v.0)))
        .collect();
    assert_eq!(found, [(1, 1, Some(5)), (21, 2, Some(20)), (40, 3, Some(53))]);
    assert_eq!(links.restore(&raw(4)).unwrap_err(), SecretChainError::Unreadable(SeqNo(53)));
    // Rolled back, and replaced.
    links.rollback(SeqNo(52));
    assert_eq!(links.restore(&raw(3)).unwrap().latest().unwrap().previous_stored_at(), Some(SeqNo(50)));
    links.observe(SeqNo(20), link(None, Some((9, 1, 1, Some(5)))));
    assert_eq!(links.restore(&raw(9)).unwrap().iter().count(), 2);
}

#[test]
fn certificates_of_an_old_service_have_expired() {
    let replayed = Replayed::new(&Ledger::open("expired_service"), |_, _| {});
    let tx = replayed.store.begin();
    let now = parse_valid_from("2026-06-01T00:00:00Z").unwrap();
    let warnings = expiry::warnings(&tx, now).unwrap();
    let trusted = tx.ro(&tables::NODES).entries().unwrap();
    let trusted: Vec<NodeId> =
        trusted.into_iter().filter(|(_, n)| n.status == NodeStatus::Trusted).map(|(id, _)| id).collect();
    assert!(warnings.iter().all(expiry::ExpiryWarning::is_expired), "{warnings:?}");
    assert_eq!(warnings[0].of, CertificateOf::Service);
    for id in trusted {
        assert!(warnings.iter().any(|warning| warning.of == CertificateOf::Node(id.clone())), "{id}");
    }
    let text = warnings[0].to_string();
    assert!(text.starts_with("The service certificate has expired on "), "{text}");
    assert_eq!(expiry::warnings(&Store::new().begin(), now).unwrap(), []);
}
