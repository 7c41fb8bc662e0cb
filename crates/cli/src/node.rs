//! `ccf node`: a node that runs JavaScript applications, the same as the program `js_generic`.
//!
//! Its flags are those of every node program (node specification, section 1.1). One is ours: `--stop-with-parent`.

use std::process::ExitCode;

/// First word of a node's flags that is ours: the node gets SIGTERM when the process that started it ends, however it
/// ends, so that a sandbox leaves nothing behind.
pub const STOP_WITH_PARENT: &str = "--stop-with-parent";

/// Run a node (what `js_generic` does). All further words are the node's own: --config FILE, …
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct NodeArgs {
    /// The node's flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Runs a node until it stops.
#[must_use]
pub fn run(args: &NodeArgs) -> ExitCode {
    let mut words = args.words.as_slice();
    if let [first, rest @ ..] = words
        && first == STOP_WITH_PARENT
    {
        words = rest;
        stop_with_parent();
    }
    let words = std::iter::once("ccf node".to_owned()).chain(words.iter().cloned()).collect();
    let code = ccf_node::run_with_args(words, ccf_node::Application::js_generic());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(target_os = "linux")]
fn stop_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
}

#[cfg(not(target_os = "linux"))]
fn stop_with_parent() {}
