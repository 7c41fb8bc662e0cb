//! Starting a node (node specification, sections 1.3, 8 and 9): what is read and checked first, then the way in that the
//! configuration names.

mod assembly;
mod deciding;
mod joining;
mod new_service;
mod recovering;
mod running;

pub(crate) use running::{End, RunningService};

use joining::PreparedJoin;
use new_service::PreparedStart;
use recovering::PreparedRecovery;

use crate::{
    application::Application,
    config::{CommandKind, Config, ConfigError, RecoveryRole, StartMember},
    identity::IdentityError,
    interfaces::InterfaceError,
    join::JoinError,
    output_files::{self, FileProblem},
    sealing::SealingError,
    snapshots::StartupError,
};
use ccf_crypto::random::RandomError;
use ccf_governance::{
    genesis::{self, GenesisError, NewMember},
    identity::{self, InvalidIdentity},
    recovery::RecoveryGenesisError,
    tables::member::RecoveryRole as TableRole,
};
use ccf_kv::{CommitError, KvError};
use ccf_ledger::files::{FileError, require_fresh};
use ccf_types::SeqNo;
use std::{io, path::Path};

/// The most one transaction may write whatever the configuration says: what is committed must fit an entry.
const TRANSACTION_BYTES_MAX: usize = ccf_ledger::limits::SEALED_ENTRY_BYTES_MAX - 1024;

