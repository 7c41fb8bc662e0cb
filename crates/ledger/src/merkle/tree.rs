//! The tree itself: every complete subtree right of the flushed part is kept, by level.
//!
//! Invariants, with `n` leaves and `first` the first index for which proofs are available: level `k` holds the
//! roots of the complete subtrees of `2^k` leaves with numbers `base .. n >> k`, where `base` is
//! `(first >> k)` rounded down to an even number. So the left siblings needed by proofs and by the
//! serialised form are exactly those kept.

use ccf_types::{Digest, SeqNo};
use std::collections::VecDeque;

use super::proof::{Proof, ProofStep};
use crate::evidence::hash_pair;

/// A Merkle tree whose leaf `i` is that of entry `i`; leaf 0 is 32 zero bytes.
///
/// Appending costs one inner hash amortised, a root or a proof `O(log n)`. Memory: two digests for each
/// leaf from [`first`](Self::first) on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleTree {
    first: u64,
    len: u64,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    base: u64,
    roots: VecDeque<Digest>,
}

/// The index lies outside what the tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaf {index} is outside the leaves {first} to {last} held by the Merkle tree")]
pub struct MerkleError {
    /// What was asked for.
    pub index: u64,
    /// The first leaf held.
    pub first: u64,
    /// The last leaf held.
    pub last: u64,
}

impl Default for MerkleTree {
    fn default() -> Self {
        Self::new()
    }
}

impl MerkleTree {
    /// The tree of an empty ledger: leaf 0 alone.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self { first: 0, len: 0, levels: Vec::with_capacity(40) };
        tree.append(Digest::ZERO);
        tree
    }

    /// A tree flushed to `first` and without a leaf yet. `extras` are the roots left of `first`, one for
    /// each set bit of `first`, lowest bit first. The caller appends at least one leaf.
    pub(super) fn with_left_edge(first: u64, extras: impl Iterator<Item = Digest>) -> Self {
        let mut extras = extras;
        let mut levels = Vec::with_capacity(40);
        for k in 0..u64::BITS - first.leading_zeros() {
            let mut level = Level { base: even(first >> k), roots: VecDeque::new() };
            if (first >> k) & 1 == 1 {
                level.roots.extend(extras.next());
            }
            levels.push(level);
        }
        Self { first, len: first, levels }
    }

    /// Adds the leaf of the next entry.
    pub fn append(&mut self, leaf: Digest) {
        let mut number = self.len;
        self.len += 1;
        let mut node = leaf;
        let mut k = 0;
        loop {
            if k == self.levels.len() {
                self.levels.push(Level::default());
            }
            let roots = &mut self.levels[k].roots;
            if number & 1 == 0 {
                roots.push_back(node);
                return;
            }
            let left = *roots.back().expect("the left sibling of an odd node is kept, see the invariants");
            roots.push_back(node);
            node = hash_pair(&left, &node);
            number >>= 1;
            k += 1;
        }
    }

    /// The root over all leaves. The signature at seqno `s` signs this root of a tree with `s` leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root_of(self.len).expect("the whole tree is held")
    }

    /// The root over the first `len` leaves, an earlier state of this tree.
    ///
    /// # Errors
    /// [`MerkleError`] unless `first < len <= self.len()`.
    pub fn root_of(&self, len: u64) -> Result<Digest, MerkleError> {
        if len <= self.first || len > self.len {
            return Err(self.outside(len.saturating_sub(1)));
        }
        let mut root = None;
        for k in 0..u64::BITS - len.leading_zeros() {
            root = self.partial(k, len, root);
        }
        Ok(root.expect("a tree has at least one leaf"))
    }

    /// Forgets what is only needed for proofs of leaves below `index`; beyond the last leaf it stops at the
    /// last one; at or below [`first`](Self::first) it does nothing.
    pub fn flush(&mut self, index: u64) {
        let first = index.min(self.len - 1);
        if first <= self.first {
            return;
        }
        self.first = first;
        for (k, level) in self.levels.iter_mut().enumerate() {
            let base = even(first >> k);
            let dropped = usize::try_from(base - level.base).unwrap_or(usize::MAX).min(level.roots.len());
            level.roots.drain(..dropped);
            level.base = base;
        }
    }

    /// Removes all leaves after `index`; nothing if there are none.
    ///
    /// # Errors
    /// [`MerkleError`] below [`first`](Self::first).
    pub fn retract(&mut self, index: u64) -> Result<(), MerkleError> {
        if index < self.first {
            return Err(self.outside(index));
        }
        if index >= self.len - 1 {
            return Ok(());
        }
        self.len = index + 1;
        for (k, level) in self.levels.iter_mut().enumerate() {
            let kept = (self.len >> k).saturating_sub(level.base);
            level.roots.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// The path from leaf `index` to the root over all leaves.
    ///
    /// # Errors
    /// [`MerkleError`] if the leaf is not held.
    pub fn proof(&self, index: u64) -> Result<Proof, MerkleError> {
        self.proof_of(index, self.len)
    }

    /// The path from leaf `index` to the root over the first `len` leaves: what proves entry `index` under
    /// the signature at seqno `len`.
    ///
    /// # Errors
    /// [`MerkleError`] unless `first <= index < len <= self.len()`.
    pub fn proof_of(&self, index: u64, len: u64) -> Result<Proof, MerkleError> {
        if index < self.first || index >= len || len > self.len {
            return Err(self.outside(index));
        }
        let depth = u64::BITS - (len - 1).leading_zeros();
        let mut steps = Vec::with_capacity(depth as usize);
        let mut rest = None;
        for k in 0..depth {
            let (number, complete) = (index >> k, len >> k);
            let sibling = number ^ 1;
            if number & 1 == 1 {
                steps.push(ProofStep::Left(self.node(k, sibling)));
            } else if sibling < complete {
                steps.push(ProofStep::Right(self.node(k, sibling)));
            } else if sibling == complete {
                steps.extend(rest.map(ProofStep::Right));
            }
            rest = self.partial(k, len, rest);
        }
        Ok(Proof { steps })
    }

    /// How many leaves the tree has, the flushed ones included: the seqno of the next entry.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: leaf 0 is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The seqno of the newest leaf.
    #[must_use]
    pub fn last_seqno(&self) -> SeqNo {
        SeqNo(self.len - 1)
    }

    /// The first leaf for which proofs can be made.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The leaf of entry `index`, if held.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        (index >= self.first && index < self.len).then(|| self.node(0, index))
    }

    /// The root of the complete subtree `number` of `2^k` leaves, which the caller knows to be kept.
    pub(super) fn node(&self, k: u32, number: u64) -> Digest {
        let level = &self.levels[k as usize];
        let at = usize::try_from(number - level.base).expect("the kept part fits memory");
        level.roots[at]
    }

    /// The root over the leaves beyond the complete subtrees of level `k + 1`, from that beyond level `k`.
    fn partial(&self, k: u32, len: u64, rest: Option<Digest>) -> Option<Digest> {
        let complete = len >> k;
        if complete & 1 == 0 {
            return rest;
        }
        let node = self.node(k, complete - 1);
        Some(rest.map_or(node, |rest| hash_pair(&node, &rest)))
    }

    fn outside(&self, index: u64) -> MerkleError {
        MerkleError { index, first: self.first, last: self.len - 1 }
    }
}

fn even(number: u64) -> u64 {
    number & !1
}
