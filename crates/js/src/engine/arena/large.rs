//! Blocks above [`SMALL_MAX`](super::classes::SMALL_MAX): each is one of the system allocator's, and listed.

use super::{ALIGN, Arena};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::ptr::{self, NonNull};

/// Bytes in front of a large block: index, size, class.
pub(super) const LARGE_HEADER: usize = 24;
/// The class of large blocks.
pub(super) const LARGE: u64 = u64::MAX;

impl Arena {
    /// A block of `size` bytes.
    pub(super) fn allocate_large(&mut self, size: usize, zeroed: bool) -> *mut u8 {
        let Some(total) = size.checked_add(LARGE_HEADER + ALIGN) else { return ptr::null_mut() };
        if total > isize::MAX as usize / 2 || !self.admits(total) {
            return ptr::null_mut();
        }
        let layout = large_layout(total);
        // While no image exists the block may become part of one, which must read initialised bytes.
        let zeroed = zeroed || self.image.is_none();
        // SAFETY: the layout is not of size zero.
        let block = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        let Some(block) = NonNull::new(block) else {
            self.refused = true;
            return ptr::null_mut();
        };
        // SAFETY: the block is longer than its header.
        unsafe { write_large_header(block, self.large.len(), total) };
        self.large.push(block);
        self.cursor.used += total;
        // SAFETY: as above.
        unsafe { block.as_ptr().add(LARGE_HEADER) }
    }

    fn image_large(&self) -> usize {
        self.image.as_ref().map_or(0, |i| i.large.len())
    }

    /// # Safety
    /// `block` is the header of a large block of this arena.
    pub(super) unsafe fn release_large(&mut self, block: NonNull<u8>) {
        // SAFETY: as the caller promises.
        let (index, total) = unsafe { read_large_header(block) };
        if index < self.image_large() {
            return; // the next restore brings it back
        }
        self.cursor.used -= total;
        self.large.swap_remove(index);
        if let Some(moved) = self.large.get(index) {
            // SAFETY: listed blocks have valid headers.
            unsafe { moved.as_ptr().cast::<usize>().write(index) };
        }
        // SAFETY: allocated with this layout; unlisted just now.
        unsafe { dealloc(block.as_ptr(), large_layout(total)) };
    }

    /// # Safety
    /// As [`Arena::release_large`].
    pub(super) unsafe fn reallocate_large(&mut self, block: NonNull<u8>, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let (index, old_total) = unsafe { read_large_header(block) };
        if index < self.image_large() || self.image.is_none() {
            let moved = self.allocate_large(size, false);
            if !moved.is_null() {
                // SAFETY: both are at least that long and distinct.
                unsafe {
                    let from = block.as_ptr().add(LARGE_HEADER);
                    ptr::copy_nonoverlapping(from, moved, (old_total - LARGE_HEADER).min(size));
                    self.release_large(block);
                }
            }
            return moved;
        }
        let Some(total) = size.checked_add(LARGE_HEADER + ALIGN) else { return ptr::null_mut() };
        if total > isize::MAX as usize / 2 || !self.admits(total.saturating_sub(old_total)) {
            return ptr::null_mut();
        }
        // SAFETY: allocated with the old layout; the new size is valid for the alignment.
        let moved = unsafe { realloc(block.as_ptr(), large_layout(old_total), total) };
        let Some(moved) = NonNull::new(moved) else {
            self.refused = true;
            return ptr::null_mut();
        };
        self.large[index] = moved;
        self.cursor.used = self.cursor.used - old_total + total;
        // SAFETY: the block is longer than its header.
        unsafe {
            write_large_header(moved, index, total);
            moved.as_ptr().add(LARGE_HEADER)
        }
    }
}

/// How a large block is allocated.
pub(super) fn large_layout(total: usize) -> Layout {
    // `total` is at most isize::MAX / 2 (checked at allocation).
    Layout::from_size_align(total, ALIGN).expect("size checked when the block was allocated")
}

/// # Safety
/// `block` has at least [`LARGE_HEADER`] bytes.
unsafe fn write_large_header(block: NonNull<u8>, index: usize, total: usize) {
    // SAFETY: as the caller promises; the block is 16-aligned.
    unsafe {
        let words = block.as_ptr().cast::<u64>();
        words.write(index as u64);
        words.add(1).write(total as u64);
        words.add(2).write(LARGE);
    }
}

/// # Safety
/// `block` is the header of a large block.
unsafe fn read_large_header(block: NonNull<u8>) -> (usize, usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let words = block.as_ptr().cast::<u64>();
        (words.read() as usize, words.add(1).read() as usize)
    }
}

/// Bytes of a listed large block, header included.
pub(super) fn large_total(block: NonNull<u8>) -> usize {
    // SAFETY: called with listed blocks only, whose headers are valid.
    unsafe { read_large_header(block) }.1
}
