//! Which snapshot a node begins with, and how it becomes its state (ledger specification, sections 14.5 and 14.6).

use super::view_starts;
use ccf_crypto::key::PublicKey;
use ccf_kv::{Action, State, StateError, Store};
use ccf_ledger::{
    files::{FileError, SnapshotPath, ignore_snapshot, list_snapshots},
    merkle::{BlobError, MerkleTree, TreeBlob},
    secrets::LedgerSecrets,
    signature::{NodeSignature, ServiceSignature, SignatureError},
    snapshot::{Snapshot, SnapshotError, SnapshotTrust, SnapshotVerifyError, verify_snapshot},
    tables,
};
use ccf_types::{MapName, SeqNo, TxId};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// A snapshot that was verified. Its content stays in the file, which is open from then on.
#[derive(Debug)]
pub struct StartupSnapshot {
    path: SnapshotPath,
    snapshot: Snapshot<File>,
}

/// What a node is after a snapshot was installed.
#[derive(Debug)]
pub struct Installed {
    /// The last transaction in it: a signature.
    pub last: TxId,
    /// The tree up to that transaction.
    pub tree: MerkleTree,
    /// The first transaction of each view that has any, oldest first.
    pub view_history: Vec<TxId>,
    /// What local hooks want done.
    pub actions: Vec<Action>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartupError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is malformed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its receipt does not hold.
    #[error(transparent)]
    Verify(#[from] SnapshotVerifyError),
    /// Its maps make no state.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no Merkle tree in it, or it is not the one before the snapshot's transaction.
    #[error("the snapshot has no Merkle tree of its transaction{}", .0.map(|e| format!(": {e}")).unwrap_or_default())]
    Tree(Option<BlobError>),
    /// There is no signature in it.
    #[error("the snapshot has no signature: {0}")]
    Signature(String),
    /// The name says another seqno than the content.
    #[error("the snapshot is of transaction {0}, not of the one in its name")]
    OtherSeqNo(SeqNo),
}

impl From<SignatureError> for StartupError {
    fn from(error: SignatureError) -> Self {
        StartupError::Signature(error.to_string())
    }
}

/// What is known of who has signed a snapshot, if not the service that is trusted.
#[derive(Debug)]
pub enum OtherSigner {
    /// Nobody of this service.
    Stranger,
    /// An earlier identity of the service has this key; the snapshot is good if it was signed with it.
    Earlier(PublicKey),
    /// That will be known later: the file stays as it is.
    NotYetKnown,
}

/// Chooses the newest committed snapshot of the two directories that holds. One in the main directory that does not hold
/// is renamed, one in the read-only directory skipped; both are logged, and the next older one is tried.
///
/// `trust` is the identity of the service, if it is known: on `recover` the previous one. `other` is asked about
/// snapshots that are right in themselves and signed by somebody else.
///
/// # Errors
/// [`FileError`] if a directory cannot be read.
pub fn choose_startup_snapshot(
    main: &Path,
    read_only: Option<&Path>,
    trust: SnapshotTrust<'_>,
    other: &mut dyn FnMut(&SnapshotPath) -> OtherSigner,
) -> Result<Option<StartupSnapshot>, FileError> {
    let mut candidates = match read_only {
        Some(directory) => list_snapshots(directory)?.into_iter().map(|path| (true, path)).collect(),
        None => Vec::new(),
    };
    if main.exists() {
        candidates.extend(list_snapshots(main)?.into_iter().map(|path| (false, path)));
    }
    // Newest first; of two alike the read-only one.
    candidates
        .sort_by(|(a_read_only, a), (b_read_only, b)| b.name.cmp(&a.name).then(b_read_only.cmp(a_read_only)));
    for (is_read_only, path) in candidates {
        let shown = path.path.display().to_string();
        if path.bytes == 0 {
            let name = path.name;
            tracing::info!("Ignoring empty snapshot file {name}");
            continue;
        }
        tracing::info!("Found latest local snapshot file: {shown} (size: {})", path.bytes);
        let mut loaded = StartupSnapshot::load(path.clone(), trust);
        if matches!(loaded, Err(StartupError::Verify(SnapshotVerifyError::OtherService))) {
            match other(&path) {
                OtherSigner::Stranger => {}
                OtherSigner::Earlier(key) => {
                    loaded = StartupSnapshot::load(path.clone(), SnapshotTrust::Key(&key));
                }
                OtherSigner::NotYetKnown => {
                    tracing::info!("Who has signed {shown} is not known yet: it is set aside");
                    continue;
                }
            }
        }
        match loaded {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(error) => tracing::error!("Error while verifying {shown}: {error}"),
        }
        if is_read_only {
            let directory = read_only.unwrap_or(main).display();
            tracing::error!(
                "Snapshot {shown} is in a read-only directory {directory}, so will not be modified. It is skipped."
            );
        } else {
            tracing::info!("Ignoring corrupt snapshot {shown}");
            if let Err(error) = ignore_snapshot(&path) {
                tracing::error!("Unable to mark snapshot as ignored: {error}");
            }
        }
    }
    tracing::info!("No local snapshot found");
    Ok(None)
}

impl StartupSnapshot {
    /// Reads and verifies a file (section 14.6, steps 1 to 4, and the shape of its public maps).
    ///
    /// # Errors
    /// [`StartupError`].
    pub fn load(path: SnapshotPath, trust: SnapshotTrust<'_>) -> Result<Self, StartupError> {
        let file = File::open(&path.path);
        let file = file.map_err(|source| FileError::Io { path: path.path.clone(), source })?;
        let snapshot = Snapshot::read(file)?;
        if snapshot.seqno() != path.name.seqno {
            return Err(StartupError::OtherSeqNo(snapshot.seqno()));
        }
        verify_snapshot(&snapshot, trust)?;
        Ok(Self { path, snapshot })
    }

