//! Where clients are led that want another node (node specification, section 14.3).

use crate::config::{Config, Redirections as Configured, Resolver, Role as TargetRole};
use ccf_endpoints::Role;
use ccf_governance::tables::{
    self,
    node::{NodeInfo, NodeStatus},
};
use ccf_kv::Store;
use ccf_types::NodeId;
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The redirections of all interfaces, by name.
pub(crate) struct Redirections {
    own: NodeId,
    configured: BTreeMap<String, Configured>,
    /// Backups take turns.
    turn: AtomicUsize,
}

impl Redirections {
    /// Those of a configuration, for the node `own`.
    pub(crate) fn new(config: &Config, own: NodeId) -> Redirections {
        let configured = config.network.rpc_interfaces.iter();
        let configured = configured.filter_map(|(name, it)| Some((name.clone(), it.redirections.clone()?)));
        Redirections { own, configured: configured.collect(), turn: AtomicUsize::new(0) }
    }

    /// `host:port` of a node with a role, as an interface's redirections find it.
    pub(crate) fn address(
        &self,
        to: Role,
        interface: &str,
        store: &Store,
        primary: Option<&NodeId>,
    ) -> Option<String> {
        let configured = self.configured.get(interface)?;
        let resolver = match to {
            Role::Primary => &configured.to_primary,
            Role::Backup => &configured.to_backup,
        };
        match resolver {
            Some(Resolver::StaticAddress(target)) => Some(target.address.clone()),
            Some(Resolver::NodeByRole(target)) => {
                let interface = target.interface.as_deref().unwrap_or(interface);
                match target.role {
                    TargetRole::Primary => published(store, primary?, interface),
                    TargetRole::Backup => self.backup(store, primary, interface),
                }
            }
            None => published(store, primary?, interface),
        }
    }

    /// Some trusted node other than the primary and this one, which only asks if it is the primary itself.
    fn backup(&self, store: &Store, primary: Option<&NodeId>, interface: &str) -> Option<String> {
        let mut addresses = Vec::new();
        let each = |id: NodeId, row: NodeInfo| {
            if row.status == NodeStatus::Trusted && id != self.own && Some(&id) != primary {
                addresses.extend(row.rpc_interfaces.get(interface).map(|it| it.published().to_owned()));
            }
            ControlFlow::<()>::Continue(())
        };
        store.begin().ro(&tables::NODES).for_each(each).ok()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).cloned()
    }
}

/// The published address of an interface of a node that stands in the ledger.
pub(crate) fn published(store: &Store, node: &NodeId, interface: &str) -> Option<String> {
    let row = store.begin().ro(&tables::NODES).get(node).ok()??;
    row.rpc_interfaces.get(interface).map(|it| it.published().to_owned())
}
