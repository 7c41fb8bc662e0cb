//! Building a declaration step by step.

use super::{ForwardingRequired, Frontend, Handler, Mode, QueryParameter, RedirectionStrategy};
use crate::{
    authn::AuthnPolicy,
    context::EndpointContext,
    error::ErrorResponse,
    http::Method,
    openapi::SchemaRef,
    route::{InvalidTemplate, PathTemplate},
    session::OperatorFeature,
};
use schemars::JsonSchema;
use std::{fmt, sync::Arc, time::Duration};

/// An endpoint as declared.
///
/// Made with [`EndpointDefinition::read_write`], [`EndpointDefinition::read_only`] or
/// [`EndpointDefinition::command`], refined with the methods that follow, and given to
/// [`crate::Registry::install`].
#[derive(Clone)]
pub struct EndpointDefinition {
    pub(crate) method: Method,
    /// The template, or why the path is none; [`crate::Registry::install`] refuses those.
    pub(crate) template: Result<PathTemplate, InvalidTemplate>,
    pub(crate) full_path: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) forwarding: ForwardingRequired,
    pub(crate) redirection: RedirectionStrategy,
    pub(crate) authn: Vec<Arc<dyn AuthnPolicy>>,
    pub(crate) operator_feature: Option<OperatorFeature>,
    pub(crate) linearizable: bool,
    pub(crate) wait_for_commit: Option<Duration>,
    pub(crate) handler: Handler,
    pub(crate) docs: Docs,
}

/// What only the OpenAPI document needs.
#[derive(Clone, Default)]
pub(crate) struct Docs {
    pub(crate) hidden: bool,
    pub(crate) summary: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) deprecated: bool,
    pub(crate) query: Vec<QueryParameter>,
    pub(crate) input: Option<SchemaRef>,
    pub(crate) output: Option<(u16, &'static str, Option<SchemaRef>)>,
}

