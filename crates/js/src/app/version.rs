//! One version of an application: its compiled modules and the interpreters prepared for it.

use super::modules::ModuleSet;
use super::pool::{PreparedPool, ReusedPool};
use crate::console::Console;
use std::sync::Arc;

/// See the module's text. Dropped as a whole when the application changes, so that no function of an older
/// version survives.
pub(crate) struct AppVersion {
    pub(super) console: Console,
    pub(crate) modules: Arc<ModuleSet>,
    pub(super) prepared: PreparedPool,
    pub(super) reused: ReusedPool,
}

impl AppVersion {
    pub(super) fn new(console: Console) -> AppVersion {
        AppVersion {
            console,
            modules: Arc::default(),
            prepared: PreparedPool::default(),
            reused: ReusedPool::default(),
        }
    }
}
