//! Files a node writes for its operator (node specification, section 4).

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A file the node could not write or read.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The process identifier file exists: another node may run here.
    #[error("PID file {0} already exists")]
    PidFileExists(PathBuf),
    /// A file named by the configuration cannot be read.
    #[error("Could not open file {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// A file cannot be written.
    #[error("Could not write file {path}: {reason}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
}

/// Writes the process identifier, refusing to replace one.
///
/// # Errors
/// [`FileProblem::PidFileExists`] or [`FileProblem::Unwritable`].
pub fn write_pid(path: &Path) -> Result<(), FileProblem> {
    if path.exists() {
        return Err(FileProblem::PidFileExists(path.to_owned()));
    }
    write(path, std::process::id().to_string())
}

/// Writes `{"node_to_node_interface":"host:port"}`; an empty path writes nothing.
///
/// # Errors
/// [`FileProblem::Unwritable`].
pub fn write_node_address(path: &Path, bound: &str) -> Result<(), FileProblem> {
    write_json(path, &BTreeMap::from([("node_to_node_interface", bound)]))
}

/// Writes the bound address of each interface by name; an empty path writes nothing.
///
/// # Errors
/// [`FileProblem::Unwritable`].
pub fn write_rpc_addresses(path: &Path, bound: &BTreeMap<String, String>) -> Result<(), FileProblem> {
    write_json(path, bound)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileProblem> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string(value)
        .map_err(|e| FileProblem::Unwritable { path: path.to_owned(), reason: e.into() })?;
    write(path, text)
}

/// Writes a whole file so that a reader sees all of it or nothing.
///
/// # Errors
/// [`FileProblem::Unwritable`].
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), FileProblem> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".tmp");
    let partial = PathBuf::from(partial);
    fs::write(&partial, content)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|reason| FileProblem::Unwritable { path: path.to_owned(), reason })
}

/// Reads a file named by the configuration.
///
/// # Errors
/// [`FileProblem::Unreadable`].
pub fn read_text(path: &Path) -> Result<String, FileProblem> {
    fs::read_to_string(path).map_err(|reason| FileProblem::Unreadable { path: path.to_owned(), reason })
}

/// `host:port` with the port that was really bound.
#[must_use]
pub fn resolved(configured: &str, bound: SocketAddr) -> String {
    match configured.rsplit_once(':') {
        Some((host, _)) if !host.is_empty() => format!("{host}:{}", bound.port()),
        _ => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_port_replaces_the_configured_one() {
        let bound: SocketAddr = "127.0.0.1:4711".parse().expect("address");
        assert_eq!(resolved("localhost:0", bound), "localhost:4711");
        assert_eq!(resolved("[::1]:0", bound), "[::1]:4711");
        assert_eq!(resolved("127.0.0.1:8000", bound), "127.0.0.1:4711");
    }

    #[test]
    fn a_pid_file_is_never_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("node.pid");
        write_pid(&path).expect("first");
        assert_eq!(fs::read_to_string(&path).expect("written"), std::process::id().to_string());
        assert!(matches!(write_pid(&path), Err(FileProblem::PidFileExists(_))));
        assert!(write_pid(&directory.path().join("missing/node.pid")).is_err());
    }

    #[test]
    fn address_files_are_compact_sorted_json() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("addresses");
        let addresses = BTreeMap::from([("b".into(), "h:2".into()), ("a".into(), "h:1".into())]);
        write_rpc_addresses(&path, &addresses).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("written"), r#"{"a":"h:1","b":"h:2"}"#);
        write_node_address(Path::new(""), "h:1").expect("nothing to do");
    }
}
