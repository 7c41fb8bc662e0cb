//! Check 13: the status of transactions.

use crate::elect;
use ccf_consensus::TxStatus::{Committed, Invalid, Pending, Unknown};
use ccf_simulator::Cluster;
use ccf_types::TxId;

#[test]
fn truth_table() {
    let mut net = Cluster::started(&["0", "1", "2"], false);
    net.data("0"); // 2.5, lost
    net.data("0"); // 2.6, lost
    net.drop_all("0");
    let status =
        |net: &Cluster, name: &str, view, seqno| net.node(name).replica.tx_status(TxId::new(view, seqno));
    assert_eq!(status(&net, "0", 2, 4), Committed);
    assert_eq!(status(&net, "0", 3, 4), Invalid);
    assert_eq!(status(&net, "0", 2, 5), Pending);
    assert_eq!(status(&net, "1", 2, 5), Unknown);
    elect(&mut net, "1", "2");
    net.sign("1"); // 3.5
    net.data("1"); // 3.6
    assert_eq!(status(&net, "1", 3, 5), Pending);
    assert_eq!(status(&net, "1", 2, 5), Unknown, "not yet decided");
    net.period("1");
    net.deliver_all();
    net.period("1");
    net.deliver_all();
    for name in ["0", "1", "2"] {
        assert_eq!(status(&net, name, 3, 5), Committed);
        assert_eq!(status(&net, name, 2, 5), Invalid);
        assert_eq!(status(&net, name, 2, 6), Invalid);
        assert_eq!(status(&net, name, 3, 6), Pending);
        assert_eq!(status(&net, name, 2, 900), Invalid, "a position that was never used, of an old view");
        assert_eq!(status(&net, name, 3, 900), Unknown);
        assert_eq!(status(&net, name, 4, 6), Unknown);
    }
}
