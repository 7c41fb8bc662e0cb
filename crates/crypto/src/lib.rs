//! Keys, certificates, hashes, authenticated encryption, COSE, JWK and secret sharing.
//!
//! The only crate that imports cryptographic primitives; everything above it speaks in the types of this one.
//! It opens no socket and no file and reads no clock: where a date matters the caller passes it in. Randomness
//! comes from the operating system through [`random`].
//!
//! | Module | What it is for |
//! |---|---|
//! | [`hash`], [`random`] | SHA-2, HMAC, HKDF; random bytes |
//! | [`aead`] | AES-256-GCM in place, and the sealed blob `tag, iv, ciphertext` |
//! | [`channel_cipher`] | AES-256-GCM with the short IV of messages between nodes |
//! | [`key`] | key pairs and public keys: EC, RSA, Ed25519, X25519 |
//! | [`pem`] | PEM armour |
//! | [`cert`] | certificates and signing requests: make, read, check chains |
//! | [`cbor`] | reading and writing the CBOR that COSE is made of |
//! | [`cose`] | COSE Sign1: ledger signatures, endorsements of services, requests of members and users |
//! | [`jwk`] | JSON Web Keys |
//! | [`sharing`] | recovery shares and the key they protect |
//! | [`wrap`] | RSA-OAEP, AES key wrap with padding, and the two together |
//! | [`script`] | the functions behind `ccf.crypto` of scripts |
#![forbid(unsafe_code)]

pub mod aead;
pub mod cbor;
pub mod cert;
pub mod channel_cipher;
pub mod cose;
pub mod hash;
pub mod jwk;
pub mod key;
pub mod pem;
pub mod random;
pub mod script;
pub mod sharing;
pub mod wrap;

mod der;
mod oid;

/// Wipes its content when dropped; what every function that returns a secret returns.
pub use zeroize::Zeroizing;
