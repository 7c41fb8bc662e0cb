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
    ("ccf-attestation", &["ccf-types", "ccf-crypto"]),
    ("ccf-endpoints", &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv"]),
    ("ccf-js", &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv", "ccf-endpoints"]),
    ("ccf-governance", &["ccf-types", "ccf-crypto", "ccf-ledger", "ccf-kv", "ccf-endpoints", "ccf-js"]),
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

/// The edges between packages of this workspace, from `cargo metadata`; those for tests and build scripts included.
///
/// # Errors
/// When cargo cannot tell.
pub fn actual() -> Result<BTreeMap<String, BTreeSet<String>>, String> {
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
        let inside = dependencies.iter().map(name_of).filter(|name| ours.contains(name)).collect();
        edges.insert(name_of(package), inside);
    }
    Ok(edges)
}

/// One sentence for each edge that the table does not allow, each package it does not know, and each line of the
/// table that no longer names a package.
#[must_use]
pub fn violations(allowed: &[(&str, &[&str])], actual: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = allowed.iter().copied().collect();
    let mut found = Vec::new();
    for (package, dependencies) in actual {
        let Some(may_use) = table.get(package.as_str()) else {
            found.push(format!("{package} is not in the table of layers (xtask/src/layers.rs)"));
            continue;
        };
        let forbidden = dependencies.iter().filter(|name| !may_use.contains(&name.as_str()));
        found.extend(forbidden.map(|name| format!("{package} may not use {name}")));
    }
    let absent = table.keys().filter(|package| !actual.contains_key(**package));
    found.extend(absent.map(|package| format!("the table of layers names {package}, which does not exist")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_edge_an_unknown_and_an_absent_package_are_found() {
        let edges = |list: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
            list.iter()
                .map(|(name, uses)| ((*name).to_owned(), uses.iter().map(|u| (*u).to_owned()).collect()))
                .collect()
        };
        let table: &[(&str, &[&str])] = &[("low", &[]), ("high", &["low"])];
        assert_eq!(violations(table, &edges(&[("low", &[]), ("high", &["low"])])), Vec::<String>::new());
        assert_eq!(violations(table, &edges(&[("low", &["high"]), ("new", &[])])).len(), 3);
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
