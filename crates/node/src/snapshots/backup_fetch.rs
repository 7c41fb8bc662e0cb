//! Backups copy the snapshots of the primary (ledger specification, section 14.4), if the configuration says so: when the
//! evidence of one is committed, a thread of its own asks the primary for it.

use super::fetch::{FetchSettings, fetch_snapshot};
use crate::{config, replication::status::ReplicationStatus};
use ccf_endpoints::Role;
use ccf_governance::tables;
use ccf_kv::{Store, UNIT};
use ccf_ledger::files::list_snapshots;
use ccf_types::SeqNo;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
};

/// The work of the thread.
struct BackupFetch {
    directory: PathBuf,
    settings: config::BackupFetch,
    store: Store,
    status: Arc<ReplicationStatus>,
}

/// Starts the thread and installs its hook in `store`, before the first transaction, if the configuration wants that. The
/// thread ends with the store's hooks, or with the process.
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn start(
    config: &config::Snapshots,
    store: &Store,
    status: &Arc<ReplicationStatus>,
) -> io::Result<()> {
    if !config.backup_fetch.enabled {
        return Ok(());
    }
    let (sender, committed) = channel();
    store.on_global(
        tables::SNAPSHOT_EVIDENCE.name(),
        Arc::new(move |_, writes| {
            let value = writes.get(&UNIT).flatten();
            if let Some(evidence) = value.and_then(|value| tables::SNAPSHOT_EVIDENCE.decode(value).ok()) {
                // Without the thread, which has said why, nothing is fetched.
                let _ = sender.send(evidence.version);
            }
        }),
    );
    let fetch = BackupFetch {
        directory: config.directory.clone(),
        settings: config.backup_fetch.clone(),
        store: store.clone(),
        status: Arc::clone(status),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("backup-fetch".into())
        .spawn(move || fetch.run(&committed, &runtime))
        .map(drop)
}

impl BackupFetch {
    fn run(&self, committed: &Receiver<SeqNo>, runtime: &tokio::runtime::Runtime) {
        while let Ok(first) = committed.recv() {
            // What became committed while the last one was fetched: the newest is enough.
            let newest = committed.try_iter().max().map_or(first, |other| other.max(first));
            if let Err(reason) = self.fetch(newest, runtime) {
                tracing::warn!("The snapshot at {newest} is not fetched from the primary: {reason}");
            }
        }
    }

    fn fetch(&self, version: SeqNo, runtime: &tokio::runtime::Runtime) -> Result<(), String> {
        let primary = {
            let term = self.status.term();
            if term.role == Role::Primary {
                return Ok(());
            }
            term.primary.clone().ok_or("it is not known")?
        };
        let own = list_snapshots(&self.directory).map_err(|error| error.to_string())?;
        if own.iter().any(|path| path.name.seqno == version && path.name.committed) {
            return Ok(());
        }
        let tx = self.store.begin();
        let row = tx.ro(&tables::NODES).get(&primary).map_err(|error| error.to_string())?;
        let row = row.ok_or("it is not in the table of nodes")?;
        let interface = &self.settings.target_rpc_interface;
        let target =
            row.rpc_interfaces.get(interface).ok_or_else(|| format!("it has no interface {interface}"))?;
        let service = tx.ro(&tables::SERVICE_INFO).get().map_err(|error| error.to_string())?;
        let settings = FetchSettings {
            directory: self.directory.clone(),
            service_certificate: service.ok_or("there is no service")?.cert,
            attempts: self.settings.max_attempts,
            retry_interval: self.settings.retry_interval.duration(),
            bytes_max: self.settings.max_size.bytes(),
        };
        drop(tx);
        let target = target.published().to_owned();
        if let Some(snapshot) = runtime.block_on(fetch_snapshot(&target, version, &settings)) {
            tracing::info!("Fetched the snapshot at {} from the primary", snapshot.seqno());
        }
        Ok(())
    }
}
