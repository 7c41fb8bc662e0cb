//! The state behind the lock. Every method is one critical section.

use super::{
    Epoch, Snapshot,
    dependencies::Dependencies,
    log::{Applied, LOG_CAPACITY, LogEntry},
};
use crate::{
    Action, ApplyError, CommitContext, CommitError, HookContext, Refusal, Reserved, RollbackError,
    SmallBytes, State, WriteSet, Written, hooks::Hooks,
};
use ccf_types::{MapName, SeqNo, TxId, View};
use std::{collections::VecDeque, sync::Arc};

/// Invariant: `log` holds the positions after `committed` up to that of `state`.
pub(crate) struct Current {
    pub(crate) state: State,
    pub(crate) committed: SeqNo,
    pub(crate) epoch: Epoch,
    pub(crate) rollback_count: u64,
    pub(crate) context: CommitContext,
    /// The last epoch that began with a rollback: what was read before is void.
    rollback_epoch: Epoch,
    next_view: View,
    primary: bool,
    log: VecDeque<LogEntry>,
    /// An installed state that global hooks have not seen.
    installed: Option<State>,
}

/// Versions above this are never used (ledger specification, section 1).
const SEQNO_MAX: u64 = i64::MAX as u64;

impl Current {
    pub(crate) fn new() -> Current {
        Current {
            state: State::empty(),
            committed: SeqNo::NONE,
            epoch: Epoch::default(),
            rollback_count: 0,
            context: Arc::new(()),
            rollback_epoch: Epoch::default(),
            next_view: View::UNKNOWN,
            primary: false,
            log: VecDeque::with_capacity(LOG_CAPACITY),
            installed: None,
        }
    }

    pub(crate) fn set_primary(&mut self, view: Option<View>) {
        self.epoch.0 += 1;
        self.primary = view.is_some();
        self.next_view = view.unwrap_or(self.next_view);
    }

    pub(crate) fn commit(
        &mut self,
        epoch: Epoch,
        stamp: Option<u64>,
        dependencies: &[Dependencies],
        entry: Applied,
        hooks: &Hooks,
    ) -> Result<Box<Written>, CommitError> {
        if !self.primary {
            return Err(CommitError::NotReplicated(Refusal::NotPrimary));
        }
        if epoch < self.rollback_epoch {
            return Err(CommitError::Conflict);
        }
        if epoch != self.epoch {
            return Err(CommitError::NotReplicated(Refusal::ViewChanged));
        }
        let unchanged = stamp.is_none_or(|stamp| stamp == self.state.stamp);
        if !unchanged && !dependencies.iter().all(|map| map.hold(&self.state)) {
            return Err(CommitError::Conflict);
        }
        let tx_id = self.next();
        self.state.tx_id = tx_id;
        self.log.push_back(LogEntry::Reserved);
        Ok(self.write(tx_id, entry, hooks))
    }

    pub(crate) fn reserve(&mut self, keep_state: bool) -> Result<Reserved, CommitError> {
        if !self.primary {
            return Err(CommitError::NotReplicated(Refusal::NotPrimary));
        }
        let state = keep_state.then(|| self.state.clone());
        let tx_id = self.next();
        self.state.tx_id = tx_id;
        self.log.push_back(LogEntry::Reserved);
        Ok(Reserved { tx_id, rollback_count: self.rollback_count, context: self.context.clone(), state })
    }

    pub(crate) fn fill(
        &mut self,
        reserved: Reserved,
        mut entry: Applied,
        hooks: &Hooks,
    ) -> Result<(Box<Written>, Option<State>), CommitError> {
        let Reserved { tx_id, rollback_count, context, state } = reserved;
        let open = self.at(tx_id.seqno).is_some_and(|entry| matches!(entry, LogEntry::Reserved));
        if rollback_count != self.rollback_count || !open {
            return Err(CommitError::NotReplicated(Refusal::RolledBack));
        }
        let kept = state.map(|mut state| {
            entry.apply(&mut state, tx_id.seqno);
            state.tx_id = tx_id;
            state
        });
        let overtaken = self.is_overtaken(tx_id.seqno, &entry.write_set);
        let later = if overtaken { self.undo_after(tx_id.seqno) } else { Vec::new() };
        let mut written = self.write(tx_id, entry, hooks);
        written.context = context;
        if overtaken {
            self.redo(later);
        }
        Ok((written, kept))
    }

