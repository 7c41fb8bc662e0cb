//! What may be sent to `POST /node/join`, put before a real decision: an entrance for fuzz targets and tests, no part of the
//! interface. It must return without a panic.
#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a fuzz target reports by panicking")]

use super::{
    JoinDecision, Joining, NodeMembership, decide,
    message::{CoseSignaturesConfig, JoinResponse},
    parse_request,
};
use crate::{
    node::{NodeGovernance, NodePhase},
    tables::{
        self,
        base64::Base64,
        node::NodeStatus,
        policy::CodeStatus,
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_crypto::{
    cert::{Certificate, CertificateKind, Name, SigningRequest, Validity, parse_valid_from, self_signed},
    key::{Curve, EcKeyPair, RsaKeyPair},
};
use ccf_kv::{Store, Tx};
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{Digest, NodeId, SeqNo, TxId};
use serde_json::json;
use std::sync::{Arc, LazyLock};

/// A service and a joiner; their keys differ from one process to the next, and inputs name them.
struct Scene {
    host: Host,
    service_certificate: String,
    certificate: Certificate,
    /// What stands for what in the text of an input.
    names: [(&'static str, String); 8],
}

struct Host {
    id: NodeId,
    service_key: Arc<EcKeyPair>,
    secret: Arc<LedgerSecret>,
}

impl NodeGovernance for Host {
    fn root_at(&self, _: TxId) -> Option<Digest> {
        None
    }
    fn phase(&self) -> NodePhase {
        NodePhase::PartOfNetwork
    }
    fn latest_ledger_secret(&self, _: &Tx) -> Option<Arc<LedgerSecret>> {
        Some(Arc::clone(&self.secret))
    }
    fn service_key(&self) -> Option<Arc<EcKeyPair>> {
        Some(Arc::clone(&self.service_key))
    }
    fn request_chunk(&self, _: TxId) {}
    fn request_snapshot(&self, _: TxId) {}
}

impl NodeMembership for Host {
    fn startup_seqno(&self) -> SeqNo {
        SeqNo(5)
    }
    fn ledger_secrets(&self, _: &Tx) -> Option<LedgerSecrets> {
        let mut all = LedgerSecrets::default();
        all.add(Arc::clone(&self.secret)).ok()?;
        Some(all)
    }
    fn last_recovered_signed_seqno(&self) -> SeqNo {
        SeqNo(5)
    }
    fn cose_signatures(&self) -> CoseSignaturesConfig {
        CoseSignaturesConfig { issuer: "i".to_owned(), subject: "s".to_owned() }
    }
    fn primary(&self) -> Option<NodeId> {
        Some(self.id.clone())
    }
    fn node_id(&self) -> &NodeId {
        &self.id
    }
}

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);

impl Scene {
    fn new() -> Scene {
        let key = || EcKeyPair::generate(Curve::P384).expect("a key");
        let (service_key, joiner, other) = (key(), key(), key());
        let name = Name::parse("CN=node").expect("a name");
        let from = parse_valid_from("2026-01-01T00:00:00Z").expect("a time");
        let validity = Validity::from_days(from, 9).expect("dates");
        let certify =
            |key| self_signed(key, &name, &[], CertificateKind::Ca, &validity).expect("a certificate");
        let csr =
            |key| SigningRequest::create(key, &name, &[]).expect("a request").to_pem().replace('\n', "\\n");
        let evidence = |key: &EcKeyPair, measurement: &str| {
            let report_data = Base64::encode(key.public_key().id().as_bytes());
            let quote = json!({"host_data": "00", "measurement": measurement, "report_data": report_data});
            Base64::encode(quote.to_string().as_bytes())
        };
        let encryption =
            RsaKeyPair::generate(2048).expect("a key").public_key().to_pem().replace('\n', "\\n");
        let certificate = certify(&joiner);
        let names = [
            ("@QUOTE@", evidence(&joiner, "m")),
            ("@WRONG_MEASUREMENT@", evidence(&joiner, "other")),
            ("@QUOTE_OF_OTHER@", evidence(&other, "m")),
            ("@CSR@", csr(&joiner)),
            ("@CSR_OF_OTHER@", csr(&other)),
            ("@CERTIFICATE@", certificate.to_pem().replace('\n', "\\n")),
            ("@KEY@", encryption),
            ("@DEEP@", format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))),
        ];
        Scene {
            service_certificate: certify(&service_key).to_pem(),
            host: Host {
                id: service_key.public_key().node_id(),
                service_key: Arc::new(service_key),
                secret: Arc::new(LedgerSecret::new(&[7; 32], SeqNo(1), None)),
            },
            certificate,
            names,
        }
    }

    /// The answer of a service in this state of life.
    fn join(&self, body: &[u8], status: ServiceStatus) -> Option<Box<JoinResponse>> {
        let store = Store::new();
        let tx = store.begin();
        let service = ServiceInfo {
            cert: self.service_certificate.clone(),
            current_service_create_txid: None,
            previous_service_identity_version: None,
            recovery_count: None,
            service_data: None,
            status,
        };
        tx.rw(&tables::SERVICE_INFO).put(&service).expect("a row");
        tx.rw(&tables::VIRTUAL_HOST_DATA).insert(&"00".to_owned()).expect("a row");
        tx.rw(&tables::VIRTUAL_MEASUREMENTS).put(&"m".to_owned(), &CodeStatus::AllowedToJoin).expect("a row");
        let decision = parse_request(body).and_then(|request| {
            let joining = Joining { certificate: &self.certificate, request, is_primary: true, now_ms: 1 };
            decide(&tx, &self.host, joining)
        });
        match decision {
            Ok(JoinDecision::Answer(answer)) => Some(answer),
            Ok(JoinDecision::AskPrimary) => None,
            Err(error) => {
                let own_fault = error.status >= 500 && status == ServiceStatus::Open;
                assert!(!own_fault, "{}: {}", error.status, error.message);
                assert!(
                    error.message.len() <= body.len() + 1000,
                    "a refusal is not much longer than the request"
                );
                None
            }
        }
    }
}

/// A body, in which `@QUOTE@`, `@CSR@` and the like stand for what fits the joiner's key, or does not. Answers whether the node
/// was taken in by a service that is open: it is never told a secret.
pub fn join_request(data: &[u8]) -> bool {
    let scene = &*SCENE;
    let body = match std::str::from_utf8(data) {
        Ok(text) => {
            let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
            scene.names.iter().fold(text.to_owned(), fill).into_bytes()
        }
        Err(_) => data.to_vec(),
    };
    let answer = scene.join(&body, ServiceStatus::Open);
    if let Some(answer) = &answer {
        assert!(answer.node_status == NodeStatus::Pending && answer.network_info.is_none(), "secrets");
    }
    // A service that is opening trusts at once whom an open one would let wait, and nobody else.
    let trusted = scene.join(&body, ServiceStatus::Opening);
    assert!(trusted.is_none() || answer.is_some());
    answer.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts in which one thing is wrong; the first has nothing wrong.
    #[test]
    fn only_the_right_request_is_taken() {
        let good = r#"{"node_info_network": {"node_to_node_interface": {"bind_address": "0.0.0.0:1", "published_address": "a:1"},
            "rpc_interfaces": {}}, "quote_info": {"format": "Insecure_Virtual", "quote": "@QUOTE@"},
            "public_encryption_key": "@KEY@", "startup_seqno": 5, "certificate_signing_request": "@CSR@"}"#;
        assert!(join_request(good.as_bytes()));
        for (right, wrong) in [
            ("@QUOTE@", "@WRONG_MEASUREMENT@"),
            ("@QUOTE@", "@QUOTE_OF_OTHER@"),
            ("@QUOTE@", ""),
            ("@CSR@", "@CSR_OF_OTHER@"),
            ("@CSR@", "@CERTIFICATE@"),
            ("@CSR@", "none"),
            ("@KEY@", "@CERTIFICATE@"),
            ("@KEY@", ""),
            ("a:1", "a"),
            ("a:1", "a:70000"),
            (": 5", ": 4"),
            (": 5", ": -1"),
            (": 5", ": @DEEP@"),
            ("Insecure_Virtual", "AMD_SEV_SNP_v1"),
            ("{}", "@DEEP@"),
            ("{\"format\"", "{\"endorsements\": 7, \"format\""),
        ] {
            assert!(good.contains(right));
            assert!(!join_request(good.replacen(right, wrong, 1).as_bytes()), "{wrong} instead of {right}");
        }
        let huge = good.replace("@QUOTE@", &"A".repeat(1 << 20));
        assert!(!join_request(huge.as_bytes()));
        for rubbish in [&b""[..], b"{}", b"[]", b"@DEEP@", b"\xff\xfe", b"null"] {
            assert!(!join_request(rubbish));
        }
    }
}
