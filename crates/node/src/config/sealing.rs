//! The section `sealing_recovery`: recovery without members (node specification, sections 11.6 and 11.7).

use super::{TimeText, units::time};
use ccf_governance::sealing::LOCATION_NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealingRecovery {
    /// Under which name this node finds what its predecessor sealed.
    pub location: Location,
    /// How several recovering nodes agree which one opens the service.
    #[serde(default)]
    pub recovery_decision_protocol: Option<DecisionProtocol>,
}

/// A place where a node of the service runs, whichever node that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Its name, the same before and after a recovery.
    pub name: String,
    /// `host:port` where its node serves clients.
    pub address: String,
}

/// Inputs of the recovery decision protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionProtocol {
    /// Where nodes recover at the same time, this one included.
    pub expected_locations: Vec<Location>,
    /// Between two sendings of the same message.
    #[serde(default = "retry_timeout")]
    pub message_retry_timeout: TimeText,
    /// How long a phase waits for all; zero is for ever.
    #[serde(default = "failover_timeout")]
    pub failover_timeout: TimeText,
}

fn retry_timeout() -> TimeText {
    time("100ms")
}

fn failover_timeout() -> TimeText {
    time("2000ms")
}

/// So many locations at most: each sends to each.
const LOCATIONS_MAX: usize = 100;

/// What the types cannot express; each mistake goes to `at` with its place.
pub(super) fn check(section: &SealingRecovery, at: &mut dyn FnMut(&str, &str)) {
    let mut judge = |location: &Location, place: &str| {
        if location.name.is_empty() || location.name.len() > LOCATION_NAME_BYTES_MAX {
            at(&format!("{place}.name"), &format!("must have 1 to {LOCATION_NAME_BYTES_MAX} bytes"));
        }
        let port = location.address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            at(&format!("{place}.address"), "must be of the form host:port");
        }
    };
    judge(&section.location, "sealing_recovery.location");
    let Some(protocol) = &section.recovery_decision_protocol else { return };
    let list = "sealing_recovery.recovery_decision_protocol.expected_locations";
    for (index, location) in protocol.expected_locations.iter().enumerate() {
        judge(location, &format!("{list}[{index}]"));
    }
    let names: BTreeSet<&str> = protocol.expected_locations.iter().map(|l| l.name.as_str()).collect();
    if names.len() != protocol.expected_locations.len() || names.len() > LOCATIONS_MAX {
        at(list, &format!("must be at most {LOCATIONS_MAX} locations of different names"));
    }
    if !names.contains(section.location.name.as_str()) {
        at(list, "must contain the name of sealing_recovery.location");
    }
    if protocol.message_retry_timeout.duration().is_zero() {
        let place = "sealing_recovery.recovery_decision_protocol.message_retry_timeout";
        at(place, "must be more than zero");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use serde_json::{Value, json};

    fn parse(section: &Value) -> Result<Config, String> {
        let interface = json!({"bind_address": "127.0.0.1:0"});
        let document = json!({
            "network": {"node_to_node_interface": interface, "rpc_interfaces": {"main": interface}},
            "command": {"type": "Join"},
            "sealing_recovery": section,
        });
        Config::parse("c.json", &document.to_string()).map_err(|error| error.to_string())
    }

    fn place(name: &str) -> Value {
        json!({"name": name, "address": "10.0.0.1:443"})
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        assert!(parse(&Value::Null).unwrap().sealing_recovery.is_none());
        let section = json!({"location": place("a"), "recovery_decision_protocol": {"expected_locations": [place("a")]}});
        let section = parse(&section).unwrap().sealing_recovery.unwrap();
        let protocol = section.recovery_decision_protocol.unwrap();
        assert_eq!(protocol.message_retry_timeout.duration().as_millis(), 100);
        assert_eq!(protocol.failover_timeout.duration().as_millis(), 2000);
    }

    #[test]
    fn all_mistakes_are_named_with_their_places() {
        let protocol = |all: Value| json!({"location": place("a"), "recovery_decision_protocol": all});
        let cases = [
            (json!({}), "<root>.sealing_recovery\n", "missing field `location`"),
            (json!([]), "<root>.sealing_recovery\n", "expected an object"),
            (json!({"location": {"name": 5, "address": "x:1"}}), "location.name", "invalid type"),
            (
                json!({"location": {"name": "", "address": "x:1"}}),
                "location.name",
                "must have 1 to 256 bytes",
            ),
            (json!({"location": {"name": "a", "address": "x"}}), "location.address", "host:port"),
            (json!({"location": place("a"), "more": 1}), "<root>.sealing_recovery\n", "unknown field `more`"),
            (protocol(json!({})), "recovery_decision_protocol\n", "missing field `expected_locations`"),
            (protocol(json!({"expected_locations": []})), "expected_locations\n", "must contain the name"),
            (
                protocol(json!({"expected_locations": [place("b")]})),
                "expected_locations\n",
                "must contain the name",
            ),
            (
                protocol(json!({"expected_locations": [place("a"), place("a")]})),
                "expected_locations\n",
                "of different names",
            ),
            (
                protocol(json!({"expected_locations": [place("a"), {"name": "b", "address": ":1"}]})),
                "expected_locations[1].address",
                "host:port",
            ),
            (
                protocol(json!({"expected_locations": [place("a")], "message_retry_timeout": "0s"})),
                "message_retry_timeout",
                "more than zero",
            ),
        ];
        for (section, place, text) in cases {
            let mistake = parse(&section).expect_err(text);
            assert!(mistake.contains(place) && mistake.contains(text), "{section}: {mistake}");
            assert!(!mistake.contains("error #2"), "{section}: {mistake}");
        }
    }
}
