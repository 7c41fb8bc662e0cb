//! Delivery, loss and reordering of messages.

use crate::{driver::Driver, show, trace};
use ccf_consensus::Message;
use ccf_types::NodeId;
use std::collections::VecDeque;

/// How often `dispatch_all` goes round at most.
const ROUNDS_MAX: usize = 5;

impl Driver<'_> {
    /// Delivers the messages of one node: up to `count`, or until its queue is empty.
    pub(crate) fn dispatch_one(&mut self, from: &NodeId, count: Option<usize>) -> Result<(), String> {
        self.node(from)?;
        let mut delivered = 0;
        while count.is_none_or(|count| delivered < count) {
            let Some((to, message)) = self.nodes.get_mut(from).and_then(|node| node.outbox.pop_front())
            else {
                break;
            };
            if self.deliver(from, &to, message)? {
                delivered += 1;
            }
        }
        Ok(())
    }

    pub(crate) fn dispatch_all_once(&mut self) -> Result<(), String> {
        let counts: Vec<_> = self.nodes.iter().map(|(id, node)| (id.clone(), node.outbox.len())).collect();
        counts.into_iter().try_for_each(|(id, count)| self.dispatch_one(&id, Some(count)))
    }

    pub(crate) fn dispatch_all(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            if self.nodes.values().all(|node| node.outbox.is_empty()) {
                break;
            }
            self.dispatch_all_once()?;
        }
        Ok(())
    }

    pub(crate) fn dispatch_single(&mut self, from: &NodeId, to: &NodeId) -> Result<(), String> {
        self.node(from)?;
        match self.nodes.get_mut(from).and_then(|node| node.take_message(to)) {
            Some(message) => self.deliver(from, to, message).map(|_| ()),
            None => Ok(()),
        }
    }

    pub(crate) fn drop_pending(&mut self, from: &NodeId, to: Option<&NodeId>) -> Result<(), String> {
        self.node(from)?;
        let Some(node) = self.nodes.get_mut(from) else { return Ok(()) };
        let queue = std::mem::take(&mut node.outbox);
        let (dropped, kept): (VecDeque<(NodeId, Message)>, _) =
            queue.into_iter().partition(|(receiver, _)| to.is_none_or(|to| to == receiver));
        node.outbox = kept;
        dropped.into_iter().try_for_each(|(to, message)| self.lose(from, &to, &message))
    }

    /// Any order, but the same in every run.
    pub(crate) fn shuffle(&mut self, id: &NodeId) -> Result<(), String> {
        self.node(id)?;
        if let Some(node) = self.nodes.get_mut(id) {
            let queue = node.outbox.make_contiguous();
            let mut state = queue.len() as u64 + 1;
            for at in (1..queue.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                queue.swap(at, usize::try_from(state >> 33).unwrap_or_default() % (at + 1));
            }
        }
        Ok(())
    }

    /// Delivers a message if the nodes are connected and its entries still exist. Whether it was.
    fn deliver(&mut self, from: &NodeId, to: &NodeId, message: Message) -> Result<bool, String> {
        let connected = self.connected.contains(&(from.clone(), to.clone()));
        let entries = self.node(from)?.entries_of(&message);
        match entries {
            Some(entries) if connected => {
                self.output.line(&show::message(from, to, &message, false));
                self.with_node(to, |node| node.receive(from, message, &entries))?;
                Ok(true)
            }
            _ => {
                self.lose(from, to, &message)?;
                Ok(false)
            }
        }
    }

    fn lose(&mut self, from: &NodeId, to: &NodeId, message: &Message) -> Result<(), String> {
        self.output.line(&show::message(from, to, message, true));
        let state = self.node(from)?.replica.trace_state();
        self.output.event(&trace::dropped(&state, from, to, message));
        Ok(())
    }
}
