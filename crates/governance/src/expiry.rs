//! Certificates that will expire soon: who should renew what, told ahead of time.
//!
//! Nodes do not enforce dates on one another, so an expired certificate stops clients, not the service. The caller
//! looks now and then (once an hour is enough) and logs what is found, once per certificate and stage.

use crate::tables::{self, node::NodeStatus};
use ccf_crypto::cert::Certificate;
use ccf_kv::{KvError, Tx};
use ccf_types::{MemberId, NodeId};
use std::fmt;
use time::{Duration, OffsetDateTime};

/// The longest time ahead of which a certificate's end is told: time for a proposal and its votes.
pub const WARN_AHEAD_MAX: Duration = Duration::days(30);

/// Of a shorter validity, the last part in this many is warned of.
const WARN_PART: i32 = 3;

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateOf {
    /// The service's own.
    Service,
    /// A trusted node's, issued by the service.
    Node(NodeId),
    /// A member's. Members with expired certificates still sign validly.
    Member(MemberId),
}

/// A certificate that ends soon, or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryWarning {
    /// Whose it is.
    pub of: CertificateOf,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// Time left; negative if it has ended.
    pub left: Duration,
}

impl ExpiryWarning {
    /// Whether the certificate has ended.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.left.is_negative()
    }
}

/// The warning about a certificate at this time, if there is one: in the last third of its validity, and at most
/// [`WARN_AHEAD_MAX`] before its end.
#[must_use]
pub fn warning(of: CertificateOf, certificate: &Certificate, now: OffsetDateTime) -> Option<ExpiryWarning> {
    let validity = certificate.validity();
    let not_after = validity.not_after();
    let ahead = WARN_AHEAD_MAX.min((not_after - validity.not_before()) / WARN_PART);
    let left = not_after - now;
    (left < ahead).then_some(ExpiryWarning { of, not_after, left })
}

/// The certificates in the store that end soon: the service's, those of trusted nodes and of members. What is no
/// certificate is left out.
///
/// # Errors
/// [`KvError`] if a table cannot be read.
pub fn warnings(tx: &Tx, now: OffsetDateTime) -> Result<Vec<ExpiryWarning>, KvError> {
    let mut all = Vec::new();
    let mut look = |of: CertificateOf, pem: &str| {
        if let Ok(certificate) = Certificate::from_pem(pem) {
            all.extend(warning(of, &certificate, now));
        }
    };
    if let Some(service) = tx.ro(&tables::SERVICE_INFO).get()? {
        look(CertificateOf::Service, &service.cert);
    }
    let nodes = tx.ro(&tables::NODES);
    for (id, pem) in tx.ro(&tables::NODE_ENDORSED_CERTIFICATES).entries()? {
        if nodes.get(&id)?.is_some_and(|info| info.status == NodeStatus::Trusted) {
            look(CertificateOf::Node(id), &pem);
        }
    }
    for (id, pem) in tx.ro(&tables::MEMBER_CERTS).entries()? {
        look(CertificateOf::Member(id), &pem);
    }
    Ok(all)
}

impl fmt::Display for ExpiryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            CertificateOf::Service => f.write_str("The service certificate")?,
            CertificateOf::Node(id) => write!(f, "The certificate of node {id}")?,
            CertificateOf::Member(id) => write!(f, "The certificate of member {id}")?,
        }
        let (date, time) = (self.not_after.date(), self.not_after.time());
        if self.is_expired() {
            write!(f, " has expired on {date} at {time} UTC; ")?;
        } else {
            let (days, hours) = (self.left.whole_days(), self.left.whole_hours());
            match days {
                0 => write!(f, " expires in {hours} hours, on {date} at {time} UTC; ")?,
                _ => write!(f, " expires in {days} days, on {date} at {time} UTC; ")?,
            }
        }
        f.write_str(match self.of {
            CertificateOf::Service => "propose set_service_certificate_validity",
            CertificateOf::Node(_) => "propose set_node_certificate_validity",
            CertificateOf::Member(_) => "the member should be given a new one by set_member",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_crypto::{
        cert::{CertificateKind, Name, Validity, parse_valid_from, self_signed},
        key::{Curve, EcKeyPair},
    };

    #[test]
    fn warnings_begin_in_the_last_third_and_at_most_a_month_ahead() {
        let key = EcKeyPair::generate(Curve::P256).expect("key");
        let name = Name::parse("CN=x").expect("name");
        let from = parse_valid_from("2026-01-01T00:00:00Z").expect("time");
        for (days, quiet_hours, noisy_hours) in
            [(1, 15, 17), (90, 24 * 59, 24 * 61), (365, 24 * 334, 24 * 336)]
        {
            let validity = Validity::from_days(from, days).expect("validity");
            let certificate =
                self_signed(&key, &name, &[], CertificateKind::Ca, &validity).expect("certificate");
            let at =
                |hours: i64| warning(CertificateOf::Service, &certificate, from + Duration::hours(hours));
            assert_eq!(at(quiet_hours), None, "{days}");
            assert!(at(noisy_hours).is_some_and(|warning| !warning.is_expired()), "{days}");
            let days = i64::try_from(days).expect("small");
            assert!(at(days * 24).is_some_and(|warning| warning.is_expired()), "{days}");
        }
        let validity = Validity::from_days(from, 90).expect("validity");
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity).expect("certificate");
        let text = |hours: i64| {
            let at = from + Duration::hours(hours);
            warning(CertificateOf::Service, &certificate, at).map(|warning| warning.to_string())
        };
        assert_eq!(
            text(24 * 80).as_deref(),
            Some(
                "The service certificate expires in 9 days, on 2026-03-31 at 23:59:59.0 UTC; propose set_service_certificate_validity"
            )
        );
        assert_eq!(
            text(24 * 90).as_deref(),
            Some(
                "The service certificate has expired on 2026-03-31 at 23:59:59.0 UTC; propose set_service_certificate_validity"
            )
        );
    }
}
