//! `ccf.consensus`.

use crate::engine::value::{JsResult, Scope, Thrown, Val};
use crate::host::Invocation;
use ccf_endpoints::NodeView;
use ccf_types::{SeqNo, TxId, View};

pub(super) fn last_committed_tx_id<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    _args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let tx_id = with_node(scope, |node| node.committed())?;
    let object = scope.object()?;
    object.set("view", scope.number(tx_id.view.0 as f64))?;
    object.set("seqno", scope.number(tx_id.seqno.0 as f64))?;
    Ok(object)
}

pub(super) fn status_for_tx_id<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let [view, seqno] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let tx_id = TxId { view: View(natural(scope, view)?), seqno: SeqNo(natural(scope, seqno)?) };
    let status = with_node(scope, |node| node.tx_status(tx_id))?;
    scope.string(&status.to_string())
}

pub(super) fn view_for_seqno<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let Some(seqno) = args.first() else { return Err(scope.throw_type("Argument is missing")) };
    let seqno = SeqNo(natural(scope, seqno)?);
    let view = with_node(scope, |node| node.view_of(seqno))?;
    Ok(view.map_or_else(|| scope.null(), |view| scope.number(view.0 as f64)))
}

fn with_node<R>(scope: Scope<'_>, f: impl FnOnce(&dyn NodeView) -> R) -> JsResult<R> {
    scope.host().impure.set(true);
    let asked = scope.host().invocation.with(|call: &Invocation<'_>| call.node.map(f));
    asked.flatten().ok_or_else(|| scope.throw_internal("Node is not fully configured"))
}

pub(super) fn natural(scope: Scope<'_>, value: &Val<'_>) -> JsResult<u64> {
    let number = value.to_int64()?;
    u64::try_from(number)
        .map_err(|_| -> Thrown { scope.throw_range("Invalid argument: must not be negative") })
}
