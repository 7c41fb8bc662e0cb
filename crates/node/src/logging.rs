//! Log output on standard output, as text or JSON (node specification, section 2).
//!
//! Events come from `tracing`. Levels map as WARN = fail, ERROR = fatal. An event whose target is one of
//! [`TAGS`] carries that tag. Each record is one write, flushed.

use crate::config::LogFormat;
use std::{
    fmt::{self, Write as _},
    io::Write as _,
    str::FromStr,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

/// Targets that are printed as tags: application, governance script, script metrics, broken invariant.
pub const TAGS: [&str; 4] = ["app", "gov", "js", "assert"];

/// Width of the preamble column.
const PREAMBLE_WIDTH: usize = 45;
const TIMESTAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// Severity of a record, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// What operators want to know.
    Info,
    /// Something failed and the node goes on.
    Fail,
    /// The node cannot go on.
    Fatal,
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "trace" | "0" => LogLevel::Trace,
            "debug" | "1" => LogLevel::Debug,
            "info" | "2" => LogLevel::Info,
            "fail" | "3" => LogLevel::Fail,
            "fatal" | "4" => LogLevel::Fatal,
            _ => return Err("use trace, debug, info, fail, fatal, or 0 to 4".to_owned()),
        })
    }
}

impl LogLevel {
    fn of(level: Level) -> LogLevel {
        match level {
            Level::TRACE => LogLevel::Trace,
            Level::DEBUG => LogLevel::Debug,
            Level::INFO => LogLevel::Info,
            Level::WARN => LogLevel::Fail,
            Level::ERROR => LogLevel::Fatal,
        }
    }

    fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Fail => "fail",
            LogLevel::Fatal => "fatal",
        }
    }
}

/// The least severe level that is printed. Until the command line's level is applied, every level of ours is.
static LEAST: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

/// Installs the log output for the whole process. A second call changes nothing.
pub fn install(format: LogFormat) {
    let subscriber = tracing_subscriber::registry().with(Output { format });
    // An embedding program may have set its own subscriber; then it decides.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Sets the least severe level that is printed.
pub fn set_level(level: LogLevel) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Whether records of this level are printed.
#[must_use]
pub fn is_enabled(level: LogLevel) -> bool {
    level as u8 >= LEAST.load(Ordering::Relaxed)
}

struct Output {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Output {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = LogLevel::of(*event.metadata().level());
        // Libraries below us say too much at their own debug levels.
        let ours = event.metadata().target().starts_with("ccf") || TAGS.contains(&event.metadata().target());
        let least = LEAST.load(Ordering::Relaxed);
        if (level as u8) < least || (!ours && level < LogLevel::Fail && least > LogLevel::Trace as u8) {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let record = Record {
            at: OffsetDateTime::now_utc(),
            thread: thread_number(),
            level,
            tag: TAGS.into_iter().find(|tag| *tag == event.metadata().target()).unwrap_or(""),
            file: event.metadata().file().unwrap_or("?"),
            line: event.metadata().line().unwrap_or(0),
            message: &message.0,
        };
        let mut line = match self.format {
            LogFormat::Text => record.text(),
            LogFormat::Json => record.json(),
        };
        line.push('\n');
        let mut out = std::io::stdout().lock();
        // A closed standard output must not stop a node.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// A small number for the calling thread; 0 is the first one that logs, which is the main thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|number| *number)
}

struct Message(String);

impl tracing::field::Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        } else {
            let _ = write!(self.0, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

struct Record<'a> {
    at: OffsetDateTime,
    thread: usize,
    level: LogLevel,
    tag: &'a str,
    file: &'a str,
    line: u32,
    message: &'a str,
}

impl Record<'_> {
    fn timestamp(&self) -> String {
        self.at.format(TIMESTAMP).unwrap_or_default()
    }

    fn text(&self) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!("[{}]", self.tag) };
        let head = format!("[{:<5}]{tag} ", self.level.name());
        let place = format!("{}:{} ", self.file, self.line);
        let room = PREAMBLE_WIDTH.saturating_sub(head.len());
        let cut = place.len().saturating_sub(room);
        let place = place.get(cut..).unwrap_or(&place);
        format!("{} {:<3} {head}{place:<room$}| {}", self.timestamp(), self.thread, self.message)
    }

    fn json(&self) -> String {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        format!(
            r#"{{"h_ts":{},"thread_id":"{}","level":"{}","tag":"{}","file":{},"number":"{}","msg":{}}}"#,
            text(&self.timestamp()),
            self.thread,
            self.level.name(),
            self.tag,
            text(self.file),
            self.line,
            text(self.message),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn record<'a>(tag: &'a str, file: &'a str, message: &'a str) -> Record<'a> {
        let at = datetime!(2026-05-20 10:00:00.123456 UTC);
        Record { at, thread: 0, level: LogLevel::Info, tag, file, line: 995, message }
    }

    #[test]
    fn text_columns_are_those_tools_cut_at() {
        assert_eq!(
            record("", "../src/host/run.cpp", "CCF version: ccf-7.0.0").text(),
            "2026-05-20T10:00:00.123456Z 0   [info ] ../src/host/run.cpp:995              | CCF version: ccf-7.0.0"
        );
        let long = "a/".repeat(40) + "run.rs";
        let text = record("gov", &long, "x").text();
        let preamble = &text["2026-05-20T10:00:00.123456Z 0   ".len()..];
        assert_eq!(preamble.find('|'), Some(PREAMBLE_WIDTH));
        assert!(preamble.contains("run.rs:995 |"), "{text}");
    }

    #[test]
    fn json_keys_are_ordered_strings() {
        assert_eq!(
            record("js", "a.rs", "say \"hi\"\n").json(),
            r#"{"h_ts":"2026-05-20T10:00:00.123456Z","thread_id":"0","level":"info","tag":"js","file":"a.rs","number":"995","msg":"say \"hi\"\n"}"#
        );
    }
}
