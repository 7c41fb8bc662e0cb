//! What may be stale and what may not: a primary that was deposed and does not know it answers an ordinary read with
//! what it has, as CCF does, but never a linearizable one.

use crate::{
    clients,
    member_node::Tuning,
    service::{Service, wait_for},
};
use std::{thread, time::Duration};

/// Longer than the patience of the linearizable reads.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_cut_off_primary_reads_stale_values_but_never_linearizable_ones() {
    let mut service = Service::open(3, Tuning::default());
    let old = service.primary();
    let caller = service.caller("user0", PATIENCE);
    for register in ["x", "y"] {
        clients::write_committed(&caller, &service.nodes[old].address, register, 1);
    }
    let others: Vec<usize> = (0..3).filter(|index| *index != old).collect();
    for other in &others {
        service.links.cut(&service.nodes[old].id, &service.nodes[*other].id);
    }
    // The others elect a primary; the old one is asked no more, and says so itself only when it notices.
    for register in ["x", "z"] {
        clients::write_committed(&caller, &service.nodes[others[0]].address, register, 2);
    }

    // A session of its own: one that wrote follows the primary.
    let mut stale = caller.client(&service.nodes[old].address);
    let reply = clients::read(&mut stale, "x", false).unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.json()["value"].clone()),
        (200, 1.into()),
        "{}",
        reply.refusal()
    );
    let reply = clients::read(&mut stale, "z", false).unwrap();
    assert!(clients::is_absent(&reply), "{}", reply.refusal());

    // Values, and their absence.
    for register in ["x", "z"] {
        let mut asking = caller.client(&service.nodes[old].address);
        let reply = clients::read(&mut asking, register, true).unwrap();
        assert!(reply.status.is_server_error(), "{register}: {} {}", reply.status, reply.text());
    }
    service.links.heal();
    for register in ["x", "z"] {
        wait_for("the old primary to follow the new one", || {
            let mut asking = caller.client(&service.nodes[old].address);
            let reply = clients::read(&mut asking, register, true).ok_or("no answer")?;
            if reply.status != 200 {
                assert!(!clients::is_absent(&reply), "{register} was written");
                return Err(reply.refusal());
            }
            assert_eq!(reply.json()["value"], 2, "a linearizable read must not be stale");
            Ok(())
        });
    }
    service.stop();
    service.logs_must_be_clean();
}

/// A primary that was asleep wakes up, and has not heard yet that it was deposed.
#[test]
fn a_primary_that_was_asleep_answers_no_linearizable_read_with_what_it_remembers() {
    let mut service = Service::open(3, Tuning::default());
    let old = service.primary();
    let caller = service.caller("user0", PATIENCE);
    clients::write_committed(&caller, &service.nodes[old].address, "x", 1);
    // Sessions that stand before it falls asleep: what they ask is there when it wakes up.
    let mut sessions: Vec<_> =
        ["x", "x", "z", "z"].map(|name| (name, caller.client(&service.nodes[old].address))).into();
    for (_, session) in &mut sessions {
        assert_eq!(clients::read(session, "x", false).unwrap().json()["value"], 1);
    }
    service.nodes[old].pause();
    let other = (old + 1) % 3;
    for register in ["x", "z"] {
        clients::write_committed(&caller, &service.nodes[other].address, register, 2);
    }
    thread::scope(|scope| {
        let asking: Vec<_> = sessions
            .iter_mut()
            .map(|(register, session)| scope.spawn(|| clients::read(session, register, true)))
            .collect();
        // Most of the questions are on their way.
        thread::sleep(Duration::from_millis(200));
        service.nodes[old].resume();
        for answer in asking {
            if let Some(reply) = answer.join().unwrap() {
                let value = reply.json()["value"].clone();
                let is_answer = reply.status == 200 || clients::is_absent(&reply);
                assert!(!is_answer || value == 2, "a linearizable read is stale: {}", reply.text());
            }
        }
    });
    service.stop();
    service.logs_must_be_clean();
}
