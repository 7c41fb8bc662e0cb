//! One simulated node: a replica, its log, and what it wants sent.

use crate::memory_log::{Decode, MemoryLog};
use ccf_consensus::{Input, LocalEntry, Message, NotPrimary, Output, Refusal, Replica, Settings, Traced};
use ccf_types::{NodeId, SeqNo, TxId};
use std::collections::VecDeque;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its consensus.
    pub replica: Replica,
    /// Its ledger and store.
    pub log: MemoryLog,
    /// Messages to be sent, oldest first.
    pub outbox: VecDeque<(NodeId, Message)>,
    /// Events since they were last taken.
    pub traces: Vec<Traced>,
    /// Whether it asked for the cleanup of retired nodes.
    pub cleanup_wanted: bool,
    /// What it refused from others.
    pub refused: Vec<(NodeId, Refusal)>,
}

impl Node {
    /// A node that has not started.
    #[must_use]
    pub fn new(id: NodeId, settings: Settings, decode: Decode) -> Node {
        Node {
            replica: Replica::new(id, settings),
            log: MemoryLog::new(decode),
            outbox: VecDeque::new(),
            traces: Vec::new(),
            cleanup_wanted: false,
            refused: Vec::new(),
        }
    }

    /// Makes it the primary of a new service.
    pub fn start_service(&mut self) {
        let mut out = Vec::new();
        self.replica.start_service(&mut self.log, &mut out);
        self.carry_out(out);
    }

    /// Time passes.
    pub fn tick(&mut self, elapsed_ms: u64) {
        self.step(Input::Tick(elapsed_ms));
    }

    /// A message arrives, with the entries that follow it.
    pub fn receive(&mut self, from: &NodeId, message: Message, entries: &[u8]) {
        self.step(Input::Receive { from, message, entries });
    }

    /// Any input.
    pub fn step(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        if let Input::Persisted(last) = input {
            self.log.written(last);
        }
        self.replica.step(input, &mut self.log, &mut out);
        self.carry_out(out);
    }

    /// Writes an entry in the current view.
    ///
    /// # Errors
    /// [`NotPrimary`], also for a malformed payload; then nothing has changed.
    pub fn write(&mut self, committable: bool, data: &[u8]) -> Result<TxId, NotPrimary> {
        if !self.replica.can_replicate() {
            return Err(NotPrimary);
        }
        let tx_id = TxId { view: self.replica.view(), seqno: self.replica.last().seqno.next() };
        let entry: LocalEntry = self.log.write(tx_id, committable, data).ok_or(NotPrimary)?;
        let mut out = Vec::new();
        let result = self.replica.replicate(&[entry], &mut self.log, &mut out);
        if result.is_err() {
            self.log.unwrite();
        }
        self.carry_out(out);
        result.map(|()| tx_id)
    }

    /// The entries that follow a message when it leaves; none if one of them is gone.
    #[must_use]
    pub fn entries_of(&self, message: &Message) -> Option<Vec<u8>> {
        match message {
            Message::AppendEntries(request) => self.log.bytes(request.previous.seqno, request.last.seqno),
            _ => Some(Vec::new()),
        }
    }

    /// Removes and returns the first message to `to`.
    pub fn take_message(&mut self, to: &NodeId) -> Option<Message> {
        let at = self.outbox.iter().position(|(receiver, _)| receiver == to)?;
        self.outbox.remove(at).map(|(_, message)| message)
    }

    /// The last committed position.
    #[must_use]
    pub fn commit(&self) -> SeqNo {
        self.replica.committed().seqno
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, message } => self.outbox.push_back((to, message)),
                Output::RequestCleanup => self.cleanup_wanted = true,
                Output::Trace(traced) => self.traces.push(*traced),
                Output::Refused { from, reason } => self.refused.push((from, reason)),
                Output::PeerAdded { .. }
                | Output::PeerRemoved(_)
                | Output::Committed(_)
                | Output::RoleChanged { .. }
                | Output::RetiredCommitted => {}
            }
        }
    }
}
