//! Seeded runs of whole nodes, at every test run.

use ccf_stack_simulator::simulate_stack;

#[test]
fn seeds_hold() {
    let (mut committed, mut views, mut rekeys) = (0, 0, 0);
    for seed in 0..12 {
        let report = simulate_stack(seed).unwrap_or_else(|failure| panic!("{failure}"));
        committed += report.committed;
        views += report.views;
        rekeys += report.rekeys;
    }
    assert!(committed > 12 * 10 && views > 12 && rekeys > 0, "{committed} {views} {rekeys}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(simulate_stack(1), simulate_stack(1));
    assert_ne!(simulate_stack(1).map(|report| report.digest), simulate_stack(2).map(|report| report.digest));
}
