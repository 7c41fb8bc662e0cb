//! AES-256-GCM over data that does not fit memory: pieces go in, the tag comes out at the end.
//!
//! Counter mode and GHASH, put together as NIST SP 800-38D says. For snapshots only; everything that is in memory as a
//! whole is sealed by [`AeadKey`](super::AeadKey), which is faster. Opening is for those who keep nothing of what they
//! read until [`finish_opening`](GcmStream::finish_opening) has said that it is authentic.

use aes::{
    Aes256,
    cipher::{Array, BlockCipherEncrypt, KeyInit, array::typenum::U16},
};
use ghash::{GHash, universal_hash::UniversalHash};

use super::{AeadError, IV_LEN, KEY_LEN, TAG_LEN};
use crate::hash::equal_in_constant_time;

const BLOCK: usize = 16;

/// Counter blocks encrypted at once.
const LANES: usize = 32;

/// Most bytes under one IV: 2^32 - 2 blocks.
const DATA_BYTES_MAX: u64 = ((1 << 32) - 2) * BLOCK as u64;

type Block = Array<u8, U16>;

/// One sealing or opening in progress: first the additional data, then the data, each in pieces of any size.
pub struct GcmStream {
    cipher: Aes256,
    hash: BlockHash,
    iv: [u8; IV_LEN],
    /// Number of the next counter block; 1 is for the tag.
    counter: u32,
    /// Key stream not used yet: the last `left` bytes.
    key_stream: [u8; BLOCK],
    left: usize,
    aad_bytes: u64,
    data_bytes: u64,
}

/// GHASH over pieces of any size.
struct BlockHash {
    hash: GHash,
    block: [u8; BLOCK],
    filled: usize,
}

impl GcmStream {
    /// Begins. The IV must never have been used with this key, nor be used again, for other data.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN], iv: &[u8; IV_LEN]) -> Self {
        let cipher = Aes256::new(&Array(*key));
        let mut hash_key = Block::default();
        cipher.encrypt_block(&mut hash_key);
        let hash = BlockHash { hash: GHash::new(&hash_key), block: [0; BLOCK], filled: 0 };
        Self {
            cipher,
            hash,
            iv: *iv,
            counter: 2,
            key_stream: [0; BLOCK],
            left: 0,
            aad_bytes: 0,
            data_bytes: 0,
        }
    }

    /// The next piece of the additional data.
    ///
    /// # Panics
    /// After the first piece of data: the two would run into each other.
    pub fn aad(&mut self, aad: &[u8]) {
        assert_eq!(self.data_bytes, 0, "additional data comes first");
        self.aad_bytes += aad.len() as u64;
        self.hash.update(aad);
    }

    /// Encrypts the next piece in place.
    ///
    /// # Errors
    /// [`AeadError::TooLong`].
    pub fn seal(&mut self, data: &mut [u8]) -> Result<(), AeadError> {
        self.begin_data(data.len())?;
        self.apply_key_stream(data);
        self.hash.update(data);
        Ok(())
    }

    /// Decrypts the next piece in place. It is not authentic until the end was reached.
    ///
    /// # Errors
    /// [`AeadError::TooLong`].
    pub fn open(&mut self, data: &mut [u8]) -> Result<(), AeadError> {
        self.begin_data(data.len())?;
        self.hash.update(data);
        self.apply_key_stream(data);
        Ok(())
    }

    /// The tag over everything.
    #[must_use]
    pub fn finish(mut self) -> [u8; TAG_LEN] {
        self.hash.pad();
        let bits = |bytes: u64| (bytes * 8).to_be_bytes();
        self.hash.update(&bits(self.aad_bytes));
        self.hash.update(&bits(self.data_bytes));
        let mut mask = self.counter_block(1);
        self.cipher.encrypt_block(&mut mask);
        let hashed = self.hash.hash.finalize();
        std::array::from_fn(|i| hashed[i] ^ mask[i])
    }

    /// Whether everything opened is what was sealed with this tag.
    ///
    /// # Errors
    /// [`AeadError::NotAuthentic`].
    pub fn finish_opening(self, tag: &[u8; TAG_LEN]) -> Result<(), AeadError> {
        if equal_in_constant_time(&self.finish(), tag) { Ok(()) } else { Err(AeadError::NotAuthentic) }
    }

    fn begin_data(&mut self, bytes: usize) -> Result<(), AeadError> {
        if self.data_bytes == 0 {
            self.hash.pad();
        }
        self.data_bytes = self.data_bytes.checked_add(bytes as u64).ok_or(AeadError::TooLong)?;
        if self.data_bytes > DATA_BYTES_MAX { Err(AeadError::TooLong) } else { Ok(()) }
    }

    fn counter_block(&self, counter: u32) -> Block {
        let mut block = Block::default();
        block[..IV_LEN].copy_from_slice(&self.iv);
        block[IV_LEN..].copy_from_slice(&counter.to_be_bytes());
        block
    }

    fn apply_key_stream(&mut self, data: &mut [u8]) {
        let (head, data) = data.split_at_mut(self.left.min(data.len()));
        xor(head, &self.key_stream[BLOCK - self.left..]);
        self.left -= head.len();
        let mut lanes = [Block::default(); LANES];
        for piece in data.chunks_mut(LANES * BLOCK) {
            let lanes = &mut lanes[..piece.len().div_ceil(BLOCK)];
            for lane in &mut *lanes {
                *lane = self.counter_block(self.counter);
                self.counter = self.counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(lanes);
            for (bytes, lane) in piece.chunks_mut(BLOCK).zip(&*lanes) {
                xor(bytes, lane);
                self.left = BLOCK - bytes.len();
            }
            if let Some(last) = lanes.last() {
                self.key_stream.copy_from_slice(last);
            }
        }
    }
}

