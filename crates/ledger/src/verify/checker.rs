//! The verifier's judgement, entry by entry.

use ccf_crypto::key::PublicKey;
use ccf_types::{Digest, SeqNo, TxId};

use super::{
    Level, Reason, ServiceIdentity,
    tables::{Table, Tables, has_key},
};
use crate::{
    entry::{Entry, Flags, Record},
    limits::{UNROOTED_LEAVES_MAX, VERIFIER_LEAVES_KEPT},
    merkle::{MerkleTree, TreeBlob},
    signature::{NodeSignature, ServiceSignature, SignatureCollector, SignatureError, SignatureValues},
};

/// Judges the entries of a ledger, given in order.
#[derive(Debug)]
pub struct LedgerChecker {
    level: Level,
    last: TxId,
    tree: Tree,
    tables: Tables,
    previous_signature: SeqNo,
}

/// The tree so far.
#[derive(Debug)]
enum Tree {
    /// From the first entry.
    Rooted(MerkleTree),
    /// The ledger begins in the middle: leaves from there on, until a signature brings the tree before them.
    Unrooted { first: SeqNo, leaves: Vec<Digest> },
}

/// A signature that must verify: expensive, independent of everything else, fit for another thread.
#[derive(Debug)]
pub struct SignatureCheck {
    tx_id: TxId,
    root: Digest,
    node: Option<(PublicKey, NodeSignature)>,
    service: Option<(PublicKey, ServiceSignature)>,
}

impl SignatureCheck {
    /// The check that the signature transaction `tx_id` signs `root` with these keys, which the caller knows to be
    /// those of the signers.
    #[must_use]
    pub fn new(
        tx_id: TxId,
        root: Digest,
        node: Option<(PublicKey, NodeSignature)>,
        service: Option<(PublicKey, ServiceSignature)>,
    ) -> Self {
        Self { tx_id, root, node, service }
    }

    /// Verifies.
    ///
    /// # Errors
    /// Which of the signatures does not hold.
    pub fn run(&self) -> Result<(), SignatureError> {
        if let Some((key, signature)) = &self.node {
            signature.verify(key, &self.root)?;
        }
        if let Some((key, signature)) = &self.service {
            signature.verify(key, self.tx_id, &self.root)?;
        }
        Ok(())
    }
}

/// What a good entry was.
#[derive(Debug)]
pub enum Judged {
    /// An ordinary transaction.
    Transaction,
    /// A signature transaction whose root is right; at [`Level::Full`] with what is left to check.
    Signature(Option<Box<SignatureCheck>>),
}

impl LedgerChecker {
    /// A checker for a ledger whose first entry is `first`.
    #[must_use]
    pub fn new(level: Level, first: SeqNo) -> Self {
        let tree = if first == SeqNo(1) {
            Tree::Rooted(MerkleTree::new())
        } else {
            Tree::Unrooted { first, leaves: Vec::new() }
        };
        let last = TxId { seqno: first.previous(), ..TxId::default() };
        Self { level, last, tree, tables: Tables::default(), previous_signature: SeqNo::NONE }
    }

    /// Judges the next entry. `leaf` is its leaf; at [`Level::Headers`] any value will do.
    ///
    /// # Errors
    /// The [`Reason`] why the ledger ends to be valid here.
    pub fn entry(&mut self, entry: &Entry<'_>, leaf: Digest) -> Result<Judged, Reason> {
        let tx_id = entry.tx_id();
        if tx_id.seqno != self.last.seqno.next() {
            return Err(Reason::WrongPlace { found: tx_id });
        }
        if tx_id.view < self.last.view {
            return Err(Reason::ViewFalls { before: self.last.view.0, found: tx_id.view.0 });
        }
        let signature = self.records(entry)?;
        if entry.flags().contains(Flags::CHUNK_AFTER) && signature.is_none() {
            return Err(Reason::ChunkEnd);
        }
        let judged = match signature {
            Some(values) => Judged::Signature(self.signature(tx_id, &values)?),
            None => Judged::Transaction,
        };
        if self.level >= Level::Merkle {
            self.append(leaf)?;
        }
        self.last = tx_id;
        Ok(judged)
    }

    /// The last entry judged good.
    #[must_use]
    pub fn last(&self) -> TxId {
        self.last
    }

    /// The identities of the service, in order; known at [`Level::Full`].
    #[must_use]
    pub fn into_services(self) -> Vec<ServiceIdentity> {
        self.tables.into_services()
    }

