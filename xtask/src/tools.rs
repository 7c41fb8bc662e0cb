//! The independent judges of our output, installed under `target/test-tools`.
//!
//! The PyPI package `ccf` reads ledgers and signs governance requests; `scitt-cose` verifies COSE receipts and `pycose` COSE
//! messages, and share no code with it; the npm package `@microsoft/ccf-app` is what application authors build against.
//! Versions are fixed here; a change of version prepares anew.

use crate::{process, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The Python package whose tools must accept what we write.
const PYTHON_PACKAGES: &[&str] = &["ccf==7.0.22"];

/// Verifiers of COSE that know nothing of the package above; in an environment of their own. `pycose` does not understand
/// what later releases of `cbor2` give it.
const COSE_PACKAGES: &[&str] = &["scitt-cose==0.5.0", "pycose==1.1.0", "cbor2==5.9.0"];

/// The folder whose `package.json` names the npm packages, relative to the workspace.
const NPM_PROJECT: &str = "tests/npm-app";

/// Where the tools are.
pub struct Tools {
    /// The Python virtual environment; programs are in its `bin`.
    pub venv: PathBuf,
    /// The same for [`COSE_PACKAGES`].
    pub cose_venv: PathBuf,
    /// A copy of `tests/npm-app` with its packages installed.
    pub npm: PathBuf,
}

/// The folders, whether or not they have been prepared.
#[must_use]
pub fn locate() -> Tools {
    let base = workspace::target().join("test-tools");
    Tools { venv: base.join("venv"), cose_venv: base.join("cose-venv"), npm: base.join("npm-app") }
}

/// Installs what is missing.
///
/// # Errors
/// A sentence that says which program is missing or which step failed.
pub fn prepare() -> Result<Tools, String> {
    let tools = locate();
    prepare_python(&tools.venv, PYTHON_PACKAGES)?;
    prepare_python(&tools.cose_venv, COSE_PACKAGES)?;
    prepare_npm(&tools.npm)?;
    Ok(tools)
}

fn prepare_python(venv: &Path, packages: &[&str]) -> Result<(), String> {
    let wanted = packages.join(" ");
    let stamp = venv.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    need("python3", "--version", "Debian: apt-get install python3 python3-venv")?;
    process::note(&format!("preparing {}: {wanted}", venv.display()));
    // Made anew: a half-installed environment is of no use.
    let _ = fs::remove_dir_all(venv);
    process::run("python3", &["-m", "venv", &text(venv)?])?;
    let pip = text(&venv.join("bin/pip"))?;
    // The package declares Python 3.12 but runs on 3.11.
    let mut words = vec!["install", "--quiet", "--disable-pip-version-check", "--ignore-requires-python"];
    words.extend(packages);
    process::run(&pip, &words)?;
    write(&stamp, &wanted)
}

fn prepare_npm(folder: &Path) -> Result<(), String> {
    let manifest = workspace::root().join(NPM_PROJECT).join("package.json");
    let wanted = fs::read_to_string(&manifest).map_err(|e| format!("{}: {e}", manifest.display()))?;
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    need("npm", "--version", "Debian: apt-get install nodejs npm")?;
    process::note(&format!("preparing {}", folder.display()));
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write(&folder.join("package.json"), &wanted)?;
    let prefix = text(folder)?;
    process::run(
        "npm",
        &["install", "--prefix", &prefix, "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
    )?;
    write(&stamp, &wanted)
}

fn need(program: &str, flag: &str, how: &str) -> Result<(), String> {
    let status = Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err(format!("the tests need {program}, which is not installed ({how})")),
    }
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not text", path.display()))
}
