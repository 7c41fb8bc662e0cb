//! The certificates of callers whose requests are forwarded, read once instead of with each request.

use bytes::Bytes;
use ccf_endpoints::CallerCertificate;
use std::{collections::HashMap, sync::Arc};

/// Certificates remembered; when there are more, all are forgotten and the ones in use come back.
const KNOWN_MAX: usize = 512;

/// Certificates by their DER.
#[derive(Default)]
pub(super) struct Callers(HashMap<Bytes, Arc<CallerCertificate>>);

impl Callers {
    /// The caller with this certificate.
    pub(super) fn get(&mut self, der: &[u8]) -> Arc<CallerCertificate> {
        if let Some(known) = self.0.get(der) {
            return Arc::clone(known);
        }
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        let certificate = Arc::new(CallerCertificate::new(der));
        self.0.insert(Bytes::copy_from_slice(der), Arc::clone(&certificate));
        certificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_remembered_within_bounds() {
        let mut callers = Callers::default();
        let first = callers.get(b"first");
        assert!(Arc::ptr_eq(&first, &callers.get(b"first")));
        for other in 0..2 * KNOWN_MAX {
            let der = other.to_le_bytes();
            assert_eq!(callers.get(&der).der(), der);
            assert!(callers.0.len() <= KNOWN_MAX);
        }
        assert!(!Arc::ptr_eq(&first, &callers.get(b"first")));
    }
}
