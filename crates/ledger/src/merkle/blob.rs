//! The serialised tree in `public:ccf.internal.tree` (section 9.4). Its counts are big-endian.
//!
//! ```text
//! offset  size   field
//! 0       8      N, number of leaves
//! 8       8      F, number of the first leaf
//! 16      32 N   leaves F .. F+N-1
//! then    32     for each set bit b of F, lowest first: root of the 2^b leaves from (F >> (b+1)) << (b+1)
//! ```

use ccf_types::Digest;

use super::tree::{MerkleError, MerkleTree};

/// A parsed blob that borrows its bytes: the shape is checked, nothing is hashed yet.
#[derive(Clone, Copy, Debug)]
pub struct TreeBlob<'a> {
    first: u64,
    leaves: &'a [[u8; 32]],
    extras: &'a [[u8; 32]],
}

/// The bytes are not a serialised tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Shorter than its two counts, or not as long as they say.
    #[error("the tree blob has {actual} bytes where its counts demand another size")]
    Size {
        /// Bytes there are.
        actual: usize,
    },
    /// No leaf: nothing could be proved, and no root computed (section 10.5).
    #[error("the tree blob holds no leaf")]
    NoLeaves,
    /// Beyond any sequence number.
    #[error("the tree blob begins at the impossible leaf {0}")]
    First(u64),
}

impl<'a> TreeBlob<'a> {
    /// Checks the shape.
    ///
    /// # Errors
    /// [`BlobError`] if sizes and counts disagree or there is no leaf.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let wrong_size = BlobError::Size { actual: bytes.len() };
        let (count, rest) = bytes.split_first_chunk::<8>().ok_or(wrong_size)?;
        let (first, rest) = rest.split_first_chunk::<8>().ok_or(wrong_size)?;
        let (count, first) = (u64::from_be_bytes(*count), u64::from_be_bytes(*first));
        if first > crate::limits::SEQNO_MAX {
            return Err(BlobError::First(first));
        }
        let (hashes, odd) = rest.as_chunks::<32>();
        let extras = u64::from(first.count_ones());
        if !odd.is_empty() || count.checked_add(extras) != Some(hashes.len() as u64) {
            return Err(wrong_size);
        }
        if count == 0 {
            return Err(BlobError::NoLeaves);
        }
        let (leaves, extras) = hashes.split_at(hashes.len() - extras as usize);
        Ok(Self { first, leaves, extras })
    }

    /// The number of the first leaf held.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many leaves the whole tree has: the seqno of the signature entry that carries the blob.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.first + self.leaves.len() as u64
    }

    /// Never: a blob without leaves is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The leaves held, from [`first`](Self::first) on.
    pub fn leaves(&self) -> impl Iterator<Item = Digest> + Clone + 'a {
        self.leaves.iter().map(|bytes| Digest(*bytes))
    }

    /// The leaf of entry `index`, if held.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.leaves.get(at).map(|bytes| Digest(*bytes))
    }

    /// Builds the tree, which proves every leaf from [`first`](Self::first) on.
    #[must_use]
    pub fn to_tree(&self) -> MerkleTree {
        let mut tree = MerkleTree::with_left_edge(self.first, self.extras.iter().map(|bytes| Digest(*bytes)));
        for leaf in self.leaves() {
            tree.append(leaf);
        }
        tree
    }

    /// The first leaf of which both this and `tree` hold one, and not the same.
    #[must_use]
    pub fn first_difference(&self, tree: &MerkleTree) -> Option<u64> {
        let differs = |(leaf, index)| tree.leaf(index).is_some_and(|other| other != leaf);
        self.leaves().zip(self.first..).find(|pair| differs(*pair)).map(|(_, index)| index)
    }

    /// Whether this is a serialisation of exactly the given tree: compared without hashing if the tree
    /// still holds what the blob does, by roots otherwise.
    #[must_use]
    pub fn matches(&self, tree: &MerkleTree) -> bool {
        if self.len() != tree.len() {
            return false;
        }
        if self.first < tree.first() {
            return self.to_tree().root() == tree.root();
        }
        self.leaves().zip(self.first..).all(|(leaf, index)| tree.leaf(index) == Some(leaf))
            && self.extras.iter().zip(edge(self.first)).all(|(extra, (k, n))| tree.node(k, n).0 == *extra)
    }
}

impl MerkleTree {
    /// The serialised form from the first leaf held: what a signature entry carries if the tree is flushed to
    /// the committed seqno.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        self.to_blob_from(self.first()).expect("the first leaf is held")
    }

    /// The serialised form from leaf `first`, for a tree that keeps more than it publishes.
    ///
    /// # Errors
    /// [`MerkleError`] if leaf `first` is not held.
    pub fn to_blob_from(&self, first: u64) -> Result<Vec<u8>, MerkleError> {
        if first < self.first() || first >= self.len() {
            return Err(MerkleError { index: first, first: self.first(), last: self.len() - 1 });
        }
        let count = self.len() - first;
        let hashes = usize::try_from(count).expect("held in memory") + first.count_ones() as usize;
        let mut blob = Vec::with_capacity(16 + 32 * hashes);
        blob.extend_from_slice(&count.to_be_bytes());
        blob.extend_from_slice(&first.to_be_bytes());
        for index in first..self.len() {
            blob.extend_from_slice(self.node(0, index).as_ref());
        }
        for (k, number) in edge(first) {
            blob.extend_from_slice(self.node(k, number).as_ref());
        }
        Ok(blob)
    }
}

/// The nodes on the left edge of a tree that begins at leaf `first`, as (level, number), lowest level first.
fn edge(first: u64) -> impl Iterator<Item = (u32, u64)> {
    (0..u64::BITS).filter(move |b| (first >> b) & 1 == 1).map(move |b| (b, (first >> b) - 1))
}
