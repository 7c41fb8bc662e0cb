//! Types that exist for their schemas.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

macro_rules! named_schema {
    ($(#[$doc:meta])* $type:ident, $name:literal, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

named_schema! {
    /// Any JSON value.
    AnyJson, "json", {}
}
named_schema! {
    /// A COSE message.
    Cose, "Cose", {"format": "binary", "type": "string"}
}
named_schema! {
    /// A certificate or key in PEM.
    Pem, "Pem", {"type": "string"}
}
named_schema! {
    /// A transaction ID.
    TransactionId, "TransactionId", {"pattern": "^[0-9]+\\.[0-9]+$", "type": "string"}
}
