//! From a service that has just started to one that is open: what its members do, in their order.

use crate::{
    governance_client::{BALLOT_YES, GovernanceClient, GovernanceClientError, Proposal},
    http_client::HttpClient,
    identity::Identity,
    sandbox::{interrupt::Interrupt, node_process::LOOK_EVERY},
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The service has this long for each step that waits for a signature or a commit.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Drives one service through its governance.
pub struct Opening<'a> {
    /// Connection to the node.
    pub client: &'a mut HttpClient,
    /// All members; the first proposes.
    pub members: &'a [Identity],
    /// Ends every wait.
    pub interrupt: &'a Interrupt,
}

impl Opening<'_> {
    /// Makes every member Active.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn activate_members(&mut self) -> Result<(), String> {
        for member in self.members {
            // The digest that a member acknowledges exists from the first signature on.
            self.wait("the ledger's first signature", |client| {
                GovernanceClient::new(client).acknowledge(member).map_err(|e| e.to_string())
            })?;
        }
        Ok(())
    }

    /// Proposes `actions` and lets members vote in turn until the proposal is decided.
    ///
    /// # Errors
    /// A sentence for the user, also when the constitution rejects it.
    pub fn decide(&mut self, what: &str, actions: &[Value]) -> Result<Proposal, String> {
        let fail = |e: GovernanceClientError| format!("cannot {what}: {e}");
        let (proposer, voters) = (self.members.first().ok_or("there are no members")?, self.members);
        let mut governance = GovernanceClient::new(self.client);
        let mut proposal = governance.propose(proposer, &json!({"actions": actions})).map_err(fail)?;
        for voter in voters {
            if proposal.state != "Open" {
                break;
            }
            proposal = governance.vote(voter, &proposal.id, BALLOT_YES).map_err(fail)?;
        }
        match proposal.state.as_str() {
            "Accepted" => Ok(proposal),
            state => Err(format!(
                "cannot {what}: the constitution left the proposal {} {state} after the votes of all members",
                proposal.id
            )),
        }
    }

    fn wait(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(&mut HttpClient) -> Result<(), String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let reason = match attempt(self.client) {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            if self.interrupt.is_set() {
                return Err("interrupted".to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!("waited {} s for {what}: {reason}", STEP_TIMEOUT.as_secs()));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// The actions that add users by their certificates.
#[must_use]
pub fn set_users(users: &[Identity]) -> Vec<Value> {
    users
        .iter()
        .map(|user| json!({"name": "set_user", "args": {"cert": user.certificate.to_pem()}}))
        .collect()
}

/// The action that deploys an application.
#[must_use]
pub fn set_js_app(bundle: &Value) -> Value {
    json!({"name": "set_js_app", "args": {"bundle": bundle, "disable_bytecode_cache": false}})
}

/// The action that opens the service whose certificate is `service_certificate`.
#[must_use]
pub fn open_service(service_certificate: &str) -> Value {
    json!({"name": "transition_service_to_open", "args": {"next_service_identity": service_certificate}})
}
