//! What a run came to.

use super::moments::Moment;
use std::{collections::BTreeMap, fmt};

/// Counts of a run.
#[derive(Default)]
pub(super) struct Tally {
    /// All nodes of a service were killed.
    pub(super) crashes: u32,
    /// Of these, while there were several nodes.
    pub(super) of_several_nodes: u32,
    /// By the kind of moment.
    pub(super) moments: BTreeMap<&'static str, u32>,
    /// Recoveries killed before they were ready.
    pub(super) recoveries_killed: u32,
    /// Of these, those that went on as the service of before.
    pub(super) recoveries_set_aside: u32,
    /// Recoveries begun from a snapshot.
    pub(super) from_snapshot: u32,
    /// Writes reported as committed.
    pub(super) promised: u64,
    /// Values compared after recoveries.
    pub(super) compared: u64,
    /// Services stopped in order at the end of their life and accepted by all judges.
    pub(super) judged: u32,
    /// Most recoveries in a row of one service.
    pub(super) most_recoveries: u32,
}

impl Tally {
    pub(super) fn count(&mut self, moment: &Moment) {
        *self.moments.entry(moment.name()).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { crashes, of_several_nodes, recoveries_killed, recoveries_set_aside, .. } = self;
        write!(f, "{crashes} crashes ({of_several_nodes} of three nodes;")?;
        for (name, count) in &self.moments {
            write!(f, " {name} {count}")?;
        }
        write!(
            f,
            "), {recoveries_killed} recoveries killed ({recoveries_set_aside} began again from the service before), \
             {} from a snapshot, {} writes promised, {} values compared, {} lives judged, at most {} recoveries in a row",
            self.from_snapshot, self.promised, self.compared, self.judged, self.most_recoveries
        )
    }
}
