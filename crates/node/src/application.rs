//! What a binary links into a node: an application.

use ccf_endpoints::{Frontend, Registry, indexing::Indexing};
use ccf_js::{Console, JsApp, Level, Tag};
use ccf_kv::Store;
use ccf_types::NodeId;
use std::sync::Arc;

/// Makes the endpoints of `/app`; an error stops the start with its text.
type MakeEndpoints = Box<dyn Fn(&ApplicationContext<'_>) -> Result<Registry, String>>;

/// An application, made once per node when it starts; again when a node gives up a recovery and joins another.
pub struct Application {
    pub(crate) name: &'static str,
    pub(crate) endpoints: MakeEndpoints,
}

/// What an application may know while it declares its endpoints.
pub struct ApplicationContext<'a> {
    /// This node.
    pub node_id: &'a NodeId,
    /// The store its transactions will work on.
    pub store: &'a Store,
    /// Where its indexes are installed.
    pub indexing: &'a dyn Indexing,
}

impl Application {
    /// A native application: `endpoints` declares what is served under `/app`.
    #[must_use]
    pub fn native(
        name: &'static str,
        endpoints: impl Fn(&ApplicationContext<'_>) -> Result<Registry, String> + 'static,
    ) -> Application {
        Application { name, endpoints: Box::new(endpoints) }
    }

    /// The application that governance installs: JavaScript endpoints kept in the store. Its API has the registry's
    /// own title and version (applications specification, section 12).
    #[must_use]
    pub fn js_generic() -> Application {
        Application::native("js_generic", |_| {
            let mut registry = Registry::new(Frontend::App);
            registry.set_dynamic(Arc::new(JsApp::new(script_console())));
            Ok(registry)
        })
    }
}

/// Lines of scripts go to the log under the tag of who speaks.
pub(crate) fn script_console() -> Console {
    macro_rules! line {
        ($target:literal, $level:expr, $text:expr) => {
            match $level {
                Level::Info => tracing::info!(target: $target, "{}", $text),
                Level::Fail => tracing::warn!(target: $target, "{}", $text),
                Level::Fatal => tracing::error!(target: $target, "{}", $text),
            }
        };
    }
    Console::filtered(
        |level, _| {
            crate::logging::is_enabled(match level {
                Level::Info => crate::logging::LogLevel::Info,
                Level::Fail => crate::logging::LogLevel::Fail,
                Level::Fatal => crate::logging::LogLevel::Fatal,
            })
        },
        |level, tag, text| match tag {
            Tag::App => line!("app", level, text),
            Tag::Gov => line!("gov", level, text),
            Tag::Js => line!("js", level, text),
        },
    )
}
