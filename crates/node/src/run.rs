//! The life of a node process, from the command line to its exit code (node specification, sections 1.2 to 1.4).

use crate::{
    application::Application,
    command_line::{CommandLine, exit},
    config::{CommandKind, Config, ConfigError},
    logging,
    node_endpoints::CCF_VERSION,
    output_files::{self, FileProblem},
    platform::Platform,
    start::{self, End, RunningService, StartError},
};
use ccf_governance::decision::JoinInstead;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// Pause between two readings of a configuration file that is not complete yet.
const CONFIG_PAUSE: Duration = Duration::from_millis(100);

/// Why the process ends, with its exit code.
struct Exit {
    code: i32,
}

/// Runs a node with this application and returns the exit code of the process. Messages for people have been
/// printed by then.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "the application is the node's")]
pub fn run(application: Application) -> i32 {
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    match run_with(args, &application) {
        Ok(()) => exit::OK,
        Err(Exit { code }) => code,
    }
}

/// As [`run`], with the arguments given; the first is the name of the program.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "the application is the node's")]
pub fn run_with_args(args: Vec<String>, application: Application) -> i32 {
    match run_with(args.into_iter(), &application) {
        Ok(()) => exit::OK,
        Err(Exit { code }) => code,
    }
}

fn run_with(args: impl Iterator<Item = String>, application: &Application) -> Result<(), Exit> {
    let args: Vec<String> = args.collect();
    let command_line = CommandLine::parse_from_args(args.clone()).map_err(|code| Exit { code })?;
    let platform_override = std::env::var("CCF_PLATFORM_OVERRIDE").ok();
    let platform =
        Platform::detect(platform_override.as_deref()).map_err(|error| complain(&error, exit::FAILED))?;
    if command_line.version {
        print(&format!("CCF host: {CCF_VERSION}\nPlatform: {}", platform.name()));
        return Ok(());
    }
    let path = command_line.config.clone().unwrap_or_default();
    let (config, text) = read_config(&path, command_line.config_timeout)?;

    logging::install(config.logging.format);
    tracing::info!("CCF version: {CCF_VERSION}");
    // Those of the process, which may have handed us only some of them.
    let quoted: Vec<String> = std::env::args_os().map(|arg| format!("{:?}", arg.to_string_lossy())).collect();
    tracing::info!("CLI args: {}", quoted.join(" "));
    if command_line.check {
        tracing::info!("Configuration file successfully verified");
        return Ok(());
    }
    tracing::info!("Configuration file {}:\n{text}", path.display());
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    tracing::info!("Environment: {}", serde_json::to_string_pretty(&environment).unwrap_or_default());
    if platform == Platform::Snp {
        tracing::error!(
            "SEV-SNP is not available in this version; set CCF_PLATFORM_OVERRIDE=Virtual to run without trusted hardware. Exiting."
        );
        return Err(Exit { code: exit::FAILED });
    }
    let mut prepared = start::prepare(&config).map_err(|error| refuse(&error))?;
    write_pid(&config)?;
    logging::set_level(command_line.log_level);
    let mut config = config;
    while let Some(instead) = serve(&config, prepared, application)? {
        config = as_joiner(config, &instead)?;
        prepared = start::prepare(&config).map_err(|error| refuse(&error))?;
    }
    Ok(())
}

/// The configuration of a node that gives up its own recovery and joins another one's service.
fn as_joiner(mut config: Config, instead: &JoinInstead) -> Result<Config, Exit> {
    let file = &config.command.service_certificate_file;
    output_files::write(file, &instead.service_certificate).map_err(|error| refuse(&error.into()))?;
    config.command.kind = CommandKind::Join;
    let join = config.command.join.get_or_insert_default();
    join.target_rpc_address.clone_from(&instead.target);
    Ok(config)
}

