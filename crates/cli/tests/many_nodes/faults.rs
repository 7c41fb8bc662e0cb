//! A seeded schedule of what goes wrong with a service while clients use it.

use crate::{random::Random, service::Service};
use ccf_types::NodeId;
use std::{
    thread,
    time::{Duration, Instant},
};

/// What may go wrong. After each, the service is whole again: as many nodes as before, all connected.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL of the primary; a new node takes the place of the dead one.
    KillPrimary,
    /// SIGSTOP, later SIGCONT, of the primary: it wakes up and does not know that it was deposed.
    PausePrimary,
    /// The same of a backup.
    PauseBackup,
    /// The primary has no connection to any other node, while clients still reach it.
    IsolatePrimary,
    /// Two nodes have no connection to each other.
    CutOneLink,
    /// What the primary sends to the others is held back, what they send to it arrives; later it all arrives late.
    HoldPrimary,
}

const FAULTS: [Fault; 7] = [
    Fault::KillPrimary,
    Fault::PausePrimary,
    Fault::IsolatePrimary,
    Fault::PauseBackup,
    Fault::CutOneLink,
    Fault::HoldPrimary,
    Fault::PausePrimary,
];

/// The schedule.
pub(crate) struct Faults {
    random: Random,
    done: usize,
    began: Instant,
}

impl Faults {
    pub(crate) fn new(random: Random) -> Self {
        Faults { random, done: 0, began: Instant::now() }
    }

    /// How many there were.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Quiet for a moment, then one more fault, until the service is whole again. `changed` hears of every change of
    /// the nodes that run.
    pub(crate) fn next(&mut self, service: &mut Service, mut changed: impl FnMut(&Service)) {
        thread::sleep(Duration::from_millis(self.random.between(200, 2000)));
        // The first is what matters most: whatever the seed, it happens.
        let fault = if self.done == 0 { Fault::KillPrimary } else { *self.random.pick(&FAULTS) };
        self.done += 1;
        let duration = Duration::from_millis(self.random.between(500, 4000));
        let primary = service.primary();
        let id = |index: usize| service.nodes[index].id.clone();
        let running: Vec<usize> =
            service.nodes.iter().filter(|node| node.is_running()).map(|node| node.index).collect();
        let backups: Vec<usize> = running.iter().copied().filter(|index| *index != primary).collect();
        let backup = *self.random.pick(&backups);
        println!(
            "{:>6.1} s: {fault:?} for {} ms, primary {primary}, nodes {running:?}",
            self.began.elapsed().as_secs_f64(),
            duration.as_millis()
        );
        let ids: (NodeId, Vec<NodeId>) = (id(primary), backups.iter().map(|index| id(*index)).collect());
        match fault {
            Fault::KillPrimary => {
                service.nodes[primary].kill();
                changed(service);
                service.retire(primary);
                let joiner = service.join(backup, None);
                service.trust(joiner);
                changed(service);
                service.forget(primary);
            }
            Fault::PausePrimary => pause(service, primary, duration),
            Fault::PauseBackup => pause(service, backup, duration),
            Fault::IsolatePrimary => {
                ids.1.iter().for_each(|other| service.links.cut(&ids.0, other));
                thread::sleep(duration);
                service.links.heal();
            }
            Fault::CutOneLink => {
                service.links.cut(&ids.0, &service.nodes[backup].id.clone());
                thread::sleep(duration);
                service.links.heal();
            }
            Fault::HoldPrimary => {
                ids.1.iter().for_each(|other| service.links.hold(&ids.0, other));
                thread::sleep(duration);
                service.links.heal();
            }
        }
    }
}

fn pause(service: &mut Service, index: usize, duration: Duration) {
    service.nodes[index].pause();
    thread::sleep(duration);
    service.nodes[index].resume();
}
