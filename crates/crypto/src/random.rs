//! Random bytes from the cryptographic generator of the operating system.

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

/// Fills `out` with random bytes.
///
/// # Errors
/// [`RandomError`] if the system has none to give.
pub fn fill(out: &mut [u8]) -> Result<(), RandomError> {
    aws_lc_rs::rand::fill(out).map_err(|_| RandomError)
}

/// `N` random bytes.
///
/// # Errors
/// [`RandomError`] if the system has none to give.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}
