//! Requests for past states by handle, what is there of them, and the thread that fetches the rest.

use super::fetch::{FetchError, Fetched, Fetcher};
use ccf_endpoints::historical::{HistoricalError, HistoricalState, HistoricalStates, SeqNos, StateHandle};
use ccf_ledger::receipt::TransactionReceipt;
use ccf_types::{SeqNo, TxId};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Handles remembered at most; more push out those longest unused.
const HANDLES_MAX: usize = 10_000;

/// Requests waiting to be fetched. More are not taken up until there is room: their callers come again.
const WAITING_MAX: usize = 1024;

/// After how long something that was not there is looked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Entries remembered for sharing between handles, from which those that nobody holds any more are swept out.
const SHARED_SWEEP: usize = 1 << 17;

/// All requests for past states.
pub(super) struct Cache {
    state: Mutex<State>,
    work: Condvar,
    soft_limit: u64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    requests: HashMap<StateHandle, Request>,
    waiting: VecDeque<StateHandle>,
    refresh: bool,
    stopped: bool,
}

struct Request {
    wanted: SeqNos,
    phase: Phase,
    last_used: Instant,
    expiry: Duration,
}

enum Phase {
    /// In the queue, or being fetched.
    Waiting,
    Ready(HistoricalStates, u64),
    /// Not there when it was looked for.
    Absent(Instant),
    /// Cannot be given out.
    Refused(String),
}

/// Entries that some handle holds, by position.
type Shared = HashMap<SeqNo, Weak<(HistoricalStateRef, usize)>>;
type HistoricalStateRef = Arc<HistoricalState>;

