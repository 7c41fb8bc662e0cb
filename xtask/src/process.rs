//! Starting other programs, with errors that say which and how to get it.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

/// What a test run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that are ignored.
    pub skipped: u64,
    /// Whether the runner ended with success.
    pub succeeded: bool,
}

/// Writes a line to standard output.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes a line to standard error.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Runs cargo in the workspace with `fixed` arguments and then `more`.
///
/// # Errors
/// A sentence when it does not end with success.
pub fn cargo(fixed: &[&str], more: &[String]) -> Result<(), String> {
    let mut words = fixed.to_vec();
    words.extend(more.iter().map(String::as_str));
    run(&cargo_program(), &words)
}

/// Whether cargo has a subcommand `name`.
#[must_use]
pub fn cargo_has(name: &str) -> bool {
    let status = Command::new(cargo_program())
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Runs a program in the workspace's root, its output going where ours goes.
///
/// # Errors
/// A sentence when it cannot be started or does not end with success.
pub fn run(program: &str, words: &[&str]) -> Result<(), String> {
    run_with(program, words, &[])
}

/// As [`run`], with variables of the environment.
///
/// # Errors
/// As [`run`].
pub fn run_with(program: &str, words: &[&str], variables: &[(&str, String)]) -> Result<(), String> {
    let status = Command::new(program)
        .args(words)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(crate::workspace::root())
        .status()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("'{program} {}' failed: {status}", words.join(" "))),
    }
}

/// Runs `cargo test`, passes its output on, and counts what its closing lines say.
///
/// # Errors
/// A sentence when it cannot be started.
pub fn run_tests(program: &str, words: &[&str]) -> Result<Tally, String> {
    let mut child = Command::new(program)
        .args(words)
        .current_dir(crate::workspace::root())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            say(&line);
            tally.add(&line);
        }
    }
    tally.succeeded = child.wait().is_ok_and(|status| status.success());
    Ok(tally)
}

impl Tally {
    /// Adds a closing line, `test result: ok. 3 passed; 0 failed; 1 ignored; …`; other lines change nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.1.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse::<u64>(), what)) {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs a program and returns its standard output.
///
/// # Errors
/// A sentence when it cannot be started, fails, or prints something that is not text.
pub fn output(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(words)
        .current_dir(crate::workspace::root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    if !output.status.success() {
        return Err(format!("'{program} {}' failed: {}", words.join(" "), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} printed something that is not text"))
}

/// The cargo that runs us, or the one in the path.
#[must_use]
pub fn cargo_program() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let mut tally = Tally::default();
        tally.add(
            "test result: ok. 30 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.41s",
        );
        tally.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.add("test something ... ok");
        assert_eq!(tally, Tally { passed: 32, failed: 3, skipped: 1, succeeded: false });
    }
}
