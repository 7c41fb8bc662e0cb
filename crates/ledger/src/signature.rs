//! Signature transactions (section 10).
