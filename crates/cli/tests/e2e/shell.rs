//! Running other programs, and where the independent tools are.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The program under test.
pub(crate) fn ccf() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ccf"))
}

/// Another program of the workspace, built beside ours.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let path = ccf().with_file_name(name);
    assert!(path.is_file(), "{} is missing: run the tests with `cargo xtask test`", path.display());
    path
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A program of the PyPI package.
pub(crate) fn python_tool(name: &str) -> PathBuf {
    prepared("venv/bin").join(name)
}

/// Python with verifiers of COSE that know nothing of that package.
pub(crate) fn cose_python() -> PathBuf {
    prepared("cose-venv/bin").join("python")
}

/// The folder where the npm packages are installed.
pub(crate) fn npm_project() -> PathBuf {
    prepared("npm-app")
}

/// Beside the folder `debug` or `release` of the program: cargo's target folder.
fn prepared(what: &str) -> PathBuf {
    let target = ccf().parent().and_then(Path::parent).unwrap().to_owned();
    let path = target.join("test-tools").join(what);
    assert!(path.exists(), "{} is missing: run `cargo xtask prepare`", path.display());
    path
}

/// Runs a program and returns what it printed; fails the test when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program that may fail.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Everything a program printed.
pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a line as a person would who copies it into a shell: body, then status as the last line.
pub(crate) fn curl(line: &str, folder: &Path) -> (String, u16) {
    let line = line.replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
    let text = run(Command::new("sh").arg("-c").arg(&line).current_dir(folder));
    let (body, status) = text.rsplit_once('\n').unwrap();
    (body.to_owned(), status.parse().unwrap())
}
