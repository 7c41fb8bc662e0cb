//! A persistent ordered map from byte strings to versioned byte strings: a B+ tree of compact pages.
//!
//! Cloning a tree shares all of it. A change walks one path from the root and copies those pages of it that somebody else
//! still shares; a tree that nobody shares is changed in place without copying. Records live inside the leaf
//! pages, so a key costs its bytes and some thirty more, copying a leaf is a copy of memory, and no
//! reference count is touched but those of the pages on the path.

mod iter;
mod page;

use crate::SmallBytes;
use ccf_types::SeqNo;
pub use iter::Iter;
use page::Page;
use std::sync::Arc;

/// A record of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The transaction that last wrote it.
    pub version: SeqNo,
    /// The value.
    pub value: &'a [u8],
}

/// What a write replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) version: SeqNo,
    pub(crate) value: SmallBytes,
}

/// The map.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    root: Option<Arc<Node>>,
    len: usize,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "one inner page stands above some forty leaves")]
enum Node {
    Leaf(Page<LEAF_RECORDS>),
    Inner(Inner),
}

/// Invariant: `children.len() == separators.len() + 1`; keys below child `i + 1` are not less than separator `i`, keys
/// below child `i` are less.
#[derive(Clone)]
struct Inner {
    separators: Page<INNER_SEPARATORS>,
    children: Vec<Arc<Node>>,
}

/// A page that reaches this many records is split.
const LEAF_RECORDS: usize = 64;
/// Fewer than in a leaf: copying an inner page touches the reference count of each child.
const INNER_SEPARATORS: usize = 32;

/// A new right sibling and the key that divides it from the left one.
type Split = (SmallBytes, Arc<Node>);

impl Tree {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The record of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(page) => return page.search(key).ok().map(|at| page.record(at)),
                Node::Inner(inner) => node = &inner.children[inner.child(key)],
            }
        }
    }

    /// Writes a record; answers what it replaced.
    pub(crate) fn put(&mut self, key: &[u8], version: SeqNo, value: &SmallBytes) -> Option<Previous> {
        let root = self.root.get_or_insert_with(|| Arc::new(Node::Leaf(Page::new())));
        let (previous, split) = put(root, key, version, value);
        if let Some((separator, right)) = split {
            let mut separators = Page::new();
            separators.insert(0, &separator, SeqNo::NONE, &SmallBytes::EMPTY);
            let left = root.clone();
            *root = Arc::new(Node::Inner(Inner { separators, children: vec![left, right] }));
        }
        self.len += usize::from(previous.is_none());
        previous
    }

    /// Removes a record; answers what it was. Absent keys copy nothing.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Previous> {
        self.get(key)?;
        let root = self.root.as_mut()?;
        let removed = remove(root, key)?;
        self.len -= 1;
        while let Node::Inner(inner) = &**root
            && let [only] = &*inner.children
        {
            *root = only.clone();
        }
        if self.len == 0 {
            self.root = None;
        }
        Some(removed)
    }

    /// All records, ascending by key.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter::new(self.root.as_deref(), self.len, &[])
    }

    /// The records from `key` on, ascending by key.
    pub(crate) fn iter_from(&self, key: &[u8]) -> Iter<'_> {
        Iter::new(self.root.as_deref(), self.len, key)
    }
}

