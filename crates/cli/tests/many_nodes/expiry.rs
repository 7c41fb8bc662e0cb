//! Certificates that will end soon: told by a running node, ahead of time, in its log and its metrics.

use crate::{
    member_node::Tuning,
    service::{Service, wait_for},
};
use serde_json::json;
use std::time::Duration;
use time::{OffsetDateTime, macros::format_description};

#[test]
fn a_running_node_warns_of_certificates_that_end_soon() {
    let quick = Some(Duration::from_millis(500));
    let mut service = Service::open(2, Tuning { pending_node_timeout: quick, ..Tuning::default() });
    let expiring = |service: &Service, index: usize| {
        let reply = service.client("", index).get("/node/metrics").unwrap();
        reply.json()["certificates_expiring"].as_u64().unwrap()
    };
    for index in 0..2 {
        assert_eq!(expiring(&service, index), 0, "all certificates are fresh");
        assert!(!service.nodes[index].log().contains(" expires in "));
    }
    // Four hours are left of a day.
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    let valid_from = (OffsetDateTime::now_utc() - time::Duration::hours(20)).format(format).unwrap();
    let validity = json!({"valid_from": valid_from, "validity_period_days": 1});
    let mut of_node = validity.clone();
    of_node["node_id"] = service.nodes[1].id.as_str().into();
    let actions = [
        json!({"name": "set_service_certificate_validity", "args": validity}),
        json!({"name": "set_node_certificate_validity", "args": of_node}),
    ];
    let before =
        service.nodes[0].anonymous().get("/node/network").unwrap().json()["service_certificate"].clone();
    service.achieve("shorter certificates", &actions, |client| {
        Some(client.get("/node/network").ok()?.json()["service_certificate"] != before)
    });
    let ending = service.nodes[1].id.clone();
    for index in 0..2 {
        wait_for("a node to warn", || {
            let (log, count) = (service.nodes[index].log(), expiring(&service, index));
            let of_service = "The service certificate expires in 3 hours, on ";
            let of_node = format!("The certificate of node {ending} expires in 3 hours, on ");
            let says =
                |text: &str, then: &str| log.lines().any(|line| line.contains(text) && line.contains(then));
            let all = says(of_service, "propose set_service_certificate_validity")
                && says(&of_node, "propose set_node_certificate_validity");
            if all && count == 2 { Ok(()) } else { Err(format!("{count} expire, the log names them: {all}")) }
        });
        let log = service.nodes[index].log();
        let times = log.lines().filter(|line| line.contains("The service certificate expires in ")).count();
        assert_eq!(times, 1, "a warning is not repeated: {log}");
    }
    service.stop();
}