impl Cache {
    pub(super) fn new(soft_limit: u64) -> Cache {
        Cache { state: Mutex::default(), work: Condvar::new(), soft_limit, bytes: AtomicU64::new(0) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn states(
        &self,
        handle: StateHandle,
        wanted: &SeqNos,
        expiry: Duration,
    ) -> Result<Option<HistoricalStates>, HistoricalError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(request) = state.requests.get_mut(&handle).filter(|request| request.wanted == *wanted) {
            request.last_used = now;
            request.expiry = expiry;
            match &request.phase {
                Phase::Waiting => return Ok(None),
                Phase::Ready(states, _) => return Ok(Some(Arc::clone(states))),
                Phase::Absent(at) if now.duration_since(*at) < RETRY_AFTER => return Ok(None),
                Phase::Refused(reason) => {
                    let reason = reason.clone();
                    // Files may be mended: the next call looks again.
                    state.requests.remove(&handle);
                    return Err(HistoricalError::Refused(reason));
                }
                Phase::Absent(_) => {}
            }
        }
        if state.waiting.len() >= WAITING_MAX {
            return Ok(None);
        }
        let waits_already = state.waiting.contains(&handle);
        let request = Request { wanted: wanted.clone(), phase: Phase::Waiting, last_used: now, expiry };
        state.requests.insert(handle, request);
        if !waits_already {
            state.waiting.push_back(handle);
        }
        self.work.notify_one();
        Ok(None)
    }

    pub(super) fn drop_states(&self, handle: StateHandle) -> bool {
        let dropped = self.state.lock().requests.remove(&handle);
        dropped.is_some()
    }

    /// The receipt of a transaction whose state some request with the usual handle has.
    pub(super) fn receipt(&self, tx_id: TxId) -> Option<TransactionReceipt> {
        let state = {
            let state = self.state.lock();
            let request = state.requests.get(&StateHandle(tx_id.seqno.0))?;
            let Phase::Ready(states, _) = &request.phase else { return None };
            states.first().filter(|state| state.tx_id() == tx_id).cloned()?
        };
        Some(state.receipt())
    }

    /// Wants the thread to look at the service's identities.
    pub(super) fn refresh(&self) {
        self.state.lock().refresh = true;
        self.work.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.work.notify_one();
    }

    /// The thread: fetches what is wanted, in the order in which it was first asked for, until stopped.
    pub(super) fn serve(&self, fetcher: &Fetcher, refresh: &dyn Fn()) {
        let mut shared = Shared::new();
        // What handles hold, so that `shared` can be weak.
        let mut held: HashMap<StateHandle, Vec<Arc<(HistoricalStateRef, usize)>>> = HashMap::new();
        loop {
            let (handle, wanted) = {
                let mut state = self.state.lock();
                loop {
                    if state.stopped {
                        return;
                    }
                    if std::mem::take(&mut state.refresh) {
                        drop(state);
                        refresh();
                        state = self.state.lock();
                        continue;
                    }
                    let next = state.waiting.pop_front();
                    if let Some((handle, request)) =
                        next.and_then(|handle| Some((handle, state.requests.get(&handle)?)))
                    {
                        break (handle, request.wanted.clone());
                    }
                    if state.waiting.is_empty() {
                        self.work.wait_for(&mut state, RETRY_AFTER);
                        self.sweep(&mut state);
                        held.retain(|handle, _| state.requests.contains_key(handle));
                    }
                }
            };
            let fetched = fetch(fetcher, &wanted, &mut shared);
            self.done(handle, &wanted, fetched, &mut held);
            if shared.len() > SHARED_SWEEP {
                shared.retain(|_, entry| entry.strong_count() > 0);
            }
        }
    }

    fn done(
        &self,
        handle: StateHandle,
        wanted: &SeqNos,
        fetched: Result<Vec<Arc<(HistoricalStateRef, usize)>>, FetchError>,
        held: &mut HashMap<StateHandle, Vec<Arc<(HistoricalStateRef, usize)>>>,
    ) {
        let phase = match fetched {
            Ok(entries) => {
                let bytes = entries.iter().map(|entry| entry.1 as u64).sum();
                let states = entries.iter().map(|entry| Arc::clone(&entry.0)).collect();
                held.insert(handle, entries);
                Phase::Ready(Arc::new(states), bytes)
            }
            Err(error) if error.is_temporary() => {
                tracing::warn!("A historical query must wait: {error}");
                Phase::Absent(Instant::now())
            }
            Err(error) => {
                tracing::error!("A historical query is refused: {error}");
                Phase::Refused(error.to_string())
            }
        };
        let mut state = self.state.lock();
        if let Some(request) = state.requests.get_mut(&handle).filter(|request| request.wanted == *wanted) {
            request.phase = phase;
            request.last_used = Instant::now();
        }
        self.sweep(&mut state);
        held.retain(|handle, _| state.requests.contains_key(handle));
    }

    /// Drops what has expired, and what was longest unused while there is too much.
    fn sweep(&self, state: &mut State) {
        let now = Instant::now();
        state.requests.retain(|_, request| now.duration_since(request.last_used) < request.expiry);
        let size = |request: &Request| match request.phase {
            Phase::Ready(_, bytes) => bytes,
            _ => 0,
        };
        let mut bytes: u64 = state.requests.values().map(size).sum();
        if bytes > self.soft_limit || state.requests.len() > HANDLES_MAX {
            let mut oldest: Vec<(Instant, StateHandle)> =
                state.requests.iter().map(|(handle, request)| (request.last_used, *handle)).collect();
            oldest.sort_unstable();
            // The one used last stays, however large: its caller waits for it.
            oldest.pop();
            for (_, handle) in oldest {
                if bytes <= self.soft_limit && state.requests.len() <= HANDLES_MAX {
                    break;
                }
                bytes -= state.requests.remove(&handle).map_or(0, |request| size(&request));
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// The wanted entries, those that another handle holds without reading them again.
fn fetch(
    fetcher: &Fetcher,
    wanted: &SeqNos,
    shared: &mut Shared,
) -> Result<Vec<Arc<(HistoricalStateRef, usize)>>, FetchError> {
    let mut entries = Vec::with_capacity(usize::try_from(wanted.len()).unwrap_or_default());
    for range in wanted.ranges() {
        let (mut next, to) = range.into_inner();
        while next <= to {
            let known = |seqno: SeqNo| shared.get(&seqno).and_then(Weak::upgrade);
            if let Some(entry) = known(next) {
                entries.push(entry);
                next = next.next();
                continue;
            }
            let mut end = next;
            while end < to && known(end.next()).is_none() {
                end = end.next();
            }
            let first = entries.len();
            fetcher.fetch(next, end, &mut |fetched: Fetched| entries.push(Arc::new(fetched)))?;
            for entry in &entries[first..] {
                shared.insert(entry.0.tx_id().seqno, Arc::downgrade(entry));
            }
            next = end.next();
        }
    }
    Ok(entries)
}