impl fmt::Debug for EndpointDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointDefinition")
            .field("method", &self.method)
            .field("path", &self.full_path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl EndpointDefinition {
    /// An endpoint of any mode, for dispatchers that read declarations from data. The path is a template
    /// below the frontend's prefix, as `/person/{name}`.
    #[must_use]
    pub fn new(
        method: Method,
        path: &str,
        mode: Mode,
        handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
    ) -> EndpointDefinition {
        let (forwarding, redirection) = match mode {
            Mode::ReadWrite => (ForwardingRequired::Always, RedirectionStrategy::ToPrimary),
            Mode::ReadOnly | Mode::Historical | Mode::Command => {
                (ForwardingRequired::Sometimes, RedirectionStrategy::None)
            }
        };
        let definition = EndpointDefinition {
            method,
            template: PathTemplate::parse(path),
            full_path: "".into(),
            mode,
            forwarding,
            redirection,
            authn: Vec::new(),
            operator_feature: None,
            linearizable: false,
            wait_for_commit: None,
            handler: Arc::new(handler),
            docs: Docs::default(),
        };
        definition.in_frontend(Frontend::App)
    }

    /// An endpoint that reads and writes: executed on the primary.
    #[must_use]
    pub fn read_write(
        method: Method,
        path: &str,
        handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
    ) -> EndpointDefinition {
        EndpointDefinition::new(method, path, Mode::ReadWrite, handler)
    }

    /// An endpoint that only reads: executed on any node.
    #[must_use]
    pub fn read_only(
        method: Method,
        path: &str,
        handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
    ) -> EndpointDefinition {
        EndpointDefinition::new(method, path, Mode::ReadOnly, handler)
    }

    /// An endpoint that does not touch the store.
    #[must_use]
    pub fn command(
        method: Method,
        path: &str,
        handler: impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static,
    ) -> EndpointDefinition {
        EndpointDefinition::new(method, path, Mode::Command, handler)
    }

    /// Belongs to this frontend. [`crate::Registry::install`] sets it; a new definition belongs to `/app`.
    #[must_use]
    pub fn in_frontend(mut self, frontend: Frontend) -> Self {
        let path = self.template.as_ref().map_or("", PathTemplate::as_str);
        self.full_path = format!("{}{path}", frontend.prefix()).into();
        self
    }

    /// Policies of which the first that accepts the caller wins; none at all lets everybody in, without an
    /// identity.
    #[must_use]
    pub fn authn(mut self, policies: impl IntoIterator<Item = Arc<dyn AuthnPolicy>>) -> Self {
        self.authn = policies.into_iter().collect();
        self
    }

    /// When a backup forwards the request. Also resets where interfaces redirect it: nowhere for
    /// [`ForwardingRequired::Never`], else to the primary.
    #[must_use]
    pub fn forwarding(mut self, forwarding: ForwardingRequired) -> Self {
        self.forwarding = forwarding;
        self.redirection = match forwarding {
            ForwardingRequired::Never => RedirectionStrategy::None,
            ForwardingRequired::Always | ForwardingRequired::Sometimes => RedirectionStrategy::ToPrimary,
        };
        self
    }

    /// Where interfaces with redirections send the client; call after [`Self::forwarding`].
    #[must_use]
    pub fn redirection(mut self, redirection: RedirectionStrategy) -> Self {
        self.redirection = redirection;
        self
    }

    /// Reads see every write that was answered before, whoever answered it: the request is executed on the primary and
    /// answered when a majority has confirmed that it still is. Off by default, as in CCF.
    #[must_use]
    pub fn linearizable(mut self) -> Self {
        self.linearizable = true;
        self
    }

    /// Answers to requests that wrote wait for the commit, at most so long; the header `x-ccf-commit-status` tells
    /// whether it came.
    #[must_use]
    pub fn wait_for_commit(mut self, at_most: Duration) -> Self {
        self.wait_for_commit = Some(at_most);
        self
    }

    /// Answers 404 on interfaces that do not enable the feature.
    #[must_use]
    pub fn operator_feature(mut self, feature: OperatorFeature) -> Self {
        self.operator_feature = Some(feature);
        self
    }

    /// Documents the JSON request body.
    #[must_use]
    pub fn input<T: JsonSchema>(mut self) -> Self {
        self.docs.input = Some(SchemaRef::of::<T>());
        self
    }

    /// Documents the JSON answer of status 200.
    #[must_use]
    pub fn output<T: JsonSchema>(mut self) -> Self {
        self.docs.output = Some((200, "application/json", Some(SchemaRef::of::<T>())));
        self
    }

    /// Documents an answer of another status or content type; without a schema it has no body.
    #[must_use]
    pub fn output_as(mut self, status: u16, content_type: &'static str, schema: Option<SchemaRef>) -> Self {
        self.docs.output = Some((status, content_type, schema));
        self
    }

    /// Documents a query parameter.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self, name: &str, required: bool) -> Self {
        self.docs.query.push(QueryParameter {
            name: name.to_owned(),
            required,
            schema: SchemaRef::of::<T>(),
        });
        self
    }

    /// One line about the endpoint.
    #[must_use]
    pub fn summary(mut self, text: &str) -> Self {
        self.docs.summary = Some(text.to_owned());
        self
    }

    /// A paragraph about the endpoint.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.docs.description = Some(text.to_owned());
        self
    }

    /// Marks the endpoint as deprecated in the OpenAPI document.
    #[must_use]
    pub fn deprecated(mut self) -> Self {
        self.docs.deprecated = true;
        self
    }

    /// Leaves the endpoint out of the OpenAPI document.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.docs.hidden = true;
        self
    }

    /// Request method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Path template with the frontend's prefix, as `/app/person/{name}`.
    #[must_use]
    pub fn full_path(&self) -> &Arc<str> {
        &self.full_path
    }

    /// What the endpoint does with the store.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}
