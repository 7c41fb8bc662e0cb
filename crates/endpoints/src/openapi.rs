//! The OpenAPI document of a frontend, from the declarations of its endpoints (applications specification,
//! section 12).

mod document;
mod operation_id;
mod schema;
mod types;

pub use document::{ApiInfo, SchemaConflict, document};
pub use operation_id::operation_id;
pub use schema::SchemaRef;
pub use types::{AnyJson, Base64Text, Cose, MapOf, NodeId, Pem, TransactionId};

pub(crate) use schema::Components;
