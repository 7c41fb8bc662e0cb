//! What is sent: files, and beginnings of files, in pieces.

use super::range::ByteRange;
use bytes::Bytes;
use ccf_endpoints::BodySource;
use ccf_ledger::files::{ChunkPrefix, PrefixName};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

/// Something that never changes, and is never in memory as a whole.
#[derive(Clone)]
pub(super) enum Content {
    /// A file, and its length.
    File(Arc<File>, u64),
    /// The committed beginning of a ledger file.
    Prefix(Arc<ChunkPrefix>, PrefixName),
}

impl Content {
    /// Opens a file; none if there is no such file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Option<Content>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then(|| Content::File(Arc::new(file), metadata.len())))
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Content::File(_, bytes) => *bytes,
            Content::Prefix(prefix, _) => prefix.bytes(),
        }
    }

    /// A part, which lies within.
    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        match self {
            Content::File(file, _) => file.read_exact_at(&mut bytes, at)?,
            Content::Prefix(prefix, _) => prefix.read_exact_at(&mut bytes, at)?,
        }
        Ok(bytes.into())
    }
}

/// A part of a content, which lies within it.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) content: Content,
    pub(super) range: ByteRange,
}

impl BodySource for Part {
    fn bytes(&self) -> u64 {
        self.range.len()
    }

    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        self.content.read(self.range.start + at, len)
    }
}
