//! Lines for people.

use crate::driver::Driver;
use ccf_consensus::{Leadership, Message};
use ccf_types::NodeId;

/// The arrow of one message.
pub(crate) fn message(from: &NodeId, to: &NodeId, message: &Message, dropped: bool) -> String {
    let (answer, text) = match message {
        Message::AppendEntries(it) => {
            let (previous, last, view, commit) = (it.previous, it.last, it.view, it.commit);
            (false, format!("append_entries ({previous}, {last}] (term {view}, commit {commit})"))
        }
        Message::AppendEntriesResponse(it) => {
            let word = if it.success { "ACK" } else { "NACK" };
            (true, format!("append_entries_response {word} for {}.{}", it.view, it.last))
        }
        Message::RequestVote(it) => {
            (false, format!("request_vote for term {}, at tx {}", it.view, it.last_committable))
        }
        Message::RequestPreVote(it) => {
            (false, format!("request_pre_vote for term {}, at tx {}", it.view, it.last_committable))
        }
        Message::RequestVoteResponse(it) => {
            (true, format!("request_vote_response for term {} = {}", it.view, letter(it.granted)))
        }
        Message::RequestPreVoteResponse(it) => {
            (true, format!("request_pre_vote_response for term {} = {}", it.view, letter(it.granted)))
        }
        Message::ProposeRequestVote(view) => (false, format!("propose_request_vote for term {view}")),
    };
    let arrow = match (answer, dropped) {
        (false, false) => "->>",
        (false, true) => "-X",
        (true, false) => "-->>",
        (true, true) => "--X",
    };
    format!("n[{from}]{arrow}n[{to}]: {text}")
}

impl Driver<'_> {
    pub(crate) fn show_state(&mut self, id: &NodeId) -> Result<(), String> {
        let replica = &self.node(id)?.replica;
        let leadership = match replica.leadership() {
            Leadership::Follower => "F",
            Leadership::Candidate => "C",
            Leadership::Leader => "P",
            Leadership::None | Leadership::PreVoteCandidate => "?",
        };
        let membership = if replica.retirement_phase().is_some() { "R" } else { "A" };
        let (view, last, commit) = (replica.view(), replica.last().seqno, replica.committed().seqno);
        self.output.line(&format!(
            "Note right of n[{id}]: leadership {leadership} membership {membership} @{view}.{last} (committed {commit})"
        ));
        Ok(())
    }

    pub(crate) fn show_log(&mut self, id: &NodeId) -> Result<(), String> {
        let node = self.node(id)?;
        let commit = node.commit();
        let one = |tx_id: ccf_types::TxId| {
            if tx_id.seqno == commit { format!("[{tx_id}]") } else { tx_id.to_string() }
        };
        let entries: Vec<String> = node.log.entries().iter().map(|entry| one(entry.tx_id)).collect();
        self.output.line(&format!("n[{id}]: {}", entries.join(", ")));
        Ok(())
    }

    pub(crate) fn show_queue(&mut self, from: &NodeId, to: &NodeId) -> Result<(), String> {
        let queue = self.node(from)?.outbox.iter().filter(|(receiver, _)| receiver == to);
        let messages: Vec<String> = queue.map(|(_, message)| short(message)).collect();
        let (count, list) = (messages.len(), messages.join(", "));
        self.output.line(&format!("Note right of n[{from}]: {count} message(s) to n[{to}] = [{list}]"));
        Ok(())
    }
}

fn letter(granted: bool) -> &'static str {
    if granted { "Y" } else { "N" }
}

fn short(message: &Message) -> String {
    match message {
        Message::AppendEntries(it) => format!("AE(t{}, ({}, {}])", it.view, it.previous, it.last),
        Message::AppendEntriesResponse(it) => {
            format!("AER({}, t{}, i{})", if it.success { "ACK" } else { "NACK" }, it.view, it.last)
        }
        Message::RequestVote(_) | Message::RequestPreVote(_) => "RV".to_owned(),
        Message::RequestVoteResponse(_) | Message::RequestPreVoteResponse(_) => "RVR".to_owned(),
        Message::ProposeRequestVote(_) => "PRV".to_owned(),
    }
}
