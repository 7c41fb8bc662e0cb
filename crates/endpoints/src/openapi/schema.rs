//! Schemas: taken from types with `schemars`, given names and put under `components`, every one of them
//! referenced by its name.

use super::document::SchemaConflict;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of a type, made when a document is built.
#[derive(Clone, Copy, Debug)]
pub struct SchemaRef {
    generate: fn(&mut SchemaGenerator) -> Schema,
}

impl SchemaRef {
    /// The schema of `T`.
    #[must_use]
    pub fn of<T: JsonSchema>() -> SchemaRef {
        SchemaRef { generate: |generator| generator.subschema_for::<T>() }
    }
}

/// The named schemas of one document.
pub(crate) struct Components {
    generator: SchemaGenerator,
    schemas: Map<String, Value>,
}

impl Components {
    pub(crate) fn new() -> Components {
        Components { generator: SchemaSettings::draft07().into_generator(), schemas: Map::new() }
    }

    pub(crate) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }

    /// A reference to the schema, adding it and what it needs. Also says whether it is a plain string.
    pub(crate) fn reference(&mut self, schema: SchemaRef) -> Result<(Value, bool), SchemaConflict> {
        let schema = (schema.generate)(&mut self.generator).to_value();
        let is_string = schema.get("type").is_some_and(|t| t == "string");
        Ok((self.embed(&schema)?, is_string))
    }

    /// A schema as it stands inside another: a reference wherever it has a name.
    fn embed(&mut self, schema: &Value) -> Result<Value, SchemaConflict> {
        let Value::Object(object) = schema else { return self.named("json", json!({})) };
        if let Some(name) = object.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()) {
            return self.definition(name);
        }
        if let Some(inner) = without_null(object) {
            return self.embed(&inner);
        }
        if object.contains_key("enum") || object.contains_key("properties") || object.contains_key("oneOf") {
            return self.convert(object);
        }
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "string" => self.named("string", json!({"type": "string"})),
            "boolean" => self.named("boolean", json!({"type": "boolean"})),
            "integer" => self.integer(object),
            "number" => self.named("double", json!({"type": "number"})),
            "array" => {
                let suffix = if object.contains_key("uniqueItems") { "set" } else { "array" };
                let items = self.embed(object.get("items").unwrap_or(&Value::Bool(true)))?;
                match reference_name(&items) {
                    Some(name) => {
                        let name = format!("{name}_{suffix}");
                        self.named(&name, json!({"items": items, "type": "array"}))
                    }
                    None => Ok(json!({"items": items, "type": "array"})),
                }
            }
            "object" => match object.get("additionalProperties") {
                Some(values) if values != &Value::Bool(false) => {
                    let values = self.embed(values)?;
                    let name = format!("string_to_{}", reference_name(&values).unwrap_or("object"));
                    self.named(&name, json!({"additionalProperties": values, "type": "object"}))
                }
                _ => self.convert(object),
            },
            _ => self.named("json", json!({})),
        }
    }

    fn integer(&mut self, object: &Map<String, Value>) -> Result<Value, SchemaConflict> {
        let (name, minimum, maximum) = match object.get("format").and_then(Value::as_str) {
            Some("uint8") => ("uint8", json!(0), json!(u8::MAX)),
            Some("uint16") => ("uint16", json!(0), json!(u16::MAX)),
            Some("uint32") => ("uint32", json!(0), json!(u32::MAX)),
            Some("int8") => ("int8", json!(i8::MIN), json!(i8::MAX)),
            Some("int16") => ("int16", json!(i16::MIN), json!(i16::MAX)),
            Some("int32") => ("int32", json!(i32::MIN), json!(i32::MAX)),
            Some("int64" | "int") => ("int64", json!(i64::MIN), json!(i64::MAX)),
            _ => ("uint64", json!(0), json!(u64::MAX)),
        };
        self.named(name, json!({"maximum": maximum, "minimum": minimum, "type": "integer"}))
    }

    /// The schema of a definition that `schemars` made.
    fn definition(&mut self, definition: &str) -> Result<Value, SchemaConflict> {
        let name = component_name(definition);
        if !self.schemas.contains_key(&name) {
            let schema = self.generator.definitions().get(definition).cloned().unwrap_or_default();
            // A placeholder ends the recursion of types that contain themselves.
            self.schemas.insert(name.clone(), Value::Null);
            let converted = match &schema {
                Value::Object(object) => self.convert(object)?,
                _ => json!({}),
            };
            self.schemas.insert(name.clone(), converted);
        }
        Ok(json!({"$ref": format!("#/components/schemas/{name}")}))
    }

    /// The body of a schema with everything inside referenced.
    fn convert(&mut self, object: &Map<String, Value>) -> Result<Value, SchemaConflict> {
        if let Some(words) = string_enum(object) {
            return Ok(json!({"enum": words, "type": "string"}));
        }
        let mut out = Map::new();
        for (key, value) in object {
            match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    let mut embedded = Map::new();
                    for (name, property) in properties {
                        embedded.insert(name.clone(), self.embed(property)?);
                    }
                    out.insert(key.clone(), Value::Object(embedded));
                }
                ("oneOf" | "anyOf" | "allOf", Value::Array(list)) => {
                    let list = list.iter().map(|s| self.embed(s)).collect::<Result<Vec<_>, _>>()?;
                    out.insert(key.clone(), Value::Array(list));
                }
                ("items", value) => {
                    let items = self.embed(value)?;
                    out.insert(key.clone(), items);
                }
                ("additionalProperties", Value::Object(_)) => {
                    let values = self.embed(value)?;
                    out.insert(key.clone(), values);
                }
                ("const", value) => {
                    out.insert("enum".to_owned(), json!([value]));
                }
                (
                    "type" | "required" | "enum" | "pattern" | "format" | "minimum" | "maximum" | "minLength"
                    | "maxLength" | "minItems" | "maxItems",
                    value,
                ) => {
                    out.insert(key.clone(), value.clone());
                }
                _ => {}
            }
        }
        Ok(Value::Object(out))
    }

    fn named(&mut self, name: &str, schema: Value) -> Result<Value, SchemaConflict> {
        let name = component_name(name);
        match self.schemas.get(&name) {
            Some(known) if *known != schema => return Err(SchemaConflict(name)),
            Some(_) => {}
            None => {
                self.schemas.insert(name.clone(), schema);
            }
        }
        Ok(json!({"$ref": format!("#/components/schemas/{name}")}))
    }
}

