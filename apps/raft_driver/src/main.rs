//! Runs one scenario file against the production consensus and prints what happens (consensus specification,
//! section 14), with the events that trace validation reads (section 15).
//!
//! `raft_driver [--no-trace] FILE`. Success: exit code 0 and nothing on standard error.
#![forbid(unsafe_code)]

use raft_driver::{Output, run};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let trace = arguments.first().is_none_or(|first| first != "--no-trace");
    if !trace {
        arguments.remove(0);
    }
    let result = match arguments.as_slice() {
        [path] => {
            std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}")).and_then(|script| {
                let mut stdout = std::io::stdout().lock();
                let mut output = Output::new(trace);
                let result = run(&script, &mut output);
                stdout.write_all(output.text().as_bytes()).map_err(|error| error.to_string())?;
                result.map(|_| ())
            })
        }
        _ => Err("one argument is expected: the scenario file".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}
