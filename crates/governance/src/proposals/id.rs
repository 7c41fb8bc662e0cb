//! The identity of a proposal and the window that guards against replay (governance 6.2 and 6.3).

use crate::tables::{self, service::ServiceConfig};
use ccf_crypto::hash::{sha256, sha256_pair};
use ccf_endpoints::{ErrorCode, ErrorResponse};
use ccf_kv::{KvError, Tx};
use ccf_types::Digest;

/// Names a proposal after the state it was made on and the signature that made it: hex SHA-256 of the Merkle root and
/// the digest of the signature's bytes.
#[must_use]
pub fn proposal_id(root: &Digest, signature: &[u8]) -> String {
    sha256_pair(root, &sha256(signature)).to_string()
}

/// Last moment that the ten digits of a window key can hold.
const CREATED_AT_MAX: u64 = 9_999_999_999;
/// Digits of the time in a window key.
const TIME_DIGITS: usize = 10;

/// Enters a new proposal into the window of recent ones. No clock is consulted: a proposal is too old when half of
/// the window is younger.
///
/// # Errors
/// 400 `InvalidCreatedAt`, `ProposalReplay` or `ProposalCreatedTooLongAgo`.
pub(super) fn enter_window(
    tx: &Tx,
    created_at: u64,
    signature: &[u8],
    proposal_id: &str,
) -> Result<(), ErrorResponse> {
    if created_at > CREATED_AT_MAX {
        let text = "Header parameter created_at value is too large";
        return Err(ErrorResponse::new(ErrorCode::InvalidCreatedAt, text));
    }
    let time = format!("{created_at:010}");
    let key = format!("{time}:{}", sha256(signature));
    let window = tx.rw(&tables::COSE_RECENT_PROPOSALS);
    if let Some(earlier) = window.get(&key)? {
        let text = format!("Proposal submission replay, already exists as proposal {earlier}");
        return Err(ErrorResponse::new(ErrorCode::ProposalReplay, text));
    }
    let present: Vec<String> = window.entries()?.into_iter().map(|(key, _)| key).collect();
    if let Some(middle) = present.get(present.len() / 2) {
        let oldest = middle.get(..TIME_DIGITS).unwrap_or(middle);
        if time.as_str() < oldest {
            let oldest = oldest.trim_start_matches('0');
            let text = format!(
                "Proposal created too long ago, created_at must be greater than {}",
                non_empty(oldest)
            );
            return Err(ErrorResponse::new(ErrorCode::ProposalCreatedTooLongAgo, text));
        }
    }
    window.put(&key, &proposal_id.to_owned())?;
    let keep = usize::try_from(window_size(tx)?.saturating_sub(1)).unwrap_or(usize::MAX);
    for old in present.iter().take(present.len().saturating_sub(keep)) {
        window.remove(old)?;
    }
    Ok(())
}

fn non_empty(digits: &str) -> &str {
    if digits.is_empty() { "0" } else { digits }
}

fn window_size(tx: &Tx) -> Result<u64, KvError> {
    let config = tx.ro(&tables::SERVICE_CONFIG).get()?;
    Ok(config.map_or(ServiceConfig::DEFAULT_WINDOW_SIZE, |config| config.window_size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_kv::Store;
    use ccf_types::View;

    #[test]
    fn the_example_of_the_specification() {
        let signature = concat!(
            "77b97494039c52de5d9b8e23af31b865a178789d057ed2fd0dc2beca693231d57ad50c269c0820bd3c77ab59e316216267c75f51",
            "cca712cbf57277bec8adc7521fb7f36bc13792dd2316861d4608752e129156caec9affb091230efc506ae31f"
        );
        let root = "20ad80ae650a8f1e8256b62d4754067c590cc8af17918f5a3358f9d18be7d4c0".parse().expect("hex");
        assert_eq!(
            proposal_id(&root, &hex::decode(signature).expect("hex")),
            "0990fbc14e303911b68aab7fbb2a6e9232dba5bad708c4fee59badb6b428c1c3"
        );
    }

    fn enter(store: &Store, created_at: u64, signature: &[u8]) -> Result<(), ErrorCode> {
        let tx = store.begin();
        enter_window(&tx, created_at, signature, "p").map_err(|e| e.code)?;
        tx.commit().expect("no conflict");
        Ok(())
    }

    #[test]
    fn the_window_forgets_the_oldest_and_refuses_what_is_older_than_its_middle() {
        let store = Store::new();
        store.set_primary(View::FIRST);
        for i in 0..100 {
            assert_eq!(enter(&store, 1000 + i, &i.to_be_bytes()), Ok(()));
        }
        assert_eq!(enter(&store, 1099, &99_u64.to_be_bytes()), Err(ErrorCode::ProposalReplay));
        assert_eq!(enter(&store, 999, b"new"), Err(ErrorCode::ProposalCreatedTooLongAgo));
        assert_eq!(enter(&store, 1049, b"new"), Err(ErrorCode::ProposalCreatedTooLongAgo));
        assert_eq!(enter(&store, 10_000_000_000, b"new"), Err(ErrorCode::InvalidCreatedAt));
        assert_eq!(enter(&store, 1050, b"new"), Ok(()));
        let tx = store.begin();
        let rows = tx.ro(&tables::COSE_RECENT_PROPOSALS).entries().expect("decodes");
        assert_eq!(rows.len(), 100);
        assert!(rows[0].0.starts_with("0000001001:"));
    }
}
