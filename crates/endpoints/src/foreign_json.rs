//! JSON from callers, taken in strictly: where the protocol has an object nothing else passes (applications
//! specification, section 2.3).
//!
//! The derived parsers of structs also take a list, its elements for the members in order. [`parse`] does not, at any
//! depth, and its errors name the place: `At #/a/b: <reason>`.

use crate::error::ErrorResponse;
use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};
use std::fmt;

/// Longest text of a value that an error repeats, in bytes.
const REPEATED_BYTES_MAX: usize = 4096;

/// Reads `body` as a `T`; an empty one is `{}`. Of members that occur twice the last counts.
///
/// # Errors
/// 400 `InvalidInput`: for what is no JSON with the library's text, for JSON of another shape with the place.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorResponse> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Without a list nothing can be taken for an object that is none: the quick way is the same.
    if body.first() == Some(&b'{')
        && !body.contains(&b'[')
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    let value: Value = serde_json::from_slice(body)?;
    T::deserialize(Strict(&value)).map_err(|error| ErrorResponse::invalid_input(error.to_string()))
}

/// A value whose structs must be objects.
struct Strict<'a>(&'a Value);

/// What is wrong, and where.
#[derive(Debug)]
struct Misfit {
    /// Members and indices that lead there, innermost first.
    path: Vec<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Other(String),
    /// Not yet known of which object.
    Missing(&'static str),
}

impl Misfit {
    fn under(mut self, step: impl Into<String>) -> Misfit {
        self.path.push(step.into());
        self
    }

    /// An object without a member it must have.
    fn of(self, object: &Value) -> Misfit {
        let Kind::Missing(field) = self.kind else { return self };
        let text = format!("Missing required field '{field}' in object: {}", shown(object));
        Misfit { kind: Kind::Other(text), ..self }
    }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > REPEATED_BYTES_MAX {
        text.truncate(text.floor_char_boundary(REPEATED_BYTES_MAX));
        text.push('…');
    }
    text
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        write!(f, "At #/{}: ", path.join("/"))?;
        match &self.kind {
            Kind::Other(text) => f.write_str(text),
            Kind::Missing(field) => write!(f, "Missing required field '{field}'"),
        }
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Misfit { path: Vec::new(), kind: Kind::Other(text.to_string()) }
    }

    fn missing_field(field: &'static str) -> Self {
        Misfit { path: Vec::new(), kind: Kind::Missing(field) }
    }
}

struct Members<'a> {
    rest: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'a> Members<'a> {
    fn of(object: &'a Map<String, Value>) -> Self {
        Members { rest: object.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, value));
        // Keys can be numbers in the type.
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, value) = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(Strict(value)).map_err(|error| error.under(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// A member's name, which a type can also read as a number.
struct Key<'a>(&'a str);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_borrowed_str(self.0),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let text: StrDeserializer<'_, Misfit> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements<'a> {
    rest: std::slice::Iter<'a, Value>,
    at: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        seed.deserialize(Strict(value)).map(Some).map_err(|error| error.under(at.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(list) => {
                let list = Elements { rest: list.iter(), at: 0 };
                SeqAccessDeserializer::new(list).deserialize_any(visitor)
            }
            Value::Object(object) => MapAccessDeserializer::new(Members::of(object)).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Object(object) => visitor.visit_map(Members::of(object)).map_err(|error| {
                // Errors of members carry their path already.
                if error.path.is_empty() { error.of(self.0) } else { error }
            }),
            other => Err(de::Error::custom(format!("Expected object, found: {}", shown(other)))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => {
                let text: StrDeserializer<'_, Misfit> = text.as_str().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            Value::Object(object) => {
                MapAccessDeserializer::new(Members::of(object)).deserialize_enum(name, variants, visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        id: u64,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        kind: Kind,
        #[serde(default)]
        by_number: BTreeMap<u64, String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        text: String,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    enum Kind {
        #[default]
        Plain,
        With {
            text: String,
        },
    }

    fn refusal(body: &str) -> String {
        let error = parse::<Outer>(body.as_bytes()).expect_err(body);
        assert_eq!((error.status, error.code.as_str()), (400, "InvalidInput"), "{body}");
        error.message
    }

    /// The texts of the transcripts, and the same deeper.
    #[test]
    fn what_is_no_object_is_refused_at_every_depth() {
        assert_eq!(refusal("[]"), "At #/: Expected object, found: []");
        assert_eq!(refusal(r#" [1,{"text":"x"}]"#), r#"At #/: Expected object, found: [1,{"text":"x"}]"#);
        assert_eq!(refusal("5"), "At #/: Expected object, found: 5");
        assert_eq!(refusal(""), "At #/: Missing required field 'id' in object: {}");
        assert_eq!(refusal(r#"{"x":1}"#), r#"At #/: Missing required field 'id' in object: {"x":1}"#);
        let inner = refusal(r#"{"id":1,"inner":["x"]}"#);
        assert_eq!(inner, r#"At #/inner: Expected object, found: ["x"]"#);
        let inner = refusal(r#"{"id":1,"list":[{"text":"a"},{"texts":"b"}]}"#);
        assert_eq!(inner, r#"At #/list/1: Missing required field 'text' in object: {"texts":"b"}"#);
        assert!(refusal(r#"{"id":"1"}"#).starts_with("At #/id: invalid type"));
        assert!(refusal("{").starts_with("EOF while"));
    }

    #[test]
    fn what_fits_is_taken() {
        let body = r#"{"list":[{"text":"a"}],"kind":{"With":{"text":"b"}},"by_number":{"7":"c"},"inner":null,"id":1,"more":[]}"#;
        let outer: Outer = parse(body.as_bytes()).expect("fits");
        assert_eq!((outer.id, outer.inner, outer.list.len()), (1, None, 1));
        assert_eq!(outer.kind, Kind::With { text: "b".to_owned() });
        assert_eq!(outer.by_number[&7], "c");
        assert_eq!(parse::<Value>(b"[1]").expect("any JSON"), serde_json::json!([1]));
        assert_eq!(parse::<Vec<i64>>(b"[-1]").expect("a list"), [-1]);
    }

    #[test]
    fn errors_stay_short() {
        let long = format!(r#"{{"x":"{}"}}"#, "é".repeat(REPEATED_BYTES_MAX));
        assert!(refusal(&long).len() < REPEATED_BYTES_MAX + 100);
    }
}
