//! `ccf.historical`, and past states as objects (applications specification, sections 6.3 and 8.4).

use super::consensus::natural;
use crate::engine::value::{JsResult, Scope, Val};
use crate::host::Invocation;
use ccf_endpoints::historical::{HistoricalState, SeqNos, StateHandle};
use ccf_ledger::merkle::ProofStep;
use ccf_ledger::receipt::{ReceiptLeaf, TransactionReceipt};
use ccf_types::SeqNo;
use std::sync::Arc;
use std::time::Duration;

/// `getStateRange(handle, start, end, secondsUntilExpiry)`: an array of states, or null while they are fetched.
pub(super) fn state_range<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let numbers = args.iter().map(|n| natural(scope, n)).collect::<JsResult<Vec<_>>>()?;
    let [handle, start, end, seconds] = numbers[..] else {
        return Err(scope.throw_type("Arguments are missing"));
    };
    scope.host().impure.set(true);
    let states = scope.host().invocation.with(|call: &Invocation<'_>| {
        let past = call.node.and_then(|node| node.historical()).ok_or_else(|| NO_HISTORY.to_owned())?;
        let wanted = SeqNos::range(SeqNo(start), SeqNo(end)).map_err(|error| error.to_string())?;
        let expiry = Duration::from_secs(seconds);
        past.states(StateHandle(handle), &wanted, expiry).map_err(|error| error.to_string())
    });
    let states = states.unwrap_or_else(|| Err("no request is in progress".to_owned()));
    let states =
        states.map_err(|reason| scope.throw_internal(&format!("Failed to get state range: {reason}")))?;
    let Some(states) = states else { return Ok(scope.null()) };
    let array = scope.array()?;
    for (at, state) in (0u32..).zip(states.iter()) {
        array.set_index(at, object(scope, state)?)?;
    }
    Ok(array)
}

/// `dropCachedStates(handle)`: whether there were any.
pub(super) fn drop_cached_states<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let Some(handle) = args.first() else { return Err(scope.throw_type("Argument is missing")) };
    let handle = StateHandle(natural(scope, handle)?);
    scope.host().impure.set(true);
    let dropped = scope.host().invocation.with(|call: &Invocation<'_>| {
        call.node.and_then(|node| node.historical()).is_some_and(|past| past.drop_states(handle))
    });
    Ok(scope.boolean(dropped.unwrap_or(false)))
}

/// Why nothing historical works.
const NO_HISTORY: &str = "Historical queries are not available on this node";

/// A past state as scripts see it. Its `kv` works until the call ends.
pub(crate) fn object<'s>(scope: Scope<'s>, state: &Arc<HistoricalState>) -> JsResult<Val<'s>> {
    let host = scope.host();
    let number = host.invocation.with(|call| call.remember(host, state));
    let (Some(number), Some(prepared)) = (number, host.prepared.get()) else {
        return Err(scope.throw_internal("No request in progress"));
    };
    let object = scope.object()?;
    object.set("transactionId", scope.string(&state.tx_id().to_string())?)?;
    object.set("receipt", receipt_object(scope, &state.receipt())?)?;
    let make_kv = scope.kept(prepared.past_kv);
    let kv = make_kv.call(&scope.undefined(), &[&scope.number(number as f64)])?;
    object.set("kv", kv)?;
    Ok(object)
}

fn receipt_object<'s>(scope: Scope<'s>, receipt: &TransactionReceipt) -> JsResult<Val<'s>> {
    let json = receipt.json();
    let node_id = json.as_ref().map(|json| json.node_id.to_string()).unwrap_or_default();
    let (signature, cert) = json.map(|json| (json.signature, json.cert)).unwrap_or_default();
    let object = scope.object()?;
    object.set("signature", scope.string(&signature)?)?;
    object.set("cert", scope.string(&cert)?)?;
    object.set("node_id", scope.string(&node_id)?)?;
    object.set("is_signature_transaction", scope.boolean(receipt.is_signature()))?;
    if receipt.is_signature() {
        object.set("root_hex", scope.string(&receipt.signed.root().to_string())?)?;
        return Ok(object);
    }
    match &receipt.leaf {
        ReceiptLeaf::LeafComponents(components) => {
            let leaf = scope.object()?;
            leaf.set("write_set_digest", scope.string(&components.write_set_digest.to_string())?)?;
            leaf.set("commit_evidence", scope.string(&components.commit_evidence)?)?;
            if let Some(claims) = &components.claims_digest {
                leaf.set("claims_digest", scope.string(&claims.to_string())?)?;
            }
            object.set("leaf_components", leaf)?;
        }
        ReceiptLeaf::Leaf(leaf) => object.set("leaf", scope.string(&leaf.to_string())?)?,
    }
    let proof = scope.array()?;
    for (at, step) in (0u32..).zip(&receipt.proof.steps) {
        let (side, digest) = match step {
            ProofStep::Left(digest) => ("left", digest),
            ProofStep::Right(digest) => ("right", digest),
        };
        let step = scope.object()?;
        step.set(side, scope.string(&digest.to_string())?)?;
        proof.set_index(at, step)?;
    }
    object.set("proof", proof)?;
    Ok(object)
}
