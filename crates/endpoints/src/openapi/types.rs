//! Types that exist for their schemas.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::{borrow::Cow, marker::PhantomData};

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
named_schema! {
    /// A node's identifier.
    NodeId, "NodeId", {"format": "hex", "pattern": "^[a-f0-9]{64}$", "type": "string"}
}
named_schema! {
    /// Bytes as base64 text.
    Base64Text, "base64string", {"format": "base64", "type": "string"}
}

/// An object whose keys are texts of the named type `K`: `K_to_V`. Plain strings need no such type.
#[derive(Clone, Copy, Debug)]
pub struct MapOf<K, V>(PhantomData<(K, V)>);

impl<K: JsonSchema, V: JsonSchema> JsonSchema for MapOf<K, V> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_to_{}", K::schema_name(), V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"additionalProperties": generator.subschema_for::<V>(), "type": "object"})
    }
}
