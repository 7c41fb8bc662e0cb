//! `ccf.rpc`: what becomes of the transaction.

use crate::engine::value::{JsResult, Scope, Val};
use ccf_types::Digest;

pub(super) fn set_apply_writes<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let host = scope.host();
    host.impure.set(true);
    let apply = args.first().is_some_and(Val::truthy);
    host.invocation.with(|call| call.apply_writes.set(Some(apply)));
    Ok(scope.undefined())
}

pub(super) fn set_claims_digest<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let host = scope.host();
    host.impure.set(true);
    let bytes = args.first().and_then(|b| b.with_buffer(|bytes| <[u8; 32]>::try_from(bytes)));
    match bytes {
        Some(Ok(digest)) => {
            host.invocation.with(|call| call.claims_digest.set(Some(Digest(digest))));
            Ok(scope.undefined())
        }
        Some(Err(_)) => Err(scope.throw_type("Argument must be an ArrayBuffer of the right size: 32")),
        None => Err(scope.throw_type("Argument must be an ArrayBuffer")),
    }
}
