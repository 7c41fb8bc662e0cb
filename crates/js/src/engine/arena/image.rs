//! The image of a prepared interpreter: taken once, put back after each request.

use super::classes::SIZES;
use super::large::{large_layout, large_total};
use super::{Arena, CHUNK_BYTES, CHUNK_LAYOUT, Cursor, FreeLink, HEADER};
use std::alloc::dealloc;
use std::ptr;

/// Chunks beyond the image that are kept for the next request rather than freed.
const SPARE_CHUNKS_MAX: usize = 4;
/// Free stretches of an image that are shorter are copied along: one long copy is faster than two.
const GAP_MIN: usize = 256;

/// A state to return to.
pub(super) struct Image {
    cursor: Cursor,
    /// Chunks in use.
    chunks: usize,
    /// Live stretches of the chunks: chunk, offset, bytes.
    live: Vec<(usize, usize, Box<[u8]>)>,
    /// Bytes of each large block, header included.
    pub(super) large: Vec<Box<[u8]>>,
}

impl Arena {
    /// Remembers the present state as the one [`Arena::restore`] returns to. Replaces an older image.
    pub(crate) fn seal(&mut self) {
        let used = if self.chunks.is_empty() { 0 } else { self.cursor.chunk + 1 };
        let free = self.take_free_blocks();
        let mut live = Vec::new();
        for chunk in 0..used {
            let end = if chunk == self.cursor.chunk { self.cursor.at } else { CHUNK_BYTES };
            let mut from = 0;
            let here = free.iter().filter(|(at, ..)| *at == chunk);
            for &(_, at, size) in here.chain(&[(chunk, end, GAP_MIN)]) {
                if size >= GAP_MIN && at > from {
                    // SAFETY: the stretch lies in a chunk, which is initialised (allocated zeroed).
                    let bytes = unsafe {
                        std::slice::from_raw_parts(self.chunks[chunk].as_ptr().add(from), at - from)
                    };
                    live.push((chunk, from, bytes.into()));
                }
                if size >= GAP_MIN {
                    from = at + size;
                }
            }
        }
        let large = self
            .large
            .iter()
            .map(|block| {
                // SAFETY: a listed block has a valid header and `total` readable bytes (allocated zeroed or
                // written by `grow`).
                unsafe { std::slice::from_raw_parts(block.as_ptr(), large_total(*block)) }.into()
            })
            .collect();
        self.image = Some(Image { cursor: self.cursor.clone(), chunks: used, live, large });
    }

    /// Empties the free lists; the blocks, as chunk, offset and size, ascending and neighbours joined. What
    /// is free when an image is taken stays unused as long as the image lives: then it need not be copied.
    fn take_free_blocks(&mut self) -> Vec<(usize, usize, usize)> {
        let mut blocks = Vec::new();
        for (class, &class_bytes) in SIZES.iter().enumerate() {
            let mut at = std::mem::replace(&mut self.cursor.free[class], ptr::null_mut());
            while !at.is_null() {
                let block = at.addr() - HEADER;
                let chunk = self
                    .chunks
                    .iter()
                    .position(|c| (c.addr().get()..c.addr().get() + CHUNK_BYTES).contains(&block));
                if let Some(chunk) = chunk {
                    blocks.push((chunk, block - self.chunks[chunk].addr().get(), class_bytes));
                }
                // SAFETY: a free block's payload holds the link to the next one.
                at = unsafe { at.cast::<FreeLink>().read() };
            }
        }
        blocks.sort_unstable();
        blocks.dedup_by(|next, block| {
            let joined = next.0 == block.0 && next.1 == block.1 + block.2;
            if joined {
                block.2 += next.2;
            }
            joined
        });
        blocks
    }

    /// Returns to the sealed state. No pointer obtained since may be used afterwards.
    pub(crate) fn restore(&mut self) {
        let Some(image) = &self.image else { return };
        for (chunk, at, bytes) in &image.live {
            // SAFETY: the stretch was read from this place, and chunks of the image are not freed.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.chunks[*chunk].as_ptr().add(*at), bytes.len());
            };
        }
        for (block, bytes) in self.large.iter().zip(&image.large) {
            // SAFETY: blocks of the image are not freed or moved while it exists (`release`, `realloc`).
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_ptr(), bytes.len()) };
        }
        for block in self.large.drain(image.large.len()..) {
            // SAFETY: allocated by `allocate_large` with this layout and not freed since.
            unsafe { dealloc(block.as_ptr(), large_layout(large_total(block))) };
        }
        self.cursor.clone_from(&image.cursor);
        for chunk in self.chunks.drain((image.chunks + SPARE_CHUNKS_MAX).min(self.chunks.len())..) {
            // SAFETY: allocated by `next_chunk` with this layout.
            unsafe { dealloc(chunk.as_ptr(), CHUNK_LAYOUT) };
        }
    }

    /// Bytes that [`Arena::restore`] copies; zero without an image.
    pub(crate) fn image_bytes(&self) -> usize {
        let Some(image) = &self.image else { return 0 };
        image.live.iter().map(|(.., bytes)| bytes).chain(&image.large).map(|bytes| bytes.len()).sum()
    }
}