impl BlockHash {
    fn update(&mut self, mut data: &[u8]) {
        if self.filled > 0 {
            let (head, rest) = data.split_at((BLOCK - self.filled).min(data.len()));
            self.block[self.filled..self.filled + head.len()].copy_from_slice(head);
            self.filled += head.len();
            data = rest;
            if self.filled == BLOCK {
                self.hash.update_padded(&self.block);
                self.filled = 0;
            }
        }
        let whole = data.len() / BLOCK * BLOCK;
        let (blocks, tail) = data.split_at(whole);
        self.hash.update_padded(blocks);
        if !tail.is_empty() {
            self.block[..tail.len()].copy_from_slice(tail);
            self.filled = tail.len();
        }
    }

    /// Ends a part: what is left of a block is filled up with zeros.
    fn pad(&mut self) {
        let filled = std::mem::take(&mut self.filled);
        self.hash.update_padded(&self.block[..filled]);
    }
}

fn xor(data: &mut [u8], key_stream: &[u8]) {
    for (byte, key) in data.iter_mut().zip(key_stream) {
        *byte ^= key;
    }
}

impl std::fmt::Debug for GcmStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GcmStream").field("data_bytes", &self.data_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::AeadKey;
    use proptest::prelude::*;

    fn pieces(data: &mut [u8], cuts: &[usize], mut each: impl FnMut(&mut [u8])) {
        let mut rest = data;
        for cut in cuts {
            let (piece, after) = rest.split_at_mut((*cut).min(rest.len()));
            each(piece);
            rest = after;
        }
        each(rest);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The same as the one-piece implementation, whatever the pieces.
        #[test]
        fn pieces_give_what_the_whole_gives(
            key in any::<[u8; 32]>(),
            iv in any::<[u8; 12]>(),
            aad in prop::collection::vec(any::<u8>(), 0..100),
            data in prop::collection::vec(any::<u8>(), 0..3000),
            cuts in prop::collection::vec(0usize..900, 0..6),
        ) {
            let mut whole = data.clone();
            let tag = AeadKey::new(&key).seal_in_place(&iv, &aad, &mut whole).expect("short");
            let mut stream = GcmStream::new(&key, &iv);
            let mut in_pieces = data.clone();
            pieces(&mut aad.clone(), &cuts, |piece| stream.aad(piece));
            pieces(&mut in_pieces, &cuts, |piece| stream.seal(piece).expect("short"));
            prop_assert_eq!(stream.finish(), tag);
            prop_assert_eq!(&in_pieces, &whole);

            let mut opening = GcmStream::new(&key, &iv);
            opening.aad(&aad);
            pieces(&mut in_pieces, &cuts, |piece| opening.open(piece).expect("short"));
            prop_assert_eq!(&in_pieces, &data);
            opening.finish_opening(&tag).expect("authentic");
            let mut altered = GcmStream::new(&key, &iv);
            altered.aad(&aad);
            altered.open(&mut whole).expect("short");
            let mut other = tag;
            other[3] ^= 1;
            prop_assert_eq!(altered.finish_opening(&other), Err(AeadError::NotAuthentic));
        }
    }
}
