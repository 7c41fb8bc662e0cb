//! The declaration of an endpoint: the one place that says what it is, from which routing, authentication and
//! the OpenAPI document follow.

mod builder;
mod properties;

pub use builder::EndpointDefinition;
pub use properties::{ForwardingRequired, Frontend, Mode, QueryParameter, RedirectionStrategy};

use crate::{context::EndpointContext, error::ErrorResponse};
use std::sync::Arc;

/// The code of an endpoint. It answers by setting `ctx.response`, or with an error.
pub type Handler = Arc<dyn Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync>;