/// Files of indexes, made anew with each start.
const INDEX_DIRECTORY: &str = ".index";

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration cannot work.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A file named by the configuration.
    #[error("{0}")]
    File(#[from] FileProblem),
    /// The ledger directory.
    #[error("{0}")]
    Ledger(#[from] FileError),
    /// The ledger directories are not as a new service needs them.
    #[error("{0}")]
    NotFresh(String),
    /// Keys and certificates.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The contents of the first transaction.
    #[error("{0}")]
    Genesis(#[from] GenesisError),
    /// An interface.
    #[error("{0}")]
    Interface(#[from] InterfaceError),
    /// No random bytes.
    #[error("{0}")]
    Random(#[from] RandomError),
    /// The constitution.
    #[error("the constitution cannot be used: {0}")]
    Constitution(String),
    /// A file of an initial member.
    #[error("{path}: {reason}")]
    Member {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: InvalidIdentity,
    },
    /// No rules to govern the service by.
    #[error("command.start.constitution_files names no file: there is nothing to govern by")]
    NoConstitution,
    /// A directory that the configuration names must be there.
    #[error("{0}")]
    NoDirectory(String),
    /// Nobody could govern the service.
    #[error("command.start.members names no member: nobody could open or govern the service")]
    NoMembers,
    /// The first transaction.
    #[error("the first transaction was refused: {0}")]
    Commit(#[from] CommitError),
    /// The service does not take this node.
    #[error("{0}")]
    Join(#[from] JoinError),
    /// A snapshot that was verified cannot be installed.
    #[error("{0}")]
    Snapshot(#[from] StartupError),
    /// A table cannot be read.
    #[error("{0}")]
    Table(#[from] KvError),
    /// The certificate of the service to recover.
    #[error("Recovery requires a previous service identity certificate; cannot open '{0}'")]
    NoPreviousIdentity(String),
    /// The ledger cannot be recovered.
    #[error("the ledger cannot be recovered: {0}")]
    Unrecoverable(String),
    /// The transaction that creates the recovered service.
    #[error("{0}")]
    RecoveryGenesis(#[from] RecoveryGenesisError),
    /// This node cannot seal.
    #[error("{0}")]
    Sealing(#[from] SealingError),
    /// No node of this node's location could unseal the ledger secret.
    #[error("Failed to find sealed recovery data for location ({name}) in ledger at {seqno}")]
    NoSealedData {
        /// The configured location.
        name: String,
        /// The last signature of the ledger.
        seqno: SeqNo,
    },
    /// Messages between nodes.
    #[error("messages between nodes: {0}")]
    Peers(String),
    /// Data files of the operator.
    #[error("{path} is no JSON: {reason}")]
    Data {
        /// The file.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// The application.
    #[error("the application {name} cannot be installed: {reason}")]
    Application {
        /// Its name.
        name: &'static str,
        /// Its words.
        reason: String,
    },
    /// The operating system.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code of the process.
    #[must_use]
    pub(crate) fn exit_code(&self) -> i32 {
        use crate::command_line::exit;
        match self {
            StartError::Genesis(GenesisError::Threshold { .. }) | StartError::NotFresh(_) => exit::INVALID,
            StartError::File(FileProblem::Unreadable { .. }) => exit::MISSING_FILE,
            _ => exit::FAILED,
        }
    }
}

/// What was read and checked before anything is written or bound.
pub(crate) enum Prepared {
    /// For a new service.
    Start(Box<PreparedStart>),
    /// For one more node.
    Join(PreparedJoin),
    /// For a service from its ledger.
    Recover(PreparedRecovery),
}

/// Reads the files the configuration names and checks what must hold before the node touches anything.
///
/// # Errors
/// [`StartError`].
pub(crate) fn prepare(config: &Config) -> Result<Prepared, StartError> {
    let node_data = config.node_data_json_file.as_deref().map(read_json).transpose()?.flatten();
    check_directories(config)?;
    match config.command.kind {
        CommandKind::Start => Ok(Prepared::Start(Box::new(prepare_start(config, node_data)?))),
        CommandKind::Join => {
            if config.service_data_json_file.is_some() {
                tracing::warn!("Service data is ignored for start type Join");
            }
            let service_certificate = output_files::read_text(&config.command.service_certificate_file)?;
            Ok(Prepared::Join(PreparedJoin { node_data, service_certificate }))
        }
        CommandKind::Recover => Ok(Prepared::Recover(recovering::prepare(config, node_data)?)),
    }
}

/// What is only read must be there (node specification, sections 3.4 and 4).
fn check_directories(config: &Config) -> Result<(), StartError> {
    if let Some(missing) = config.ledger.read_only_directories.iter().find(|directory| !directory.is_dir()) {
        let text = format!("{} read-only ledger is not a directory", missing.display());
        return Err(StartError::NoDirectory(text));
    }
    match config.snapshots.read_only_directory.as_deref() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            let text = format!("{} read-only snapshots is not a directory", directory.display());
            Err(StartError::NoDirectory(text))
        }
        _ => Ok(()),
    }
}

fn prepare_start(config: &Config, node_data: Option<serde_json::Value>) -> Result<PreparedStart, StartError> {
    let start = config.command.start.clone().unwrap_or_default();
    let members = start.members.iter().map(read_member).collect::<Result<Vec<_>, _>>()?;
    genesis::recovery_threshold(start.service_configuration.recovery_threshold, &members)?;
    let texts = start
        .constitution_files
        .iter()
        .map(|path| output_files::read_text(path))
        .collect::<Result<Vec<_>, _>>()?;
    let constitution = texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    if constitution.is_empty() {
        return Err(StartError::NoConstitution);
    }
    ccf_js::check_constitution(&constitution).map_err(StartError::Constitution)?;
    if members.is_empty() {
        return Err(StartError::NoMembers);
    }
    let service_data = config.service_data_json_file.as_deref().map(read_json).transpose()?.flatten();
    require_fresh(&config.ledger.directory, &config.ledger.read_only_directories)
        .map_err(|error| not_fresh(config, &error))?;
    Ok(PreparedStart { members, constitution, node_data, service_data })
}

/// The refusal in the words that operators' tools look for (node specification, section 4).
fn not_fresh(config: &Config, error: &FileError) -> StartError {
    let FileError::NotEmpty(directory) = error else {
        return StartError::NotFresh(error.to_string());
    };
    let shown = directory.display();
    StartError::NotFresh(if *directory == config.ledger.directory {
        format!("On start, ledger directory should not exist or be empty ({shown})")
    } else {
        format!("On start, read-only ledger directories should not exist or be empty ({shown})")
    })
}

/// Directories that exist while a node runs, used or not (node specification, section 1.3).
fn make_directories(config: &Config) -> Result<(), StartError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |reason| FileProblem::Unwritable { path, reason }
    };
    let snapshots = &config.snapshots.directory;
    std::fs::create_dir_all(snapshots).map_err(unwritable(snapshots))?;
    let index = Path::new(INDEX_DIRECTORY);
    if index.exists() {
        std::fs::remove_dir_all(index).map_err(unwritable(index))?;
    }
    std::fs::create_dir(index).map_err(unwritable(index))?;
    Ok(())
}

fn read_member(member: &StartMember) -> Result<NewMember, StartError> {
    let given = |path: &Option<std::path::PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let encryption_public_key =
        given(&member.encryption_public_key_file).map(|path| output_files::read_text(&path)).transpose()?;
    let certificate = output_files::read_text(&member.certificate_file)?;
    // Here, where the file has a name.
    let unusable = |path: &Path| {
        let path = path.display().to_string();
        move |reason| StartError::Member { path, reason }
    };
    identity::member_id(&certificate).map_err(unusable(&member.certificate_file))?;
    if let (Some(key), Some(path)) = (&encryption_public_key, &member.encryption_public_key_file) {
        identity::encryption_key(key).map_err(unusable(path))?;
    }
    Ok(NewMember {
        certificate,
        encryption_public_key,
        data: given(&member.data_json_file).map(|path| read_json(&path)).transpose()?.flatten(),
        recovery_role: member.recovery_role.map(|role| match role {
            RecoveryRole::NonParticipant => TableRole::NonParticipant,
            RecoveryRole::Participant => TableRole::Participant,
            RecoveryRole::Owner => TableRole::Owner,
        }),
    })
}

fn read_json(path: &Path) -> Result<Option<serde_json::Value>, StartError> {
    let text = output_files::read_text(path)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| StartError::Data { path: path.display().to_string(), reason: e.to_string() })
}

/// Starts a node; a joiner is started once the service trusts it.
///
/// # Errors
/// [`StartError`]; the process should end with its exit code.
pub(crate) async fn start(
    config: &Config,
    prepared: Prepared,
    application: &Application,
) -> Result<RunningService, StartError> {
    match prepared {
        Prepared::Start(prepared) => new_service::start(config, *prepared, application),
        Prepared::Join(prepared) => joining::start(config, prepared, application).await,
        Prepared::Recover(prepared) => recovering::start(config, prepared, application),
    }
}
