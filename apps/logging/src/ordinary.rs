//! `/log/request_query`, `/log/cose_signed_content`: what came is what is answered.

use ccf_sdk::prelude::*;

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    app.install(EndpointDefinition::command(Method::Get, "/log/request_query", |ctx| {
        let query = ctx.request().query().as_bytes().to_vec();
        ctx.response.set_body("text/plain", query);
        Ok(())
    }))?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/cose_signed_content", |ctx| {
            let Some(Caller::MemberCose(signed)) = ctx.caller() else {
                return Err(ErrorResponse::internal("The caller did not sign the request."));
            };
            let content = signed.content.clone();
            ctx.response.set_body("text/plain", content);
            Ok(())
        })
        .authn([authn::member_cose_sign1()]),
    )
}
