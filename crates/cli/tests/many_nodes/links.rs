//! What connects the nodes: one proxy in front of each node's node-to-node interface. Every frame names its sender, so
//! the first frame of a connection tells which two nodes it connects; a test can cut that link, hold back what travels
//! in one direction, and heal it.

use ccf_types::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The head of a frame: length (4 bytes), type (8), length of the sender's identifier (8).
const HEAD_BYTES: usize = 20;

/// Identifiers are 64 hexadecimal digits.
const SENDER_BYTES: usize = 64;

/// How long a connection waits for the node behind it to be known.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// All links of a service.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Proxy's address to the node behind it.
    behind: BTreeMap<SocketAddr, (NodeId, SocketAddr)>,
    /// Pairs that have no connection, in both orders.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// (from, to): what is under way stays under way.
    held: BTreeSet<(NodeId, NodeId)>,
    connections: Vec<Connection>,
}

struct Connection {
    ends: (NodeId, NodeId),
    sockets: [TcpStream; 2],
    is_open: Arc<AtomicBool>,
}

impl Links {
    /// A proxy for a node that will be started; its address is what the node publishes.
    pub(crate) fn proxy(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let links = self.clone();
        // Ends with the process: a listener cannot be interrupted, and costs nothing.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let links = links.clone();
                thread::spawn(move || {
                    let _ = links.serve(address, stream);
                });
            }
        });
        address
    }

    /// The node behind a proxy listens now.
    pub(crate) fn register(&self, proxy: SocketAddr, node: NodeId, listens: SocketAddr) {
        self.0.lock().unwrap().behind.insert(proxy, (node, listens));
    }

    /// Where a node really listens.
    pub(crate) fn listens(&self, node: &NodeId) -> SocketAddr {
        let state = self.0.lock().unwrap();
        state.behind.values().find(|(id, _)| id == node).unwrap().1
    }

    /// Closes the connections between two nodes, and every new one at once.
    pub(crate) fn cut(&self, one: &NodeId, other: &NodeId) {
        let mut state = self.0.lock().unwrap();
        state.cut.insert((one.clone(), other.clone()));
        state.cut.insert((other.clone(), one.clone()));
        state.close(|ends| ends == &(one.clone(), other.clone()) || ends == &(other.clone(), one.clone()));
    }

    /// Keeps back what `from` sends to `to`, until healed.
    pub(crate) fn hold(&self, from: &NodeId, to: &NodeId) {
        self.0.lock().unwrap().held.insert((from.clone(), to.clone()));
    }

    /// Ends all cuts and holds.
    pub(crate) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.cut.clear();
        state.held.clear();
    }

    fn serve(&self, proxy: SocketAddr, mut incoming: TcpStream) -> io::Result<()> {
        incoming.set_nodelay(true)?;
        let mut first = [0; HEAD_BYTES + SENDER_BYTES];
        incoming.read_exact(&mut first)?;
        let sender = std::str::from_utf8(&first[HEAD_BYTES..]).ok().and_then(|text| text.parse().ok());
        let from: NodeId = sender.ok_or(io::ErrorKind::InvalidData)?;
        let deadline = Instant::now() + REGISTER_TIMEOUT;
        let (to, listens) = loop {
            if let Some(found) = self.0.lock().unwrap().behind.get(&proxy) {
                break found.clone();
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(LOOK_EVERY);
        };
        if self.is_cut(&from, &to) {
            return Ok(());
        }
        let mut outgoing = TcpStream::connect(listens)?;
        outgoing.set_nodelay(true)?;
        let is_open = Arc::new(AtomicBool::new(true));
        {
            let mut state = self.0.lock().unwrap();
            state.connections.retain(|connection| connection.is_open.load(Ordering::Relaxed));
            state.connections.push(Connection {
                ends: (from.clone(), to.clone()),
                sockets: [incoming.try_clone()?, outgoing.try_clone()?],
                is_open: Arc::clone(&is_open),
            });
        }
        // A cut that came since then has not seen this connection.
        if self.is_cut(&from, &to) {
            return Ok(());
        }
        let (back_from, back_to) = (outgoing.try_clone()?, incoming.try_clone()?);
        let (links, there, here, open) = (self.clone(), to.clone(), from.clone(), Arc::clone(&is_open));
        thread::spawn(move || links.pump(back_from, back_to, (&there, &here), &open));
        self.wait_while_held((&from, &to), &is_open);
        if outgoing.write_all(&first).is_ok() {
            self.pump(incoming, outgoing, (&from, &to), &is_open);
        }
        Ok(())
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, ends: (&NodeId, &NodeId), is_open: &AtomicBool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 {
                break;
            }
            self.wait_while_held(ends, is_open);
            if !is_open.load(Ordering::Relaxed) || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        is_open.store(false, Ordering::Relaxed);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn wait_while_held(&self, ends: (&NodeId, &NodeId), is_open: &AtomicBool) {
        let ends = (ends.0.clone(), ends.1.clone());
        while is_open.load(Ordering::Relaxed) && self.0.lock().unwrap().held.contains(&ends) {
            thread::sleep(LOOK_EVERY);
        }
    }

    fn is_cut(&self, one: &NodeId, other: &NodeId) -> bool {
        self.0.lock().unwrap().cut.contains(&(one.clone(), other.clone()))
    }
}

impl State {
    fn close(&mut self, which: impl Fn(&(NodeId, NodeId)) -> bool) {
        for connection in &self.connections {
            if which(&connection.ends) {
                connection.is_open.store(false, Ordering::Relaxed);
                for socket in &connection.sockets {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        }
        self.connections.retain(|connection| connection.is_open.load(Ordering::Relaxed));
    }
}
