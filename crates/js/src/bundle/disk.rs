//! Bundles in folders and files.

use super::{Bundle, BundleError, BundleModule, Metadata, depth_error};
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_DEPTH_MAX, BUNDLE_MODULES_MAX};
use std::path::Path;

impl Bundle {
    /// Reads a bundle: from a folder with `app.json` and `src`, from a folder with `bundle.json`, or from a file in the
    /// form of `bundle.json`, as `ccf-build-bundle` writes it.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        let built = path.join("bundle.json");
        if path.join("app.json").is_file() && path.join("src").is_dir() {
            Bundle::read_dir(path)
        } else if path.is_file() {
            parse(&read_file(path)?, path)
        } else if built.is_file() {
            parse(&read_file(&built)?, &built)
        } else {
            Err(BundleError::Missing { path: path.to_owned() })
        }
    }

    /// Reads a folder with `app.json` and `src`. Every regular file below `src` is a module; links are followed
    /// by nobody and left out.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read_dir(path: &Path) -> Result<Bundle, BundleError> {
        let app = path.join("app.json");
        let metadata: Metadata = serde_json::from_slice(&read_file(&app)?)
            .map_err(|reason| BundleError::Json { path: app, what: "a description of endpoints", reason })?;
        let mut modules = Vec::new();
        let mut bytes = 0;
        collect(&path.join("src"), "", 0, &mut modules, &mut bytes)?;
        modules.sort_by(|a: &BundleModule, b| a.name.cmp(&b.name));
        let bundle = Bundle { metadata, modules };
        bundle.validate()?;
        Ok(bundle)
    }
}

pub(super) fn parse(json: &[u8], path: &Path) -> Result<Bundle, BundleError> {
    let parsed = serde_json::from_slice::<Bundle>(json);
    let bundle =
        parsed.map_err(|reason| BundleError::Json { path: path.to_owned(), what: "a bundle", reason })?;
    bundle.validate()?;
    Ok(bundle)
}

fn read_file(path: &Path) -> Result<Vec<u8>, BundleError> {
    std::fs::read(path).map_err(|reason| BundleError::Read { path: path.to_owned(), reason })
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    modules: &mut Vec<BundleModule>,
    bytes: &mut u64,
) -> Result<(), BundleError> {
    if depth > BUNDLE_DEPTH_MAX {
        return Err(depth_error());
    }
    let read_error = |reason| BundleError::Read { path: folder.to_owned(), reason };
    for entry in std::fs::read_dir(folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(read_error)?;
        let name = entry.file_name().into_string().map_err(|_| BundleError::Text { path: path.clone() })?;
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() {
            collect(&path, &name, depth + 1, modules, bytes)?;
        } else if kind.is_file() {
            *bytes += entry.metadata().map_err(read_error)?.len();
            if modules.len() >= BUNDLE_MODULES_MAX {
                return Err(BundleError::TooLarge { what: "modules", max: BUNDLE_MODULES_MAX as u64 });
            }
            if *bytes > BUNDLE_BYTES_MAX {
                return Err(BundleError::TooLarge { what: "bytes of source", max: BUNDLE_BYTES_MAX });
            }
            let module = String::from_utf8(read_file(&path)?).map_err(|_| BundleError::Text { path })?;
            modules.push(BundleModule { name, module });
        }
    }
    Ok(())
}
