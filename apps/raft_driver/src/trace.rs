//! Events of trace validation as JSON (section 15).

use ccf_consensus::{Configuration, Configurations, Message, TraceEvent, TraceState, Traced};
use ccf_types::NodeId;
use serde_json::{Map, Value, json};

/// The event of a replica.
pub(crate) fn event(traced: &Traced) -> Value {
    let (function, fields) = match &traced.event {
        TraceEvent::BecomePreVoteCandidate { configurations: c } => {
            ("become_pre_vote_candidate", json!({ "configurations": all(c) }))
        }
        TraceEvent::BecomeCandidate { configurations: c } => {
            ("become_candidate", json!({ "configurations": all(c) }))
        }
        TraceEvent::BecomeLeader { configurations: c } => {
            ("become_leader", json!({ "configurations": all(c) }))
        }
        TraceEvent::BecomeFollower { configurations: c } => {
            ("become_follower", json!({ "configurations": all(c) }))
        }
        TraceEvent::StepDownAndNominateSuccessor { configurations: c } => {
            ("step_down_and_nominate_successor", json!({ "configurations": all(c) }))
        }
        TraceEvent::Replicate { entry, committable } => (
            "replicate",
            json!({ "view": entry.view.0, "seqno": entry.seqno.0, "globally_committable": committable }),
        ),
        TraceEvent::AddConfiguration { configurations, added } => (
            "add_configuration",
            json!({ "configurations": all(configurations), "args": { "configuration": configuration(added) } }),
        ),
        TraceEvent::Commit { to, configurations } => {
            ("commit", json!({ "args": { "idx": to.0 }, "configurations": all(configurations) }))
        }
        TraceEvent::SendAppendEntries { to, packet: it, matched, sent } => (
            "send_append_entries",
            json!({ "packet": packet(it), "to_node_id": to, "match_idx": matched.0, "sent_idx": sent.0 }),
        ),
        TraceEvent::RecvAppendEntries { from, packet } => received("recv_append_entries", from, packet),
        TraceEvent::ExecuteAppendEntriesSync { from } => {
            ("execute_append_entries_sync", json!({ "from_node_id": from }))
        }
        TraceEvent::SendAppendEntriesResponse { to, packet } => {
            sent("send_append_entries_response", to, packet)
        }
        TraceEvent::RecvAppendEntriesResponse { from, packet: it, matched, sent } => (
            "recv_append_entries_response",
            json!({ "packet": packet(it), "from_node_id": from, "match_idx": matched.0, "sent_idx": sent.0 }),
        ),
        TraceEvent::SendRequestVote { to, packet } => sent("send_request_vote", to, packet),
        TraceEvent::RecvRequestVote { from, packet } => received("recv_request_vote", from, packet),
        TraceEvent::RecvRequestVoteResponse { from, packet } => {
            received("recv_request_vote_response", from, packet)
        }
        TraceEvent::RecvProposeRequestVote { from, packet } => {
            received("recv_propose_request_vote", from, packet)
        }
    };
    let mut state = state(&traced.state);
    let committable: Vec<u64> = match traced.state.committable {
        Some((first, last)) if first == last => vec![first.0],
        Some((first, last)) => vec![first.0, last.0],
        None => Vec::new(),
    };
    state.insert("committable_indices".to_owned(), json!(committable));
    with_state(function, fields, state)
}

/// The event of a message that was dropped.
pub(crate) fn dropped(sender: &TraceState, from: &NodeId, to: &NodeId, message: &Message) -> Value {
    let fields = json!({ "from_node_id": from, "to_node_id": to, "packet": packet(message) });
    with_state("drop_pending_to", fields, state(sender))
}

fn with_state(function: &str, mut fields: Value, state: Map<String, Value>) -> Value {
    if let Some(object) = fields.as_object_mut() {
        object.insert("function".to_owned(), json!(function));
        object.insert("state".to_owned(), Value::Object(state));
    }
    fields
}

fn received(function: &'static str, from: &NodeId, message: &Message) -> (&'static str, Value) {
    (function, json!({ "packet": packet(message), "from_node_id": from }))
}

fn sent(function: &'static str, to: &NodeId, message: &Message) -> (&'static str, Value) {
    (function, json!({ "packet": packet(message), "to_node_id": to }))
}

fn state(state: &TraceState) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("node_id", json!(state.id));
    put("current_view", json!(state.view.0));
    put("last_idx", json!(state.last.0));
    put("commit_idx", json!(state.commit.0));
    put("leadership_state", json!(state.leadership.as_str()));
    put("membership_state", json!(if state.phase.is_some() { "Retired" } else { "Active" }));
    put("pre_vote_enabled", json!(state.pre_vote_enabled));
    if let Some(phase) = state.phase {
        put("retirement_phase", json!(phase.as_str()));
    }
    let positions = [
        ("retirement_idx", state.ordered),
        ("retirement_committable_idx", state.signed),
        ("retired_committed_idx", state.retired_committed),
    ];
    for (key, seqno) in positions {
        if let Some(seqno) = seqno {
            put(key, json!(seqno.0));
        }
    }
    object
}

fn packet(message: &Message) -> Value {
    match message {
        Message::AppendEntries(it) => json!({
            "msg": "raft_append_entries", "idx": it.last.seqno.0, "prev_idx": it.previous.seqno.0,
            "term": it.view.0, "prev_term": it.previous.view.0, "leader_commit_idx": it.commit.0,
            "term_of_idx": it.last.view.0, "contains_new_view": false,
        }),
        Message::AppendEntriesResponse(it) => json!({
            "msg": "raft_append_entries_response", "term": it.view.0, "last_log_idx": it.last.0,
            "success": if it.success { "OK" } else { "FAIL" },
        }),
        Message::RequestVote(it) | Message::RequestPreVote(it) => json!({
            "msg": if matches!(message, Message::RequestVote(_)) { "raft_request_vote" } else { "raft_request_pre_vote" },
            "term": it.view.0, "last_committable_idx": it.last_committable.seqno.0,
            "term_of_last_committable_idx": it.last_committable.view.0,
        }),
        Message::RequestVoteResponse(it) => {
            json!({ "msg": "raft_request_vote_response", "term": it.view.0, "vote_granted": it.granted })
        }
        Message::RequestPreVoteResponse(it) => {
            json!({ "msg": "raft_request_pre_vote_response", "term": it.view.0, "vote_granted": it.granted })
        }
        Message::ProposeRequestVote(view) => json!({ "msg": "raft_propose_request_vote", "term": view.0 }),
    }
}

/// All configurations, as traces and the node's endpoints show them.
pub(crate) fn all(configurations: &Configurations) -> Value {
    configurations.iter().map(configuration).collect()
}

fn configuration(it: &Configuration) -> Value {
    let nodes: Map<String, Value> =
        it.nodes.iter().map(|(id, address)| (id.to_string(), json!({ "address": &**address }))).collect();
    json!({ "idx": it.seqno.0, "nodes": nodes, "rid": it.seqno.0 })
}
