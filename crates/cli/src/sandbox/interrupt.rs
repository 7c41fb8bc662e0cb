//! Ctrl-C, SIGTERM and SIGHUP (the terminal is gone) as a flag that every wait looks at.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Becomes set when the user or the system asks to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// The nodes to tell when a second signal ends this process before they have.
    nodes: Arc<Mutex<Vec<u32>>>,
}

impl Interrupt {
    /// Takes over Ctrl-C, SIGTERM and SIGHUP for the rest of the process.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn install() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let nodes = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = Arc::clone(&flag);
        let orphans = Arc::clone(&nodes);
        // Registered before the thread starts, so that no signal after this call is missed.
        let guard = runtime.enter();
        let mut signals = Signals::new()?;
        drop(guard);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(signals.next());
            seen.store(true, Ordering::SeqCst);
            // A second signal ends this process at once; the node stops by itself, and nothing stays behind.
            runtime.block_on(signals.next());
            lock(&orphans).iter().copied().for_each(terminate);
            std::process::exit(130);
        })?;
        Ok(Interrupt { asked: flag, nodes })
    }

    /// Names one more node that must not outlive this process.
    pub fn watch_over(&self, node: u32) {
        lock(&self.nodes).push(node);
    }

    /// Whether it has been asked to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The list is whole after every statement, so a panic elsewhere does not matter.
fn lock(nodes: &Mutex<Vec<u32>>) -> MutexGuard<'_, Vec<u32>> {
    nodes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn terminate(process: u32) {
    let pid = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_: u32) {}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
