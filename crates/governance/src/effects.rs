//! What the constitution's `apply` can do beyond writing tables (governance 8), as the host of its script.

use crate::{jwt, node::NodeGovernance, service};
use ccf_crypto::cert::{
    CertificateKind, Issuer, SigningRequest, Validity, parse_valid_from, renew_self_signed,
};
use ccf_endpoints::{EndpointContext, TX_ID_HEADER};
use ccf_js::{GovernanceHost, GovernanceScripts, HostError};
use ccf_kv::Tx;
use ccf_types::SeqNo;
use serde_json::Value;
use std::{cell::Cell, fmt, sync::Arc};

/// The effects of one execution of one request. What must wait until its transaction is committed is collected.
pub(crate) struct Effects<'a> {
    node: &'a Arc<dyn NodeGovernance>,
    scripts: &'a GovernanceScripts,
    now: u64,
    chunk: Cell<bool>,
    snapshot: Cell<bool>,
}

impl<'a> Effects<'a> {
    /// No effect yet. `now` is the time of the request in seconds since the Unix epoch.
    #[must_use]
    pub(crate) fn new(
        node: &'a Arc<dyn NodeGovernance>,
        scripts: &'a GovernanceScripts,
        now: u64,
    ) -> Effects<'a> {
        Effects { node, scripts, now, chunk: Cell::new(false), snapshot: Cell::new(false) }
    }

    /// Whether the ledger chunk is to be closed and a snapshot to be taken, once the transaction is committed.
    #[must_use]
    pub(crate) fn wanted(&self) -> (bool, bool) {
        (self.chunk.get(), self.snapshot.get())
    }

    /// Tells the node what is wanted as soon as the transaction has its position.
    pub(crate) fn carry_out_on_commit(self, context: &mut EndpointContext<'_>) {
        let (chunk, snapshot) = self.wanted();
        if !chunk && !snapshot {
            return;
        }
        let node = Arc::clone(self.node);
        context.on_local_commit(move |response, tx_id| {
            if chunk {
                node.request_chunk(tx_id);
            }
            if snapshot {
                node.request_snapshot(tx_id);
            }
            response.headers.set(TX_ID_HEADER, tx_id);
            Ok(())
        });
    }

    pub(crate) fn scripts(&self) -> &'a GovernanceScripts {
        self.scripts
    }

    pub(crate) fn node(&self) -> &dyn NodeGovernance {
        self.node.as_ref()
    }
}

impl fmt::Debug for Effects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects")
            .field("chunk", &self.chunk)
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

fn host_error(error: impl fmt::Display) -> HostError {
    HostError(error.to_string())
}

/// The period of a certificate that begins at a date of one of the accepted forms.
fn validity(valid_from: &str, days: u64) -> Result<Validity, HostError> {
    let from = parse_valid_from(valid_from).map_err(host_error)?;
    Validity::from_days(from, days).map_err(host_error)
}

impl GovernanceHost for Effects<'_> {
    fn trigger_ledger_rekey(&self, tx: &Tx) -> Result<(), HostError> {
        service::rekey(self.node(), tx).map_err(host_error)
    }

    fn trigger_recovery_shares_refresh(&self, tx: &Tx) -> Result<(), HostError> {
        service::refresh_shares(self.node(), tx).map_err(host_error)
    }

    fn transition_service_to_open(
        &self,
        tx: &Tx,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), HostError> {
        let opened = service::open(self.node(), tx, previous, next, self.now)
            .map_err(|error| host_error(format!("Unable to open service: {error}")))?;
        if opened {
            self.snapshot.set(true);
        }
        Ok(())
    }

    fn trigger_ledger_chunk(&self, _: &Tx) -> Result<(), HostError> {
        self.chunk.set(true);
        Ok(())
    }

    fn trigger_snapshot(&self, _: &Tx) -> Result<(), HostError> {
        self.snapshot.set(true);
        Ok(())
    }

    fn shuffle_sealed_shares(&self, tx: &Tx) -> Result<(), HostError> {
        service::shuffle_sealed_shares(self.node(), tx).map_err(host_error)
    }

    fn latest_ledger_secret_seqno(&self, tx: &Tx) -> Result<SeqNo, HostError> {
        Ok(service::latest_secret(self.node(), tx).map_err(host_error)?.from())
    }

    fn generate_endorsed_certificate(
        &self,
        tx: &Tx,
        csr_pem: &str,
        valid_from: &str,
        days: u64,
    ) -> Result<String, HostError> {
        let request = SigningRequest::from_pem(csr_pem).map_err(host_error)?;
        let key = service::service_key(self.node()).map_err(host_error)?;
        let certificate = service::certificate(tx).map_err(host_error)?;
        let issuer = Issuer::new(&certificate, &key).map_err(host_error)?;
        let issued = issuer.endorse(&request, CertificateKind::Leaf, &validity(valid_from, days)?);
        Ok(issued.map_err(host_error)?.to_pem())
    }

    fn generate_network_certificate(
        &self,
        tx: &Tx,
        valid_from: &str,
        days: u64,
    ) -> Result<String, HostError> {
        let key = service::service_key(self.node()).map_err(host_error)?;
        let certificate = service::certificate(tx).map_err(host_error)?;
        let renewed = renew_self_signed(&certificate, &key, &validity(valid_from, days)?);
        Ok(renewed.map_err(host_error)?.to_pem())
    }

    fn set_jwt_public_signing_keys(
        &self,
        tx: &Tx,
        issuer: &str,
        _metadata: &Value,
        jwks: &Value,
    ) -> Result<(), HostError> {
        jwt::set_keys(tx, issuer, jwks).map_err(host_error)
    }

    fn remove_jwt_public_signing_keys(&self, tx: &Tx, issuer: &str) -> Result<(), HostError> {
        jwt::remove_keys(tx, issuer).map_err(host_error)
    }
}
