//! How long consensus messages are (section 6): where the authenticated part of a payload ends. What they say is the affair of the
//! consensus crate.

use crate::keys::PROTECTION_LEN;

/// Type 0, the only one that ledger entries may follow.
const APPEND_ENTRIES_LEN: usize = 57;

/// The length of the message at the front of a payload, by its type and, where two forms exist, by the length of the payload.
/// `None` for unknown types and impossible lengths.
pub(crate) fn message_len(payload: &[u8]) -> Option<usize> {
    let kind = u64::from_le_bytes(*payload.first_chunk()?);
    let unprotected = payload.len().checked_sub(PROTECTION_LEN)?;
    let lengths: &[usize] = match kind {
        0 => return (unprotected >= APPEND_ENTRIES_LEN).then_some(APPEND_ENTRIES_LEN),
        1 => &[25],
        // The second length is the form of early builds of 7.0, with an election type at the end.
        3 => &[32, 36],
        4 => &[17, 21],
        5 => &[16],
        6 => &[32],
        7 => &[17],
        _ => return None,
    };
    lengths.contains(&unprotected).then_some(unprotected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_by_type() {
        let len = |kind: u64, payload_len: usize| {
            let mut payload = kind.to_le_bytes().to_vec();
            payload.resize(payload_len, 0);
            message_len(&payload)
        };
        assert_eq!(len(0, 57 + 24), Some(57));
        assert_eq!(len(0, 57 + 24 + 1000), Some(57));
        assert_eq!(len(0, 57 + 23), None);
        for (kind, right) in
            [(1, vec![25]), (3, vec![32, 36]), (4, vec![17, 21]), (5, vec![16]), (6, vec![32]), (7, vec![17])]
        {
            for message in 8..80 {
                let expected = right.contains(&message).then_some(message);
                assert_eq!(len(kind, message + 24), expected, "type {kind}");
            }
        }
        for kind in [2, 8, u64::MAX] {
            assert_eq!(len(kind, 100), None);
        }
        assert_eq!(message_len(&[0; 7]), None);
    }
}
