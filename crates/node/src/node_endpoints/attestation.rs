//! Attestation evidence of nodes (node specification, section 13.5).

use super::{Shared, respond};
use ccf_endpoints::{
    EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, Method,
    openapi::{self, Base64Text},
};
use ccf_governance::tables::{
    self,
    base64::Base64,
    node::{NodeStatus, QuoteFormat, QuoteInfo},
};
use ccf_types::NodeId;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use std::{borrow::Cow, ops::ControlFlow};

#[derive(Serialize, JsonSchema)]
struct Quote {
    #[schemars(with = "openapi::NodeId")]
    node_id: NodeId,
    #[schemars(with = "Base64Text")]
    raw: Base64,
    #[schemars(with = "Base64Text")]
    endorsements: Base64,
    format: QuoteFormat,
    #[schemars(with = "Option<String>")]
    measurement: String,
    #[schemars(with = "Option<Base64Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    uvm_endorsements: Option<Base64>,
}

/// The same under its newer name.
#[derive(Serialize)]
#[serde(transparent)]
struct Attestation(Quote);

impl JsonSchema for Attestation {
    fn schema_name() -> Cow<'static, str> {
        "Attestation".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Quote::json_schema(generator)
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetQuotes__Out")]
struct Quotes {
    quotes: Vec<Quote>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetAttestations__Out")]
struct Attestations {
    attestations: Vec<Attestation>,
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
            respond(ctx, Quote::of(facts.node_id.clone(), &facts.quote, facts.measurement.clone()))
        })
        .forwarding(ForwardingRequired::Never)
        .summary("Attestation evidence of this node")
    };
    vec![
        own("/quotes/self").output::<Quote>(),
        own("/attestations/self").output::<Attestation>(),
        EndpointDefinition::read_only(Method::Get, "/quotes", |ctx| {
            let quotes = trusted(&ctx.tx)?;
            respond(ctx, Quotes { quotes })
        })
        .output::<Quotes>()
        .summary("Attestation evidence of all trusted nodes"),
        EndpointDefinition::read_only(Method::Get, "/attestations", |ctx| {
            let attestations = trusted(&ctx.tx)?.into_iter().map(Attestation).collect();
            respond(ctx, Attestations { attestations })
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
