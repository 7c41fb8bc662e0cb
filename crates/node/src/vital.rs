//! Threads that a node cannot do without: if one of them panics, the process ends.
//!
//! A node whose replication has stopped would go on answering requests, with transactions that nobody will ever commit and reads that
//! grow old; one that reads no messages would look dead to its peers only. To end at once is what the others can deal with.

/// Held for as long as a thread, or a task of one, is at work.
pub(crate) struct Vital(&'static str);

impl Vital {
    /// `what` is named in the log when it panics.
    pub(crate) fn new(what: &'static str) -> Vital {
        Vital(what)
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("The node cannot go on without its {}, which has panicked. Exiting.", self.0);
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, process::Command, thread};

    const CHILD: &str = "CCF_TEST_OF_VITAL_THREADS";

    /// This test once more, as a process of its own in which a thread panics.
    fn child_survives(holds: &str) -> bool {
        let name = "vital::tests::a_panic_ends_the_process";
        let program = env::current_exe().unwrap();
        let output = Command::new(program).args(["--exact", name]).env(CHILD, holds).output().unwrap();
        output.status.success()
    }

    #[test]
    fn a_panic_ends_the_process() {
        if let Ok(holds) = env::var(CHILD) {
            let thread = thread::spawn(move || {
                let _vital = (holds == "vital").then(|| Vital::new("test"));
                panic!("as it should");
            });
            assert!(thread.join().is_err());
            return;
        }
        assert!(child_survives("nothing"));
        assert!(!child_survives("vital"));
    }
}
