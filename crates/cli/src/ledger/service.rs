//! Whether a ledger is that of the service whose certificate an auditor has.

use ccf_crypto::cert::Certificate;
use ccf_ledger::verify::ServiceIdentity;
use ccf_types::SeqNo;

/// Compares the services of a ledger with a certificate: it must have the key of the latest. A service's certificate
/// can be renewed, its key changes with a recovery only.
///
/// # Errors
/// Why it is another service; else what should be known besides.
pub(super) fn compare(
    services: &[ServiceIdentity],
    expected: &Certificate,
) -> Result<Option<String>, String> {
    let read = |service: &ServiceIdentity| {
        Some((service.from, Certificate::from_pem(&service.certificate_pem).ok()?))
    };
    let known: Vec<(SeqNo, Certificate)> = services.iter().filter_map(read).collect();
    let Some((_, last)) = services.last().and_then(read) else {
        return Err("it names no service, so it cannot be compared with the certificate given".to_owned());
    };
    if last.der() == expected.der() {
        return Ok(None);
    }
    let is_expected = |certificate: &Certificate| certificate.spki_der() == expected.spki_der();
    if is_expected(&last) {
        let renewed = known.iter().any(|(_, certificate)| certificate.der() == expected.der());
        let what = match renewed {
            true => "the certificate given was renewed since",
            false => "the certificate given is not in the ledger, which has another one of the same key",
        };
        return Ok(Some(format!("{what}; the service's latest is {}", last.fingerprint())));
    }
    match known.iter().find(|(_, certificate)| is_expected(certificate)) {
        Some((from, _)) => Err(format!(
            "the certificate given is not that of its latest service: it is that of an earlier service, from transaction \
             {from} on; the latest, recovered one is {}",
            last.fingerprint()
        )),
        None => Err(format!(
            "it is the ledger of another service: its certificate is {}, the one given {}",
            last.fingerprint(),
            expected.fingerprint()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_crypto::{
        cert::{CertificateKind, Name, Validity, renew_self_signed, self_signed},
        key::{Curve, EcKeyPair},
    };
    use time::OffsetDateTime;

    fn days(days: u64) -> Validity {
        Validity::from_days(OffsetDateTime::UNIX_EPOCH, days).expect("dates")
    }

    fn service() -> (EcKeyPair, Certificate) {
        let key = EcKeyPair::generate(Curve::P384).expect("key");
        let name = Name::parse("CN=CCF Service").expect("a name");
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &days(90)).expect("issued");
        (key, certificate)
    }

    fn from(seqno: u64, certificate: &Certificate) -> ServiceIdentity {
        ServiceIdentity { from: SeqNo(seqno), certificate_pem: certificate.to_pem() }
    }

    #[test]
    fn a_renewed_certificate_is_that_of_the_same_service() {
        let (key, first) = service();
        let renewed = renew_self_signed(&first, &key, &days(180)).expect("renewed");
        let services = [from(1, &first), from(30, &renewed)];
        assert_eq!(compare(&services, &renewed), Ok(None));
        let note = compare(&services, &first).expect("the same service").expect("a note");
        assert!(
            note.contains("was renewed since") && note.contains(&renewed.fingerprint().to_string()),
            "{note}"
        );
        let note = compare(&services[..1], &renewed).expect("the same service").expect("a note");
        assert!(note.contains("is not in the ledger"), "{note}");
    }

    #[test]
    fn an_earlier_service_is_not_another() {
        let ((_, first), (_, second), (_, other)) = (service(), service(), service());
        let services = [from(1, &first), from(30, &second)];
        let told = compare(&services, &first).expect_err("refused");
        assert!(
            told.contains("an earlier service, from transaction 1 on; the latest, recovered one"),
            "{told}"
        );
        assert!(told.contains(&second.fingerprint().to_string()), "{told}");
        let told = compare(&services, &other).expect_err("refused");
        assert!(told.contains("the ledger of another service"), "{told}");
        assert!(compare(&[], &first).expect_err("refused").contains("names no service"));
    }
}
