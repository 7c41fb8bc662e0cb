//! Downloads of snapshots and committed ledger chunks (node specification, section 13.6). Only the main directories are
//! looked at.

mod answer;
mod content;
mod digests;
mod prefix;
mod range;

use self::{content::Content, digests::Digests};
use super::{Shared, local, redirect};
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, Method,
    OperatorFeature, RedirectionStrategy, Role,
};
use ccf_governance::tables;
use ccf_ledger::files::{ChunkName, FileError, LedgerReader, SnapshotName, list_chunks, newest_snapshot};
use ccf_types::{NodeId, SeqNo};
use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct FileDirectories {
    /// Of the ledger, files in progress included.
    pub reader: LedgerReader,
    /// The main ledger directory.
    pub ledger: PathBuf,
    /// The main directory of snapshots.
    pub snapshots: PathBuf,
}

/// What the handlers share.
struct Files {
    shared: Shared,
    directories: FileDirectories,
    digests: Digests,
}

type Handler = fn(&Files, &mut EndpointContext<'_>) -> Result<(), ErrorResponse>;

pub(super) fn endpoints(shared: &Shared, directories: &FileDirectories) -> Vec<EndpointDefinition> {
    let files = Arc::new(Files {
        shared: shared.clone(),
        directories: directories.clone(),
        digests: Digests::default(),
    });
    let of = |path: &str, feature, handler: Handler, summary: &str| {
        [Method::Get, Method::Head].map(|method| {
            let files = Arc::clone(&files);
            local(method, path, move |ctx| handler(&files, ctx)).operator_feature(feature).summary(summary)
        })
    };
    let (snapshots, chunks) = (OperatorFeature::SnapshotRead, OperatorFeature::LedgerChunkRead);
    let find_snapshot =
        of("/snapshot", snapshots, find_snapshot, "Leads to the newest snapshot of the service");
    let find_chunk = of("/ledger_chunk", chunks, find_chunk, "Leads to the ledger chunk with a transaction");
    let get_snapshot =
        of("/snapshot/{snapshot_name}", snapshots, get_snapshot, "A snapshot file, or part of it");
    let get_chunk = of("/ledger_chunk/{chunk_name}", chunks, get_chunk, "A ledger chunk, or part of it");
    let get_prefix = of(
        "/ledger_chunk/committed_prefix/{prefix_name}",
        chunks,
        prefix::get_prefix,
        "The committed beginning of a ledger chunk that is not complete, or part of it",
    );
    let create = EndpointDefinition::read_write(Method::Post, "/snapshot:create", |ctx| {
        ctx.tx.rw(&tables::SNAPSHOT_CREATE).put(&())?;
        ctx.response.status = 204;
        Ok(())
    });
    let create = create
        .forwarding(ForwardingRequired::Never)
        .redirection(RedirectionStrategy::None)
        .operator_feature(OperatorFeature::SnapshotCreate)
        .output_as(204, "application/json", None)
        .summary("Asks for a snapshot at the next signature");
    let mut all: Vec<_> = find_snapshot.into_iter().map(|it| it.query::<u64>(SINCE, false)).collect();
    all.extend(find_chunk.into_iter().map(|it| it.query::<u64>(SINCE, true)));
    all.extend(get_snapshot.into_iter().chain(get_chunk));
    // Later than the published document of this interface, as is the query that leads to them.
    all.extend(get_prefix.map(EndpointDefinition::hidden));
    all.push(create);
    all
}

const SINCE: &str = "since";

const TEMPORARY_REDIRECT: u16 = 307;

const CACHE_CONTROL: &str = "cache-control";

const NO_STORE: &str = "no-store";

const CHUNK_NAME: &str = "x-ms-ccf-ledger-chunk-name";

fn find_snapshot(files: &Files, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let since: u64 = ctx.request().query().optional(SINCE)?.unwrap_or(0);
    if let Some(primary) = files.other_primary() {
        let query = if since == 0 { String::new() } else { format!("?{SINCE}={since}") };
        let why = "Node is not primary; redirecting for preferable snapshot";
        return elsewhere(ctx, &primary, &format!("/node/snapshot{query}"), why);
    }
    let newest = newest_snapshot(&files.directories.snapshots, SeqNo(since), files.committed());
    match newest.map_err(|e| unreadable(&e))? {
        Some(snapshot) => {
            let path = format!("/node/snapshot/{}", snapshot.name);
            redirect::to_node(ctx, &files.shared.facts.node_id, &path)
        }
        None => {
            let text = format!("This node has no committed snapshots since {since}");
            Err(ErrorResponse::new(ErrorCode::ResourceNotFound, text))
        }
    }
}

fn get_snapshot(files: &Files, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let name = ctx.param("snapshot_name")?;
    let unknown = format!("This node does not have a snapshot named {name}");
    let known = SnapshotName::parse(&name).is_some_and(|parsed| parsed.committed);
    let content = open(known.then(|| files.directories.snapshots.join(&name)), &name)?;
    answer::respond(ctx, content, &name, "x-ms-ccf-snapshot-name", &unknown, &files.digests)
}

fn find_chunk(files: &Files, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let Some(since) = ctx.request().query().optional::<u64>(SINCE)? else {
        return Err(ErrorResponse::invalid_query("Missing required query parameter 'since'"));
    };
    let include_prefix = ctx.request().query().optional::<bool>(prefix::INCLUDE)?.unwrap_or(false);
    let mut answer = lead_to_chunk(files, ctx, since, include_prefix);
    if include_prefix {
        // Where a prefix is now, a whole chunk will be.
        match &mut answer {
            Ok(()) => {
                ctx.response.status = TEMPORARY_REDIRECT;
                ctx.response.headers.set(CACHE_CONTROL, NO_STORE);
            }
            Err(refusal) if refusal.code == ErrorCode::NodeCannotHandleRequest => {
                refusal.status = TEMPORARY_REDIRECT;
                return answer.map_err(|refusal| refusal.with_header(CACHE_CONTROL, NO_STORE));
            }
            Err(_) => {}
        }
    }
    answer
}

fn lead_to_chunk(
    files: &Files,
    ctx: &mut EndpointContext<'_>,
    since: u64,
    include_prefix: bool,
) -> Result<(), ErrorResponse> {
    let chunks = list_chunks(&files.directories.ledger).map_err(|e| unreadable(&e))?;
    let holds = |name: &ChunkName| {
        let end = name.end.filter(|_| name.committed && !name.recovery);
        name.start.0 <= since && end.is_some_and(|end| since <= end.0)
    };
    if let Some(chunk) = chunks.iter().find(|chunk| holds(&chunk.name)) {
        let path = format!("/node/ledger_chunk/{}", chunk.name);
        return redirect::to_node(ctx, &files.shared.facts.node_id, &path);
    }
    if include_prefix && let Some(name) = prefix::holding(&chunks, since, files.committed()) {
        let path = format!("/node/ledger_chunk/committed_prefix/{name}");
        return redirect::to_node(ctx, &files.shared.facts.node_id, &path);
    }
    let with_prefix = if include_prefix { format!("&{}=true", prefix::INCLUDE) } else { String::new() };
    let path = format!("/node/ledger_chunk?{SINCE}={since}{with_prefix}");
    if since <= files.shared.facts.startup_seqno.load(Ordering::Acquire) {
        let next = files.next_node(ctx)?;
        return elsewhere(ctx, &next, &path, "Node does not have ledger chunk; redirecting to next node");
    }
    if let Some(primary) = files.other_primary() {
        let why = format!("Ledger chunk including index {since} not found locally; redirecting to primary");
        return elsewhere(ctx, &primary, &path, &why);
    }
    let text = format!("This node has no ledger chunk including index {since}");
    Err(ErrorResponse::new(ErrorCode::ResourceNotFound, text))
}

fn get_chunk(files: &Files, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let name = ctx.param("chunk_name")?;
    let unknown = format!("This node does not have a ledger chunk named {name}");
    let known = ChunkName::parse(&name).is_some_and(|parsed| parsed.committed && !parsed.recovery);
    let content = open(known.then(|| files.directories.ledger.join(&name)), &name)?;
    answer::respond(ctx, content, &name, CHUNK_NAME, &unknown, &files.digests)
}

fn open(path: Option<PathBuf>, name: &str) -> Result<Option<Content>, ErrorResponse> {
    let content = path.map(|path| Content::open(&path)).transpose();
    Ok(content.map_err(|error| answer::unreadable(name, &error))?.flatten())
}

impl Files {
    fn committed(&self) -> SeqNo {
        self.shared.node.status.committed_seqno()
    }

    /// The primary, if it is known and not this node.
    fn other_primary(&self) -> Option<NodeId> {
        let term = self.shared.node.status.term();
        if term.role == Role::Primary { None } else { term.primary.clone() }
    }

    /// The node after this one, in the order of their identifiers, around the end of the table.
    fn next_node(&self, ctx: &EndpointContext<'_>) -> Result<NodeId, ErrorResponse> {
        let own = &self.shared.facts.node_id;
        let mut ids = Vec::new();
        ctx.tx.ro(&tables::NODES).for_each(|id, _| {
            ids.push(id);
            ControlFlow::<()>::Continue(())
        })?;
        ids.sort();
        let next = ids.iter().find(|id| *id > own).or(ids.first()).filter(|id| *id != own);
        let alone = "Cannot redirect request. No other nodes present in the network";
        next.cloned().ok_or_else(|| ErrorResponse::internal(alone))
    }
}

/// 308 to another node, with the reason.
fn elsewhere(ctx: &EndpointContext<'_>, node: &NodeId, path: &str, why: &str) -> Result<(), ErrorResponse> {
    let address = redirect::address_of(ctx, node)?;
    let location = format!("https://{address}{path}");
    Err(ErrorResponse::new(ErrorCode::NodeCannotHandleRequest, why).with_header("location", location))
}

fn unreadable(error: &FileError) -> ErrorResponse {
    ErrorResponse::internal(error.to_string())
}
