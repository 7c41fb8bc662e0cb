//! PEM armour (RFC 7468): text with `-----BEGIN` lines around base64.

use crate::Zeroizing;

/// Longest PEM text that is looked at: far above any certificate bundle, small enough to decode at once.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Most blocks read from one text.
pub const PEM_BLOCKS_MAX: usize = 256;

/// Why a text is not the PEM that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// No block at all.
    #[error("no PEM block found")]
    Missing,
    /// Bad base64, or begin and end lines that do not fit.
    #[error("malformed PEM: {0}")]
    Malformed(String),
    /// A block of another kind.
    #[error("PEM block is {found:?}, expected {expected:?}")]
    Label {
        /// Label in the text.
        found: String,
        /// Label that was wanted.
        expected: &'static str,
    },
    /// More than [`PEM_BYTES_MAX`] or [`PEM_BLOCKS_MAX`].
    #[error("PEM text is too long")]
    TooLong,
}

/// One block: its label and its content.
pub struct PemBlock {
    /// The words after `BEGIN`.
    pub label: String,
    /// The decoded bytes, wiped on drop since they may be a private key.
    pub contents: Zeroizing<Vec<u8>>,
}

/// The first block of `text`. One trailing NUL byte is tolerated (crypto 1).
///
/// # Errors
/// [`PemError`].
pub fn decode(text: &str) -> Result<PemBlock, PemError> {
    let text = check(text)?;
    let block = ::pem::parse(text).map_err(malformed)?;
    Ok(to_block(block))
}

/// All blocks of `text`, at least one.
///
/// # Errors
/// [`PemError`].
pub fn decode_all(text: &str) -> Result<Vec<PemBlock>, PemError> {
    let text = check(text)?;
    if text.matches("-----BEGIN").count() > PEM_BLOCKS_MAX {
        return Err(PemError::TooLong);
    }
    let blocks: Vec<_> = ::pem::parse_many(text).map_err(malformed)?.into_iter().map(to_block).collect();
    if blocks.is_empty() { Err(PemError::Missing) } else { Ok(blocks) }
}

/// The first block, which must carry `label`.
pub(crate) fn decode_labelled(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let block = decode(text)?;
    if block.label == label {
        Ok(block.contents)
    } else {
        Err(PemError::Label { found: block.label, expected: label })
    }
}

/// Armours `der`: lines of 64 characters ended by LF, a final newline.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(base64.len() + base64.len() / 64 + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn check(text: &str) -> Result<&str, PemError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(PemError::TooLong);
    }
    if !text.contains("-----BEGIN") {
        return Err(PemError::Missing);
    }
    Ok(text.strip_suffix('\0').unwrap_or(text))
}

fn to_block(block: ::pem::Pem) -> PemBlock {
    PemBlock { label: block.tag().to_owned(), contents: Zeroizing::new(block.into_contents()) }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn malformed(error: ::pem::PemError) -> PemError {
    PemError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_with_a_final_newline() {
        for length in [0, 1, 47, 48, 49, 500] {
            let der = vec![0x5a; length];
            let text = encode("CERTIFICATE", &der);
            assert!(text.ends_with("-----END CERTIFICATE-----\n"));
            assert!(text.lines().all(|line| line.len() <= 64));
            let twice = format!("{text}{text}\0");
            assert_eq!(decode_all(&twice).unwrap().len(), 2);
            assert_eq!(*decode(&text).unwrap().contents, der);
            assert_eq!(decode(&text).unwrap().label, "CERTIFICATE");
        }
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        assert_eq!(decode("").err(), Some(PemError::Missing));
        assert_eq!(decode_all("hello").err(), Some(PemError::Missing));
        assert!(matches!(decode("-----BEGIN X-----\n!!\n-----END X-----\n"), Err(PemError::Malformed(_))));
        assert!(decode("-----BEGIN X-----\nAAAA\n-----END Y-----\n").is_err());
        assert!(decode(&"-----BEGIN".repeat(200_000)).is_err());
    }
}
