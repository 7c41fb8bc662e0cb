//! Iteration in key order.

use super::{Inner, LEAF_RECORDS, Node, Record, page::Page};

/// Iterates over the records of a map, ascending by key.
#[derive(Clone)]
pub struct Iter<'a> {
    /// Inner pages on the way to `leaf`, each with the index of the child to visit next.
    path: Vec<(&'a Inner, usize)>,
    leaf: Option<&'a Page<LEAF_RECORDS>>,
    at: usize,
    /// No more records than this are left.
    most: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(root: Option<&'a Node>, most: usize, from: &[u8]) -> Iter<'a> {
        let mut iter = Iter { path: Vec::new(), leaf: None, at: 0, most };
        let Some(mut node) = root else { return iter };
        loop {
            match node {
                Node::Inner(inner) => {
                    let child = inner.child(from);
                    iter.path.push((inner, child + 1));
                    node = &inner.children[child];
                }
                Node::Leaf(page) => {
                    iter.leaf = Some(page);
                    iter.at = page.search(from).unwrap_or_else(|at| at);
                    return iter;
                }
            }
        }
    }

    /// Goes to the first record of the next leaf, which may be empty.
    fn advance(&mut self) {
        self.at = 0;
        self.leaf = None;
        while let Some((inner, next)) = self.path.last_mut() {
            let Some(mut node) = inner.children.get(*next).map(|child| &**child) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            loop {
                match node {
                    Node::Inner(inner) => {
                        self.path.push((inner, 1));
                        node = &inner.children[0];
                    }
                    Node::Leaf(page) => {
                        self.leaf = Some(page);
                        return;
                    }
                }
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let leaf = self.leaf?;
            if self.at < leaf.len() {
                self.at += 1;
                self.most = self.most.saturating_sub(1);
                return Some(leaf.record(self.at - 1));
            }
            self.advance();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.most))
    }
}

impl std::fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
