//! What a script threw, in words.

use super::value::Val;

/// An uncaught exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// `String(error)` for errors and primitives, JSON for other objects.
    pub message: String,
    /// The error's stack, one line per frame; none for values that are not errors.
    pub stack: Option<String>,
    /// The script ran out of time.
    pub timed_out: bool,
}

impl ScriptError {
    pub(super) fn of(exception: &Val<'_>, timed_out: bool) -> ScriptError {
        if !exception.is_error() {
            let text = if exception.is_object() {
                exception.to_json().and_then(|json| json.to_text())
            } else {
                exception.to_text()
            };
            return match text {
                Ok(message) => ScriptError { message, stack: None, timed_out },
                Err(_) => ScriptError::unreadable(timed_out),
            };
        }
        let stack = exception.get("stack").ok().filter(Val::is_string).and_then(|s| s.to_text().ok());
        let message = exception.to_text();
        ScriptError { message: message.unwrap_or_else(|_| "Error".to_owned()), stack, timed_out }
    }

    pub(super) fn unreadable(timed_out: bool) -> ScriptError {
        ScriptError { message: "exception without text".to_owned(), stack: None, timed_out }
    }

    pub(super) fn no_memory() -> ScriptError {
        ScriptError { message: "InternalError: out of memory".to_owned(), stack: None, timed_out: false }
    }

    /// The message as answers and logs show it: a timeout has its own text.
    #[must_use]
    pub fn reason(&self) -> &str {
        if self.timed_out { TIMEOUT_MESSAGE } else { &self.message }
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ScriptError {}

/// What a script that ran out of time is answered.
pub(crate) const TIMEOUT_MESSAGE: &str = "Operation took too long to complete.";
