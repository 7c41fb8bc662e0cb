//! What a node looks at now and then: pending nodes that ask no more, certificates that will expire.

use crate::{node_facts::NodeFacts, node_view::RunningNode};
use ccf_endpoints::{NodeView, Role};
use ccf_governance::{
    expiry::{self, ExpiryWarning},
    retirement::remove_expired_pending,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashSet,
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use time::OffsetDateTime;

/// The longest time between two looks at pending nodes.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);

/// The shortest time between two looks at certificates, however often pending nodes are looked at.
const EXPIRY_EVERY_MIN: Duration = Duration::from_secs(1);

/// The thread that looks. Ends when dropped.
pub(crate) struct Housekeeping {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// The state of the thread.
struct Keeper {
    facts: Arc<NodeFacts>,
    node: Arc<RunningNode>,
    /// Milliseconds; 0 keeps pending nodes for ever.
    pending_node_timeout_ms: u64,
    expiry_due: Instant,
    /// What was said already: whose certificate, its end, whether it has expired.
    said: HashSet<(String, i64, bool)>,
}

impl Housekeeping {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        facts: Arc<NodeFacts>,
        node: Arc<RunningNode>,
        pending_node_timeout_ms: u64,
    ) -> io::Result<Housekeeping> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let mut keeper =
            Keeper { facts, node, pending_node_timeout_ms, expiry_due: Instant::now(), said: HashSet::new() };
        let pause = match pending_node_timeout_ms {
            0 => LOOK_EVERY_MAX,
            timeout => LOOK_EVERY_MAX.min(Duration::from_millis(timeout)),
        };
        let run = move || {
            let (flag, changed) = &*stopped;
            let mut flag = flag.lock();
            while !*flag {
                if changed.wait_for(&mut flag, pause).timed_out() {
                    keeper.look();
                }
            }
        };
        let thread = std::thread::Builder::new().name("housekeeping".into()).spawn(run)?;
        Ok(Housekeeping { stop, thread: Some(thread) })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    fn look(&mut self) {
        if self.node.role() == Role::Primary && self.pending_node_timeout_ms > 0 {
            self.forget_pending();
        }
        if Instant::now() >= self.expiry_due {
            self.expiry_due = Instant::now() + EXPIRY_EVERY_MIN;
            match expiry::warnings(&self.node.store.begin(), OffsetDateTime::now_utc()) {
                Ok(warnings) => {
                    self.facts.certificates_expiring.store(warnings.len() as u64, Ordering::Release);
                    warnings.iter().for_each(|warning| self.warn(warning));
                }
                Err(error) => tracing::error!("The certificates in the store cannot be read: {error}"),
            }
        }
    }

    fn forget_pending(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let timeout = self.pending_node_timeout_ms;
        match self.node.execute(|tx| remove_expired_pending(tx, now_ms, timeout).map(drop)) {
            Ok(Some(at)) => tracing::info!("Pending nodes that ask no more were removed at {at}"),
            Ok(None) => {}
            Err(reason) => tracing::info!("Pending nodes were not looked at: {reason}"),
        }
    }

    /// Each certificate is named once before it expires and once after.
    fn warn(&mut self, warning: &ExpiryWarning) {
        let key = (format!("{:?}", warning.of), warning.not_after.unix_timestamp(), warning.is_expired());
        if self.said.insert(key) {
            tracing::warn!("{warning}");
        }
    }
}
