//! What an interface lets through: `accepted_endpoints`, operator features, redirections (node
//! specification, section 14.2).

use parking_lot::RwLock;
use regex::Regex;
use rustc_hash::FxHashMap;

/// Verdicts kept per interface; when full, the cache starts anew. There are about as many verdicts as
/// endpoints.
pub const ACCEPTED_ENDPOINTS_CACHE_MAX: usize = 4096;

/// A feature of the node that an interface must enable before its endpoints are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperatorFeature {
    /// Reading snapshots.
    SnapshotRead,
    /// Reading ledger chunks.
    LedgerChunkRead,
    /// Asking for a snapshot.
    SnapshotCreate,
}

/// A pattern of `accepted_endpoints` that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression: {pattern}: {reason}")]
pub struct InvalidPattern {
    /// The pattern as configured.
    pub pattern: String,
    /// What is wrong.
    pub reason: String,
}

/// The library draws the pattern with the place of the mistake, and then says what it is.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Patterns of which one must match the whole path template of an endpoint.
#[derive(Debug)]
pub struct AcceptedEndpoints {
    patterns: Vec<Regex>,
    verdicts: RwLock<FxHashMap<Box<str>, bool>>,
}

impl AcceptedEndpoints {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`InvalidPattern`] names the first that is no regular expression.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<AcceptedEndpoints, InvalidPattern> {
        let compile = |pattern: &S| {
            let pattern = pattern.as_ref();
            Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|e| InvalidPattern { pattern: pattern.to_owned(), reason: last_line(&e) })
        };
        let patterns = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(AcceptedEndpoints { patterns, verdicts: RwLock::default() })
    }

    /// Whether an endpoint of this full path template is accepted.
    #[must_use]
    pub fn accepts(&self, full_path: &str) -> bool {
        if let Some(&verdict) = self.verdicts.read().get(full_path) {
            return verdict;
        }
        let verdict = self.patterns.iter().any(|p| p.is_match(full_path));
        let mut verdicts = self.verdicts.write();
        if verdicts.len() >= ACCEPTED_ENDPOINTS_CACHE_MAX {
            verdicts.clear();
        }
        verdicts.insert(full_path.into(), verdict);
        verdict
    }
}

/// The rules of one interface.
#[derive(Debug)]
pub struct InterfaceRules {
    /// The interface's name in the configuration.
    pub name: String,
    /// Patterns of accepted endpoints; `None` accepts all.
    pub accepted_endpoints: Option<AcceptedEndpoints>,
    /// Whether the interface redirects clients instead of forwarding for them.
    pub redirects: bool,
    /// Enabled operator features.
    pub operator_features: Vec<OperatorFeature>,
}

impl InterfaceRules {
    /// An interface that accepts every endpoint, with no operator features and no redirections.
    #[must_use]
    pub fn open(name: impl Into<String>) -> InterfaceRules {
        InterfaceRules {
            name: name.into(),
            accepted_endpoints: None,
            redirects: false,
            operator_features: Vec::new(),
        }
    }

    /// An interface restricted to the patterns; an unsecured interface without patterns accepts nothing.
    ///
    /// # Errors
    /// [`InvalidPattern`] if a pattern is no regular expression.
    pub fn restricted<S: AsRef<str>>(
        name: impl Into<String>,
        patterns: &[S],
    ) -> Result<InterfaceRules, InvalidPattern> {
        let accepted_endpoints = Some(AcceptedEndpoints::new(patterns)?);
        Ok(InterfaceRules { accepted_endpoints, ..InterfaceRules::open(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_path_must_match() {
        let rules = AcceptedEndpoints::new(&["/node/network.*", "/app/x/\\{id\\}|/app/y"]).unwrap();
        for _ in 0..2 {
            assert!(rules.accepts("/node/network/nodes"));
            assert!(rules.accepts("/app/x/{id}"));
            assert!(rules.accepts("/app/y"));
            assert!(!rules.accepts("/app/y/z"));
            assert!(!rules.accepts("/gov/node/network"));
        }
        assert!(!AcceptedEndpoints::new::<&str>(&[]).unwrap().accepts("/app/y"));
        assert_eq!(AcceptedEndpoints::new(&["("]).unwrap_err().pattern, "(");
    }

    #[test]
    fn the_cache_is_bounded() {
        let rules = AcceptedEndpoints::new(&[".*7"]).unwrap();
        for i in 0..ACCEPTED_ENDPOINTS_CACHE_MAX + 10 {
            assert_eq!(rules.accepts(&format!("/{i}")), i % 10 == 7);
        }
        assert!(rules.verdicts.read().len() <= ACCEPTED_ENDPOINTS_CACHE_MAX);
    }
}
