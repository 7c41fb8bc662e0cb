//! The `/gov` endpoints (governance 3 and 4).

mod digests;
mod javascript;
mod policy;
mod proposals;
mod recovery;
mod request;
mod service;
mod swagger;
mod version;

pub use version::ApiVersion;

use crate::node::NodeGovernance;
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorResponse, InvalidTemplate, Method, Registry,
    authn::MemberCoseSign1,
};
use ccf_js::GovernanceScripts;
use std::sync::Arc;

/// What the endpoints need besides the request. One per node, used by all workers.
pub struct Governance {
    node: Arc<dyn NodeGovernance>,
    scripts: GovernanceScripts,
}

impl Governance {
    /// Governance on this node, with scripts run by `scripts`.
    #[must_use]
    pub fn new(node: Arc<dyn NodeGovernance>, scripts: GovernanceScripts) -> Governance {
        Governance { node, scripts }
    }

    /// Adds all endpoints to the registry of the `/gov` frontend.
    ///
    /// # Errors
    /// Never, unless a path in this file is no template.
    pub fn install(self: &Arc<Self>, registry: &mut Registry) -> Result<(), InvalidTemplate> {
        let all = [
            digests::endpoints(self),
            proposals::endpoints(self),
            recovery::endpoints(self),
            service::endpoints(),
            javascript::endpoints(),
            policy::endpoints(),
            swagger::endpoints(),
        ];
        for definition in all.into_iter().flatten() {
            registry.install(definition)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Governance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Governance").finish_non_exhaustive()
    }
}

/// Who may send a signed request.
#[derive(Clone, Copy)]
enum Signer {
    /// Any member.
    Member,
    /// A member that has acknowledged.
    ActiveMember,
}

/// An endpoint for signed requests whose `ccf.gov.msg.type` is `message`.
fn signed(
    path: &str,
    signer: Signer,
    message: &'static str,
    governance: &Arc<Governance>,
    handler: impl Fn(&Governance, &mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
) -> EndpointDefinition {
    let policy = match signer {
        Signer::Member => MemberCoseSign1::typed(message),
        Signer::ActiveMember => MemberCoseSign1::typed(message).active(),
    };
    let governance = Arc::clone(governance);
    let handler = version::checked(ApiVersion::Preview20230601, move |context| handler(&governance, context));
    EndpointDefinition::read_write(Method::Post, path, handler).authn([Arc::new(policy) as Arc<_>]).hidden()
}

/// An endpoint that shows state to everybody, from this version on.
fn shown_since(
    since: ApiVersion,
    path: &str,
    handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
) -> EndpointDefinition {
    EndpointDefinition::read_only(Method::Get, path, version::checked(since, handler)).hidden()
}

/// An endpoint that shows state to everybody.
fn shown(
    path: &str,
    handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
) -> EndpointDefinition {
    shown_since(ApiVersion::Preview20230601, path, handler)
}
