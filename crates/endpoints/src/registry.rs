//! The endpoints of one frontend.

mod dynamic;

pub use dynamic::{DispatchError, DynamicEndpoints, DynamicMatch, DynamicOperation};

use crate::{
    builtin,
    endpoint::{EndpointDefinition, Frontend},
    http::Method,
    openapi::ApiInfo,
    route::{Ambiguous, InvalidTemplate, MethodSet, Route, RouteTable},
};
use std::sync::Arc;

/// The endpoints of one frontend, complete before the first request.
pub struct Registry {
    frontend: Frontend,
    routes: RouteTable<Arc<EndpointDefinition>>,
    dynamic: Option<Arc<dyn DynamicEndpoints>>,
    info: ApiInfo,
}

impl Registry {
    /// A frontend with the built-in endpoints only: `/commit`, `/tx`, `/receipt`, `/receipt/cose`, `/api`.
    #[must_use]
    pub fn new(frontend: Frontend) -> Registry {
        let mut registry = Registry::bare(frontend);
        for definition in builtin::endpoints() {
            // The templates are literal paths of ours: they cannot be refused.
            let _ = registry.install(definition);
        }
        registry
    }

    /// A frontend without any endpoint.
    #[must_use]
    pub fn bare(frontend: Frontend) -> Registry {
        Registry { frontend, routes: RouteTable::default(), dynamic: None, info: ApiInfo::default() }
    }

    /// Adds an endpoint, replacing one of the same method and path.
    ///
    /// # Errors
    /// [`InvalidTemplate`] if the definition's path is no template.
    pub fn install(&mut self, definition: EndpointDefinition) -> Result<(), InvalidTemplate> {
        let mut definition = definition.in_frontend(self.frontend);
        // Listing `no_auth` alone and listing nothing let the same callers in.
        if definition.authn.len() == 1 && definition.authn[0].name() == "no_auth" {
            definition.authn.clear();
        }
        let template = definition.template.clone()?;
        self.routes.insert(definition.method, template, Arc::new(definition));
        Ok(())
    }

    /// Looks endpoints up in `dynamic` before the ones installed here.
    pub fn set_dynamic(&mut self, dynamic: Arc<dyn DynamicEndpoints>) {
        self.dynamic = Some(dynamic);
    }

    /// Title, description and version of the OpenAPI document.
    pub fn set_info(&mut self, info: ApiInfo) {
        self.info = info;
    }

    /// The frontend.
    #[must_use]
    pub fn frontend(&self) -> Frontend {
        self.frontend
    }

    /// Title, description and version of the OpenAPI document.
    #[must_use]
    pub fn info(&self) -> &ApiInfo {
        &self.info
    }

    /// Where endpoints are looked up first.
    #[must_use]
    pub fn dynamic(&self) -> Option<&Arc<dyn DynamicEndpoints>> {
        self.dynamic.as_ref()
    }

    /// The endpoints installed here, in no particular order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<EndpointDefinition>> {
        self.routes.values()
    }

    /// The endpoint installed here for a method and a path below the frontend's prefix, if there is exactly one.
    #[must_use]
    pub fn endpoint(&self, method: Method, path: &[u8]) -> Option<&Arc<EndpointDefinition>> {
        Some(self.find(method, path).ok()??.value)
    }

    pub(crate) fn find(
        &self,
        method: Method,
        path: &[u8],
    ) -> Result<Option<Route<'_, Arc<EndpointDefinition>>>, Ambiguous> {
        self.routes.find(method, path)
    }

    pub(crate) fn methods(&self, path: &[u8]) -> MethodSet {
        self.routes.methods(path)
    }
}
