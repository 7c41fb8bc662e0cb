//! All that is wrong with a configuration file, not only the first thing (node specification, section 1.3).
//!
//! The typed parser stops at the first mistake. So the mistake is noted and mended in the document, and the parser runs
//! again, until it is content or nothing more can be mended. What is then wrong only because of what was mended is not
//! told.

use super::{CommandKind, Config, Transport};
use serde_json::{Value, json};
use serde_path_to_error::Segment;

/// Mistakes told at most; a file of another kind altogether would fill the screen.
pub(super) const MISTAKES_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the document, from `<root>`.
    pub context: String,
    /// What is wrong there.
    pub message: String,
}

/// The configuration in a document, or everything that is wrong with it.
pub(super) fn config(mut document: Value) -> Result<Config, Vec<Mistake>> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    // Places that are not as they were given.
    let mut mended: Vec<String> = Vec::new();
    lists_for_sections(&mut document, &mut Vec::new(), &mut |context| {
        let message = "invalid type: sequence, expected an object".to_owned();
        mended.push(context.clone());
        mistakes.push(Mistake { context, message });
    });
    while mistakes.len() < MISTAKES_MAX {
        let error = match serde_path_to_error::deserialize::<_, Config>(document.clone()) {
            Ok(config) => {
                check(&config, &mut |context, message| {
                    let context = format!("<root>.{context}");
                    if !mended.iter().any(|place| context.starts_with(place)) {
                        mistakes.push(Mistake { context, message: message.to_owned() });
                    }
                });
                return if mistakes.is_empty() { Ok(config) } else { Err(mistakes) };
            }
            Err(error) => error,
        };
        let mut path: Vec<Key> = error.path().iter().filter_map(Key::of).collect();
        let message = error.inner().to_string();
        let unknown = named(&message, "unknown field `");
        if unknown.is_some()
            && path.last().is_some_and(|key| matches!(key, Key::Name(n) if unknown == Some(n)))
        {
            path.pop();
        }
        let mistake = Mistake { context: shown(&path), message };
        if mistakes.contains(&mistake) {
            break;
        }
        let place = mend(&mut document, path, &mistake.message);
        mistakes.push(mistake);
        match place {
            Some(place) => mended.push(place),
            None => break,
        }
    }
    Err(mistakes)
}

/// One step into the document.
#[derive(Clone, Debug)]
enum Key {
    Name(String),
    Index(usize),
}

