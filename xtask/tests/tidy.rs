//! House rules that a machine can check, so that no reviewer has to.

use std::{collections::BTreeSet, fs, path::Path};
use xtask::{layers, workspace};

#[test]
fn crates_use_only_the_layers_below_them() {
    let found = layers::violations(layers::ALLOWED, &layers::actual().unwrap());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let silent: Vec<_> = texts("rs")
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().find(|line| !line.starts_with("#!") && !line.is_empty());
            !first.is_some_and(|line| line.starts_with("//! "))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "files without a module comment (//!): {silent:#?}");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    // Spelled in two parts so that this file does not find itself.
    let forbidden = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/tm", "p/h/"],
        ["registry.npm", "js.org"],
        ["files.python", "hosted.org"],
        ["static.crates", ".io"],
    ];
    let mut found = Vec::new();
    for extension in ["rs", "md", "toml", "js", "ts", "json", "sh", "yml", "py"] {
        for (path, text) in texts(extension) {
            for (number, line) in text.lines().enumerate() {
                if forbidden.iter().any(|parts| line.contains(&parts.concat())) {
                    found.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "paths of a machine, or registries by name: {found:#?}");
}

#[test]
fn no_work_is_left_marked_as_undone() {
    let mut found = Vec::new();
    for (path, text) in texts("rs") {
        for (number, line) in text.lines().enumerate() {
            let marks = [["to", "do!("], ["unimple", "mented!("], ["TO", "DO"], ["FIX", "ME"], ["X", "XX:"]];
            if marks.iter().any(|parts| line.contains(&parts.concat())) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_crate_forbids_unsafe_code_or_says_where_it_is() {
    let mut found = Vec::new();
    for (path, text) in texts("rs") {
        let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        if is_root && !text.contains("unsafe_code") {
            found.push(path);
        }
    }
    assert!(
        found.is_empty(),
        "crate roots without `#![forbid(unsafe_code)]` or a reasoned exception: {found:#?}"
    );
}

#[test]
fn every_dependency_is_declared_once_with_its_reason() {
    let text = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut found = Vec::new();
    for line in section.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let is_ours = line.contains("path = ");
        if !is_ours && !line.contains(" # ") {
            found.push(line.to_owned());
        }
    }
    assert!(found.is_empty(), "dependencies without a reason: {found:#?}");
    let mut versioned = Vec::new();
    for (path, text) in texts("toml").into_iter().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        let is_member =
            path.starts_with("crates/") || path.starts_with("apps/") || path.starts_with("xtask/");
        for line in text.lines().filter(|_| is_member) {
            if line.contains("version = \"") {
                versioned.push(format!("{path}: {line}"));
            }
        }
    }
    assert!(versioned.is_empty(), "versions belong in the root manifest: {versioned:#?}");
}

#[test]
fn every_fuzz_target_is_declared_and_has_a_corpus() {
    let folder = workspace::root().join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let targets = workspace::fuzz_targets().unwrap();
    assert!(!targets.is_empty());
    for target in &targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
        let corpus = folder.join("corpus").join(target);
        let entries = fs::read_dir(&corpus).map(Iterator::count).unwrap_or_default();
        assert!(entries > 0, "fuzz/corpus/{target} is empty");
    }
    let corpora: BTreeSet<String> = fs::read_dir(folder.join("corpus"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(corpora, targets.into_iter().collect(), "corpora without a target");
}

/// Files are reported, not refused: above 600 lines, ask whether two ideas live there.
#[test]
fn very_long_files_are_none() {
    let mut found = Vec::new();
    for (path, text) in texts("rs") {
        let without_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(&text);
        let lines = without_tests.lines().count();
        if lines > 1000 {
            found.push(format!("{path}: {lines} lines"));
        } else if lines > 600 {
            println!("{path}: {lines} lines without its tests");
        }
    }
    assert!(found.is_empty(), "files above 1000 lines: {found:#?}");
}

/// Every text file with this extension: path from the root, content.
fn texts(extension: &str) -> Vec<(String, String)> {
    let root = workspace::root();
    let mut found = Vec::new();
    for path in workspace::files().unwrap_or_default() {
        // What others wrote is kept as they wrote it.
        if path.extension().is_some_and(|e| e == extension)
            && !path.starts_with(root.join("third_party"))
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push((relative(&path, &root), text));
        }
    }
    assert!(!found.is_empty() || extension != "rs");
    found
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}
