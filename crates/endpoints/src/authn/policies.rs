//! The policies that metadata can name.

use super::{AllOf, AnyCert, AuthnPolicy, JwtAbsent, MemberCert, NoAuth, UserCert, UserCoseSign1};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Metadata that names no usable policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownPolicy {
    /// No policy of this name.
    #[error("Unknown auth policy: {0}")]
    Name(String),
    /// Neither a name nor an `all_of` of names.
    #[error("Unsupported auth policy. {0}")]
    Shape(String),
}

/// Policies by name: the built-in ones a JavaScript application may use, and those a native application
/// adds.
#[derive(Clone)]
pub struct Policies(BTreeMap<String, Arc<dyn AuthnPolicy>>);

impl Default for Policies {
    fn default() -> Self {
        let mut policies = Policies(BTreeMap::new());
        policies.add(Arc::new(UserCert));
        policies.add(Arc::new(MemberCert));
        policies.add(Arc::new(AnyCert));
        policies.add(Arc::new(JwtAbsent));
        policies.add(Arc::new(UserCoseSign1::default()));
        policies.add(Arc::new(NoAuth));
        policies
    }
}

impl Policies {
    /// Adds a policy under its own name, replacing one of the same name.
    pub fn add(&mut self, policy: Arc<dyn AuthnPolicy>) {
        self.0.insert(policy.name().to_owned(), policy);
    }

    /// The policy of this name.
    ///
    /// # Errors
    /// [`UnknownPolicy::Name`].
    pub fn by_name(&self, name: &str) -> Result<Arc<dyn AuthnPolicy>, UnknownPolicy> {
        self.0.get(name).cloned().ok_or_else(|| UnknownPolicy::Name(name.to_owned()))
    }

    /// The policies of an `authn_policies` list: names, or `{"all_of": [names]}`.
    ///
    /// # Errors
    /// [`UnknownPolicy`] for the first element that is neither.
    pub fn parse(&self, list: &[Value]) -> Result<Vec<Arc<dyn AuthnPolicy>>, UnknownPolicy> {
        list.iter().map(|element| self.parse_one(element)).collect()
    }

    fn parse_one(&self, element: &Value) -> Result<Arc<dyn AuthnPolicy>, UnknownPolicy> {
        if let Value::String(name) = element {
            return self.by_name(name);
        }
        let shape = |what: &str| UnknownPolicy::Shape(format!("{what}: {element}"));
        let members = match element {
            Value::Object(object) if object.len() == 1 => object.get("all_of"),
            _ => None,
        };
        let Some(Value::Array(names)) = members else {
            return Err(shape("Expected a name or an object with the single member all_of"));
        };
        if names.is_empty() {
            return Err(shape("all_of needs at least one policy"));
        }
        let member = |name: &Value| match name {
            Value::String(name) => self.by_name(name),
            _ => Err(shape("all_of contains something that is not a string")),
        };
        let members: Vec<_> = names.iter().map(member).collect::<Result<_, _>>()?;
        match AllOf::new(members) {
            Ok(all_of) => Ok(Arc::new(all_of)),
            Err(duplicate) => Err(UnknownPolicy::Shape(duplicate.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_names_policies() {
        let policies = Policies::default();
        let parse = |list: Value| -> Result<Vec<String>, String> {
            let parsed = policies.parse(list.as_array().unwrap()).map_err(|e| e.to_string())?;
            Ok(parsed.iter().map(|p| p.name().to_owned()).collect())
        };
        let good = parse(json!(["user_cert", {"all_of": ["user_cert", "jwt"]}]));
        assert_eq!(good, Ok(vec!["user_cert".to_owned(), "jwt+user_cert".to_owned()]));
        assert_eq!(parse(json!(["nosuch"])), Err("Unknown auth policy: nosuch".to_owned()));
        for bad in
            [json!([1]), json!([{"all_of": []}]), json!([{"all_of": [1]}]), json!([{"any_of": ["jwt"]}])]
        {
            assert!(parse(bad).unwrap_err().starts_with("Unsupported auth policy."));
        }
        assert!(parse(json!([{"all_of": ["jwt", "jwt"]}])).is_err());
        assert_eq!(parse(json!([])), Ok(vec![]));
    }
}
