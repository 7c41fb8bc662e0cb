//! Keys and certificates of members and users: made, written, read back.
//!
//! The files are those of CCF's `keygenerator.sh` (governance specification 15.2): `NAME_cert.pem`, `NAME_privk.pem`
//! and, for recovery members, `NAME_enc_pubk.pem` and `NAME_enc_privk.pem`.

use ccf_crypto::{
    cert::{self, Certificate, CertificateKind, Name, Validity},
    key::{Curve, EcKeyPair, RsaKeyPair},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};
use time::OffsetDateTime;

/// Size of the key that recovery shares are encrypted to.
const ENCRYPTION_KEY_BITS: usize = 2048;

/// Why an identity could not be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The name cannot be part of a file name or of a certificate.
    #[error("'{0}' is not a usable name: letters, digits, '-', '_' and '.' only")]
    Name(String),
    /// Key generation or signing failed.
    #[error("cannot make keys and certificate of {name}: {reason}")]
    Make {
        /// Whose.
        name: String,
        /// Why.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{path}: {reason}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error("{key} is not the private key of {certificate}")]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// A member or user: signing key, self-signed certificate, and the key for recovery shares if there is one.
pub struct Identity {
    /// Certificate.
    pub certificate: Certificate,
    /// Private key of the certificate.
    pub key: EcKeyPair,
    /// Key that recovery shares are encrypted to.
    pub encryption_key: Option<RsaKeyPair>,
}

/// Where the files of an identity are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM certificate.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// PEM public encryption key.
    pub encryption_public_key: PathBuf,
    /// PEM private encryption key.
    pub encryption_key: PathBuf,
}

impl IdentityFiles {
    /// The files of `name` in `folder`.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let file = |suffix: &str| folder.join(format!("{name}_{suffix}.pem"));
        IdentityFiles {
            certificate: file("cert"),
            key: file("privk"),
            encryption_public_key: file("enc_pubk"),
            encryption_key: file("enc_privk"),
        }
    }
}

impl Identity {
    /// A new identity with subject `CN=name`, valid for `days` from `now`.
    ///
    /// # Errors
    /// [`IdentityError::Name`] and [`IdentityError::Make`].
    pub fn generate(
        name: &str,
        curve: Curve,
        with_encryption_key: bool,
        now: OffsetDateTime,
        days: u64,
    ) -> Result<Self, IdentityError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(IdentityError::Name(name.to_owned()));
        }
        let fail = |reason: &dyn std::fmt::Display| IdentityError::Make {
            name: name.to_owned(),
            reason: reason.to_string(),
        };
        let key = EcKeyPair::generate(curve).map_err(|e| fail(&e))?;
        let subject = Name::parse(&format!("CN={name}")).map_err(|e| fail(&e))?;
        let validity = Validity::from_days(now, days).map_err(|e| fail(&e))?;
        let certificate =
            cert::self_signed(&key, &subject, &[], CertificateKind::Ca, &validity).map_err(|e| fail(&e))?;
        let encryption_key = match with_encryption_key {
            true => Some(RsaKeyPair::generate(ENCRYPTION_KEY_BITS).map_err(|e| fail(&e))?),
            false => None,
        };
        Ok(Identity { certificate, key, encryption_key })
    }

    /// Reads certificate and private key and checks that they belong together.
    ///
    /// # Errors
    /// [`IdentityError`] names the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let content = |path: &Path, reason: &dyn std::fmt::Display| IdentityError::Content {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let parsed = Certificate::from_pem(&read(certificate)?).map_err(|e| content(certificate, &e))?;
        let pair = EcKeyPair::from_pem(&read(key)?).map_err(|e| content(key, &e))?;
        if parsed.spki_der() != pair.public_key().spki_der() {
            return Err(IdentityError::Mismatch { key: key.to_owned(), certificate: certificate.to_owned() });
        }
        Ok(Identity { certificate: parsed, key: pair, encryption_key: None })
    }

    /// Reads the files of `name` in `folder`, the encryption key if it is there.
    ///
    /// # Errors
    /// [`IdentityError`] names the file.
    pub fn load_named(folder: &Path, name: &str) -> Result<Self, IdentityError> {
        let files = IdentityFiles::new(folder, name);
        let mut identity = Identity::load(&files.certificate, &files.key)?;
        if files.encryption_key.exists() {
            let key = RsaKeyPair::from_pem(&read(&files.encryption_key)?);
            identity.encryption_key = Some(key.map_err(|reason| IdentityError::Content {
                path: files.encryption_key,
                reason: reason.to_string(),
            })?);
        }
        Ok(identity)
    }

    /// Writes the files of `name` into `folder`; private keys are readable by their owner only.
    ///
    /// # Errors
    /// [`IdentityError::File`], also when a private key would be overwritten.
    pub fn write(&self, folder: &Path, name: &str) -> Result<IdentityFiles, IdentityError> {
        let files = IdentityFiles::new(folder, name);
        let secret = |reason: &dyn std::fmt::Display| IdentityError::Make {
            name: name.to_owned(),
            reason: reason.to_string(),
        };
        write_secret(&files.key, &self.key.to_pkcs8_pem().map_err(|e| secret(&e))?)?;
        if let Some(key) = &self.encryption_key {
            write_secret(&files.encryption_key, &key.to_pkcs8_pem())?;
            write(&files.encryption_public_key, &key.public_key().to_pem())?;
        }
        write(&files.certificate, &self.certificate.to_pem())?;
        Ok(files)
    }
}

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|reason| IdentityError::File { path: path.to_owned(), reason })
}

fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    fs::write(path, text).map_err(|reason| IdentityError::File { path: path.to_owned(), reason })
}

fn write_secret(path: &Path, text: &str) -> Result<(), IdentityError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|reason| IdentityError::File { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let made = Identity::generate("member0", Curve::P384, true, now, 30).unwrap();
        let files = made.write(folder.path(), "member0").unwrap();
        let read = Identity::load(&files.certificate, &files.key).unwrap();
        assert_eq!(read.certificate.member_id(), made.certificate.member_id());
        assert!(fs::read_to_string(&files.encryption_public_key).unwrap().contains("BEGIN PUBLIC KEY"));
        // A private key is never overwritten, and others may not read it.
        assert!(matches!(made.write(folder.path(), "member0"), Err(IdentityError::File { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o077, 0);
        }
    }

    #[test]
    fn strangers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let files = |name: &str| {
            let made = Identity::generate(name, Curve::P256, false, now, 1).unwrap();
            made.write(folder.path(), name).unwrap()
        };
        let (a, b) = (files("a"), files("b"));
        assert!(matches!(Identity::load(&a.certificate, &b.key), Err(IdentityError::Mismatch { .. })));
        assert!(matches!(Identity::load(&a.key, &a.key), Err(IdentityError::Content { .. })));
        for name in ["", "../x", "a/b", "a,b", ".x"] {
            let made = Identity::generate(name, Curve::P256, false, now, 1);
            assert!(matches!(made, Err(IdentityError::Name(_))), "{name}");
        }
    }
}
