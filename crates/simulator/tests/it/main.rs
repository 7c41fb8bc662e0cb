//! Tests of consensus through the public API, on a network moved by hand and on simulated ones.

mod append_entries;
mod commit_rule;
mod hostile;
mod quiet;
mod reconfiguration;
mod regressions;
mod simulation;
mod single_node;
mod starts;
mod status;

use ccf_consensus::{AppendEntriesResponse, Leadership, Message};
use ccf_simulator::Cluster;
use ccf_types::{SeqNo, View};

fn leadership(cluster: &Cluster, name: &str) -> Leadership {
    cluster.node(name).replica.leadership()
}

fn response(view: u64, last: u64, success: bool) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse { view: View(view), last: SeqNo(last), success })
}

/// Lets one node stand and win with the vote of another; nothing else is delivered.
fn elect(cluster: &mut Cluster, winner: &str, voter: &str) {
    cluster.drop_all(winner);
    cluster.drop_all(voter);
    cluster.time_out(winner);
    cluster.deliver_one(winner, voter);
    cluster.deliver_one(voter, winner);
    if leadership(cluster, winner) == Leadership::Candidate {
        cluster.deliver_one(winner, voter);
        cluster.deliver_one(voter, winner);
    }
    assert_eq!(leadership(cluster, winner), Leadership::Leader);
}
