//! The memory of one interpreter: size classes over chunks, with an image that can be restored.
//!
//! A prepared interpreter (globals installed, modules loaded) is about 130 KB. Copying that back over itself
//! undoes everything a request did, in a few microseconds; creating and freeing a context costs thirty times as
//! much. [`Arena::seal`] takes the image, [`Arena::restore`] brings it back: same addresses, same bytes, same free
//! lists. Nothing is freed piece by piece.
//!
//! Blocks above [`SMALL_MAX`] come from the system allocator and are listed, so that a request that used much
//! memory gives it back at once. The limit of the heap is kept here, not by QuickJS, because the engine can lose the
//! error: without memory for an exception it throws null. [`Arena::was_refused`] still knows.

mod classes;
mod image;
mod large;

use classes::{CLASSES, SIZES, SMALL_MAX, class_of};
use image::Image;
use large::{LARGE, LARGE_HEADER, large_layout, large_total};
use std::alloc::{Layout, dealloc};
use std::ptr::{self, NonNull};

/// Chunk size. Two hold the usual prepared interpreter.
const CHUNK_BYTES: usize = 128 * 1024;
/// Bytes in front of every block: its class.
const HEADER: usize = 8;
const ALIGN: usize = 16;
/// A block on a free list; lies over the payload of a freed block.
type FreeLink = *mut u8;

#[derive(Clone)]
struct Cursor {
    /// Chunk in use.
    chunk: usize,
    /// Offset of its first free byte.
    at: usize,
    /// Bytes of all live blocks, headers included.
    used: usize,
    free: [FreeLink; CLASSES],
}

/// The allocator of one runtime.
pub(crate) struct Arena {
    cursor: Cursor,
    chunks: Vec<NonNull<u8>>,
    /// Large blocks (their headers); those of the image come first and are never freed while it exists.
    large: Vec<NonNull<u8>>,
    image: Option<Image>,
    /// Bytes that live blocks may have together.
    limit: usize,
    refused: bool,
}

// SAFETY: the arena owns its memory alone; raw pointers inside point into that memory.
unsafe impl Send for Arena {}

impl Arena {
    pub(crate) fn new() -> Arena {
        Arena {
            cursor: Cursor { chunk: 0, at: CHUNK_BYTES, used: 0, free: [ptr::null_mut(); CLASSES] },
            chunks: Vec::new(),
            large: Vec::new(),
            image: None,
            limit: usize::MAX,
            refused: false,
        }
    }

