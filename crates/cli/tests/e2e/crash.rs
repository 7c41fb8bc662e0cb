//! The crash test: services are killed at moments that a seed chooses, recovered from the files they leave, and asked
//! for everything that was ever reported as committed.
//!
//! The seed decides what happens and when; how far the processes are at that moment is up to the machine, so the same
//! seed does not replay a run exactly. `cargo xtask crash --rounds N --seed S` runs as long as one likes, with release
//! programs if they are there.

mod book;
mod life;
mod moments;
mod random;
mod remains;
mod tally;
mod writers;

use life::Life;
use random::Random;
use std::{
    env,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};
use tally::Tally;

/// After so many crashes a service is stopped in order and judged, and a new one begins: ledgers stay of a size that is
/// replayed in a moment.
const CRASHES_OF_A_LIFE: u32 = 12;

/// Where the programs under test are.
struct Programs {
    ccf: PathBuf,
    logging: PathBuf,
}

#[test]
fn what_was_reported_as_committed_survives_crashes() {
    let programs = Programs { ccf: crate::shell::ccf(), logging: crate::shell::sibling("logging") };
    let tally = crash(&programs, 7, 5, Duration::from_secs(3600));
    assert!(tally.promised > 20, "{tally}");
}

#[test]
#[ignore = "as long as one likes: cargo xtask crash"]
fn many_rounds() {
    let number = |name: &str, usual: u64| env::var(name).map_or(usual, |text| text.parse().unwrap());
    let programs = match env::var_os("CCF_CRASH_PROGRAMS").map(PathBuf::from) {
        Some(folder) => Programs { ccf: folder.join("ccf"), logging: folder.join("logging") },
        None => Programs { ccf: crate::shell::ccf(), logging: crate::shell::sibling("logging") },
    };
    let rounds = number("CCF_CRASH_ROUNDS", 50);
    let limit = Duration::from_secs(number("CCF_CRASH_SECONDS", 7 * 24 * 3600));
    crash(&programs, number("CCF_CRASH_SEED", 1), u32::try_from(rounds).unwrap(), limit);
}

/// Crashes services `rounds` times, or until the time is over.
fn crash(programs: &Programs, seed: u64, rounds: u32, limit: Duration) -> Tally {
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.crashes < rounds && begun.elapsed() < limit {
        // The first rounds are for a single node, so that a short run sees one before it sees three.
        let nodes = if random.below(3) == 0 && tally.crashes > 0 { 3 } else { 1 };
        let mut life = Life::begin(programs, nodes, &mut random);
        while tally.crashes < rounds && begun.elapsed() < limit && life.crashes < CRASHES_OF_A_LIFE {
            life = life.crash_and_recover(programs, &mut random, &mut tally);
            say(&format!("seed {seed}, {:.0} s: {tally}", begun.elapsed().as_secs_f64()));
        }
        life.end(&mut tally);
    }
    say(&format!("done, seed {seed}, {:.0} s: {tally}", begun.elapsed().as_secs_f64()));
    tally
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
