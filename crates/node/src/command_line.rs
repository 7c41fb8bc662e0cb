//! The command line of a node executable (node specification, section 1.1) and its exit codes (1.2).

use crate::logging::LogLevel;
use clap::Parser;
use std::{path::PathBuf, time::Duration};

/// Exit codes that tools rely on.
pub mod exit {
    /// Normal stop.
    pub const OK: i32 = 0;
    /// Anything without a code of its own.
    pub const FAILED: i32 = 1;
    /// The process identifier file exists.
    pub const PID_FILE_EXISTS: i32 = 103;
    /// A value on the command line cannot be converted.
    pub const BAD_VALUE: i32 = 104;
    /// The configuration is well formed but cannot work.
    pub const INVALID: i32 = 105;
    /// `--config` is missing.
    pub const MISSING_FLAG: i32 = 106;
    /// A file named by the configuration cannot be opened.
    pub const MISSING_FILE: i32 = 255;
}

/// Flags of a node.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, about = "A node of a confidential, replicated, auditable service")]
pub struct CommandLine {
    /// JSON configuration file.
    #[arg(short, long, required_unless_present = "version")]
    pub config: Option<PathBuf>,
    /// How long to keep reading the file again while it is no valid JSON, such as 5s.
    #[arg(long, default_value = "0s", value_parser = parse_time)]
    pub config_timeout: Duration,
    /// Checks the configuration, says so and exits.
    #[arg(long)]
    pub check: bool,
    /// Prints version and platform and exits.
    #[arg(short, long)]
    pub version: bool,
    /// Least severe level that is logged: trace, debug, info, fail, fatal, or 0 to 4.
    #[arg(long, default_value = "info", value_parser = parse_level)]
    pub log_level: LogLevel,
}

fn parse_time(text: &str) -> Result<Duration, crate::config::UnitError> {
    crate::config::TimeText::try_from(text.to_owned()).map(|time| time.duration())
}

fn parse_level(text: &str) -> Result<LogLevel, String> {
    text.parse()
}

impl CommandLine {
    /// Parses the arguments; `Err` carries the exit code after the message has been printed.
    ///
    /// # Errors
    /// The exit code with which the process is to end: 0 after `--help`.
    pub fn parse_from_args(args: impl IntoIterator<Item = String>) -> Result<CommandLine, i32> {
        CommandLine::try_parse_from(args).map_err(|error| {
            // Nothing can be done if the terminal is gone.
            let _ = error.print();
            exit_code(&error)
        })
    }
}

fn exit_code(error: &clap::Error) -> i32 {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::OK,
        ErrorKind::MissingRequiredArgument => exit::MISSING_FLAG,
        ErrorKind::ValueValidation => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(flag)) if flag.starts_with("--log-level") => exit::INVALID,
            _ => exit::BAD_VALUE,
        },
        _ => exit::BAD_VALUE + 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<CommandLine, i32> {
        CommandLine::parse_from_args(
            std::iter::once("js_generic").chain(args.iter().copied()).map(str::to_owned),
        )
    }

    #[test]
    fn exit_codes_are_those_tools_expect() {
        assert_eq!(parse(&[]).err(), Some(exit::MISSING_FLAG));
        assert_eq!(parse(&["--config", "c", "--log-level", "loud"]).err(), Some(exit::INVALID));
        assert_eq!(parse(&["--config", "c", "--config-timeout", "x"]).err(), Some(exit::BAD_VALUE));
        assert_eq!(parse(&["--config", "c", "--enclave-file", "x"]).err(), Some(109));
        let parsed =
            parse(&["--config=c.json", "--log-level", "FAIL", "--config-timeout", "5s"]).expect("valid");
        assert_eq!(parsed.log_level, LogLevel::Fail);
        assert_eq!(parsed.config_timeout, Duration::from_secs(5));
        assert!(parse(&["-v"]).expect("valid").version);
    }
}
