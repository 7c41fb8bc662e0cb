//! A set of methods, as shown by the `allow` header.

use crate::http::Method;

/// A set of request methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u64);

impl MethodSet {
    /// Adds a method.
    pub fn insert(&mut self, method: Method) {
        self.0 |= 1 << (method as u64);
    }

    /// Adds all methods of another set.
    pub fn extend(&mut self, other: MethodSet) {
        self.0 |= other.0;
    }

    /// Whether the method is in the set.
    #[must_use]
    pub fn contains(self, method: Method) -> bool {
        self.0 & (1 << (method as u64)) != 0
    }

    /// No method at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The value of the `allow` header: `OPTIONS` first, then the methods in numeric order.
    #[must_use]
    pub fn allow(self) -> String {
        let mut text = String::from("OPTIONS");
        for method in Method::ALL.iter().filter(|&&m| self.contains(m)) {
            text.push_str(", ");
            text.push_str(method.as_str());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_follows_the_numeric_order() {
        let mut set = MethodSet::default();
        assert!(set.is_empty());
        for method in [Method::Patch, Method::Put, Method::Get, Method::Query] {
            set.insert(method);
        }
        assert_eq!(set.allow(), "OPTIONS, GET, PUT, PATCH, QUERY");
        assert!(set.contains(Method::Put) && !set.contains(Method::Post));
    }
}