/// Runs a node until it stops; the answer says whether it is to start again, as a joiner.
fn serve(
    config: &Config,
    prepared: start::Prepared,
    application: &Application,
) -> Result<Option<JoinInstead>, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| refuse(&StartError::System(error)))?;
    runtime.block_on(async {
        #[cfg(target_os = "linux")]
        ignore_file_size_signal().map_err(|e| refuse(&StartError::System(e)))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| refuse(&StartError::System(e)))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(|e| refuse(&StartError::System(e)))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| refuse(&StartError::System(e)))?;
        let stopped = async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let started = tokio::select! {
            started = start::start(config, prepared, application) => started,
            signal = stopped => {
                // A node that still waits to be trusted has nothing to lose.
                tracing::info!("{signal}: Shutting down enclave gracefully...");
                farewell();
                return Ok(None);
            }
        };
        let mut service = started.map_err(|error| refuse(&error))?;
        let mut notice_given = !config.ignore_first_sigterm;
        loop {
            tokio::select! {
                _ = terminate.recv() => {
                    if notice_given {
                        tracing::info!("SIGTERM: Shutting down enclave gracefully...");
                        break;
                    }
                    tracing::info!("SIGTERM: Notifying enclave, but not shutting down.");
                    service.give_stop_notice();
                    notice_given = true;
                }
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: Shutting down enclave gracefully...");
                    break;
                }
                _ = interrupt.recv() => {
                    tracing::info!("SIGINT: Shutting down enclave gracefully...");
                    break;
                }
                end = service.end() => match end {
                    End::Failure(failure) => {
                        tracing::error!("{failure}. Exiting.");
                        return Err(Exit { code: exit::FAILED });
                    }
                    End::Join(instead) => {
                        tracing::info!("Restarting to join the service of {}", instead.target);
                        service.stop();
                        return Ok(Some(instead));
                    }
                },
            }
        }
        stop(service);
        Ok(None)
    })
}

/// SIGXFSZ, which Linux sends with a write beyond the limit on the size of files, would end the process without a word.
/// Caught, the write fails like one to a full disk.
#[cfg(target_os = "linux")]
fn ignore_file_size_signal() -> std::io::Result<()> {
    /// The same on all platforms that nodes run on.
    const SIGXFSZ: i32 = 25;
    // The handler stays when what would tell of signals is dropped.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

fn stop(service: RunningService) {
    service.stop();
    farewell();
}

fn farewell() {
    tracing::info!("Enclave stopped successfully. Stopping host...");
    tracing::info!("Host stopped successfully");
    tracing::info!("Exited event loop");
    tracing::info!("Ran an extra 0 cleanup iteration(s)");
}

fn read_config(path: &Path, patience: Duration) -> Result<(Config, String), Exit> {
    let began = Instant::now();
    let name = path.display().to_string();
    loop {
        // A missing file is an empty one: it may still be written.
        let (text, unreadable) = match std::fs::read_to_string(path) {
            Ok(text) => (text, None),
            Err(error) => (String::new(), Some(error)),
        };
        let parsed = Config::parse(&name, &text).map_err(|error| match (error, &unreadable) {
            (ConfigError::NotJson { path, .. }, Some(cause)) => {
                ConfigError::NotJson { path, reason: cause.to_string() }
            }
            (error, _) => error,
        });
        match parsed {
            Ok(config) => return Ok((config, text)),
            Err(ConfigError::NotJson { .. }) if began.elapsed() < patience => {
                std::thread::sleep(CONFIG_PAUSE);
            }
            Err(error) => return Err(complain(&error, exit::FAILED)),
        }
    }
}

fn write_pid(config: &Config) -> Result<(), Exit> {
    output_files::write_pid(&config.output_files.pid_file).map_err(|error| {
        tracing::error!("{error}. Exiting.");
        let code =
            if matches!(error, FileProblem::PidFileExists(_)) { exit::PID_FILE_EXISTS } else { exit::FAILED };
        Exit { code }
    })
}

/// Before the log is there, messages go to standard error.
fn complain(error: &dyn std::error::Error, code: i32) -> Exit {
    use std::io::Write;
    // Nothing can be done if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{error}");
    Exit { code }
}

fn refuse(error: &StartError) -> Exit {
    if let StartError::File(problem @ FileProblem::Unreadable { .. }) = error {
        return complain(problem, exit::MISSING_FILE);
    }
    tracing::error!("{error}. Exiting.");
    Exit { code: error.exit_code() }
}

fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
