//! Keys that a platform derives for the code it runs, to seal what only the same code may read again (crypto
//! specification, section 15.6).
//!
//! There is no implementation for SEV-SNP yet: nodes do not run there.

use ccf_crypto::{Zeroizing, hash::hkdf_sha256};
use ccf_types::Digest;

/// What derives keys for sealing. The same code gets the same key for the same version of its trusted computing base;
/// other code does not.
pub trait DerivedKeys: Send + Sync {
    /// The name of the scheme, which is stored with what is sealed: a key of another scheme does not open it.
    fn scheme(&self) -> &'static str;

    /// The version of the trusted computing base to which new keys are bound, 16 hex digits.
    fn tcb_version(&self) -> String;

    /// The key bound to a version.
    ///
    /// # Errors
    /// [`NoDerivedKey`].
    fn derive(&self, tcb_version: &str) -> Result<Zeroizing<[u8; 32]>, NoDerivedKey>;
}

/// The platform gives no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform derives no key for the TCB version {0}")]
pub struct NoDerivedKey(pub String);

/// The virtual platform: **insecure**. Its key follows from the node's executable, which everybody can read; so everything
/// that is sealed here is open to everybody who can read the ledger.
#[derive(Clone, Copy, Debug)]
pub struct VirtualKeys {
    executable: Digest,
}

impl VirtualKeys {
    /// For the node with this executable file.
    #[must_use]
    pub fn new(executable: Digest) -> VirtualKeys {
        VirtualKeys { executable }
    }
}

/// There is no trusted computing base, so there is one version of it.
const VIRTUAL_TCB_VERSION: &str = "0000000000000000";

impl DerivedKeys for VirtualKeys {
    fn scheme(&self) -> &'static str {
        "Insecure_Virtual_v1"
    }

    fn tcb_version(&self) -> String {
        VIRTUAL_TCB_VERSION.to_owned()
    }

    fn derive(&self, tcb_version: &str) -> Result<Zeroizing<[u8; 32]>, NoDerivedKey> {
        let none = || NoDerivedKey(tcb_version.to_owned());
        if tcb_version != VIRTUAL_TCB_VERSION {
            return Err(none());
        }
        let mut key = Zeroizing::new([0; 32]);
        let info = b"Insecure derived key of the virtual platform";
        hkdf_sha256(self.executable.as_bytes(), b"", info, &mut *key).map_err(|_| none())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_an_executable_and_a_version() {
        let (one, other) = (VirtualKeys::new(Digest([1; 32])), VirtualKeys::new(Digest([2; 32])));
        let version = one.tcb_version();
        assert_eq!(version.len(), 16);
        assert_eq!(one.derive(&version), one.derive(&version));
        assert_ne!(one.derive(&version), other.derive(&version));
        let newer = "0000000000000001";
        assert_eq!(one.derive(newer), Err(NoDerivedKey(newer.to_owned())));
    }
}
