//! Fetching a snapshot from a peer in ranges (node specification, section 10).
//!
//! The peer need not be trusted: what it sends goes to a file under a name that nobody reads, and gets its own only when its
//! receipt holds for the service.

mod answer;
mod client;

use self::{
    answer::{Part, Place},
    client::PeerClient,
};
use super::{StartupSnapshot, startup::StartupError};
use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_ledger::{
    files::{SnapshotName, SnapshotPath, UNFINISHED},
    snapshot::{SnapshotTrust, SnapshotVerifyError},
};
use ccf_types::SeqNo;
use std::{
    fs::{self, File},
    future::Future,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

/// Bytes asked for at once.
const PART_BYTES: u64 = 4 << 20;

/// Redirections followed for one snapshot.
const REDIRECTIONS_MAX: usize = 20;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// The main directory of snapshots, where the file goes.
    pub directory: PathBuf,
    /// PEM of the service certificate: for TLS, and for the receipt.
    pub service_certificate: String,
    /// How often it is tried.
    pub attempts: u64,
    /// Pause between two attempts.
    pub retry_interval: Duration,
    /// A larger file is not fetched.
    pub bytes_max: u64,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The peer cannot be reached, is no node of the service, or broke off.
    #[error("{0}")]
    Connection(String),
    /// The peer answered something else than was asked for.
    #[error("{0}")]
    Answer(String),
    /// The file is larger than allowed.
    #[error("Failed writing received data to disk/application: the snapshot of {0} bytes is larger than {1}")]
    TooLarge(u64, u64),
    /// The disk.
    #[error("Failed writing received data to disk/application: {0}")]
    Disk(#[from] io::Error),
    /// What was sent is no snapshot of the service.
    #[error(transparent)]
    Snapshot(#[from] StartupError),
}

/// Finds snapshots and keeps the last one: what a joining node that starts from too old a state does.
#[derive(Debug)]
pub struct SnapshotFetcher {
    settings: FetchSettings,
    /// Files on this machine that the service has not signed itself, oldest first: the one it continues may have.
    set_aside: Vec<SnapshotPath>,
    fetched: Option<StartupSnapshot>,
}

impl SnapshotFetcher {
    /// Nothing fetched yet. `set_aside` are files on this machine that the service has not signed itself, newest first.
    #[must_use]
    pub fn new(settings: FetchSettings, mut set_aside: Vec<SnapshotPath>) -> Self {
        set_aside.reverse();
        Self { settings, set_aside, fetched: None }
    }

    /// The last snapshot that was found.
    #[must_use]
    pub fn into_fetched(self) -> Option<StartupSnapshot> {
        self.fetched
    }

    /// The newest of the files that were set aside that the service continues.
    async fn judge_set_aside(&mut self, target: &str) -> Option<StartupSnapshot> {
        if self.set_aside.is_empty() {
            return None;
        }
        let asked = async {
            let service = service_certificate(&self.settings)?;
            let mut client = PeerClient::new(&service).map_err(FetchError::Connection)?;
            previous_identity(&mut client, target).await
        };
        let key = match asked.await {
            Ok(Some(key)) => key,
            Ok(None) => {
                self.set_aside.clear();
                return None;
            }
            Err(error) => {
                tracing::info!("{target} does not say which service it continues: {error}");
                return None;
            }
        };
        while let Some(path) = self.set_aside.pop() {
            let shown = path.path.display().to_string();
            match StartupSnapshot::load(path, SnapshotTrust::Key(&key)) {
                Ok(snapshot) => {
                    tracing::info!("{shown} is of the service that this one continues");
                    return Some(snapshot);
                }
                Err(error) => tracing::error!("Error while verifying {shown}: {error}"),
            }
        }
        None
    }
}

impl crate::join::SnapshotSource for SnapshotFetcher {
    fn fetch<'a>(&'a mut self, target: &'a str) -> Pin<Box<dyn Future<Output = Option<SeqNo>> + Send + 'a>> {
        Box::pin(async move {
            let snapshot = match self.judge_set_aside(target).await {
                Some(snapshot) => snapshot,
                None => fetch_snapshot(target, SeqNo::NONE, &self.settings).await?,
            };
            let seqno = snapshot.seqno();
            self.fetched = Some(snapshot);
            Some(seqno)
        })
    }
}

/// Fetches the newest snapshot of the service, not older than `since`, from `target` (`host:port`) or where that leads,
/// into the directory. Tries as often as configured; what goes wrong is logged.
pub async fn fetch_snapshot(target: &str, since: SeqNo, settings: &FetchSettings) -> Option<StartupSnapshot> {
    for attempt in 1..=settings.attempts {
        if attempt > 1 {
            tokio::time::sleep(settings.retry_interval).await;
        }
        tracing::info!("Fetching snapshot from {target} (attempt {attempt}/{})", settings.attempts);
        match fetch_once(target, since, settings).await {
            Ok(Some(snapshot)) => return Some(snapshot),
            Ok(None) => tracing::info!("Peer has no suitable snapshot"),
            Err(error) => tracing::error!("Error during snapshot fetch: {error}"),
        }
    }
    tracing::info!("Exceeded maximum snapshot fetch retries ({}), giving up", settings.attempts);
    None
}

async fn fetch_once(
    target: &str,
    since: SeqNo,
    settings: &FetchSettings,
) -> Result<Option<StartupSnapshot>, FetchError> {
    let certificate = service_certificate(settings)?;
    let mut client = PeerClient::new(&certificate).map_err(FetchError::Connection)?;
    let query = if since == SeqNo::NONE { String::new() } else { format!("?since={since}") };
    let start = Place { address: target.to_owned(), path: format!("/node/snapshot{query}") };
    let Some((place, first)) = first_part(&mut client, start).await? else { return Ok(None) };
    let name = place.file_name().ok_or_else(|| {
        FetchError::Answer(format!("{} does not end with the name of a snapshot", place.path))
    })?;
    if first.total > settings.bytes_max {
        return Err(FetchError::TooLarge(first.total, settings.bytes_max));
    }
    let download = Download::create(&settings.directory, name)?;
    let mut at = download.add(0, &first)?;
    while at < first.total {
        let range = (at, (at + PART_BYTES).min(first.total) - 1);
        let answer = client.get(&place, Some(range)).await.map_err(FetchError::Connection)?;
        let part = answer.part(at).map_err(FetchError::Answer)?;
        if part.total != first.total {
            return Err(FetchError::Answer("the snapshot changed its size while it was fetched".to_owned()));
        }
        at = download.add(at, &part)?;
    }
    let download = download.complete(first.total)?;
    let loaded = match download.load(SnapshotTrust::Service(&certificate)) {
        // Until it has taken one of its own, a recovered service has those of the one it continues.
        Err(StartupError::Verify(SnapshotVerifyError::OtherService)) => {
            let previous = previous_identity(&mut client, target).await?;
            let key = previous.ok_or(StartupError::Verify(SnapshotVerifyError::OtherService))?;
            download.load(SnapshotTrust::Key(&key))
        }
        loaded => loaded,
    };
    download.name(loaded?).map(Some)
}

fn service_certificate(settings: &FetchSettings) -> Result<Certificate, FetchError> {
    Certificate::from_pem(&settings.service_certificate)
        .map_err(|error| FetchError::Connection(format!("the service certificate: {error}")))
}

/// The key of the service that the target's service continues, as the target says, which is a node of the service;
/// none if it continues none.
async fn previous_identity(client: &mut PeerClient, target: &str) -> Result<Option<PublicKey>, FetchError> {
    #[derive(serde::Deserialize)]
    struct PreviousIdentity {
        previous_service_identity: String,
    }
    let place = Place { address: target.to_owned(), path: "/node/service/previous_identity".to_owned() };
    let answer = client.get(&place, None).await.map_err(FetchError::Connection)?;
    let unusable = |reason: String| FetchError::Answer(format!("the previous service identity: {reason}"));
    match answer.status {
        200 => {
            let body: PreviousIdentity =
                serde_json::from_slice(&answer.body).map_err(|error| unusable(error.to_string()))?;
            let certificate = Certificate::from_pem(&body.previous_service_identity)
                .map_err(|error| unusable(error.to_string()))?;
            let key = certificate.public_key().map_err(|error| unusable(error.to_string()))?;
            Ok(Some(key.clone()))
        }
        404 => Ok(None),
        other => Err(FetchError::Answer(format!("{target} answered {other}"))),
    }
}

/// Follows redirections to a file and gets its first part; none if there is no snapshot.
async fn first_part(client: &mut PeerClient, mut place: Place) -> Result<Option<(Place, Part)>, FetchError> {
    for _ in 0..=REDIRECTIONS_MAX {
        let answer = client.get(&place, Some((0, PART_BYTES - 1))).await.map_err(FetchError::Connection)?;
        match answer.status {
            206 => {
                let part = answer.part(0).map_err(FetchError::Answer)?;
                return Ok(Some((place, part)));
            }
            404 => return Ok(None),
            308 => place = answer.location().map_err(FetchError::Answer)?,
            other => return Err(FetchError::Answer(format!("{} answered {other}", place.address))),
        }
    }
    Err(FetchError::Answer(format!("more than {REDIRECTIONS_MAX} redirections")))
}

/// A file that grows; deleted unless finished.
struct Download {
    file: File,
    unfinished: PathBuf,
    target: SnapshotPath,
    done: bool,
}

impl Download {
    fn create(directory: &Path, name: SnapshotName) -> io::Result<Download> {
        let unfinished = directory.join(format!("{name}{UNFINISHED}"));
        let file = File::create(&unfinished)?;
        let target = SnapshotPath { name, path: directory.join(name.to_string()), bytes: 0 };
        Ok(Download { file, unfinished, target, done: false })
    }

    /// Writes a part at its place; answers where the next one begins.
    fn add(&self, at: u64, part: &Part) -> io::Result<u64> {
        self.file.write_all_at(&part.bytes, at)?;
        Ok(at + part.bytes.len() as u64)
    }

    /// All parts are there.
    fn complete(mut self, bytes: u64) -> io::Result<Download> {
        self.file.sync_all()?;
        self.target.bytes = bytes;
        Ok(self)
    }

    fn load(&self, trust: SnapshotTrust<'_>) -> Result<StartupSnapshot, StartupError> {
        let unnamed = SnapshotPath { path: self.unfinished.clone(), ..self.target.clone() };
        StartupSnapshot::load(unnamed, trust)
    }

    /// What was loaded holds: the file gets its name.
    fn name(mut self, loaded: StartupSnapshot) -> Result<StartupSnapshot, FetchError> {
        fs::rename(&self.unfinished, &self.target.path)?;
        self.done = true;
        Ok(loaded.moved_to(self.target.path.clone()))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.done {
            // The next start deletes it if this does not.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}
