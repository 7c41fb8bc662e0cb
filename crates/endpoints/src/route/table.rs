//! A table of routes: literal paths by hash, templates one after the other (applications specification,
//! section 1.4).

use super::{Captures, MethodSet, PathTemplate};
use crate::http::Method;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Routes by method and path. Native endpoints live in one; the JavaScript dispatcher builds another from its
/// table in the store.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    literal: FxHashMap<Box<[u8]>, ByMethod<T>>,
    templates: Vec<(Method, PathTemplate, T)>,
}

/// The routes of one path.
type ByMethod<T> = SmallVec<[(Method, T); 2]>;

/// One found route.
#[derive(Clone, Debug)]
pub struct Route<'a, T> {
    /// What was registered.
    pub value: &'a T,
    /// What the template captured; empty for a literal path.
    pub captures: Captures,
}

/// More than one template of the method matches the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Multiple potential matches for path: {path}{}", .templates.iter().map(|t| format!("\n  {t}")).collect::<String>())]
pub struct Ambiguous {
    /// The path looked up.
    pub path: String,
    /// Templates that match.
    pub templates: Vec<String>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        RouteTable { literal: FxHashMap::default(), templates: Vec::new() }
    }
}

impl<T> RouteTable<T> {
    /// Adds a route, replacing one of the same method and text.
    pub fn insert(&mut self, method: Method, template: PathTemplate, value: T) {
        if template.is_literal() {
            let routes = self.literal.entry(template.as_str().as_bytes().into()).or_default();
            match routes.iter_mut().find(|(m, _)| *m == method) {
                Some((_, old)) => *old = value,
                None => routes.push((method, value)),
            }
            return;
        }
        match self.templates.iter_mut().find(|(m, t, _)| *m == method && *t == template) {
            Some((_, _, old)) => *old = value,
            None => self.templates.push((method, template, value)),
        }
    }

    /// The route of exactly this method and path, or of the one template of the method that matches.
    ///
    /// # Errors
    /// [`Ambiguous`] if several templates match.
    pub fn find(&self, method: Method, path: &[u8]) -> Result<Option<Route<'_, T>>, Ambiguous> {
        if let Some((_, value)) = self.literal.get(path).and_then(|r| r.iter().find(|(m, _)| *m == method)) {
            return Ok(Some(Route { value, captures: Captures::new() }));
        }
        let mut found: Option<Route<'_, T>> = None;
        for (m, template, value) in &self.templates {
            if *m != method {
                continue;
            }
            let Some(captures) = template.captures(path) else { continue };
            if found.is_some() {
                return Err(self.ambiguous(method, path));
            }
            found = Some(Route { value, captures });
        }
        Ok(found)
    }

    #[cold]
    fn ambiguous(&self, method: Method, path: &[u8]) -> Ambiguous {
        let matching = self.templates.iter().filter(|(m, t, _)| *m == method && t.captures(path).is_some());
        Ambiguous {
            path: String::from_utf8_lossy(path).into_owned(),
            templates: matching.map(|(_, t, _)| t.as_str().to_owned()).collect(),
        }
    }

    /// Methods under which the path is known.
    #[must_use]
    pub fn methods(&self, path: &[u8]) -> MethodSet {
        let mut set = MethodSet::default();
        for (method, _) in self.literal.get(path).into_iter().flatten() {
            set.insert(*method);
        }
        for (method, template, _) in &self.templates {
            if !set.contains(*method) && template.captures(path).is_some() {
                set.insert(*method);
            }
        }
        set
    }

    /// Everything registered, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let literal = self.literal.values().flatten().map(|(_, value)| value);
        literal.chain(self.templates.iter().map(|(_, _, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable<&'static str> {
        let mut table = RouteTable::default();
        for (method, path) in [
            (Method::Get, "/a"),
            (Method::Post, "/a"),
            (Method::Get, "/{x}"),
            (Method::Put, "/{x}"),
            (Method::Get, "/amb/{z}"),
            (Method::Get, "/amb/{x}-{y}"),
        ] {
            table.insert(method, PathTemplate::parse(path).unwrap(), path);
        }
        table
    }

    #[test]
    fn literal_wins_over_template() {
        let table = table();
        assert_eq!(table.find(Method::Get, b"/a").unwrap().unwrap().value, &"/a");
        assert_eq!(table.find(Method::Put, b"/a").unwrap().unwrap().value, &"/{x}");
        assert_eq!(table.find(Method::Get, b"/b").unwrap().unwrap().captures[0], 1..2);
        assert!(table.find(Method::Delete, b"/a").unwrap().is_none());
        // The text of a template is no literal path.
        assert_eq!(table.find(Method::Get, b"/{x}").unwrap().unwrap().captures[0], 1..4);
        assert_eq!(table.methods(b"/a").allow(), "OPTIONS, GET, POST, PUT");
        assert!(table.methods(b"/a/b").is_empty());
    }

    #[test]
    fn two_templates_are_ambiguous() {
        let error = table().find(Method::Get, b"/amb/1-2").unwrap_err();
        let text = "Multiple potential matches for path: /amb/1-2\n  /amb/{z}\n  /amb/{x}-{y}";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn the_same_route_is_replaced() {
        let mut table = table();
        table.insert(Method::Get, PathTemplate::parse("/{x}").unwrap(), "new");
        assert_eq!(table.find(Method::Get, b"/b").unwrap().unwrap().value, &"new");
        assert_eq!(table.values().count(), 6);
    }
}
