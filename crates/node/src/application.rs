//! What a binary links into a node: an application.

use ccf_endpoints::Registry;
use ccf_kv::Store;
use ccf_types::NodeId;

/// An application, made once per node when it starts.
pub struct Application {
    /// Its name, for the log.
    pub name: &'static str,
    /// Makes the endpoints of `/app`. An error stops the start with its text.
    pub endpoints: Box<dyn FnOnce(&ApplicationContext<'_>) -> Result<Registry, String>>,
}

/// What an application may know while it declares its endpoints.
pub struct ApplicationContext<'a> {
    /// This node.
    pub node_id: &'a NodeId,
    /// The store its transactions will work on.
    pub store: &'a Store,
}
