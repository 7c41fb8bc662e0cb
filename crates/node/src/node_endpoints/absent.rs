//! Small endpoints about parts of the node; those whose subject this version does not have answer as a node that has
//! none of it: no refreshed keys.

use super::{Shared, local, membership, respond};
use ccf_endpoints::{
    EndpointDefinition, Method,
    indexing::{self, Indexing},
    openapi::AnyJson,
};
use ccf_js::{Console, JsApp, JsMetrics};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JWTRefreshMetrics")]
struct JwtRefreshMetrics {
    attempts: u64,
    successes: u64,
    failures: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetHistoricalCacheInfo__Out")]
struct HistoricalCache {
    estimated_size: u64,
}

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let (historical, indexes) = (shared.clone(), shared.clone());
    let scripts = JsApp::new(Console::silent());
    vec![
        EndpointDefinition::read_only(Method::Get, "/js_metrics", move |ctx| {
            let metrics = scripts.metrics(&ctx.tx);
            respond(ctx, &metrics)
        })
        .output::<JsMetrics>()
        .summary("Bytecode and limits of the JavaScript runtime"),
        local(Method::Get, "/index/strategies", move |ctx| {
            let installed = indexes.node.indexes.installed();
            let all: Vec<_> = installed.iter().map(|strategy| indexing::describe(&**strategy)).collect();
            ctx.respond_json(&all)
        })
        .output::<AnyJson>()
        .summary("Indexes over committed transactions"),
        EndpointDefinition::command(Method::Get, "/historical_cache", move |ctx| {
            let past = historical.node.historical.get();
            ctx.respond_json(&HistoricalCache {
                estimated_size: past.map_or(0, super::super::historical::Historical::cached_bytes),
            })
        })
        .output::<HistoricalCache>()
        .summary("Bytes that the entries in the cache of historical queries have in the ledger"),
        EndpointDefinition::command(Method::Get, "/jwt_keys/refresh/metrics", |ctx| {
            respond(ctx, JwtRefreshMetrics { attempts: 0, successes: 0, failures: 0 })
        })
        .output::<JwtRefreshMetrics>()
        .summary("Refreshes of JWT keys: none in this version"),
        EndpointDefinition::read_write(Method::Delete, "/network/nodes/{node_id}", membership::remove)
            .output::<bool>()
            .summary("Removes a retired node"),
    ]
}
