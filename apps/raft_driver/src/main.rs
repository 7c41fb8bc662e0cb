//! Runs one scenario file against the production consensus and prints what happens (consensus specification,
//! section 14), with the events that trace validation reads (section 15).
//!
//! `raft_driver [--no-trace] FILE`. Success: exit code 0 and nothing on standard error.
#![forbid(unsafe_code)]

use raft_driver::{Output, run};
use std::{io::Write, process::ExitCode};

const USAGE: &str = "Usage: raft_driver [--no-trace] FILE

Runs a scenario file against consensus and prints what happens.

      --no-trace   without the events that trace validation reads
  -h, --help       this text";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [only] = arguments.as_slice()
        && ["-h", "--help"].contains(&only.as_str())
    {
        // Nobody may listen any more.
        let _ = writeln!(std::io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    }
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
        _ => Err(format!("one argument is expected: the scenario file\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}