/// Type names with other characters than letters, digits, `.`, `-` and `_` replaced.
fn component_name(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    name.chars().map(keep).collect()
}

fn reference_name(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// The schema of `T` from that of `Option<T>`; OpenAPI 3.0 knows no null type, and optional members are simply
/// not required.
fn without_null(object: &Map<String, Value>) -> Option<Value> {
    let null = json!({"type": "null"});
    if let Some(Value::Array(list)) = object.get("anyOf") {
        let mut rest = list.iter().filter(|schema| **schema != null);
        return match (rest.next(), rest.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        };
    }
    let Some(Value::Array(types)) = object.get("type") else { return None };
    let only = types.iter().find(|t| **t != "null")?;
    let mut inner = object.clone();
    inner.insert("type".to_owned(), only.clone());
    if let Some(Value::Array(words)) = inner.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    Some(Value::Object(inner))
}

/// The words of an enumeration without data, whether `schemars` wrote it as one list or, because of comments,
/// one alternative each.
fn string_enum(object: &Map<String, Value>) -> Option<Vec<Value>> {
    if let Some(Value::Array(words)) = object.get("enum") {
        return words.iter().all(Value::is_string).then(|| words.clone());
    }
    let Some(Value::Array(alternatives)) = object.get("oneOf") else { return None };
    let mut words = Vec::new();
    for alternative in alternatives {
        match (alternative.get("const"), alternative.get("enum")) {
            (Some(word @ Value::String(_)), _) => words.push(word.clone()),
            (None, Some(Value::Array(list))) if list.iter().all(Value::is_string) => {
                words.extend(list.iter().cloned());
            }
            _ => return None,
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(JsonSchema)]
    #[schemars(rename = "Colour::Kind")]
    #[expect(dead_code)]
    enum Colour {
        /// Commented variants become alternatives each.
        Red,
        /// Their order stays.
        Blue,
    }

    #[derive(JsonSchema)]
    #[schemars(rename = "Thing::Out")]
    #[expect(dead_code)]
    struct Thing {
        zulu: u64,
        alpha: Option<Vec<String>>,
        colour: Option<Colour>,
        map: BTreeMap<String, u32>,
        again: Option<Box<Thing>>,
        any: Value,
    }

    #[test]
    fn everything_is_referenced_by_name() {
        let mut components = Components::new();
        let (reference, _) = components.reference(SchemaRef::of::<Vec<Thing>>()).unwrap();
        assert_eq!(reference, json!({"$ref": "#/components/schemas/Thing__Out_array"}));
        let schemas = components.into_schemas();
        let names: Vec<_> = schemas.keys().map(String::as_str).collect();
        let expected = [
            "Colour__Kind",
            "Thing__Out",
            "Thing__Out_array",
            "json",
            "string",
            "string_array",
            "string_to_uint32",
            "uint32",
            "uint64",
        ];
        assert_eq!(names, expected);
        assert_eq!(schemas["Colour__Kind"], json!({"enum": ["Red", "Blue"], "type": "string"}));
        assert_eq!(schemas["Thing__Out"]["required"], json!(["zulu", "map", "any"]));
        let again = &schemas["Thing__Out"]["properties"]["again"];
        assert_eq!(again, &json!({"$ref": "#/components/schemas/Thing__Out"}));
    }

    #[test]
    fn one_name_means_one_schema() {
        let mut components = Components::new();
        assert!(components.named("x", json!({"type": "string"})).is_ok());
        assert_eq!(components.named("x", json!({})), Err(SchemaConflict("x".to_owned())));
    }
}
