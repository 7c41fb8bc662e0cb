//! The Merkle tree: vectors V7 and V8, and every operation against the recursive definition.

use ccf_ledger::merkle::{BlobError, MerkleTree, TreeBlob};
use ccf_types::Digest;
use proptest::prelude::*;

use crate::support::{digest, hex};

const V7_BLOB: &str = include_str!("vectors/v7_blob.hex");
const V8_BLOB: &str = include_str!("vectors/v8_blob.hex");

fn sha256(bytes: &[u8]) -> Digest {
    ccf_crypto::hash::sha256(bytes)
}

/// Leaf `i` of the synthetic tree of V7.
fn leaf(i: u64) -> Digest {
    if i == 0 { Digest::ZERO } else { sha256(&i.to_le_bytes()[..1]) }
}

/// The definition, word by word (section 9.1).
fn naive_root(leaves: &[Digest]) -> Digest {
    if let [leaf] = leaves {
        return *leaf;
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    let (left, right) = leaves.split_at(k);
    sha256(&[naive_root(left).0, naive_root(right).0].concat())
}

#[test]
fn v7_roots_and_blob() {
    let roots = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "632959f31641075aa6848d91649123edb324aca48206c605ea0bbe43590dceec",
        "ae54095e475d3928b223cf378f8aa1995a614c4d2a5b867436d5c988e02909ae",
        "2b59906f20704cee3a43b58dbfcd7eb35dd13beb566542fa24893d038e6eb682",
        "fb9cf99964e944cac40e61024026a3a91512546b864a297cc68fb4c312a1e5e6",
        "645585f2a2973d85ca3095ad36fc3e398d66101b045b0f08b6d7c1df88cf21c8",
        "92203c7917947f8dc301bfa433eef638634b43d0be514fc721bf44502da55a44",
        "26deb7b0d01452e1a0ee1d5d9281a937d56ced46bd640d84e6530dc6508deb34",
        "870954c159a543db4a85b75f4cba35247bfe17ac82432cf176ed1585a8e54d3b",
    ];
    let mut tree = MerkleTree::new();
    for (i, root) in (0..).zip(roots) {
        if i > 0 {
            tree.append(leaf(i));
        }
        assert_eq!(tree.root(), digest(root), "{} leaves", i + 1);
        assert_eq!(naive_root(&(0..=i).map(leaf).collect::<Vec<_>>()), digest(root));
    }
    tree.flush(5);
    assert_eq!(hex::encode(tree.to_blob()), hex::encode(hex(V7_BLOB)));
    let bytes = hex(V7_BLOB);
    let blob = TreeBlob::parse(&bytes).expect("valid");
    assert_eq!((blob.first(), blob.len()), (5, 9));
    assert!(blob.matches(&tree));
    assert_eq!(blob.to_tree(), tree);
}

#[test]
fn v8_real_leaves_roots_and_blob() {
    let leaves = [
        "d415a3ffec857eeab735b2b811acf0dfd86b2f7555a1f58ea2e8d5d03eb6eb38",
        "1049cda7d6e39dbe92b51a3d9ac4d5e3eda0b4c890cf4a3ff2fd45b06f349f24",
        "0d92df12cfffc07f12fa0c4fc168782ffdae6063d16ab7d60cd142042e58b285",
        "b33df1cd2b74c6cb601dbada3c4b04c913c9aa1df0052d72b537eea3946156f7",
        "cac8493f2cdb2e2741d75c4f60e7cc3a9a3096b755574959d9d55ba3cf13bd9d",
        "56b058518e50318eea42577e17008034adf52e79c28aea7dab25f5451467e9ec",
        "07aa9b2656987fcc90843f10e18ede160bf78eb0229da7f1ca314e62994013c1",
        "be0985118ab0d04d1765070327c55868d7b6acc25c22add5bbb19be794758bca",
        "2eb34adada45b461fead1f7fd8fe2af8d8515c94576b2ea4cfbfd2cbc0d6e0b9",
        "c38c1643d0a69b9712e2c75383257e15d75fbf6bc72b87c4199a6c80b72421a1",
        "67ade25db2e4588b98c6706f4eefa1b182486d5cde264ee9ce3915a13cc4330b",
        "dc9d13068f674cc74aef03ae0f06a168f9b60332023eea0ac1dae9f72a1ecbab",
        "fbc2154d4e33048e828532cfb7dd39e08d1c74416b34f39e65eca2a93b074cfe",
        "e07f6d8b36f11ea93a23757dc74fe72699f5361348fc33e8a0f34c6d5bd30000",
        "b2451fd91a852e8ea78d536c4a69d03492fc3b3dd3dcdce620503e70d37d3bf0",
    ];
    let signed = [
        (2, "8b2c93d1a2628ee8e5614d511e26fe83fef3b57f66560787c45ce4ada57878ec"),
        (4, "4d8aea95f4c79fa04fba988ca6ba3a95"),
        (6, "8f0bdbe9e807e4c7a07d24edc912b2e9"),
        (8, "4da950dc426616a5fb05c463b46c31c7"),
        (13, "f5d680ad008f4dc4791c4fad70a66bc0eda49734b91764539b1d19417de37152"),
        (16, "a5f8b60f6961c149f3a3bf37d257a00bec51fa6ace5100685a79d2168fee030d"),
    ];
    let mut tree = MerkleTree::new();
    for (seqno, leaf) in (1..).zip(leaves) {
        for (_, root) in signed.iter().filter(|(at, _)| *at == seqno) {
            assert!(tree.root().to_string().starts_with(root), "signature at {seqno}");
        }
        if seqno == 13 {
            let mut signer = tree.clone();
            signer.flush(8);
            assert_eq!(signer.to_blob(), hex(V8_BLOB));
            assert_eq!(tree.to_blob_from(8).expect("held"), hex(V8_BLOB));
            assert!(TreeBlob::parse(&hex(V8_BLOB)).expect("valid").matches(&tree));
        }
        tree.append(digest(leaf));
    }
    assert_eq!(tree.root(), digest(signed[5].1));
}

