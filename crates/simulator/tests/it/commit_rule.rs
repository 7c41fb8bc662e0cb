//! Check 6: the commit of a primary equals the brute-force definition.

use crate::response;
use ccf_simulator::Cluster;
use ccf_types::SeqNo;

#[test]
fn commit_is_the_largest_signature_that_majorities_of_each_configuration_hold() {
    let mut random = 1u64;
    let mut up_to = |max: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % (max + 1)
    };
    for _ in 0..300 {
        let mut net = Cluster::started(&["2", "0", "1"], true);
        net.create("3");
        net.create("4");
        net.configure("2", &["2", "3", "4"]);
        let mut signatures = vec![4];
        for at in 6..=14 {
            if up_to(2) == 0 {
                net.sign("2");
                signatures.push(at);
            } else {
                net.data("2");
            }
        }
        net.drop_all("2");
        let mut matched = [4, 4, 14, 0, 0];
        for _ in 0..12 {
            let peer = [0, 1, 3, 4][usize::try_from(up_to(3)).unwrap()];
            let last = up_to(14);
            net.deliver_message(&peer.to_string(), "2", response(2, last, true));
            matched[peer] = last.max(matched[peer]);
            // When the new configuration, at 5, is committed the old one counts no more: from the next answer on.
            net.deliver_message("0", "2", response(2, matched[0], true));
            net.drop_all("2");
            let majority =
                |members: [usize; 3], at| members.iter().filter(|m| matched[**m] >= at).count() >= 2;
            let held = |at: &u64| {
                let old =
                    majority([0, 1, 2], *at) || net.node("2").replica.configurations().iter().count() == 1;
                old && majority([2, 3, 4], *at)
            };
            let expected = signatures.iter().rev().copied().find(held).unwrap_or(4);
            assert_eq!(net.commit("2"), SeqNo(expected.max(4)), "{matched:?} {signatures:?}");
        }
    }
}
