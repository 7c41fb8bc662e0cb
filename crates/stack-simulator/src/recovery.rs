//! The end of a network and what comes after: every machine dies with a torn ledger, and the service is recovered from the one
//! that goes furthest.

use crate::{
    disk::{Disk, LogEntry},
    history::violation,
    node::Start,
    transactions,
    world::{Done, World, broken, name, secret},
};
use ccf_consensus::ViewHistory;
use ccf_kv::Store;
use ccf_ledger::{
    files::{EntryRange, LedgerReader, LedgerWriter},
    secrets::LedgerSecrets,
};
use ccf_node::{
    replay::{ReplayOutcome, ReplayPlan, ReplayState, replay_into},
    replication::Beginning,
    snapshots::view_history,
};
use ccf_simulator::Violation;
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::{collections::BTreeMap, sync::Arc};

/// How long the recovered service may take until its first commit, in milliseconds.
const FIRST_COMMIT_MS_MAX: u64 = 2000;

/// Ends the network and recovers it.
pub(crate) fn recover(world: &mut World) -> Done {
    world.forget_events();
    let durable = durable(world);
    let committed = world.history.signature_before(world.history.committed());
    if durable < committed {
        return violation("Durable", format!("{committed} is committed, no disk has more than {durable}"));
    }
    let ids: Vec<NodeId> = world.machines.keys().cloned().collect();
    // One disk may lose more than what was being written, if another one has everything.
    let spared = ids.iter().find(|id| written(world, id) >= durable).cloned();
    let mut best: Option<(Store, ReplayOutcome, LedgerWriter, Disk, NodeId)> = None;
    for id in &ids {
        let power_cut = spared.as_ref() != Some(id) && world.random.percent(30);
        let Some(machine) = world.machines.get_mut(id) else { continue };
        if machine.alive {
            machine.disk.check_files().map_err(|reason| Violation {
                invariant: "Files",
                details: format!("{}: {reason}", name(id)),
            })?;
            machine.alive = false;
            machine.disk.tear(&mut world.random, power_cut).map_err(broken("Disk"))?;
        }
        let (disk, who) = (machine.disk.clone(), name(id));
        let writer =
            LedgerWriter::open(disk.directory(), &[], &mut Vec::new()).map_err(broken("TornLedger"))?;
        let (store, outcome) = read(&writer.reader(), None);
        let last = outcome.state.last;
        judge(world, &who, &store, &outcome)?;
        if last != TxId::default() {
            // With the secrets everything is read, to the same end.
            let secrets = world.history.secrets(last);
            let (whole, again) = read(&writer.reader(), Some(&secrets));
            if again.state.last != last {
                return violation(
                    "TornLedger",
                    format!("{who}: public to {last}, private to {}", again.state.last),
                );
            }
            world.history.compare(&who, &whole, last, true)?;
        }
        let better = best.as_ref().is_none_or(|(_, known, ..)| {
            (known.state.last.view, known.state.last.seqno) < (last.view, last.seqno)
        });
        if better {
            best = Some((store, outcome, writer, disk, id.clone()));
        }
    }
    let Some((store, outcome, writer, disk, id)) = best else { return Ok(()) };
    let last = outcome.state.last;
    if last.seqno < durable {
        return violation(
            "Durable",
            format!("{} was committed and written, the ledger of {} ends with {last}", durable, name(&id)),
        );
    }
    if world.has_room() && last != TxId::default() {
        begin_again(world, store, outcome, writer, &disk)?;
    }
    Ok(())
}

fn read(reader: &LedgerReader, secrets: Option<&LedgerSecrets>) -> (Store, ReplayOutcome) {
    let store = Store::new();
    let plan = ReplayPlan { reader, secrets, to: None, threads: 1 };
    let outcome = replay_into(&store, ReplayState::new(u64::from(u32::MAX)), &plan, &mut |_| {});
    (store, outcome)
}

/// How far what is committed is also on some disk, with everything before.
fn durable(world: &World) -> SeqNo {
    world.machines.keys().map(|id| written(world, id)).max().unwrap_or_default()
}

