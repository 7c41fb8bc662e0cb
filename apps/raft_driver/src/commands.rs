//! The commands of a scenario file.

use crate::{
    driver::{Driver, Target},
    entries::{self, Kind},
    output::Output,
};
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::collections::BTreeMap;

/// What is left at the end of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The last committed entry of every node that is not retired.
    pub active: BTreeMap<NodeId, TxId>,
}

/// Runs a scenario.
///
/// # Errors
/// What failed, with the line it failed in.
pub fn run(script: &str, output: &mut Output) -> Result<Outcome, String> {
    let mut driver = Driver::new(output);
    for (number, line) in (1..).zip(script.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(',').collect();
        if line.starts_with("====") {
            break;
        }
        driver.output.command(line);
        execute(&mut driver, &fields).map_err(|error| format!("line {number}: {line}: {error}"))?;
        if !is_mere_look(&fields) {
            for id in driver.ids() {
                driver
                    .assert_commit_safety(&id)
                    .map_err(|error| format!("line {number}: {line}: {error}"))?;
            }
        }
    }
    driver.output.command("loop_until_sync");
    driver.loop_until_sync().map_err(|error| format!("at the end: {error}"))?;
    let active = driver.nodes.iter().filter(|(_, node)| node.replica.retirement_phase().is_none());
    Ok(Outcome { active: active.map(|(id, node)| (id.clone(), node.replica.committed())).collect() })
}

/// Commands after which nothing can have changed.
fn is_mere_look(fields: &[&str]) -> bool {
    matches!(
        fields.first().copied().unwrap_or_default(),
        "state_one"
            | "state_all"
            | "summarise_log"
            | "summarise_logs_all"
            | "summarise_messages"
            | "assert_state_sync"
            | "assert_commit_idx"
            | "assert_last_txid"
    )
}

fn execute(driver: &mut Driver<'_>, fields: &[&str]) -> Result<(), String> {
    match fields {
        ["pre_vote_enabled", value] => {
            driver.pre_vote = value.parse().map_err(|_| "true or false is expected".to_owned())?;
            Ok(())
        }
        ["start_node", name] => driver.start_node(&id(name)),
        ["trust_node", target, name] => {
            driver.add(&ids(&[*name]))?;
            driver.configure_without(self::target(target)?, &[])
        }
        ["trust_nodes", target, names @ ..] if !names.is_empty() => {
            driver.add(&ids(names))?;
            driver.configure_without(self::target(target)?, &[])
        }
        ["swap_node", target, out, new] => swap(driver, target, &["in", new, "out", out]),
        ["swap_nodes", target, parts @ ..] => swap(driver, target, parts),
        ["cleanup_nodes", target, names @ ..] if !names.is_empty() => {
            let names = ids(names);
            for name in &names {
                driver.node(name)?;
            }
            driver.replicate_on(self::target(target)?, Kind::RetiredCommitted, false, &entries::names(names))
        }
        ["nodes", names @ ..] if !names.is_empty() => driver.nodes_at_start(&ids(names)),
        ["create_new_node", name] => driver.create(&id(name)),
        ["replicate_new_configuration", target, names @ ..] if !names.is_empty() => {
            let names = ids(names);
            for name in &names {
                if driver.node(name).is_err() {
                    driver.create(name)?;
                }
            }
            driver.replicate_on(self::target(target)?, Kind::Reconfiguration, false, &entries::names(names))
        }
        ["replicate", target, data] => {
            driver.replicate_on(self::target(target)?, Kind::Raw, false, data.as_bytes())
        }
        ["emit_signature", target] => {
            driver.replicate_on(self::target(target)?, Kind::Raw, true, b"signature")
        }
        ["nominate_successor", name] => {
            driver.node(&id(name))?;
            driver.output.line(&format!("Note over n[{name}]: Node {name} nominates a successor"));
            driver.with_node(&id(name), |node| node.step(ccf_consensus::Input::NominateSuccessor))
        }
        ["connect" | "reconnect", one, other] => driver.connect(&id(one), &id(other), fields[0]),
        ["disconnect", one, other] => driver.disconnect(&id(one), &id(other)),
        ["reconnect_node", name] => {
            driver.node(&id(name))?;
            driver.reconnect_node(&id(name))
        }
        ["disconnect_node", name] => {
            driver.node(&id(name))?;
            let others = driver.ids().into_iter().filter(|other| *other != id(name)).collect::<Vec<_>>();
            others.iter().try_for_each(|other| driver.disconnect(&id(name), other))
        }
        ["periodic_one", name, elapsed] => driver.periodic(&id(name), number(elapsed)?),
        ["periodic_all", elapsed] => {
            let elapsed = number(elapsed)?;
            driver.ids().iter().try_for_each(|id| driver.periodic(id, elapsed))
        }
        ["dispatch_one", name] => driver.dispatch_one(&id(name), None),
        ["dispatch_all"] => driver.dispatch_all(),
        ["dispatch_all_once"] => driver.dispatch_all_once(),
        ["dispatch_single", from, to] => driver.dispatch_single(&id(from), &id(to)),
        ["drop_pending", from] => driver.drop_pending(&id(from), None),
        ["drop_pending_to", from, to] => driver.drop_pending(&id(from), Some(&id(to))),
        ["shuffle_one", name] => driver.shuffle(&id(name)),
        ["shuffle_all"] => driver.ids().iter().try_for_each(|id| driver.shuffle(id)),
        ["state_one", name] => driver.show_state(&id(name)),
        ["state_all"] => driver.ids().iter().try_for_each(|id| driver.show_state(id)),
        ["summarise_log", name] => driver.show_log(&id(name)),
        ["summarise_logs_all"] => driver.ids().iter().try_for_each(|id| driver.show_log(id)),
        ["summarise_messages", from, to] => driver.show_queue(&id(from), &id(to)),
        ["loop_until_sync"] => driver.loop_until_sync(),
        _ => assert_command(driver, fields),
    }
}

