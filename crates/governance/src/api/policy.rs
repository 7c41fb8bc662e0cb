//! `/service/join-policy` and `/service/jwk` (governance 4.5, 18 and 19).

use super::shown;
use crate::tables;
use ccf_crypto::key::PublicKey;
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorResponse, json_answer};
use ccf_kv::KvError;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) fn endpoints() -> Vec<EndpointDefinition> {
    vec![shown("/service/join-policy", json_answer(join_policy)), shown("/service/jwk", json_answer(jwk))]
}

fn join_policy(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let tx = &context.tx;
    let virtual_host_data = tx.ro(&tables::VIRTUAL_HOST_DATA).raw();
    let mut host_data = Vec::new();
    virtual_host_data.for_each::<()>(|key, _| {
        host_data.push(String::from_utf8_lossy(key).into_owned());
        std::ops::ControlFlow::Continue(())
    });
    Ok(json!({
        "sgx": {"measurements": keys(tx.ro(&tables::NODE_CODE_IDS).entries())?},
        "virtual": {
            "measurements": keys(tx.ro(&tables::VIRTUAL_MEASUREMENTS).entries())?,
            "hostData": host_data,
        },
        "snp": {
            "measurements": keys(tx.ro(&tables::SNP_MEASUREMENTS).entries())?,
            "hostData": object(tx.ro(&tables::SNP_HOST_DATA).entries())?,
            "uvmEndorsements": object(tx.ro(&tables::SNP_UVM_ENDORSEMENTS).entries())?,
            "tcbVersions": object(tx.ro(&tables::SNP_TCB_VERSIONS).entries())?,
        },
    }))
}

type Rows<V> = Result<Vec<(String, V)>, KvError>;

fn keys<V>(rows: Rows<V>) -> Result<Vec<String>, KvError> {
    Ok(rows?.into_iter().map(|(key, _)| key).collect())
}

fn object<V: Serialize>(rows: Rows<V>) -> Result<Map<String, Value>, KvError> {
    Ok(rows?.into_iter().map(|(key, value)| (key, json!(value))).collect())
}

fn jwk(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let tx = &context.tx;
    let mut issuers = Map::new();
    for (name, issuer) in tx.ro(&tables::JWT_ISSUERS).entries()? {
        let mut shown = json!({"autoRefresh": issuer.auto_refresh});
        if let Some(bundle) = issuer.ca_cert_bundle_name {
            shown["caCertBundleName"] = json!(bundle);
        }
        issuers.insert(name, shown);
    }
    let mut keys = Map::new();
    for (kid, entries) in tx.ro(&tables::JWT_KEYS).entries()? {
        let mut shown = Vec::new();
        for entry in entries {
            let key = PublicKey::from_spki_der(&entry.public_key.0);
            let key = key.map_err(|e| ErrorResponse::internal(format!("JWT signing key {kid}: {e}")))?;
            let (issuer, constraint) = (entry.issuer, entry.constraint);
            shown.push(json!({"publicKey": key.to_pem(), "issuer": issuer, "constraint": constraint}));
        }
        keys.insert(kid, Value::Array(shown));
    }
    let bundles = object(tx.ro(&tables::CA_CERT_BUNDLES).entries())?;
    Ok(json!({"issuers": issuers, "keys": keys, "caCertBundles": bundles}))
}