/// How much of what is committed the disk of a node has.
fn written(world: &World, id: &NodeId) -> SeqNo {
    let Some(machine) = world.machines.get(id) else { return SeqNo::NONE };
    let files = machine.disk.written();
    let mut seqno = files.seqno.min(world.history.committed());
    // The files may still show a suffix that the log has dropped meanwhile: it is of an older view than what came instead.
    while seqno > SeqNo::NONE {
        let logged = machine.disk.entry(seqno).map(|entry| entry.tx_id).filter(|it| it.view <= files.view);
        if logged.is_some() && logged == world.history.committed_at(seqno) {
            break;
        }
        seqno = SeqNo(seqno.0 - 1);
    }
    // A ledger is read back up to a signature.
    world.history.signature_before(seqno)
}

/// A ledger that was read back is a prefix of the history that ends with a signature.
fn judge(world: &World, who: &str, store: &Store, outcome: &ReplayOutcome) -> Done {
    let last = outcome.state.last;
    if last == TxId::default() {
        return Ok(());
    }
    if world.history.model(last).is_none() {
        return violation("TornLedger", format!("{who}: its ledger ends with {last}, which nobody wrote"));
    }
    // Of what is decided it has the version that is.
    let is_committed = world.history.committed_at(last.seqno) == Some(last);
    if is_committed && !world.history.is_root_with(last, &outcome.state.tree.root()) {
        return violation("Decided", format!("{who}: another root in its ledger up to {last}"));
    }
    world.history.compare(who, store, last, false)
}

/// A new service on what is left, to its first commit.
fn begin_again(
    world: &mut World,
    store: Store,
    outcome: ReplayOutcome,
    mut writer: LedgerWriter,
    disk: &Disk,
) -> Result<(), Violation> {
    let last = outcome.state.last;
    writer.truncate(last.seqno).map_err(broken("Disk"))?;
    if writer.last() != last.seqno {
        return violation("TornLedger", format!("read to {last}, committed files to {}", writer.last()));
    }
    let range = writer.reader().read_range(SeqNo(1), last.seqno, usize::MAX).map_err(broken("Disk"))?;
    let mut ledger = BTreeMap::new();
    for (seqno, bytes) in range.iter().flat_map(EntryRange::entries) {
        ledger.insert(seqno, LogEntry::read(bytes));
    }
    writer.begin_recovery(last.seqno);
    let new = Arc::new(secret(&mut world.random, last.seqno.next(), None));
    let mut secrets = LedgerSecrets::default();
    // The first secret of an empty list contradicts nothing.
    let _ = secrets.add(Arc::clone(&new));
    store.set_context(Arc::clone(&new));
    let (again, progress) = disk.reopen(writer, last);
    let history = ViewHistory::from_starts(view_history(&outcome.state.view_history, last));
    let beginning = Beginning::Recovery { last, history };
    world.history.recovered(last, new, &ledger)?;
    let start = Start::Recovery(store, again, progress, outcome.state.tree, beginning);
    let id = world.create(secrets, true, start)?;
    let at = TxId { view: View(last.view.0 + 2), seqno: last.seqno.next() };
    let created = world.machines.get_mut(&id).and_then(|machine| transactions::recover_service(machine, at));
    if created != Some(at) {
        return violation("Recovery", format!("the first transaction behind {last} is {created:?}"));
    }
    world.workers(&id)?;
    let deadline = world.now + FIRST_COMMIT_MS_MAX;
    while world.history.committed() <= last.seqno {
        if world.now > deadline {
            return violation("Recovery", format!("nothing is committed behind {last}"));
        }
        world.next_event()?;
    }
    let Some(machine) = world.machines.get(&id) else { return Ok(()) };
    let end = world.history.committed_at(world.history.committed()).unwrap_or_default();
    let (store, outcome) = read(&machine.disk.reader(), None);
    if outcome.state.last != end {
        let stopped = outcome.stopped.map(|stopped| stopped.to_string());
        return violation(
            "Recovery",
            format!("its ledger ends with {} instead of {end}: {stopped:?}", outcome.state.last),
        );
    }
    world.history.compare("the recovered ledger", &store, end, false)
}