#[test]
fn malformed_blobs_are_refused() {
    let bytes = hex(V7_BLOB);
    for len in 0..bytes.len() {
        assert!(matches!(TreeBlob::parse(&bytes[..len]), Err(BlobError::Size { .. })), "{len} bytes");
    }
    let with = |count: u64, first: u64| {
        let mut changed = bytes.clone();
        changed[..8].copy_from_slice(&count.to_be_bytes());
        changed[8..16].copy_from_slice(&first.to_be_bytes());
        TreeBlob::parse(&changed).map(|_| ()).unwrap_err()
    };
    assert!(matches!(with(5, 5), BlobError::Size { .. }));
    assert!(matches!(with(4, 7), BlobError::Size { .. }));
    assert!(matches!(with(u64::MAX, 5), BlobError::Size { .. }));
    assert_eq!(with(4, u64::MAX), BlobError::First(u64::MAX));
    assert_eq!(with(0, 0b11_1111), BlobError::NoLeaves);
    assert_eq!(TreeBlob::parse(&[0; 16]).map(|_| ()).unwrap_err(), BlobError::NoLeaves);
}

#[derive(Clone, Debug)]
enum Op {
    Append(u8),
    Flush(prop::sample::Index),
    Retract(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1u8..40).prop_map(Op::Append),
        1 => any::<prop::sample::Index>().prop_map(Op::Flush),
        1 => any::<prop::sample::Index>().prop_map(Op::Retract),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Appends, flushes and retractions in any legal order; then roots, proofs and serialised forms equal those of
    /// the leaves that are left, for every earlier size of the tree.
    #[test]
    fn equals_the_recursive_definition(ops in prop::collection::vec(op(), 0..12)) {
        let mut tree = MerkleTree::new();
        let mut leaves = vec![Digest::ZERO];
        let mut first = 0;
        let mut fresh = 0u64;
        for op in ops {
            match op {
                Op::Append(count) => for _ in 0..count {
                    fresh += 1;
                    let leaf = sha256(&fresh.to_be_bytes());
                    leaves.push(leaf);
                    tree.append(leaf);
                },
                Op::Flush(at) => {
                    let at = at.index(leaves.len() + 2);
                    tree.flush(at as u64);
                    first = first.max(at.min(leaves.len() - 1));
                }
                Op::Retract(at) => {
                    let at = at.index(leaves.len() + 2);
                    let result = tree.retract(at as u64);
                    prop_assert_eq!(result.is_err(), at < first);
                    if at >= first {
                        leaves.truncate(at + 1);
                    }
                }
            }
            prop_assert_eq!((tree.len(), tree.first()), (leaves.len() as u64, first as u64));
            prop_assert_eq!(tree.root(), naive_root(&leaves));
        }
        for len in first + 1..=leaves.len() {
            let root = naive_root(&leaves[..len]);
            prop_assert_eq!(tree.root_of(len as u64), Ok(root));
            for (index, leaf) in leaves.iter().enumerate().take(len).skip(first) {
                let proof = tree.proof_of(index as u64, len as u64).expect("held");
                prop_assert!(proof.verify(leaf, &root));
                prop_assert!(!proof.verify(&sha256(b"other"), &root));
            }
            if first > 0 {
                prop_assert!(tree.proof_of(first as u64 - 1, len as u64).is_err());
            }
        }
        prop_assert!(tree.root_of(first as u64).is_err());
        prop_assert!(tree.proof(leaves.len() as u64).is_err());
        for start in first..leaves.len() {
            let bytes = tree.to_blob_from(start as u64).expect("held");
            let blob = TreeBlob::parse(&bytes).expect("valid");
            prop_assert!(blob.matches(&tree));
            let rebuilt = blob.to_tree();
            prop_assert_eq!(rebuilt.root(), tree.root());
            prop_assert_eq!(rebuilt.to_blob(), bytes);
            for index in start..leaves.len() {
                prop_assert_eq!(rebuilt.proof(index as u64), tree.proof(index as u64));
            }
        }
    }

    /// A blob with one altered byte is no blob of the tree.
    #[test]
    fn altered_blobs_do_not_match(count in 1u64..40, flush in 0u64..40, at in any::<prop::sample::Index>(), keep in any::<bool>()) {
        let mut tree = MerkleTree::new();
        for i in 0..count {
            tree.append(sha256(&i.to_be_bytes()));
        }
        let mut bytes = tree.to_blob_from(flush.min(count)).expect("held");
        let at = 16 + at.index(bytes.len() - 16);
        bytes[at] ^= 1;
        if !keep {
            tree.flush(count);
        }
        prop_assert!(!TreeBlob::parse(&bytes).expect("same shape").matches(&tree));
    }
}
