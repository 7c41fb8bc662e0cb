//! A JavaScript application on disk (`app.json` and `src/**`) as the bundle that `set_js_app` takes.
//!
//! The layout is that of application specification 4.1. `bundle.json`, as made by the npm package's build tool, is
//! taken as it is.

use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A source file may not be larger than this, nor all of them together: a proposal must fit into a request.
const SOURCES_BYTES_MAX: u64 = 16 << 20;

/// No application has more modules than this.
const MODULES_MAX: usize = 10_000;

/// Why a folder is not an application.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or folder cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// There is neither `app.json` nor `bundle.json`.
    #[error(
        "{0} is not an application: it has neither app.json (with a folder src beside it) nor bundle.json"
    )]
    NotAnApp(PathBuf),
    /// A JSON file is not JSON.
    #[error("{path}: {reason}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: serde_json::Error,
    },
    /// `bundle.json` has not the two members of a bundle.
    #[error("{0} is not a bundle: it must have the members metadata and modules")]
    NotABundle(PathBuf),
    /// A module's name or text is not UTF-8.
    #[error("{0} is not UTF-8 text")]
    NotText(PathBuf),
    /// Too many or too large.
    #[error("the sources in {0} are larger than {SOURCES_BYTES_MAX} bytes or more than {MODULES_MAX} files")]
    TooLarge(PathBuf),
}

/// Reads the application in `folder`, or the bundle if `folder` is a JSON file.
///
/// # Errors
/// [`BundleError`] names the file.
pub fn load(folder: &Path) -> Result<Value, BundleError> {
    if folder.is_file() {
        return ready_made(folder);
    }
    let metadata = folder.join("app.json");
    let sources = folder.join("src");
    if metadata.is_file() && sources.is_dir() {
        let metadata = read_json(&metadata)?;
        let modules = modules(&sources)?;
        return Ok(json!({"metadata": metadata, "modules": modules}));
    }
    match folder.join("bundle.json") {
        bundle if bundle.is_file() => ready_made(&bundle),
        _ => Err(BundleError::NotAnApp(folder.to_owned())),
    }
}

fn ready_made(path: &Path) -> Result<Value, BundleError> {
    let bundle = read_json(path)?;
    match bundle["metadata"].is_object() && bundle["modules"].is_array() {
        true => Ok(bundle),
        false => Err(BundleError::NotABundle(path.to_owned())),
    }
}

fn read_json(path: &Path) -> Result<Value, BundleError> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|reason| BundleError::Json { path: path.to_owned(), reason })
}

fn read_text(path: &Path) -> Result<String, BundleError> {
    let read = |reason| BundleError::Read { path: path.to_owned(), reason };
    if fs::metadata(path).map_err(read)?.len() > SOURCES_BYTES_MAX {
        return Err(BundleError::TooLarge(path.to_owned()));
    }
    String::from_utf8(fs::read(path).map_err(read)?).map_err(|_| BundleError::NotText(path.to_owned()))
}

/// Every file below `sources`, in the order of its name: the same folder is always the same bundle.
fn modules(sources: &Path) -> Result<Vec<Value>, BundleError> {
    let mut found = Vec::new();
    let mut open = vec![sources.to_owned()];
    let mut total = 0;
    while let Some(folder) = open.pop() {
        let read = |reason| BundleError::Read { path: folder.clone(), reason };
        for entry in fs::read_dir(&folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = read_text(&path)?;
            total += text.len() as u64;
            if total > SOURCES_BYTES_MAX || found.len() == MODULES_MAX {
                return Err(BundleError::TooLarge(sources.to_owned()));
            }
            found.push((module_name(sources, &path)?, text));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(name, text)| json!({"name": name, "module": text})).collect())
}

fn module_name(sources: &Path, path: &Path) -> Result<String, BundleError> {
    let relative = path.strip_prefix(sources).unwrap_or(path);
    let parts: Option<Vec<&str>> = relative.iter().map(std::ffi::OsStr::to_str).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| BundleError::NotText(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_folder_becomes_a_bundle_in_a_fixed_order() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "app.json", r#"{"endpoints":{}}"#);
        write(folder.path(), "src/b.js", "b");
        write(folder.path(), "src/a/z.js", "z");
        let bundle = load(folder.path()).unwrap();
        let expected = json!({
            "metadata": {"endpoints": {}},
            "modules": [{"name": "a/z.js", "module": "z"}, {"name": "b.js", "module": "b"}],
        });
        assert_eq!(bundle, expected);
        // A ready-made bundle, named or found, is the same.
        let other = tempfile::tempdir().unwrap();
        write(other.path(), "bundle.json", &bundle.to_string());
        assert_eq!(load(other.path()).unwrap(), expected);
        assert_eq!(load(&other.path().join("bundle.json")).unwrap(), expected);
    }

    #[test]
    fn what_is_no_application_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap_err().to_string().contains("app.json"));
        write(folder.path(), "bundle.json", "[]");
        assert!(matches!(load(folder.path()), Err(BundleError::NotABundle(_))));
        write(folder.path(), "bundle.json", "{");
        assert!(load(folder.path()).unwrap_err().to_string().contains("line 1"));
        write(folder.path(), "app.json", "{}");
        write(folder.path(), "src/x.js", "");
        fs::write(folder.path().join("src/x.js"), [0xff]).unwrap();
        assert!(matches!(load(folder.path()), Err(BundleError::NotText(_))));
    }
}
