//! Where console lines and the engine's own log lines go: the node gives a sink, this crate has no logger.

use std::sync::Arc;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `console.log`, `console.info`, metrics lines.
    Info,
    /// `console.warn`, exception details.
    Fail,
    /// `console.error`.
    Fatal,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The application's script.
    App,
    /// A constitution or a ballot.
    Gov,
    /// The runtime itself.
    Js,
}

/// Takes lines; called on worker threads, must not block.
pub type Sink = dyn Fn(Level, Tag, &str) + Send + Sync;

/// Says which lines are wanted, so that others are not even put together.
pub type Filter = dyn Fn(Level, Tag) -> bool + Send + Sync;

/// A shared sink.
#[derive(Clone)]
pub struct Console(Arc<(Box<Filter>, Box<Sink>)>);

impl Console {
    /// A console that gives its lines to `sink`.
    #[must_use]
    pub fn new(sink: impl Fn(Level, Tag, &str) + Send + Sync + 'static) -> Console {
        Console::filtered(|_, _| true, sink)
    }

    /// A console that gives the lines that `filter` wants to `sink`.
    #[must_use]
    pub fn filtered(
        filter: impl Fn(Level, Tag) -> bool + Send + Sync + 'static,
        sink: impl Fn(Level, Tag, &str) + Send + Sync + 'static,
    ) -> Console {
        Console(Arc::new((Box::new(filter), Box::new(sink))))
    }

    /// A console that forgets its lines.
    #[must_use]
    pub fn silent() -> Console {
        Console::filtered(|_, _| false, |_, _, _| {})
    }

    pub(crate) fn line(&self, level: Level, tag: Tag, text: &str) {
        if self.is_enabled(level, tag) {
            (self.0.1)(level, tag, text);
        }
    }

    pub(crate) fn is_enabled(&self, level: Level, tag: Tag) -> bool {
        (self.0.0)(level, tag)
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console")
    }
}
