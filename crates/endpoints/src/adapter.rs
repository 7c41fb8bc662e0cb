//! JSON endpoints: the body in, a value out (applications specification, section 2.1).

mod accept;

use crate::{
    context::EndpointContext,
    error::ErrorResponse,
    foreign_json,
    http::{Method, Response},
};
use serde::{Serialize, de::DeserializeOwned};

/// Answers with a value as compact JSON.
pub(crate) fn respond_json(
    response: &mut Response,
    value: &(impl Serialize + ?Sized),
) -> Result<(), ErrorResponse> {
    let body = serde_json::to_vec(value).map_err(|e| ErrorResponse::internal(e.to_string()))?;
    response.set_body("application/json", body);
    Ok(())
}

fn answer(context: &mut EndpointContext<'_>, value: &impl Serialize) -> Result<(), ErrorResponse> {
    accept::check(context.request().headers())?;
    respond_json(&mut context.response, value)?;
    context.response.status = 200;
    if context.response.body.as_ref() == b"null" {
        context.response = Response { headers: context.response.headers.clone(), ..Response::status(204) };
        context.response.headers.remove("content-type");
    }
    Ok(())
}

/// A handler that takes the body as JSON (of GET requests always `{}`) and answers 200 with JSON, or 204 when
/// the value is null. The `accept` header is honoured.
pub fn json<In, Out, F>(
    function: F,
) -> impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static
where
    In: DeserializeOwned,
    Out: Serialize,
    F: Fn(&mut EndpointContext<'_>, In) -> Result<Out, ErrorResponse> + Send + Sync + 'static,
{
    move |context| {
        let get = context.request().method() == Method::Get;
        let input = foreign_json::parse(if get { b"" } else { context.request().body() })?;
        let output = function(context, input)?;
        answer(context, &output)
    }
}

/// A handler that ignores the body and answers 200 with JSON, or 204 when the value is null.
pub fn json_answer<Out, F>(
    function: F,
) -> impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static
where
    Out: Serialize,
    F: Fn(&mut EndpointContext<'_>) -> Result<Out, ErrorResponse> + Send + Sync + 'static,
{
    move |context| {
        let output = function(context)?;
        answer(context, &output)
    }
}