    /// The transaction it is the state after.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.path.name.seqno
    }

    /// The same in a file that was renamed.
    pub(super) fn moved_to(mut self, path: PathBuf) -> Self {
        self.path.path = path;
        self
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path.path
    }

    /// Replaces the store's state: the public maps alone, or with the ledger secrets everything. The store has not been
    /// used; its local hooks run, its global ones at the next compaction.
    ///
    /// # Errors
    /// [`StartupError`]; the store is then as it was.
    pub fn install(&self, store: &Store, secrets: Option<&LedgerSecrets>) -> Result<Installed, StartupError> {
        let snapshot = &self.snapshot;
        let state = State::from_snapshot(snapshot, secrets)?;
        let mut tree = tree_of(&state, snapshot.seqno())?;
        tree.append(snapshot.head().leaf);
        let last = last_signature(&state)?;
        if last.seqno > snapshot.seqno() {
            return Err(StartupError::Signature(format!("it is said to be {last}")));
        }
        let last = TxId { view: last.view, seqno: snapshot.seqno() };
        let actions = store.install(state.in_view(last.view));
        Ok(Installed { last, tree, view_history: view_starts(&snapshot.head().view_history), actions })
    }
}

fn value<'a>(state: &'a State, map: &MapName) -> Option<&'a [u8]> {
    state.map(map)?.get(&tables::UNIT_KEY).map(|record| record.value)
}

/// The tree before the entry at `seqno`, from the state after it.
fn tree_of(state: &State, seqno: SeqNo) -> Result<MerkleTree, StartupError> {
    let blob = value(state, &tables::TREE).ok_or(StartupError::Tree(None))?;
    let blob = TreeBlob::parse(blob).map_err(|error| StartupError::Tree(Some(error)))?;
    if blob.len() != seqno.0 {
        return Err(StartupError::Tree(None));
    }
    Ok(blob.to_tree())
}

/// The transaction of the last signature, of either kind (section 10.1).
fn last_signature(state: &State) -> Result<TxId, StartupError> {
    let node = value(state, &tables::SIGNATURES).map(NodeSignature::from_json).transpose()?;
    let service = value(state, &tables::COSE_SIGNATURES).map(ServiceSignature::from_json).transpose()?;
    let service = match &service {
        Some(signature) => Some(signature.decode()?.header.tx_id),
        None => None,
    };
    let node = node.map(|signature| signature.tx_id);
    let newest = node.into_iter().chain(service).max_by_key(|tx_id| tx_id.seqno);
    newest.ok_or_else(|| StartupError::Signature("there is none".to_owned()))
}
