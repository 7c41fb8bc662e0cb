//! Incoming connections, and what is done from time to time.

use super::{dial::prepare, limits::INCOMING_MAX, link::Link, read, state::Shared};
use std::{sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// Runs until [`Shared::stop`].
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    tokio::select! {
        () = shared.stop.notified() => {}
        () = accept(&shared, &listener) => {}
        () = keep_house(&shared) => {}
        () = shared.attention.look_out() => {}
    }
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => incoming(shared, stream, remote.to_string()),
            Err(error) => {
                // Out of descriptors, mostly: the next attempt would fail too.
                if shared.counters.refusals.may_log("listener", "accept") {
                    tracing::warn!("Cannot accept a connection from a node: {error}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn incoming(shared: &Arc<Shared>, stream: TcpStream, remote: String) {
    if prepare(&stream, shared.settings.connection_timeout).is_err() || !make_room(shared) {
        shared.counters.connections_refused.add_one();
        return;
    }
    let stream = Arc::new(stream);
    let link =
        Arc::new(Link::new(shared.next_serial(), remote, false, Some(Arc::clone(&stream)), shared.now()));
    shared.links.lock().insert(link.serial, Arc::clone(&link));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        read::run(&shared, &link, &stream).await;
        shared.link_ended(&link);
    });
}

/// Room for one more connection. If there is none, the oldest that has proved nothing ends: whoever holds many of them shuts nobody
/// out, and a node proves itself with its first frame.
fn make_room(shared: &Arc<Shared>) -> bool {
    let mut links = shared.links.lock();
    let incoming = links.values().filter(|link| !link.outgoing);
    if incoming.clone().count() < INCOMING_MAX {
        return true;
    }
    let oldest = incoming.filter(|link| !link.is_proven()).min_by_key(|link| link.serial).cloned();
    let Some(oldest) = oldest else { return false };
    links.remove(&oldest.serial);
    drop(links);
    oldest.close();
    shared.counters.connections_refused.add_one();
    true
}

async fn keep_house(shared: &Arc<Shared>) {
    let period = (shared.idle_time() / 8).clamp(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        tokio::time::sleep(period).await;
        shared.close_idle();
    }
}
