//! Ctrl-C and SIGTERM as a flag that every wait looks at.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Becomes set when the user or the system asks to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C and SIGTERM for the rest of the process.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn install() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = Arc::clone(&flag);
        // Registered before the thread starts, so that no signal after this call is missed.
        let guard = runtime.enter();
        let mut signals = Signals::new()?;
        drop(guard);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(signals.next());
            seen.store(true, Ordering::SeqCst);
            // A second signal ends the process at once: the node notices that its parent has gone.
            runtime.block_on(signals.next());
            std::process::exit(130);
        })?;
        Ok(Interrupt(flag))
    }

    /// Whether it has been asked to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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
