//! Which crate of this workspace may use which. A new edge is a design decision: it is made here, and in
//! `ARCHITECTURE.md`, before it is made in a manifest.

use crate::process;
use std::collections::{BTreeMap, BTreeSet};

/// Every package and the packages of this workspace that it may depend on.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("ccf-types", &[]),
    ("ccf-crypto", &["ccf-types"]),
    ("ccf-ledger", &["ccf-types", "ccf-crypto"]),
    ("ccf-kv", &["ccf-types", "ccf-ledger"]),
    ("ccf-consensus", &["ccf-types"]),
    ("ccf-channels", &["ccf-types", "ccf-crypto"]),
    ("ccf-simulator", &["ccf-types", "ccf-consensus"]),
    ("raft_driver", &["ccf-types", "ccf-consensus", "ccf-simulator"]),
    ("ccf-attestation", &["ccf-types", "ccf-crypto"]),
    ("ccf-endpoints", &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv"]),
    ("ccf-js", &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv", "ccf-endpoints"]),
    (
        "ccf-governance",
        &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv", "ccf-attestation", "ccf-endpoints", "ccf-js"],
    ),
    (
        "ccf-node",
        &[
            "ccf-types",
            "ccf-crypto",
            "ccf-ledger",
            "ccf-kv",
            "ccf-consensus",
            "ccf-channels",
            "ccf-attestation",
            "ccf-endpoints",
            "ccf-js",
            "ccf-governance",
        ],
    ),
    (
        "ccf-stack-simulator",
        &[
            "ccf-types",
            "ccf-crypto",
            "ccf-ledger",
            "ccf-kv",
            "ccf-consensus",
            "ccf-channels",
            "ccf-simulator",
            "ccf-endpoints",
            "ccf-governance",
            "ccf-node",
        ],
    ),
    ("ccf-sdk", &["ccf-types", "ccf-kv", "ccf-endpoints"]),
    (
        "ccf-cli",
        &[
            "ccf-types",
            "ccf-crypto",
            "ccf-ledger",
            "ccf-kv",
            "ccf-endpoints",
            "ccf-js",
            "ccf-governance",
            "ccf-node",
        ],
    ),
    ("js_generic", &["ccf-node", "ccf-js"]),
    ("logging", &["ccf-node", "ccf-sdk"]),
    ("xtask", &[]),
];

/// The edges of a package to others of this workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// What it is built from.
    pub normal: BTreeSet<String>,
    /// What only its tests use.
    pub tests: BTreeSet<String>,
}

/// The edges between packages of this workspace, from `cargo metadata`.
///
/// # Errors
/// When cargo cannot tell.
pub fn actual() -> Result<BTreeMap<String, Edges>, String> {
    let text = process::output(
        &process::cargo_program(),
        &["metadata", "--format-version", "1", "--no-deps", "--offline"],
    )?;
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    let name_of = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name_of).collect();
    let mut edges = BTreeMap::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().ok_or("a package has no dependencies list")?;
        let inside = |for_tests: bool| -> BTreeSet<String> {
            let chosen = dependencies.iter().filter(|edge| (edge["kind"] == "dev") == for_tests);
            chosen.map(name_of).filter(|name| ours.contains(name)).collect()
        };
        edges.insert(name_of(package), Edges { normal: inside(false), tests: inside(true) });
    }
    Ok(edges)
}

/// One sentence for each edge that the table does not allow, each package it does not know, and each line of the
/// table that no longer names a package. Tests may also use what stands further below.
#[must_use]
pub fn violations(allowed: &[(&str, &[&str])], actual: &BTreeMap<String, Edges>) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = allowed.iter().copied().collect();
    let mut found = Vec::new();
    for (package, edges) in actual {
        let Some(may_use) = table.get(package.as_str()) else {
            found.push(format!("{package} is not in the table of layers (xtask/src/layers.rs)"));
            continue;
        };
        let forbidden = edges.normal.iter().filter(|name| !may_use.contains(&name.as_str()));
        found.extend(forbidden.map(|name| format!("{package} may not use {name}")));
        let below = everything_below(&table, may_use);
        let forbidden = edges.tests.iter().filter(|name| !below.contains(name.as_str()));
        found.extend(forbidden.map(|name| format!("the tests of {package} may not use {name}")));
    }
    let absent = table.keys().filter(|package| !actual.contains_key(**package));
    found.extend(absent.map(|package| format!("the table of layers names {package}, which does not exist")));
    found
}

fn everything_below<'a>(table: &BTreeMap<&str, &'a [&'a str]>, direct: &'a [&'a str]) -> BTreeSet<&'a str> {
    let mut below = BTreeSet::new();
    let mut open: Vec<&str> = direct.to_vec();
    while let Some(package) = open.pop() {
        if below.insert(package) {
            open.extend(table.get(package).into_iter().flat_map(|uses| uses.iter().copied()));
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_edge_an_unknown_and_an_absent_package_are_found() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let edges = |list: &[(&str, &[&str], &[&str])]| -> BTreeMap<String, Edges> {
            list.iter()
                .map(|(name, normal, tests)| {
                    ((*name).to_owned(), Edges { normal: set(normal), tests: set(tests) })
                })
                .collect()
        };
        let table: &[(&str, &[&str])] = &[("low", &[]), ("middle", &["low"]), ("high", &["middle"])];
        let right = edges(&[("low", &[], &[]), ("middle", &["low"], &[]), ("high", &["middle"], &["low"])]);
        assert_eq!(violations(table, &right), Vec::<String>::new());
        // high uses low not only in tests; the tests of low look up; middle is gone, new is not in the table.
        let wrong = edges(&[("low", &[], &["high"]), ("high", &["low"], &[]), ("new", &[], &[])]);
        assert_eq!(violations(table, &wrong).len(), 4);
    }

    #[test]
    fn the_table_lists_lower_layers_first() {
        let mut known = BTreeSet::new();
        for (package, may_use) in ALLOWED {
            for used in *may_use {
                assert!(known.contains(used), "{package} uses {used}, which stands below it in the table");
            }
            known.insert(*package);
        }
    }
}
