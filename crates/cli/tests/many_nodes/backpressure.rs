//! Clients that write faster than the service commits, at the primary and through a backup: they are slowed down, and refused
//! only while nothing is committed at all.

use crate::{clients, member_node::Tuning, service::Service};
use std::{
    thread,
    time::{Duration, Instant},
};

const UNCOMMITTED_MAX: u64 = 100;

/// Clients that write at the same time at each node: more than may be uncommitted.
const WRITERS: u64 = 60;

const WRITES: u64 = 10;

#[test]
fn clients_that_write_faster_than_the_service_commits_are_slowed_down_and_then_refused() {
    let tuning = Tuning {
        election_timeout: Duration::from_secs(60),
        uncommitted_max: UNCOMMITTED_MAX,
        ..Tuning::default()
    };
    let mut service = Service::open(4, tuning);
    let caller = service.caller("user0", Duration::from_secs(60));
    let addresses = [0, 1].map(|index| service.nodes[index].address.clone());

    // A busy service: everybody is served, and the bound holds.
    thread::scope(|scope| {
        for address in &addresses {
            for writer in 0..WRITERS {
                let caller = &caller;
                scope.spawn(move || {
                    let mut client = caller.client(address);
                    for value in 0..WRITES {
                        let register = format!("{address}-{writer}");
                        let reply = clients::write_with(&mut client, &register, value, &[]).unwrap();
                        assert_eq!(reply.status, 200, "{address} {}", reply.refusal());
                    }
                });
            }
        }
    });

    // Nothing is committed by two of four nodes: what is beyond the bound is refused, by the primary and through the backup.
    service.nodes[2].pause();
    service.nodes[3].pause();
    for address in &addresses {
        let mut client = caller.client(address);
        let mut taken = 0;
        let refusal = loop {
            let reply = clients::write_with(&mut client, "stuck", taken, &[]).unwrap();
            if reply.status != 200 {
                break reply;
            }
            taken += 1;
            assert!(taken <= UNCOMMITTED_MAX, "more than may be uncommitted were taken");
        };
        assert_eq!(refusal.status, 503, "{}", refusal.refusal());
        assert_eq!(refusal.json()["error"]["code"], "TooManyPendingTransactions", "{}", refusal.refusal());
        // Only the first request waits in vain, and what tells how the service is does not wait at all.
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(clients::write_with(&mut client, "stuck", 0, &[]).unwrap().status, 503);
            assert_eq!(client.get("/node/network").unwrap().status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "refusals took {:?}", began.elapsed());
    }

    // It goes on as soon as a majority is there.
    service.nodes[2].resume();
    for address in &addresses {
        clients::write_committed(&caller, address, "after", 1);
    }
    service.nodes[3].resume();
    service.stop();
    service.logs_must_be_clean();
}
