//! `ccf ledger governance`, `history`, `diff` and `export` on ledgers that CCF has written.

use crate::auditor::{Ledger, golden};
use ccf_cli::ledger::{
    diff::{Comparison, DiffArgs, compare},
    entries::FileChoice,
    governance::{GovernanceArgs, actions},
    history::{HistoryArgs, history},
};
use ccf_types::SeqNo;
use serde_json::Value;
use std::{fs, process::Command};

const ALL: FileChoice = FileChoice { uncommitted: true, recovery: false };

fn acme() -> Ledger {
    golden("acme_containing_service")
}

fn ccf(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ccf")).arg("ledger").args(args).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

#[test]
fn each_member_action_with_its_transaction() {
    let ledger = acme();
    let mut args =
        GovernanceArgs { paths: vec![ledger.folder.clone()], member: None, choice: ALL, json: false };
    let short = |id: &Option<String>| id.as_deref().map_or("-".to_owned(), |id| id[..4].to_owned());
    let found: Vec<String> = actions(&args)
        .unwrap()
        .iter()
        .map(|action| {
            format!("{} {} {} {}", action.tx_id, short(&action.member), action.kind, short(&action.proposal))
        })
        .collect();
    let expected = [
        "2.7 4471 state_digest -",
        "2.9 4471 acknowledgement -",
        "2.10 1e74 state_digest -",
        "2.11 1e74 acknowledgement -",
        "2.12 e9ce state_digest -",
        "2.14 e9ce acknowledgement -",
        "2.15 4471 proposal 0990",
        "2.18 4471 ballot 0990",
        "2.19 1e74 ballot 0990",
        "2.19 - outcome 0990",
    ];
    assert_eq!(found, expected);
    args.member = Some("4471".to_owned());
    let of_member = actions(&args).unwrap();
    assert_eq!(of_member.len(), 4);
    assert!(of_member[2].details.contains("set_user"), "{of_member:?}");

    // A ledger of the time before COSE, through several recoveries.
    let old = golden("sgx_service");
    let args = GovernanceArgs { paths: vec![old.folder.clone()], member: None, choice: ALL, json: false };
    let found = actions(&args).unwrap();
    let count = |kind: &str| found.iter().filter(|action| action.kind == kind).count();
    assert!(count("proposal") > 0 && count("ballot") > 0 && count("acknowledgement") > 0, "{found:?}");
    assert!(found.iter().all(|action| action.kind == "outcome" || action.member.is_some()), "{found:?}");
}

#[test]
fn a_key_is_followed() {
    let ledger = acme();
    let mut args = HistoryArgs {
        paths: vec![ledger.folder.clone()],
        table: "public:ccf.gov.service.info".to_owned(),
        key: None,
        choice: ALL,
        json: true,
    };
    let lines = |args: &HistoryArgs| -> Vec<Value> {
        let mut out = Vec::new();
        let count = history(args, &mut out).unwrap();
        let lines: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(count, lines.len() as u64);
        lines
    };
    let states: Vec<(String, bool)> = lines(&args)
        .iter()
        .map(|line| {
            (
                line["transaction_id"].as_str().unwrap().to_owned(),
                line["value"].as_str().unwrap().contains("\"Open\""),
            )
        })
        .collect();
    assert_eq!(states, [("2.1".to_owned(), false), ("2.19".to_owned(), true)]);

    let old = golden("cose_flipflop_service");
    args.paths = vec![old.folder.clone()];
    args.table = "public:ccf.gov.proposals_info".to_owned();
    args.key = Some("e3cbb44b5731a72439fab8d1dbfa7eadd72183048daf1134dbb700a08de9be31".to_owned());
    let removed: Vec<bool> = lines(&args).iter().map(|line| line["removed"] == true).collect();
    assert_eq!(removed, [false, false, true]);

    args.key = Some("absent".to_owned());
    assert!(lines(&args).is_empty());
    args.table = "records".to_owned();
    assert!(history(&args, &mut Vec::new()).unwrap_err().contains("private table"));
}

#[test]
fn ledgers_are_compared_entry_by_entry() {
    let (left, right) = (acme(), acme());
    let args = |right: &Ledger| DiffArgs {
        left: left.folder.clone(),
        right: right.folder.clone(),
        choice: ALL,
        json: false,
    };
    let same = |ends: (u64, u64)| Comparison {
        same: ends.0.min(ends.1),
        last_same: Some(SeqNo(ends.0.min(ends.1))),
        ends: Some((SeqNo(ends.0), SeqNo(ends.1))),
        difference: None,
    };
    assert_eq!(compare(&args(&right)).unwrap(), same((22, 22)));
    fs::remove_file(right.folder.join("ledger_21")).unwrap();
    assert_eq!(compare(&args(&right)).unwrap(), same((22, 20)));

    let path = right.folder.join("ledger_3-13.committed");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"BEGIN").unwrap();
    bytes[at] = b'b';
    fs::write(&path, bytes).unwrap();
    let comparison = compare(&args(&right)).unwrap();
    assert_eq!((comparison.same, comparison.last_same), (2, Some(SeqNo(2))));
    let (seqno, what) = comparison.difference.unwrap();
    assert_eq!(seqno, SeqNo(3));
    assert!(what.contains("transaction 2.3 writes otherwise to public:ccf.gov.nodes"), "{what}");

    let (mine, theirs) = (left.folder.to_str().unwrap(), right.folder.to_str().unwrap());
    let (code, text) = ccf(&["diff", mine, theirs]);
    assert_eq!(code, 1);
    assert!(text.contains("DIFFERENT at transaction 3"), "{text}");
    assert_eq!(ccf(&["diff", mine, mine]).0, 0);
    assert_eq!(ccf(&["diff", mine, "/nowhere"]).0, 2);
}

#[test]
fn all_public_content_is_exported_and_the_rest_is_named() {
    let ledger = golden("cose_flipflop_service");
    let file = ledger.folder.join("out.jsonl");
    let (code, text) = ccf(&["export", ledger.folder.to_str().unwrap(), "--output", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("46 transactions"), "{text}");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 46);
    let signed = lines.iter().filter(|line| !line["tables"]["public:ccf.internal.signatures"].is_null());
    assert_eq!(signed.count(), 23);
    assert_eq!(lines.iter().filter(|line| line["private"] == "encrypted").count(), 13);
    assert_eq!(lines[0]["tables"]["public:ccf.gov.service.info"]["writes"].as_array().unwrap().len(), 1);
    let (code, text) = ccf(&["export", ledger.folder.to_str().unwrap(), "--from", "46"]);
    assert_eq!((code, text.lines().count()), (0, 1));
    assert_eq!(ccf(&["export", ledger.folder.to_str().unwrap(), "-o", "/nowhere/out"]).0, 1);
}
