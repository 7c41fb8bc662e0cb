//! `/service`: the service, its members, users, nodes and transactions (governance 4.5).

use super::{
    ApiVersion,
    request::{Named, id_param, raw_param},
    shown, version,
};
use crate::tables::{
    self,
    base64::Base64,
    member::{MemberInfo, effective_role},
    node::{NodeInfo, QuoteFormat, QuoteInfo},
    service::ServiceConfig,
};
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, Method, TxStatus, json_answer,
};
use ccf_kv::{KvError, Tx};
use ccf_types::{MemberId, NodeId, TxId, UserId};
use serde_json::{Map, Value, json};

pub(super) fn endpoints() -> Vec<EndpointDefinition> {
    let command = |path, handler: fn(&mut EndpointContext<'_>) -> Result<Value, ErrorResponse>| {
        let handler = version::checked(ApiVersion::Preview20230601, json_answer(handler));
        EndpointDefinition::command(Method::Get, path, handler).hidden()
    };
    vec![
        shown("/service/constitution", constitution),
        shown("/service/info", json_answer(info)),
        shown("/service/members", json_answer(members)),
        shown("/service/members/{memberId}", json_answer(member)),
        shown("/service/users", json_answer(users)),
        shown("/service/users/{userId}", json_answer(user)),
        shown("/service/nodes", json_answer(nodes)),
        shown("/service/nodes/{nodeId}", json_answer(node)),
        command("/service/transactions/{transactionId}", transaction),
        command("/service/transactions/commit", committed),
    ]
}

fn not_found(text: impl Into<String>) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ResourceNotFound, text)
}

fn constitution(context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let text = context.tx.ro(&tables::CONSTITUTION).get()?;
    let text = text.ok_or_else(|| not_found("No constitution has been set on this service."))?;
    context.response.set_body("text/javascript", text);
    Ok(())
}

fn info(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let service = context.tx.ro(&tables::SERVICE_INFO).get()?;
    let service = service.ok_or_else(|| not_found("Service information not available."))?;
    let mut object = json!({
        "status": service.status,
        "certificate": service.cert,
        "recoveryCount": service.recovery_count.unwrap_or(0),
        "serviceData": service.service_data,
    });
    if let Some(created) = service.current_service_create_txid {
        object["creationTransactionId"] = json!(created);
    }
    if let Some(seqno) = service.previous_service_identity_version
        && let Some(view) = context.node().view_of(seqno)
    {
        object["previousServiceCreationTransactionId"] = json!(TxId { view, seqno });
    }
    if let Some(config) = context.tx.ro(&tables::SERVICE_CONFIG).get()? {
        let days = |given: Option<u64>| given.unwrap_or(ServiceConfig::DEFAULT_MAXIMUM_VALIDITY_DAYS);
        object["configuration"] = json!({
            "recoveryThreshold": config.recovery_threshold,
            "maximumNodeCertificateValidityDays": days(config.maximum_node_certificate_validity_days),
            "maximumServiceCertificateValidityDays": days(config.maximum_service_certificate_validity_days),
            "recentCoseProposalsWindowSize": config.window_size(),
        });
    }
    Ok(object)
}

fn members(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let rows = context.tx.ro(&tables::MEMBER_INFO).entries()?;
    let all: Result<Vec<Value>, KvError> =
        rows.iter().map(|(id, info)| member_object(&context.tx, id, info)).collect();
    Ok(json!({"value": all?}))
}

fn member(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = id_param(context, "memberId", Named::Member)?;
    let key = MemberId::from_text(&id);
    match context.tx.ro(&tables::MEMBER_INFO).get(&key)? {
        Some(info) => Ok(member_object(&context.tx, &key, &info)?),
        None => Err(not_found(format!("Member m[{id}] does not exist."))),
    }
}

fn member_object(tx: &Tx, id: &MemberId, info: &MemberInfo) -> Result<Value, KvError> {
    let key = tx.ro(&tables::MEMBER_ENCRYPTION_KEYS).get(id)?;
    let mut object = json!({
        "memberId": id,
        "status": info.status,
        "memberData": info.member_data,
        "recoveryRole": effective_role(info.recovery_role, key.is_some()),
    });
    if let Some(certificate) = tx.ro(&tables::MEMBER_CERTS).get(id)? {
        object["certificate"] = Value::String(certificate);
    }
    if let Some(key) = key {
        object["publicEncryptionKey"] = Value::String(key);
    }
    Ok(object)
}

