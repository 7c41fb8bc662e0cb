//! Where the workspace is and which files it has.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folder of the root manifest.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Cargo's target folder.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Names of the fuzz targets: the files in `fuzz/fuzz_targets`.
///
/// # Errors
/// When the folder cannot be read.
pub fn fuzz_targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for file in files_below(&folder)? {
        if file.extension().is_some_and(|e| e == "rs")
            && let Some(stem) = file.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// All files of the project: everything but build output, version control and installed packages.
///
/// # Errors
/// When a folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>, String> {
    files_below(&root())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    const NOT_OURS: [&str; 6] = ["target", ".git", "node_modules", ".cache", "workspace", "sandbox_common"];
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            match path.is_dir() {
                true if NOT_OURS.iter().any(|skipped| name == *skipped) => {}
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}
