//! Policies on the certificate of the TLS session: `user_cert`, `member_cert`, `any_cert` (applications
//! specification, section 3.2).

use super::{AuthnInput, AuthnPolicy, Caller, Refusal};
use crate::{session::CallerCertificate, tables};

/// Users that governance registered, within the validity of their certificate.
#[derive(Clone, Copy, Debug)]
pub struct UserCert;

impl AuthnPolicy for UserCert {
    fn name(&self) -> &str {
        "user_cert"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let Some(certificate) = input.session.certificate() else {
            return Err("No caller user certificate".into());
        };
        check_validity(certificate, input.now)?;
        if !tables::has_user(input.tx, certificate.user_id())? {
            return Err("Could not find matching user certificate".into());
        }
        Ok(Caller::User(certificate.user_id().clone()))
    }
}

/// Members of the consortium. As in the reference, neither the certificate's validity nor the member's
/// status matters: what a member may do is for the endpoint to decide.
#[derive(Clone, Copy, Debug)]
pub struct MemberCert;

impl AuthnPolicy for MemberCert {
    fn name(&self) -> &str {
        "member_cert"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let Some(certificate) = input.session.certificate() else {
            return Err("No caller member certificate".into());
        };
        if !tables::has_member(input.tx, certificate.member_id())? {
            return Err("Could not find matching member certificate".into());
        }
        Ok(Caller::Member(certificate.member_id().clone()))
    }
}

/// Whoever presents a certificate that is valid now.
#[derive(Clone, Copy, Debug)]
pub struct AnyCert;

impl AuthnPolicy for AnyCert {
    fn name(&self) -> &str {
        "any_cert"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let Some(certificate) = input.session.certificate() else {
            return Err("No caller certificate".into());
        };
        check_validity(certificate, input.now)?;
        Ok(Caller::AnyCert(certificate.clone()))
    }
}

fn check_validity(certificate: &CallerCertificate, now: u64) -> Result<(), Refusal> {
    let Some((not_before, not_after)) = certificate.validity() else {
        return Err("The caller's certificate cannot be read".into());
    };
    let time = i64::try_from(now).unwrap_or(i64::MAX);
    if time < not_before {
        let text =
            format!("Current time {now} is before certificate's Not Before validity period {not_before}");
        return Err(text.into());
    }
    if time > not_after {
        let text = format!("Current time {now} is after certificate's Not After validity period {not_after}");
        return Err(text.into());
    }
    Ok(())
}