    /// Walks the public records once: tables of interest, and whether this is a signature transaction.
    fn records<'a>(&mut self, entry: &Entry<'a>) -> Result<Option<SignatureValues<'a>>, Reason> {
        let mut collector = SignatureCollector::default();
        let mut table = None;
        for record in entry.public_records() {
            let record = record?;
            collector.record(&record);
            match record {
                Record::Map { name, .. } => {
                    table = if self.level == Level::Full { Table::of(name) } else { None }
                }
                Record::Write { key, value } => {
                    if let Some(table) = table {
                        self.tables.write(table, entry.seqno(), key, value)?;
                    }
                }
                Record::Remove { key } => {
                    if let Some(table) = table {
                        self.tables.remove(table, key);
                    }
                }
            }
        }
        Ok(collector.finish(entry.has_private_domain())?)
    }

    /// Section 10.5, all but the signatures themselves.
    fn signature(
        &mut self,
        tx_id: TxId,
        values: &SignatureValues<'_>,
    ) -> Result<Option<Box<SignatureCheck>>, Reason> {
        if self.level == Level::Headers {
            return Ok(None);
        }
        let node = values.signatures.map(NodeSignature::from_json).transpose()?;
        let service = values.cose_signatures.map(ServiceSignature::from_json).transpose()?;
        if let Some(node) = &node
            && node.tx_id != tx_id
        {
            return Err(SignatureError::OtherTransaction(node.tx_id).into());
        }
        let blob = TreeBlob::parse(values.tree)?;
        // Whether this transaction signs `root`, as far as it can be told at this level.
        let service_key = if self.level == Level::Full { self.tables.service().ok() } else { None };
        let signs = |root: &Digest| match (&node, &service, &service_key) {
            (Some(node), _, _) => node.root == *root,
            (None, Some(service), Some(key)) => service.verify(key, tx_id, root).is_ok(),
            (None, _, _) => false,
        };
        let root = self.root(tx_id.seqno, &blob, signs)?;
        if let Some(node) = &node
            && node.root != root
        {
            return Err(Reason::Root { recorded: node.root, computed: root });
        }
        if self.level < Level::Full {
            return Ok(None);
        }
        let node = match node {
            Some(node) => {
                let key = self.tables.signer(node.node.as_str())?;
                if node.cert.as_deref().is_some_and(|cert| !has_key(cert, &key)) {
                    return Err(Reason::OtherCertificate(node.node.to_string()));
                }
                Some((key, node))
            }
            None => None,
        };
        let service = match service {
            Some(service) => Some((self.tables.service()?, service)),
            None => None,
        };
        Ok(Some(Box::new(SignatureCheck { tx_id, root, node, service })))
    }

    /// The root of the tree before this signature, of which `blob` is a serialised form. `signs` says whether the
    /// transaction signs a root.
    fn root(
        &mut self,
        seqno: SeqNo,
        blob: &TreeBlob<'_>,
        signs: impl Fn(&Digest) -> bool,
    ) -> Result<Digest, Reason> {
        let previous = std::mem::replace(&mut self.previous_signature, seqno);
        let begins = match &self.tree {
            Tree::Unrooted { first, .. } => *first,
            Tree::Rooted(_) => SeqNo(1),
        };
        let other_tree = |differs| {
            let from = previous.max(begins);
            match differs {
                Some(entry) if signs(&blob.to_tree().root()) => Reason::Altered { entry, signature: seqno },
                differs => Reason::OtherTree { from, to: seqno, differs },
            }
        };
        if blob.len() != seqno.0 {
            return Err(Reason::AlteredTree);
        }
        match &mut self.tree {
            Tree::Rooted(tree) => {
                if !blob.matches(tree) {
                    if signs(&tree.root()) {
                        return Err(Reason::AlteredTree);
                    }
                    return Err(other_tree(blob.first_difference(tree).map(SeqNo)));
                }
                let keep = previous.0.min(blob.first()).max(seqno.0.saturating_sub(VERIFIER_LEAVES_KEPT));
                tree.flush(keep);
                Ok(tree.root())
            }
            Tree::Unrooted { first, leaves } => {
                let overlap = blob.first().saturating_sub(first.0);
                let skip = first.0.saturating_sub(blob.first());
                let ours = leaves.iter().skip(usize::try_from(overlap).unwrap_or(usize::MAX));
                let theirs = blob.leaves().skip(usize::try_from(skip).unwrap_or(usize::MAX));
                if !theirs.clone().eq(ours.clone().copied()) {
                    let differing = theirs.zip(ours).position(|(theirs, ours)| theirs != *ours);
                    let compared_from = first.0.max(blob.first());
                    return Err(other_tree(differing.map(|at| SeqNo(compared_from + at as u64))));
                }
                let tree = blob.to_tree();
                let root = tree.root();
                self.tree = Tree::Rooted(tree);
                Ok(root)
            }
        }
    }

    fn append(&mut self, leaf: Digest) -> Result<(), Reason> {
        match &mut self.tree {
            Tree::Rooted(tree) => tree.append(leaf),
            Tree::Unrooted { leaves, .. } if leaves.len() as u64 >= UNROOTED_LEAVES_MAX => {
                return Err(Reason::NoFirstSignature(UNROOTED_LEAVES_MAX));
            }
            Tree::Unrooted { leaves, .. } => leaves.push(leaf),
        }
        Ok(())
    }
}
