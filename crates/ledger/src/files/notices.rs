//! What opening and mending ledger directories had to do, for the log.

use super::{FileError, directory::set_aside};
use ccf_types::SeqNo;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What opening the directories had to do, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file was set aside under a name that is never read.
    SetAside {
        /// Its new path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// An incomplete file held no whole entry and was deleted.
    DeletedEmpty(PathBuf),
    /// An incomplete file was cut after its last whole entry.
    Cut {
        /// The file.
        path: PathBuf,
        /// Its last entry.
        after: SeqNo,
        /// Where that ends.
        offset: u64,
        /// How much was cut off.
        bytes: u64,
        /// Where that is kept, if it was more than the rest of an interrupted write.
        kept: Option<PathBuf>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::SetAside { path, reason } => write!(f, "{} was set aside: {reason}", path.display()),
            Notice::DeletedEmpty(path) => write!(f, "{} held no whole entry and was deleted", path.display()),
            Notice::Cut { path, after, offset, bytes, kept } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: {bytes} bytes at offset {offset}, after entry {after}, are no whole entry and were cut off"
                )?;
                match kept {
                    Some(kept) => write!(f, "; they are kept in {}", kept.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Gives a file a name that is never read, and says so.
pub(super) fn aside(notices: &mut Vec<Notice>, path: &Path, reason: &'static str) -> Result<(), FileError> {
    let path = set_aside(path)?;
    notices.push(Notice::SetAside { path, reason });
    Ok(())
}
