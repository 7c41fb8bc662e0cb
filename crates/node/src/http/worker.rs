//! Worker threads: each a single-threaded runtime that owns its sessions.

use super::{
    acceptor::Accepted,
    connection::{ConnectionError, Scratch},
    h2,
    handler::RequestHandler,
    serve::{self, NewSession},
    session::{SessionControl, Slow, Stop},
    settings::AppProtocol,
};
use crate::attention::Attention;
use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc, sync::Arc, thread, time::Duration};
use tokio::{
    runtime,
    sync::mpsc::UnboundedReceiver,
    task::LocalSet,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// Stack of a worker: scripts may use one MiB of it, and what runs below them takes its share.
const STACK_BYTES: usize = 4 << 20;

/// What the rest of the server tells a worker.
pub(crate) enum ToWorker {
    /// Serve this connection.
    Serve(Accepted),
    /// Answer what has been received, close every session, and end; after this long, end regardless.
    Stop {
        /// Time for sessions to end by themselves.
        grace: Duration,
    },
}

/// What sessions of one worker share.
pub(crate) struct WorkerContext {
    pub(crate) index: usize,
    pub(crate) scratch: Rc<Scratch>,
    pub(crate) attention: Attention,
    sessions: RefCell<BTreeMap<u64, Rc<SessionControl>>>,
    /// Told whenever a session ends.
    ended: tokio::sync::Notify,
    /// Told when a session begins to wait for a pending outcome.
    turned: tokio::sync::Notify,
}

impl WorkerContext {
    /// A session waits for a pending outcome from now on: when the others that are ready have had their turn too, the
    /// handler is told.
    pub(crate) fn waits(&self) {
        self.turned.notify_one();
    }
}

/// Starts a worker thread. The channel is bounded by the session caps of the interfaces.
pub(crate) fn start<H: RequestHandler>(
    index: usize,
    handler: Arc<H>,
    idle_timeout: Option<Duration>,
    inbox: UnboundedReceiver<ToWorker>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let thread = thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK_BYTES);
    thread.spawn(move || {
        let sessions = LocalSet::new();
        sessions.block_on(&runtime, run(index, handler, idle_timeout, inbox));
        // Sessions that did not end in time are dropped here.
    })
}

async fn run<H: RequestHandler>(
    index: usize,
    handler: Arc<H>,
    idle_timeout: Option<Duration>,
    mut inbox: UnboundedReceiver<ToWorker>,
) {
    let context = Rc::new(WorkerContext {
        index,
        scratch: Rc::new(Scratch::new()),
        attention: Attention::new(),
        sessions: RefCell::default(),
        ended: tokio::sync::Notify::new(),
        turned: tokio::sync::Notify::new(),
    });
    let (turns, told) = (context.clone(), handler.clone());
    // Woken tasks take turns: this one comes after all sessions that were ready when it was told.
    tokio::task::spawn_local(async move {
        loop {
            turns.turned.notified().await;
            told.turn_done();
        }
    });
    let watched = context.clone();
    tokio::task::spawn_local(async move { watched.attention.look_out().await });
    let idle_max = idle_timeout.map(|t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX));
    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = inbox.recv() => match message {
                Some(ToWorker::Serve(accepted)) => open(&context, &handler, accepted),
                Some(ToWorker::Stop { grace }) => return drain(&context, grace).await,
                // The server is gone without having stopped its workers.
                None => return,
            },
            _ = clock.tick() => tick(&context, idle_max),
        }
    }
}

fn open<H: RequestHandler>(context: &Rc<WorkerContext>, handler: &Arc<H>, accepted: Accepted) {
    let Accepted { socket, peer_address, interface, tls, refused, slot } = accepted;
    let socket = match tokio::net::TcpStream::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!("a connection could not be served: {error}");
            return;
        }
    };
    let control = Rc::new(SessionControl::new(slot.session_id()));
    context.sessions.borrow_mut().insert(control.id, control.clone());
    let registration = Registration { context: context.clone(), id: control.id };
    let protocol = interface.settings.protocol;
    let new = NewSession {
        handler: handler.clone(),
        interface,
        worker: context.clone(),
        control,
        peer_address,
        refused,
    };
    tokio::task::spawn_local(async move {
        let (id, _slot, _registration) = (new.control.id, slot, registration);
        match protocol {
            AppProtocol::Http1 => match serve::serve(new, socket, tls).await {
                Ok(()) | Err(ConnectionError::TimedOut) => {}
                Err(error) => tracing::debug!("session {id} ended: {error}"),
            },
            AppProtocol::Http2 => h2::serve(new, socket, tls).await,
        }
    });
}

/// Removes a session from the worker's list when its task ends, however it ends.
struct Registration {
    context: Rc<WorkerContext>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.context.sessions.borrow_mut().remove(&self.id);
        self.context.ended.notify_one();
    }
}

/// One second has passed: ends the sessions that are too slow.
fn tick(context: &WorkerContext, idle_max: Option<u32>) {
    for control in context.sessions.borrow().values() {
        let Some(slow) = control.tick(idle_max) else { continue };
        let id = control.id;
        match slow {
            Slow::Idle { seconds } => {
                let max = idle_max.unwrap_or_default();
                tracing::info!("Closing socket {id} after {seconds}s idle (max = {max}s)");
            }
            Slow::Handshake => tracing::info!("Closing socket {id}: its handshake takes too long"),
            Slow::Request { seconds } => {
                tracing::info!("Closing socket {id}: its request is incomplete after {seconds}s");
            }
        }
        control.ask_to_stop(Stop::TimedOut);
    }
}

async fn drain(context: &WorkerContext, grace: Duration) {
    for control in context.sessions.borrow().values() {
        control.ask_to_stop(Stop::Drain);
    }
    let deadline = Instant::now() + grace;
    while !context.sessions.borrow().is_empty() {
        if timeout_at(deadline, context.ended.notified()).await.is_err() {
            tracing::warn!("{} sessions did not end in time", context.sessions.borrow().len());
            return;
        }
    }
}