    /// Whether a transaction after `seqno` wrote to a map of `write_set`, be it only to remove an absent key.
    fn is_overtaken(&self, seqno: SeqNo, write_set: &WriteSet) -> bool {
        let later = usize::try_from(seqno.0 - self.committed.0).unwrap_or(usize::MAX);
        self.log.iter().skip(later).any(|entry| match entry {
            LogEntry::Applied(entry) => {
                write_set.maps().iter().any(|map| entry.write_set.map(map.name()).is_some())
            }
            LogEntry::Reserved => false,
        })
    }

    pub(crate) fn apply(
        &mut self,
        tx_id: TxId,
        entry: Applied,
        hooks: &Hooks,
    ) -> Result<Box<Written>, ApplyError> {
        let (seqno, current) = (tx_id.seqno, self.state.tx_id.seqno);
        if seqno <= self.committed {
            return Err(ApplyError::Committed { entry: seqno, committed: self.committed });
        }
        if seqno.0 - 1 > current.0 {
            return Err(ApplyError::Gap { entry: seqno, current });
        }
        drop(self.truncate(seqno.previous()));
        self.state.tx_id = tx_id;
        self.log.push_back(LogEntry::Reserved);
        Ok(self.write(tx_id, entry, hooks))
    }

    /// Forgets how to undo what is now committed. Uses `spare` as the new buffer of the log.
    pub(crate) fn compact(
        &mut self,
        seqno: SeqNo,
        mut spare: VecDeque<LogEntry>,
    ) -> (VecDeque<LogEntry>, Option<State>) {
        if seqno > self.state.tx_id.seqno || seqno < self.committed {
            return (spare, None);
        }
        let count = (seqno.0 - self.committed.0) as usize;
        debug_assert!(self.log.iter().take(count).all(|entry| matches!(entry, LogEntry::Applied(_))));
        spare.extend(self.log.drain(count..));
        std::mem::swap(&mut spare, &mut self.log);
        self.committed = seqno;
        (spare, self.installed.take())
    }

    pub(crate) fn rollback(&mut self, target: TxId, next_view: View) -> Result<Vec<LogEntry>, RollbackError> {
        if target.seqno < self.committed {
            return Err(RollbackError::Committed { target, committed: self.committed });
        }
        if next_view != self.next_view {
            self.epoch.0 += 1;
            self.next_view = next_view;
        }
        let dropped = self.truncate(target.seqno);
        if target.seqno == self.state.tx_id.seqno {
            self.state.tx_id.view = target.view;
        }
        Ok(dropped)
    }

    pub(crate) fn install(
        &mut self,
        state: State,
        hooks: &Hooks,
    ) -> (Vec<Action>, (State, VecDeque<LogEntry>)) {
        let stamp = self.state.stamp + 1;
        let replaced = std::mem::replace(&mut self.state, State { stamp, ..state });
        self.committed = self.state.tx_id.seqno;
        self.void_reads();
        self.installed = Some(self.state.clone());
        let mut actions = Vec::new();
        let mut hooked: Vec<_> = hooks.local.iter().collect();
        hooked.sort_by_key(|(name, _)| *name);
        for (name, hooks) in hooked {
            let Some(map) = self.state.map(name) else { continue };
            let writes = map.as_writes(name);
            let tx_id = TxId { seqno: map.version, ..self.state.tx_id };
            let mut context = HookContext { tx_id, context: &mut self.context, actions: &mut actions };
            hooks.iter().for_each(|hook| hook(&mut context, &writes));
        }
        (actions, (replaced, std::mem::take(&mut self.log)))
    }

