//! The folders a sandbox writes: one per node, and `sandbox_common` with what people need.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// In each of our folders, so that nothing of anybody else is ever replaced.
const MARKER: &str = ".ccf-sandbox";

/// In the workspace itself; locked while a sandbox runs in it.
const LOCK: &str = ".ccf-sandbox-lock";

/// The folders of a sandbox, freshly made.
#[derive(Debug)]
pub struct Workspace {
    /// Keys and certificates for people.
    pub common: PathBuf,
    /// Working folders of the nodes.
    pub nodes: Vec<PathBuf>,
    /// Whether an earlier sandbox's folders were replaced.
    pub replaced: bool,
    /// Held as long as the sandbox runs.
    _lock: File,
}

impl Workspace {
    /// Makes the folders in `root`, their names beginning with `label`, replacing those of an earlier sandbox.
    ///
    /// # Errors
    /// A sentence for the user, also when a folder is in the way that no sandbox has made.
    pub fn create(root: &Path, label: &str, nodes: usize) -> Result<Self, String> {
        let root = match fs::create_dir_all(root).and_then(|()| root.canonicalize()) {
            Ok(root) => root,
            Err(e) => return Err(format!("cannot make the folder {}: {e}", root.display())),
        };
        let mut workspace = Workspace {
            common: root.join(format!("{label}_common")),
            nodes: Vec::new(),
            replaced: false,
            _lock: lock(&root)?,
        };
        workspace.nodes = (0..nodes).map(|index| root.join(format!("{label}_{index}"))).collect();
        for folder in std::iter::once(&workspace.common).chain(&workspace.nodes) {
            workspace.replaced |= make(folder)?;
        }
        Ok(workspace)
    }
}

/// Takes the workspace for this process: a second sandbox must not replace the folders of a running one.
fn lock(root: &Path) -> Result<File, String> {
    let path = root.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| format!("cannot open {}: {e}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "a sandbox is still running in {}; stop it, or choose another folder with --workspace",
            root.display()
        )),
        Err(TryLockError::Error(e)) => Err(format!("cannot lock {}: {e}", path.display())),
    }
}

fn make(folder: &Path) -> Result<bool, String> {
    let fail = |e: io::Error| format!("cannot make the folder {}: {e}", folder.display());
    let existed = folder.exists();
    if existed {
        if !folder.join(MARKER).is_file() {
            return Err(format!(
                "{} exists and was not made by a sandbox; move it away or choose another folder with --workspace",
                folder.display()
            ));
        }
        fs::remove_dir_all(folder).map_err(fail)?;
    }
    fs::create_dir_all(folder).map_err(fail)?;
    let marker = "Made by `ccf sandbox`. The next sandbox in this workspace replaces this folder.\n";
    fs::write(folder.join(MARKER), marker).map_err(fail)?;
    Ok(existed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sandboxs_own_folders_are_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/workspace");
        let first = Workspace::create(&path, "sandbox", 1).unwrap();
        assert!(!first.replaced);
        fs::write(first.common.join("user0_cert.pem"), "x").unwrap();
        let running = Workspace::create(&path, "sandbox", 1).unwrap_err();
        assert!(running.contains("still running"), "{running}");
        assert!(first.common.join("user0_cert.pem").exists());
        drop(first);
        let second = Workspace::create(&path, "sandbox", 1).unwrap();
        assert!(second.replaced);
        assert!(!second.common.join("user0_cert.pem").exists());

        let foreign = tempfile::tempdir().unwrap();
        fs::create_dir(foreign.path().join("sandbox_0")).unwrap();
        fs::write(foreign.path().join("sandbox_0/precious"), "x").unwrap();
        assert!(Workspace::create(foreign.path(), "sandbox", 1).unwrap_err().contains("--workspace"));
        assert!(foreign.path().join("sandbox_0/precious").exists());
    }
}
