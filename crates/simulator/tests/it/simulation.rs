//! Seeded runs of whole networks: some of them at every test run, and every seed that ever failed.

use ccf_simulator::{simulate, walk};

#[test]
fn seeds_hold() {
    let mut committed = 0;
    for seed in 0..150 {
        committed += simulate(seed).unwrap_or_else(|failure| panic!("{failure}")).committed;
    }
    assert!(committed > 150 * 20, "the runs do something: {committed}");
}

#[test]
fn walks_hold() {
    let mut views = 0;
    for seed in 0..600 {
        views += walk(seed).unwrap_or_else(|failure| panic!("{failure}")).views;
    }
    assert!(views > 600 * 5, "primaries change: {views}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        assert_eq!(simulate(seed), simulate(seed));
        assert_eq!(walk(seed), walk(seed));
    }
    assert_ne!(simulate(3).map(|report| report.digest), simulate(4).map(|report| report.digest));
}