fn users(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let rows = context.tx.ro(&tables::USER_CERTS).entries()?;
    let all: Result<Vec<Value>, KvError> =
        rows.iter().map(|(id, certificate)| user_object(&context.tx, id, certificate)).collect();
    Ok(json!({"value": all?}))
}

fn user(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = id_param(context, "userId", Named::User)?;
    let key = UserId::from_text(&id);
    match context.tx.ro(&tables::USER_CERTS).get(&key)? {
        Some(certificate) => Ok(user_object(&context.tx, &key, &certificate)?),
        None => Err(not_found(format!("User u[{id}] does not exist."))),
    }
}

fn user_object(tx: &Tx, id: &UserId, certificate: &str) -> Result<Value, KvError> {
    // The whole row, so that the data stands one level deeper than its name says: clients rely on it.
    let row = tx.ro(&tables::USER_INFO).get(id)?;
    Ok(json!({"userId": id, "certificate": certificate, "userData": row}))
}

fn nodes(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let rows = context.tx.ro(&tables::NODES).entries()?;
    let all: Result<Vec<Value>, KvError> =
        rows.iter().map(|(id, info)| node_object(&context.tx, id, info)).collect();
    Ok(json!({"value": all?}))
}

fn node(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = id_param(context, "nodeId", Named::Node)?;
    let key = NodeId::from_text(&id);
    match context.tx.ro(&tables::NODES).get(&key)? {
        Some(info) => Ok(node_object(&context.tx, &key, &info)?),
        None => Err(not_found(format!("Node n[{id}] does not exist."))),
    }
}

fn node_object(tx: &Tx, id: &NodeId, info: &NodeInfo) -> Result<Value, KvError> {
    let mut interfaces = Map::new();
    for (name, interface) in &info.rpc_interfaces {
        let mut shown = json!({"publishedAddress": interface.published()});
        if let Some(protocol) = &interface.app_protocol {
            shown["protocol"] = json!(protocol);
        }
        interfaces.insert(name.clone(), shown);
    }
    let mut object = json!({
        "nodeId": id,
        "status": info.status,
        "nodeData": info.node_data,
        "retiredCommitted": info.retired_committed,
        "quoteInfo": quote_object(&info.quote_info),
        "rpcInterfaces": interfaces,
    });
    if let Some(certificate) = tx.ro(&tables::NODE_ENDORSED_CERTIFICATES).get(id)? {
        object["certificate"] = Value::String(certificate);
    }
    Ok(object)
}

fn quote_object(quote: &QuoteInfo) -> Value {
    let mut object = json!({"format": quote.format});
    match quote.format {
        QuoteFormat::InsecureVirtual => {
            object["rawQuote"] = json!(quote.quote);
            let said: Value = serde_json::from_slice(&quote.quote.0).unwrap_or_default();
            object["details"] = json!({
                "measurement": said["measurement"],
                "reportData": said["report_data"],
                "hostData": said["host_data"],
            });
        }
        QuoteFormat::SevSnp => {
            if let Some(uvm) = &quote.uvm_endorsements {
                object["uvmEndorsements"] = json!(uvm);
            }
            if let Some(tcb) = &quote.endorsed_tcb {
                object["endorsedTcb"] = json!(Base64::encode(tcb.as_bytes()));
            }
        }
        QuoteFormat::Sgx => {
            object["quote"] = json!(quote.quote);
            object["endorsements"] = json!(quote.endorsements);
        }
    }
    object
}

fn transaction(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let given = raw_param(context, "transactionId")?;
    let id = given.parse::<TxId>().ok().filter(|id| id.view.0 > 0 && id.seqno.0 > 0);
    let Some(id) = id else {
        let text = format!(
            "The value '{given}' passed as parameter 'transactionId' could not be converted to a valid Transaction ID."
        );
        return Err(ErrorResponse::invalid_query(text));
    };
    Ok(json!({"status": context.node().tx_status(id), "transactionId": id}))
}

fn committed(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    Ok(json!({"status": TxStatus::Committed, "transactionId": context.node().committed()}))
}
