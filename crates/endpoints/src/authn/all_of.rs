//! `all_of`: several policies that must all accept the caller.

use super::{AuthnInput, AuthnPolicy, Caller, Refusal};
use std::{borrow::Cow, sync::Arc};

/// Members evaluated in alphabetical order of their names; the first refusal is the refusal of all.
pub struct AllOf {
    name: String,
    members: Vec<Arc<dyn AuthnPolicy>>,
}

/// A policy appears twice in an `all_of`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AND authentication policy contains duplicate policies: {0}")]
pub struct DuplicateMember(pub String);

impl AllOf {
    /// The conjunction of the members.
    ///
    /// # Errors
    /// [`DuplicateMember`] if two have the same name.
    pub fn new(members: impl IntoIterator<Item = Arc<dyn AuthnPolicy>>) -> Result<AllOf, DuplicateMember> {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by(|a, b| a.name().cmp(b.name()));
        let names: Vec<_> = members.iter().map(|m| m.name()).collect();
        let name = names.join("+");
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DuplicateMember(name));
        }
        Ok(AllOf { name, members })
    }
}

impl AuthnPolicy for AllOf {
    fn name(&self) -> &str {
        &self.name
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let mut found = Vec::with_capacity(self.members.len());
        for member in &self.members {
            match member.authenticate(input) {
                Ok(caller) => found.push((member.name().to_owned(), caller)),
                Err(Refusal::Reason(reason)) => {
                    return Err(Refusal::Reason(Cow::Owned(format!("{}:{reason}", member.name()))));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Caller::AllOf(found.into()))
    }

    /// The challenge of the member that refused.
    fn challenge(&self, reason: &str) -> Option<&'static str> {
        self.members
            .iter()
            .find_map(|member| member.challenge(reason.strip_prefix(member.name())?.strip_prefix(':')?))
    }
}
