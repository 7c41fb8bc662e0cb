//! What is printed: lines for people, events for trace validation, one logical clock for both.

use serde_json::{Value, json};
use std::fmt::Write;

/// Everything printed so far.
#[derive(Debug)]
pub struct Output {
    text: String,
    clock: u64,
    trace: bool,
}

impl Output {
    /// Nothing printed; with events or without.
    #[must_use]
    pub fn new(trace: bool) -> Output {
        Output { text: String::new(), clock: 0, trace }
    }

    /// What was printed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_tracing(&self) -> bool {
        self.trace
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.clock += 1;
        self.text.push_str("<RaftDriver>  ");
        self.text.push_str(line);
        if self.trace {
            let _ = write!(self.text, " (ts={})", self.clock);
        }
        self.text.push('\n');
    }

    pub(crate) fn command(&mut self, command: &str) {
        if self.trace {
            let _ = writeln!(self.text, "{}", json!({ "tag": "raft_trace", "cmd": command }));
        }
    }

    pub(crate) fn event(&mut self, event: &Value) {
        if self.trace {
            self.clock += 1;
            let line = json!({
                "h_ts": self.clock.to_string(), "thread_id": "0", "level": "debug", "tag": "raft_trace",
                "file": "raft.h", "number": "0", "msg": event,
            });
            let _ = writeln!(self.text, "{line}");
        }
    }
}
