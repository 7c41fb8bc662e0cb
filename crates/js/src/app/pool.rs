//! Interpreters between requests.

use crate::engine::runtime::Runtime;
use crate::limits::{PREPARED_INTERPRETERS_MAX, REUSED_PER_KEY_MAX};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// An interpreter whose image holds one handler module.
pub(crate) struct Prepared {
    pub(crate) runtime: Runtime,
    pub(crate) module: Arc<str>,
    /// Whether the image holds the module evaluated; else each request evaluates it.
    pub(crate) evaluated: bool,
    last_used: ThreadId,
}

impl Prepared {
    pub(crate) fn new(runtime: Runtime, module: Arc<str>, evaluated: bool) -> Prepared {
        Prepared { runtime, module, evaluated, last_used: std::thread::current().id() }
    }
}

/// Prepared interpreters at rest, the longest unused first.
#[derive(Default)]
pub(crate) struct PreparedPool(Mutex<VecDeque<Prepared>>);

impl PreparedPool {
    /// One for the module, preferably the one this thread used last: its memory is in this core's cache.
    pub(crate) fn take(&self, module: &str) -> Option<Prepared> {
        let here = std::thread::current().id();
        let mut idle = self.idle();
        let fits = |p: &Prepared| *p.module == *module;
        let at = idle
            .iter()
            .rposition(|p| p.last_used == here && fits(p))
            .or_else(|| idle.iter().rposition(fits))?;
        idle.remove(at)
    }

    pub(crate) fn put(&self, mut prepared: Prepared) {
        prepared.last_used = std::thread::current().id();
        let mut idle = self.idle();
        let evicted = if idle.len() >= PREPARED_INTERPRETERS_MAX { idle.pop_front() } else { None };
        idle.push_back(prepared);
        drop(idle);
        drop(evicted);
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Prepared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interpreter that keeps its state from one request to the next.
pub(crate) struct Reused {
    pub(crate) runtime: Runtime,
    /// Requests since its heap was last measured.
    pub(crate) requests: u32,
    last_used: ThreadId,
}

impl Reused {
    pub(crate) fn new(runtime: Runtime) -> Reused {
        Reused { runtime, requests: 0, last_used: std::thread::current().id() }
    }
}

/// The reused interpreters of a node: by key and mode, the longest unused key first.
///
/// An interpreter serves one request at a time. When requests for one key overlap, further instances are made rather
/// than let one worker wait for another; a request that finds one at rest never makes another.
#[derive(Default)]
pub(crate) struct ReusedPool(Mutex<VecDeque<Slot>>);

struct Slot {
    key: Arc<str>,
    writes: bool,
    idle: Vec<Reused>,
}

impl ReusedPool {
    /// An interpreter at rest for this key and mode.
    pub(crate) fn take(&self, key: &str, writes: bool) -> Option<Reused> {
        let here = std::thread::current().id();
        let mut slots = self.slots();
        let at = slots.iter().position(|s| s.writes == writes && *s.key == *key)?;
        if at + 1 != slots.len()
            && let Some(slot) = slots.remove(at)
        {
            slots.push_back(slot);
        }
        let idle = &mut slots.back_mut()?.idle;
        let at = idle.iter().rposition(|r| r.last_used == here).or_else(|| idle.len().checked_sub(1))?;
        Some(idle.swap_remove(at))
    }

    /// Puts an interpreter to rest. At most `keys_max` pairs of key and mode are kept.
    pub(crate) fn put(&self, key: &str, writes: bool, mut reused: Reused, keys_max: u64) {
        reused.last_used = std::thread::current().id();
        let mut dropped = Vec::new();
        let mut slots = self.slots();
        match slots.iter_mut().find(|s| s.writes == writes && *s.key == *key) {
            Some(slot) if slot.idle.len() < REUSED_PER_KEY_MAX => slot.idle.push(reused),
            Some(_) => dropped.push(reused),
            None => slots.push_back(Slot { key: key.into(), writes, idle: vec![reused] }),
        }
        while slots.len() as u64 > keys_max {
            dropped.extend(slots.pop_front().into_iter().flat_map(|slot| slot.idle));
        }
        drop(slots);
    }

    fn slots(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
