//! The Merkle tree over the ledger (section 9): append, root, proofs, flush, retract, and its serialised
//! form in the `tree` table.

mod blob;
mod proof;
mod tree;

pub use blob::{BlobError, TreeBlob};
pub use proof::{Proof, ProofStep};
pub use tree::{MerkleError, MerkleTree};