fn assert_command(driver: &Driver<'_>, fields: &[&str]) -> Result<(), String> {
    match fields {
        ["assert_state_sync"] => driver.assert_state_sync(),
        ["assert_commit_safety", name] => driver.assert_commit_safety(&id(name)),
        ["assert_commit_idx", name, seqno] => driver.assert_commit(&id(name), SeqNo(number(seqno)?)),
        ["assert_last_txid", name, tx_id] => {
            let tx_id: TxId = tx_id.parse().map_err(|_| "a transaction ID is expected".to_owned())?;
            driver.assert_last(&id(name), tx_id)
        }
        ["assert_detail", name, key, value] => driver.assert_detail(&id(name), key, value, true),
        ["assert_!detail", name, key, value] => driver.assert_detail(&id(name), key, value, false),
        ["assert_config", name, seqno, names @ ..] => {
            driver.assert_configuration(&id(name), SeqNo(number(seqno)?), Some(&ids(names)))
        }
        ["assert_absent_config", name, seqno] => {
            driver.assert_configuration(&id(name), SeqNo(number(seqno)?), None)
        }
        _ => Err("unknown command, or wrong number of arguments".to_owned()),
    }
}

fn swap(driver: &mut Driver<'_>, target: &str, parts: &[&str]) -> Result<(), String> {
    let target = self::target(target)?;
    let (mut new, mut out) = (Vec::new(), Vec::new());
    let mut list = None;
    for part in parts {
        match *part {
            "in" => list = Some(&mut new),
            "out" => list = Some(&mut out),
            name => list.as_mut().ok_or("in or out is expected")?.push(id(name)),
        }
    }
    driver.add(&new)?;
    driver.configure_without(target, &out)
}

fn id(name: &str) -> NodeId {
    NodeId::from_text(name)
}

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| id(name)).collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn target(text: &str) -> Result<Target, String> {
    if text == "latest" { Ok(Target::Latest) } else { Ok(Target::Of(View(number(text)?))) }
}