impl Inner {
    /// Index of the child that a key belongs to.
    fn child(&self, key: &[u8]) -> usize {
        match self.separators.search(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }
}

fn put(
    node: &mut Arc<Node>,
    key: &[u8],
    version: SeqNo,
    value: &SmallBytes,
) -> (Option<Previous>, Option<Split>) {
    match Arc::make_mut(node) {
        Node::Leaf(page) => match page.search(key) {
            Ok(at) => (Some(page.replace(at, version, value)), None),
            Err(at) => {
                page.insert(at, key, version, value);
                (None, page.is_full().then(|| split_leaf(page, at)))
            }
        },
        Node::Inner(inner) => {
            let at = inner.child(key);
            let (previous, split) = put(&mut inner.children[at], key, version, value);
            let Some((separator, right)) = split else { return (previous, None) };
            inner.separators.insert(at, &separator, SeqNo::NONE, &SmallBytes::EMPTY);
            inner.children.insert(at + 1, right);
            (previous, inner.separators.is_full().then(|| split_inner(inner, at)))
        }
    }
}

/// Splits a full leaf in the middle, or, if the record that filled it is its last, before that one: keys that come in
/// ascending order then leave full pages behind.
fn split_leaf(page: &mut Page<LEAF_RECORDS>, inserted: usize) -> Split {
    let len = page.len();
    let middle = if inserted + 1 == len { inserted } else { len / 2 };
    let separator = shortest_between(page.record(middle - 1).key, page.record(middle).key);
    let right = page.part(middle..len);
    *page = page.part(0..middle);
    (separator, Arc::new(Node::Leaf(right)))
}

fn split_inner(inner: &mut Inner, inserted: usize) -> Split {
    let len = inner.separators.len();
    let middle = if inserted + 1 == len { len - 2 } else { len / 2 };
    let separator = SmallBytes::copy_from(inner.separators.record(middle).key);
    let separators = inner.separators.part(middle + 1..len);
    inner.separators = inner.separators.part(0..middle);
    let mut children = Vec::with_capacity(INNER_SEPARATORS + 1);
    children.extend(inner.children.drain(middle + 1..));
    (separator, Arc::new(Node::Inner(Inner { separators, children })))
}

/// The shortest key that is greater than `left` and not greater than `right`.
fn shortest_between(left: &[u8], right: &[u8]) -> SmallBytes {
    let common = page::common_prefix(left, right);
    SmallBytes::copy_from(right.get(..=common).unwrap_or(right))
}

fn remove(node: &mut Arc<Node>, key: &[u8]) -> Option<Previous> {
    match Arc::make_mut(node) {
        Node::Leaf(page) => page.search(key).ok().map(|at| page.remove(at)),
        Node::Inner(inner) => {
            let at = inner.child(key);
            let removed = remove(&mut inner.children[at], key)?;
            if is_sparse(&inner.children[at]) {
                // With the right neighbour, else with the left one.
                if !merge_with_next(inner, at)
                    && let Some(left) = at.checked_sub(1)
                {
                    merge_with_next(inner, left);
                }
            }
            Some(removed)
        }
    }
}

fn is_sparse(node: &Node) -> bool {
    match node {
        Node::Leaf(page) => page.len() < LEAF_RECORDS / 4,
        Node::Inner(inner) => inner.children.len() < INNER_SEPARATORS / 4,
    }
}

/// Joins child `at` with the one after it, if both fit well in one page or one of them is an empty leaf.
fn merge_with_next(inner: &mut Inner, at: usize) -> bool {
    let (Some(left), Some(right)) = (inner.children.get(at), inner.children.get(at + 1)) else {
        return false;
    };
    let joined = match (&**left, &**right) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            let fits = left.len() + right.len() <= LEAF_RECORDS * 3 / 4;
            (fits || left.len() == 0 || right.len() == 0).then(|| Node::Leaf(left.joined(None, right)))
        }
        (Node::Inner(left), Node::Inner(right)) => {
            let fits = left.children.len() + right.children.len() <= INNER_SEPARATORS * 3 / 4;
            fits.then(|| {
                let between = inner.separators.record(at).key;
                let mut children = Vec::with_capacity(INNER_SEPARATORS + 1);
                children.extend(left.children.iter().chain(&right.children).cloned());
                let separators = left.separators.joined(Some(between), &right.separators);
                Node::Inner(Inner { separators, children })
            })
        }
        _ => None, // all leaves are at the same depth
    };
    let Some(joined) = joined else { return false };
    inner.separators.remove(at);
    inner.children.remove(at + 1);
    inner.children[at] = Arc::new(joined);
    true
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, (SeqNo, Vec<u8>)>;

    fn check(tree: &Tree, model: &Model) {
        assert_eq!(tree.len(), model.len());
        let records = tree.iter().map(|r| (r.key.to_vec(), (r.version, r.value.to_vec())));
        assert!(records.eq(model.clone()));
    }

    /// Keys that collide in every way that matters: shared prefixes longer than a page notes, zero bytes, all
    /// lengths, the empty key.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let prefix = prop_oneof![Just(0_usize), Just(3), Just(9), Just(23), Just(24), Just(40), Just(600)];
        (prefix, prop::collection::vec(0_u8..3, 0..6)).prop_map(|(prefix, rest)| {
            let mut key = vec![b'p'; prefix];
            key.extend(rest);
            key
        })
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..30),
            1 => prop::collection::vec(any::<u8>(), 480..560)
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_an_ordered_map(
            operations in prop::collection::vec((key(), prop::option::weighted(0.6, value()), 0..50), 0..800)
        ) {
            let (mut tree, mut model) = (Tree::default(), Model::new());
            let mut kept: Vec<(Tree, Model)> = Vec::new();
            for (at, (key, value, keep)) in operations.into_iter().enumerate() {
                let version = SeqNo(at as u64);
                let (replaced, expected) = match value {
                    Some(value) => (
                        tree.put(&key, version, &SmallBytes::copy_from(&value)),
                        model.insert(key.clone(), (version, value)),
                    ),
                    None => (tree.remove(&key), model.remove(&key)),
                };
                let replaced = replaced.map(|previous| (previous.version, previous.value.to_vec()));
                prop_assert_eq!(replaced, expected);
                let found = tree.get(&key).map(|record| (record.version, record.value.to_vec()));
                prop_assert_eq!(found.as_ref(), model.get(&key));
                if keep == 0 {
                    kept.push((tree.clone(), model.clone()));
                    let from: Vec<_> = tree.iter_from(&key).map(|record| record.key.to_vec()).collect();
                    prop_assert!(from.iter().eq(model.range(key..).map(|(key, _)| key)));
                }
            }
            check(&tree, &model);
            for (tree, model) in kept {
                check(&tree, &model);
            }
        }
    }

    /// Pages split, merge and vanish through several levels, in every order of keys.
    #[test]
    fn grows_and_shrinks() {
        let count: u64 = 60_000;
        for order in 0..3_u64 {
            let number = |i: u64| match order {
                0 => i,
                1 => count - 1 - i,
                _ => i * 7919 % count,
            };
            let key = |i: u64| number(i).to_be_bytes();
            let mut tree = Tree::default();
            for i in 0..count {
                assert!(tree.put(&key(i), SeqNo(i), &"value".into()).is_none());
            }
            let kept = tree.clone();
            assert!(tree.iter().map(|record| record.key).is_sorted());
            for i in 0..count {
                assert_eq!(tree.remove(&key(i)).map(|previous| previous.version), Some(SeqNo(i)));
            }
            assert_eq!((tree.len(), tree.iter().count()), (0, 0));
            assert_eq!((kept.len(), kept.iter().count()), (60_000, 60_000));
        }
    }

    /// Values that grow and shrink in place do not leave garbage behind.
    #[test]
    fn memory_is_bounded_under_rewrites() {
        let mut tree = Tree::default();
        for round in 0..10_000_usize {
            let value = vec![7; round * 31 % 400];
            tree.put(&[round as u8 % 50], SeqNo(1), &value.into());
        }
        let Some(Node::Leaf(page)) = tree.root.as_deref() else { panic!("50 records are one page") };
        assert!(page.capacity() < 2 * 50 * 400, "{}", page.capacity());
    }
}
