//! Outgoing connections.

use super::{
    limits::KEEP_ALIVE,
    link::Link,
    read,
    state::{Peer, Shared},
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Connects `link` to where `peer` listens, then reads from it until it ends.
pub(super) async fn run(shared: Arc<Shared>, peer: Arc<Peer>, link: Arc<Link>) {
    let address = peer.address().unwrap_or_else(|| link.remote.as_str().into());
    let limit = shared.settings.connection_timeout.max(Duration::from_millis(1));
    let connecting = connect(&address, shared.client_interface, shared.settings.connection_timeout);
    let connected = match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok(stream) => {
            let stream = Arc::new(stream);
            if link.connected(&stream) {
                read::run(&shared, &link, &stream).await;
            }
        }
        Err(error) => {
            shared.counters.dials_failed.add_one();
            if shared.counters.refusals.may_log(peer.id.as_str(), "cannot connect") {
                tracing::info!("Cannot connect to {} at {address}: {error}", peer.id);
            }
        }
    }
    shared.link_ended(&link);
}

/// The first of the peer's addresses that answers.
async fn connect(address: &str, local: Option<IpAddr>, user_timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for remote in lookup_host(address).await? {
        if local.is_some_and(|local| local.is_ipv4() != remote.is_ipv4()) {
            last = io::Error::new(io::ErrorKind::InvalidInput, "the client interface is of another kind");
            continue;
        }
        let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = local {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        match socket.connect(remote).await {
            Ok(stream) => {
                prepare(&stream, user_timeout)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Options of every connection: no delay, keep-alive, and an end when sent bytes stay unacknowledged.
pub(super) fn prepare(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

/// The local address named by `node_client_interface`, `host` or `host:port`; the port does not matter.
pub(super) fn resolve_interface(text: &str) -> io::Result<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    let found = match text.to_socket_addrs() {
        Ok(mut found) => found.next(),
        Err(_) => (text, 0).to_socket_addrs()?.next(),
    };
    found.map(|address| address.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_a_port_or_not() {
        for text in ["127.0.0.1", "127.0.0.1:80"] {
            assert_eq!(resolve_interface(text).unwrap(), IpAddr::from([127, 0, 0, 1]));
        }
        for text in ["::1", "[::1]", "[::1]:80"] {
            assert!(resolve_interface(text).unwrap().is_ipv6());
        }
        assert!(resolve_interface("no such name!").is_err());
    }
}