    /// From now on live blocks may have `limit` bytes together. Those that are there stay.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.refused = false;
    }

    /// Changes the limit for a while; returns the one before, and does not forget what was refused.
    pub(crate) fn replace_limit(&mut self, limit: usize) -> usize {
        std::mem::replace(&mut self.limit, limit)
    }

    /// Whether memory was refused since the limit was set.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether `bytes` more are within the limit.
    fn admits(&mut self, bytes: usize) -> bool {
        let admitted = self.cursor.used.checked_add(bytes).is_some_and(|used| used <= self.limit);
        self.refused |= !admitted;
        admitted
    }

    pub(crate) fn allocate(&mut self, size: usize) -> *mut u8 {
        let Some(total) = size.checked_add(HEADER) else { return ptr::null_mut() };
        if total > SMALL_MAX {
            return self.allocate_large(size, false);
        }
        let class = class_of(total);
        let bytes = SIZES[class];
        if !self.admits(bytes) {
            return ptr::null_mut();
        }
        let head = self.cursor.free[class];
        if !head.is_null() {
            // SAFETY: a free block's payload holds the link to the next one.
            self.cursor.free[class] = unsafe { head.cast::<FreeLink>().read() };
            self.cursor.used += bytes;
            return head;
        }
        if self.cursor.at + bytes > CHUNK_BYTES && !self.next_chunk() {
            return ptr::null_mut();
        }
        self.cursor.used += bytes;
        // SAFETY: `at + bytes` lies inside the chunk; the header is 8-aligned.
        unsafe {
            let block = self.chunks[self.cursor.chunk].as_ptr().add(self.cursor.at);
            self.cursor.at += bytes;
            block.cast::<u64>().write(class as u64);
            block.add(HEADER)
        }
    }

    pub(crate) fn allocate_zeroed(&mut self, size: usize) -> *mut u8 {
        if size > SMALL_MAX - HEADER {
            return self.allocate_large(size, true);
        }
        let payload = self.allocate(size);
        if !payload.is_null() {
            // SAFETY: the block has at least `size` bytes.
            unsafe { ptr::write_bytes(payload, 0, size) };
        }
        payload
    }

    /// Frees a block.
    ///
    /// # Safety
    /// `payload` came from this arena and was not freed since.
    pub(crate) unsafe fn release(&mut self, payload: *mut u8) {
        // SAFETY: the header stands in front of every payload of this arena.
        let class = unsafe { payload.sub(HEADER).cast::<u64>().read() };
        if class == LARGE {
            // SAFETY: as above, for a large block.
            unsafe { self.release_large(NonNull::new_unchecked(payload.sub(LARGE_HEADER))) };
            return;
        }
        let class = class as usize;
        // SAFETY: the smallest payload is 8 bytes, room for the link.
        unsafe { payload.cast::<FreeLink>().write(self.cursor.free[class]) };
        self.cursor.free[class] = payload;
        self.cursor.used -= SIZES[class];
    }

    /// Changes the size of a block, moving it if need be. Null if there is no memory; the block is then intact.
    ///
    /// # Safety
    /// As [`Arena::release`].
    pub(crate) unsafe fn reallocate(&mut self, payload: *mut u8, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let usable = unsafe { usable_size(payload) };
        if size <= usable && size * 2 >= usable {
            return payload;
        }
        // SAFETY: as in `release`.
        let class = unsafe { payload.sub(HEADER).cast::<u64>().read() };
        if class == LARGE && size > SMALL_MAX {
            // SAFETY: as the caller promises.
            return unsafe { self.reallocate_large(NonNull::new_unchecked(payload.sub(LARGE_HEADER)), size) };
        }
        let moved = self.allocate(size);
        if !moved.is_null() {
            // SAFETY: both blocks have the copied number of bytes and are distinct.
            unsafe {
                ptr::copy_nonoverlapping(payload, moved, usable.min(size));
                self.release(payload);
            }
        }
        moved
    }

    fn next_chunk(&mut self) -> bool {
        let next = if self.chunks.is_empty() { 0 } else { self.cursor.chunk + 1 };
        if next == self.chunks.len() {
            // SAFETY: the layout is not of size zero. Zeroed, so that the image reads initialised bytes.
            let Some(chunk) = NonNull::new(unsafe { std::alloc::alloc_zeroed(CHUNK_LAYOUT) }) else {
                self.refused = true;
                return false;
            };
            self.chunks.push(chunk);
        }
        self.cursor.chunk = next;
        self.cursor.at = 0;
        true
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(chunk.as_ptr(), CHUNK_LAYOUT) };
        }
        for block in &self.large {
            // SAFETY: listed blocks have valid headers and were allocated with this layout.
            unsafe { dealloc(block.as_ptr(), large_layout(large_total(*block))) };
        }
    }
}

/// Payload bytes of a block.
///
/// # Safety
/// `payload` came from an arena and was not freed since.
pub(crate) unsafe fn usable_size(payload: *const u8) -> usize {
    // SAFETY: the header stands in front of the payload.
    unsafe {
        let class = payload.sub(HEADER).cast::<u64>().read();
        if class == LARGE {
            payload.sub(LARGE_HEADER - 8).cast::<usize>().read() - LARGE_HEADER
        } else {
            SIZES[class as usize] - HEADER
        }
    }
}

const CHUNK_LAYOUT: Layout = match Layout::from_size_align(CHUNK_BYTES, ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("chunk layout"),
};

#[cfg(test)]
mod tests;
