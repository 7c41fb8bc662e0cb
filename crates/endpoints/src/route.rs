//! Finding an endpoint by method and path: templates, captures and tables of routes.

mod captures;
mod methods;
mod table;
mod template;

pub use captures::{Captures, Params};
pub use methods::MethodSet;
pub use table::{Ambiguous, Route, RouteTable};
pub use template::{InvalidTemplate, PathTemplate, TEMPLATE_CAPTURES_MAX};
