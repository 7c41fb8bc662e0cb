//! `/multi_auth`, `/custom_auth`: who calls, found in many ways.

use ccf_sdk::{
    authn::{AuthnInput, AuthnPolicy, Refusal},
    prelude::*,
};
use serde::Serialize;
use std::{fmt::Write, sync::Arc};

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    let mut policies = vec![
        authn::user_cert(),
        authn::member_cert(),
        authn::any_cert(),
        authn::jwt(),
        authn::user_cose_sign1(),
        authn::no_auth(),
    ];
    // Three different policies: never refused as duplicates.
    if let Ok(all) = authn::all_of([authn::user_cert(), authn::jwt(), authn::user_cose_sign1()]) {
        policies.insert(0, all);
    }
    app.install(EndpointDefinition::read_write(Method::Post, "/multi_auth", multi_auth).authn(policies))?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/custom_auth", json_answer(custom_auth))
            .forwarding(ForwardingRequired::Never)
            .authn([Arc::new(CustomAuth) as authn::Policy]),
    )
}

fn multi_auth(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let Some(caller) = ctx.caller() else {
        return Err(ErrorResponse::internal("A caller without identity passed authentication."));
    };
    let text = describe(caller);
    ctx.response.set_body("text/plain", text);
    Ok(())
}

fn describe(caller: &Caller) -> String {
    match caller {
        Caller::AllOf(members) => {
            let mut text = format!("Conjoined auth policy: {}", caller.policy());
            for (name, member) in members.iter() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n{name}:\n{}", describe(member));
            }
            text
        }
        Caller::User(id) => format!("User TLS cert\nThe caller is a user with ID: {id}"),
        Caller::Member(id) => format!("Member TLS cert\nThe caller is a member with ID: {id}"),
        Caller::AnyCert(certificate) => format!("Any TLS cert\nThe caller's cert is:\n{}", certificate.pem()),
        Caller::Jwt(jwt) => format!("JWT\nThe caller is identified by a JWT issued by: {}", jwt.key_issuer),
        Caller::UserCose(cose) => format!("User COSE Sign1\nThe caller is identified as: {}", cose.user_id),
        Caller::MemberCose(cose) => {
            format!("Member COSE Sign1\nThe caller is identified as: {}", cose.member_id)
        }
        Caller::NoAuth => "Unauthenticated\nThe caller did not provide any identity".to_owned(),
        Caller::Custom(name, _) => format!("Custom policy {name}"),
    }
}

/// A policy of this application: whoever says a name and an age.
struct CustomAuth;

/// What [`CustomAuth`] finds.
#[derive(Clone, Serialize)]
struct CustomIdentity {
    age: u64,
    name: String,
}

/// Answer of `/custom_auth`.
#[derive(Serialize)]
struct CustomAnswer {
    age: u64,
    description: String,
    name: String,
}

const EXPLODE: &str = "x-custom-auth-explode";
const NAME: &str = "x-custom-auth-name";
const AGE: &str = "x-custom-auth-age";
const AGE_MIN: u64 = 16;

impl AuthnPolicy for CustomAuth {
    fn name(&self) -> &str {
        "custom_auth"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let headers = input.request.headers();
        if let Some(explosion) = headers.get_str(EXPLODE) {
            return Err(ErrorResponse::internal(explosion).into());
        }
        let Some(name) = headers.get_str(NAME) else { return Err(format!("Missing header: {NAME}").into()) };
        if name.is_empty() {
            return Err("Name must not be empty".into());
        }
        let Some(age) = headers.get_str(AGE) else { return Err(format!("Missing header: {AGE}").into()) };
        let Ok(age) = age.parse() else { return Err("Age is no number".into()) };
        if age < AGE_MIN {
            return Err(format!("Caller age must be at least {AGE_MIN}").into());
        }
        Ok(Caller::Custom("custom_auth".into(), Arc::new(CustomIdentity { age, name: name.to_owned() })))
    }
}

fn custom_auth(ctx: &mut EndpointContext<'_>) -> Result<CustomAnswer, ErrorResponse> {
    let identity = match ctx.caller() {
        Some(Caller::Custom(_, found)) => found.downcast_ref::<CustomIdentity>().cloned(),
        _ => None,
    };
    let Some(CustomIdentity { age, name }) = identity else {
        return Err(ErrorResponse::internal("The caller was not identified by the custom policy."));
    };
    Ok(CustomAnswer { age, description: format!("Your name is {name} and you are {age}"), name })
}
