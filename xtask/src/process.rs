//! Starting other programs, with errors that say which and how to get it.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

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
    let status = Command::new(program)
        .args(words)
        .current_dir(crate::workspace::root())
        .status()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("'{program} {}' failed: {status}", words.join(" "))),
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
