//! The state that trace events are seen in (section 15).

use super::{Host, Replica};
use crate::{
    output::Output,
    trace::{TraceEvent, TraceState, Traced},
};

impl Replica {
    /// The state as traces show it.
    #[must_use]
    pub fn trace_state(&self) -> TraceState {
        TraceState {
            id: self.id.clone(),
            view: self.view,
            last: self.last,
            commit: self.commit,
            leadership: self.leadership,
            phase: self.retirement_phase(),
            pre_vote_enabled: self.settings.pre_vote,
            ordered: self.ordered,
            signed: self.signed,
            retired_committed: self.retired_committed,
            committable: self.committable.front().copied().zip(self.committable.back().copied()),
        }
    }

    /// Adds an event, made only if traces are wanted.
    pub(super) fn trace(&self, host: &mut Host<'_>, event: impl FnOnce() -> TraceEvent) {
        if self.settings.trace {
            host.out.push(Output::Trace(Box::new(Traced { state: self.trace_state(), event: event() })));
        }
    }
}