impl Key {
    fn of(segment: &Segment) -> Option<Key> {
        match segment {
            Segment::Seq { index } => Some(Key::Index(*index)),
            Segment::Map { key } => Some(Key::Name(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

fn shown(path: &[Key]) -> String {
    let mut text = "<root>".to_owned();
    for key in path {
        match key {
            Key::Name(name) => text += &format!(".{name}"),
            Key::Index(index) => text += &format!("[{index}]"),
        }
    }
    text
}

/// The name that a message of serde quotes after these words.
fn named<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    message.strip_prefix(words)?.split('`').next()
}

/// Mends one mistake: an unknown key goes, a missing one gets some good value, a wrong value does so too or goes with its
/// key. Returns the place that was changed, if that was possible.
fn mend(document: &mut Value, mut path: Vec<Key>, message: &str) -> Option<String> {
    let (key, value) = if let Some(name) = named(message, "unknown field `") {
        (Key::Name(name.to_owned()), None)
    } else if let Some(name) = named(message, "missing field `") {
        (Key::Name(name.to_owned()), Some(good_value(name)?))
    } else {
        match path.pop()? {
            Key::Index(index) => {
                let list = path.iter().rev().find_map(|key| match key {
                    Key::Name(name) => Some(name.as_str()),
                    Key::Index(_) => None,
                });
                (Key::Index(index), Some(good_value(list?).and_then(|list| list.get(0).cloned())?))
            }
            Key::Name(name) => {
                let value = good_value(&name);
                (Key::Name(name), value)
            }
        }
    };
    let mut parent = document;
    for step in &path {
        parent = match step {
            Key::Name(name) => parent.get_mut(name)?,
            Key::Index(index) => parent.get_mut(index)?,
        };
    }
    match (&key, parent, value) {
        (Key::Name(name), Value::Object(object), Some(value)) => drop(object.insert(name.clone(), value)),
        (Key::Name(name), Value::Object(object), None) => drop(object.remove(name)?),
        (Key::Index(index), Value::Array(list), Some(value)) => *list.get_mut(*index)? = value,
        _ => return None,
    }
    path.push(key);
    Some(shown(&path))
}

/// Keys whose values are objects of ours.
const SECTIONS: [&str; 26] = [
    "network",
    "node_to_node_interface",
    "rpc_interfaces",
    "http_configuration",
    "endorsement",
    "redirections",
    "command",
    "start",
    "join",
    "recover",
    "service_configuration",
    "cose_signatures",
    "node_certificate",
    "attestation",
    "ledger",
    "snapshots",
    "logging",
    "consensus",
    "ledger_signatures",
    "jwt",
    "memory",
    "output_files",
    "files_cleanup",
    "sealing_recovery",
    "location",
    "recovery_decision_protocol",
];

/// The parser would take a list for a section, its elements for the members in order. Tells of each and puts something
/// good in its place.
fn lists_for_sections(value: &mut Value, path: &mut Vec<Key>, found: &mut dyn FnMut(String)) {
    // No section lies deeper.
    const DEPTH_MAX: usize = 5;
    let is_section = |path: &[Key]| match path {
        [.., Key::Name(list), Key::Index(_)] => list == "members" || list == "expected_locations",
        [.., Key::Name(parent), Key::Name(_)] if parent == "rpc_interfaces" => true,
        [.., Key::Name(name)] => SECTIONS.contains(&name.as_str()),
        _ => false,
    };
    if value.is_array() && is_section(path) {
        found(shown(path));
        *value = match path.last() {
            Some(Key::Name(name)) if SECTIONS.contains(&name.as_str()) => {
                good_value(name).unwrap_or_else(|| json!({}))
            }
            Some(Key::Name(_)) => json!({"bind_address": ""}),
            _ => {
                let list = path.iter().rev().find_map(|key| match key {
                    Key::Name(name) => Some(name.as_str()),
                    Key::Index(_) => None,
                });
                list.and_then(good_value).and_then(|list| list.get(0).cloned()).unwrap_or_default()
            }
        };
    }
    if path.len() > DEPTH_MAX {
        return;
    }
    let mut visit = |key: Key, value: &mut Value| {
        path.push(key);
        lists_for_sections(value, path, found);
        path.pop();
    };
    match value {
        Value::Object(object) => {
            object.iter_mut().for_each(|(name, value)| visit(Key::Name(name.clone()), value));
        }
        Value::Array(list) => {
            list.iter_mut().enumerate().for_each(|(at, value)| visit(Key::Index(at), value));
        }
        _ => {}
    }
}

/// A value with which the parser is content, for each key without which it is not and for each list.
fn good_value(key: &str) -> Option<Value> {
    Some(match key {
        "network" => {
            json!({"node_to_node_interface": {"bind_address": ""}, "rpc_interfaces": {"": {"bind_address": ""}}})
        }
        "node_to_node_interface" => json!({"bind_address": ""}),
        "rpc_interfaces" => json!({"": {"bind_address": ""}}),
        "command" => json!({"type": "Join"}),
        "type" => json!("Join"),
        "endorsement" => json!({"authority": "Node"}),
        "cose_signatures" => json!({"issuer": "", "subject": ""}),
        "authority" => json!("Node"),
        "location" => json!({"name": "-", "address": "-:0"}),
        "expected_locations" => json!([{"name": "-", "address": "-:0"}]),
        "name" => json!("-"),
        "address" => json!("-:0"),
        "sealing_recovery" => json!({"location": {"name": "-", "address": "-:0"}}),
        "recovery_decision_protocol" => {
            json!({"expected_locations": [{"name": "-", "address": "-:0"}]})
        }
        "members" => json!([{"certificate_file": ""}]),
        "read_only_directories"
        | "constitution_files"
        | "accepted_endpoints"
        | "subject_alt_names"
        | "snp_endorsements_servers" => json!([""]),
        "enabled_operator_features" => json!(["SnapshotRead"]),
        "bind_address" | "certificate_file" | "issuer" | "subject" => json!(""),
        _ => return None,
    })
}

/// What the types cannot express; each mistake goes to `at` with its place.
fn check(config: &Config, at: &mut dyn FnMut(&str, &str)) {
    if config.network.rpc_interfaces.is_empty() {
        at("network.rpc_interfaces", "at least one RPC interface is needed");
    }
    for (name, interface) in &config.network.rpc_interfaces {
        let context = format!("network.rpc_interfaces.{name}");
        if !matches!(interface.app_protocol(), "HTTP1" | "HTTP2") {
            at(&context, &format!("app_protocol {} is not available", interface.app_protocol()));
        }
        if interface.protocol == Some(Transport::Udp) {
            at(&context, "protocol udp is not available");
        }
        if interface.http_configuration.as_ref().and_then(|h| h.max_concurrent_streams_count) == Some(0) {
            at(&context, "max_concurrent_streams_count must be at least 1");
        }
    }
    if config.ledger.chunk_size.bytes() == 0 || config.ledger.chunk_size.bytes() > u64::from(u32::MAX) {
        at("ledger.chunk_size", "must be between 1 byte and 4GB");
    }
    if config.ledger_signatures.tx_count == 0 {
        at("ledger_signatures.tx_count", "must be at least 1");
    }
    if config.snapshots.tx_count == 0 {
        at("snapshots.tx_count", "must be at least 1");
    }
    if config.node_certificate.initial_validity_days == 0 {
        at("node_certificate.initial_validity_days", "must be at least 1");
    }
    if config.files_cleanup.max_committed_ledger_chunks.is_some()
        && config.ledger.read_only_directories.is_empty()
    {
        at(
            "files_cleanup",
            "files_cleanup.max_committed_ledger_chunks requires at least one ledger.read_only_directories entry",
        );
    }
    if let Some(section) = &config.sealing_recovery {
        super::sealing::check(section, at);
    }
    if config.command.kind == CommandKind::Start {
        match &config.command.start {
            None => at("command", "type Start needs the section start"),
            Some(start) => {
                if start.initial_service_certificate_validity_days == 0 {
                    at("command.start.initial_service_certificate_validity_days", "must be at least 1");
                }
            }
        }
    }
}
