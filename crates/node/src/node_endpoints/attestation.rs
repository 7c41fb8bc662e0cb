//! Attestation evidence of nodes (node specification, section 13.5).

use super::Shared;
use ccf_endpoints::{EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, Method};
use ccf_governance::tables::{
    self,
    base64::Base64,
    node::{NodeStatus, QuoteFormat, QuoteInfo},
};
use ccf_types::NodeId;
use schemars::JsonSchema;
use serde::Serialize;
use std::ops::ControlFlow;

#[derive(Serialize, JsonSchema)]
struct Quote {
    #[schemars(with = "String")]
    endorsements: Base64,
    #[schemars(with = "String")]
    format: QuoteFormat,
    measurement: String,
    #[schemars(with = "String")]
    node_id: NodeId,
    #[schemars(with = "String")]
    raw: Base64,
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    uvm_endorsements: Option<Base64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetQuotes__Out")]
struct Quotes {
    quotes: Vec<Quote>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetAttestations__Out")]
struct Attestations {
    attestations: Vec<Quote>,
}

impl Quote {
    fn of(node_id: NodeId, info: &QuoteInfo, measurement: String) -> Quote {
        Quote {
            endorsements: info.endorsements.clone(),
            format: info.format,
            measurement,
            node_id,
            raw: info.quote.clone(),
            uvm_endorsements: info.uvm_endorsements.clone(),
        }
    }
}

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let own = |path: &str| {
        let facts = shared.facts.clone();
        EndpointDefinition::read_only(Method::Get, path, move |ctx| {
            if !ctx.tx.ro(&tables::NODES).has(&facts.node_id)? {
                return Err(ErrorResponse::new(ErrorCode::ResourceNotFound, "Could not find node quote."));
            }
            ctx.respond_json(&Quote::of(facts.node_id.clone(), &facts.quote, facts.measurement.clone()))
        })
        .forwarding(ForwardingRequired::Never)
        .output::<Quote>()
        .summary("Attestation evidence of this node")
    };
    vec![
        own("/quotes/self"),
        own("/attestations/self"),
        EndpointDefinition::read_only(Method::Get, "/quotes", |ctx| {
            let quotes = trusted(&ctx.tx)?;
            ctx.respond_json(&Quotes { quotes })
        })
        .output::<Quotes>()
        .summary("Attestation evidence of all trusted nodes"),
        EndpointDefinition::read_only(Method::Get, "/attestations", |ctx| {
            let attestations = trusted(&ctx.tx)?;
            ctx.respond_json(&Attestations { attestations })
        })
        .output::<Attestations>()
        .summary("Attestation evidence of all trusted nodes"),
    ]
}

fn trusted(tx: &ccf_kv::Tx) -> Result<Vec<Quote>, ErrorResponse> {
    let mut quotes = Vec::new();
    tx.ro(&tables::NODES).for_each(|id, info| {
        if info.status == NodeStatus::Trusted {
            quotes.push(Quote::of(id, &info.quote_info, info.code_digest.unwrap_or_default()));
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(quotes)
}
