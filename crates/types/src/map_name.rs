//! Names of maps: the name alone decides secrecy and access (ledger specification, section 2.1).

use std::{fmt, sync::Arc};

/// Whether the map's entries stand in the ledger in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// In clear, authenticated.
    Public,
    /// Encrypted with the ledger secret.
    Private,
}

/// Who may use the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Written by the framework only (`ccf.internal.`).
    Internal,
    /// Written by governance only (`ccf.gov.`).
    Governance,
    /// The application's own.
    Application,
}

/// The name of a map, with the domain and category it implies, parsed once.
///
/// Ordered and compared by its bytes, so `public:` maps sort as in a ledger entry. Cheap to clone.
#[derive(Clone)]
pub struct MapName {
    name: Repr,
    domain: Domain,
    category: Category,
}

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

/// No new map may have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMapName {
    /// It begins with `ccf.` (or `public:ccf.`) and is neither internal nor governance.
    #[error("the map name {0} uses the reserved prefix ccf.")]
    Reserved(String),
    /// It is longer than [`MAP_NAME_BYTES_MAX`].
    #[error("a map name of {0} bytes is longer than the {MAP_NAME_BYTES_MAX} allowed")]
    TooLong(usize),
}

/// The longest name of a new map. Each entry that writes to the map holds the whole name, and so do all messages about it; names
/// that applications make of what users send have their end here. Ledgers may hold longer ones.
pub const MAP_NAME_BYTES_MAX: usize = 1024;

const PUBLIC: &str = "public:";

impl MapName {
    /// A name known at compile time.
    ///
    /// # Panics
    /// At compile time when used in a constant, if the name has a reserved prefix.
    #[must_use]
    #[expect(clippy::panic, reason = "a wrong constant is to stop the compiler")]
    pub const fn from_static(name: &'static str) -> MapName {
        match classify(name.as_bytes()) {
            Some((domain, category)) => MapName { name: Repr::Static(name), domain, category },
            None => panic!("reserved map name"),
        }
    }

    /// A name known only at run time.
    ///
    /// # Errors
    /// [`InvalidMapName`] if no new map may have this name.
    pub fn parse(name: &str) -> Result<MapName, InvalidMapName> {
        if name.len() > MAP_NAME_BYTES_MAX {
            return Err(InvalidMapName::TooLong(name.len()));
        }
        MapName::of_ledger(name)
    }

    /// A name of a map that is in a ledger or a snapshot: of any length.
    ///
    /// # Errors
    /// [`InvalidMapName::Reserved`].
    pub fn of_ledger(name: &str) -> Result<MapName, InvalidMapName> {
        match classify(name.as_bytes()) {
            Some((domain, category)) => Ok(MapName { name: Repr::Shared(name.into()), domain, category }),
            None => Err(InvalidMapName::Reserved(name.to_owned())),
        }
    }

    /// The whole name, with its `public:` prefix if it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.name {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }

    /// Whether entries stand in clear.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Who may use the map.
    #[must_use]
    pub fn category(&self) -> Category {
        self.category
    }
}

const fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    if bytes.len() < prefix.len() {
        return false;
    }
    let mut i = 0;
    while i < prefix.len() {
        if bytes[i] != prefix[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn classify(name: &[u8]) -> Option<(Domain, Category)> {
    let (domain, rest) = if starts_with(name, PUBLIC.as_bytes()) {
        (Domain::Public, name.split_at(PUBLIC.len()).1)
    } else {
        (Domain::Private, name)
    };
    if starts_with(rest, b"ccf.internal.") {
        Some((domain, Category::Internal))
    } else if starts_with(rest, b"ccf.gov.") {
        Some((domain, Category::Governance))
    } else if starts_with(rest, b"ccf.") {
        None
    } else {
        Some((domain, Category::Application))
    }
}

impl PartialEq for MapName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for MapName {}

impl PartialOrd for MapName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MapName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for MapName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl std::borrow::Borrow<str> for MapName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Category::{Application, Governance, Internal};
    use Domain::{Private, Public};

    #[test]
    fn names_are_classified_as_specified() {
        for (name, domain, category) in [
            ("foo", Private, Application),
            ("ccf_foo", Private, Application),
            ("publik:ccf.gov.x", Private, Application),
            ("PUBLIC:ccf.gov.x", Private, Application),
            ("public:foo", Public, Application),
            ("public:Ccf.gov.x", Public, Application),
            ("public:ccf_foo", Public, Application),
            ("public:ccf.gov.x", Public, Governance),
            ("ccf.gov.x", Private, Governance),
            ("public:ccf.internal.x", Public, Internal),
            ("ccf.internal.x", Private, Internal),
            ("", Private, Application),
        ] {
            let parsed = MapName::parse(name).expect("valid name");
            assert_eq!((parsed.domain(), parsed.category()), (domain, category), "{name}");
        }
        for reserved in ["ccf.foo", "public:ccf.foo", "ccf.", "public:ccf.governance"] {
            let refused = Err(InvalidMapName::Reserved(reserved.to_owned()));
            assert_eq!((MapName::parse(reserved), MapName::of_ledger(reserved)), (refused.clone(), refused));
        }
    }

    #[test]
    fn new_names_are_bounded_and_old_ones_are_not() {
        let longest = "n".repeat(MAP_NAME_BYTES_MAX);
        assert_eq!(MapName::parse(&longest).map(|name| name.as_str().len()), Ok(MAP_NAME_BYTES_MAX));
        let longer = format!("{longest}n");
        assert_eq!(MapName::parse(&longer), Err(InvalidMapName::TooLong(MAP_NAME_BYTES_MAX + 1)));
        assert_eq!(MapName::of_ledger(&longer).map(|name| name.to_string()), Ok(longer));
        assert_eq!(
            InvalidMapName::TooLong(2000).to_string(),
            "a map name of 2000 bytes is longer than the 1024 allowed"
        );
    }
}