    pub(crate) fn adopt_private(&mut self, other: &State) -> State {
        let mut joined = self.state.with_private_maps_of(other);
        joined.stamp += 1;
        self.void_reads();
        std::mem::replace(&mut self.state, joined)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state.clone(),
            view: self.next_view,
            epoch: self.epoch,
            committed: self.committed,
        }
    }

    pub(crate) fn primary_view(&self) -> Option<View> {
        self.primary.then_some(self.next_view)
    }

    /// A key's value at the last committed position.
    pub(crate) fn committed_value(&self, map: &MapName, key: &[u8]) -> Option<SmallBytes> {
        // The first uncommitted write of the key replaced its committed value.
        let mut applied = self.log.iter().filter_map(|entry| match entry {
            LogEntry::Applied(applied) => Some(applied),
            LogEntry::Reserved => None,
        });
        match applied.find_map(|applied| applied.before(map, key)) {
            Some(before) => before.cloned(),
            None => self.state.map(map)?.get(key).map(|record| record.value.into()),
        }
    }

    fn next(&self) -> TxId {
        let seqno = self.state.tx_id.seqno.next();
        assert!(seqno.0 <= SEQNO_MAX, "sequence numbers are exhausted");
        TxId { view: self.next_view, seqno }
    }

    fn at(&mut self, seqno: SeqNo) -> Option<&mut LogEntry> {
        let at = seqno.0.checked_sub(self.committed.0 + 1)?;
        self.log.get_mut(usize::try_from(at).ok()?)
    }

    /// Applies the writes of a position in the log, which exists, and runs local hooks.
    fn write(&mut self, tx_id: TxId, mut entry: Applied, hooks: &Hooks) -> Box<Written> {
        self.state.stamp += 1;
        entry.apply(&mut self.state, tx_id.seqno);
        let mut written = Box::new(Written {
            tx_id,
            write_set: entry.write_set.clone(),
            rollback_count: self.rollback_count,
            context: self.context.clone(),
            actions: Vec::new(),
        });
        if !hooks.local.is_empty() {
            for writes in entry.write_set.maps() {
                let Some(hooks) = hooks.local.get(writes.name()) else { continue };
                let actions = &mut written.actions;
                let mut context = HookContext { tx_id, context: &mut self.context, actions };
                hooks.iter().for_each(|hook| hook(&mut context, writes));
            }
            if !Arc::ptr_eq(&written.context, &self.context) {
                entry.context_before = Some(written.context.clone());
            }
        }
        if let Some(place) = self.at(tx_id.seqno) {
            *place = LogEntry::Applied(entry);
        }
        written
    }

    /// Undoes everything after `seqno`, and answers what that was.
    fn truncate(&mut self, seqno: SeqNo) -> Vec<LogEntry> {
        if seqno >= self.state.tx_id.seqno {
            return Vec::new();
        }
        let dropped = self.undo_after(seqno);
        for entry in dropped.iter().rev() {
            if let LogEntry::Applied(Applied { context_before: Some(context), .. }) = entry {
                self.context = context.clone();
            }
        }
        self.state.tx_id.seqno = seqno;
        self.rollback_count += 1;
        self.void_reads();
        dropped
    }

    /// Takes the effects of all positions after `seqno` out of the state, and the positions out of the log.
    fn undo_after(&mut self, seqno: SeqNo) -> Vec<LogEntry> {
        self.state.stamp += 1;
        let keep = (seqno.0 - self.committed.0) as usize;
        let undone: Vec<LogEntry> = self.log.drain(keep..).collect();
        for entry in undone.iter().rev() {
            if let LogEntry::Applied(applied) = entry {
                applied.undo(&mut self.state);
            }
        }
        undone
    }

    /// Puts positions back that [`undo_after`](Self::undo_after) took out, on top of a state that has changed: whoever
    /// has read meanwhile must read again.
    fn redo(&mut self, entries: Vec<LogEntry>) {
        for mut entry in entries {
            if let LogEntry::Applied(applied) = &mut entry {
                let seqno = SeqNo(self.committed.0 + self.log.len() as u64 + 1);
                applied.apply(&mut self.state, seqno);
            }
            self.log.push_back(entry);
        }
        self.void_reads();
    }

    fn void_reads(&mut self) {
        self.epoch.0 += 1;
        self.rollback_epoch = self.epoch;
    }
}
