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

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ptr::{self, NonNull};

/// Largest block served from chunks, header included.
const SMALL_MAX: usize = 16 * 1024;
/// Chunk size. Two hold the usual prepared interpreter.
const CHUNK_BYTES: usize = 128 * 1024;
/// Chunks beyond the image that are kept for the next request rather than freed.
const SPARE_CHUNKS_MAX: usize = 4;
/// Bytes in front of every block: its class.
const HEADER: usize = 8;
/// Bytes in front of a large block: index, size, class.
const LARGE_HEADER: usize = 24;
const ALIGN: usize = 16;
/// Classes: every 16 bytes up to 512, then four steps per doubling up to [`SMALL_MAX`].
const CLASSES: usize = 32 + 4 * 5;
const LARGE: u64 = u64::MAX;
/// Free stretches of an image that are shorter are copied along: one long copy is faster than two.
const GAP_MIN: usize = 256;

const fn class_of(total: usize) -> usize {
    if total <= 512 {
        total.div_ceil(16) - 1
    } else {
        let octave = (total - 1).ilog2() as usize; // 9 for 513..=1024
        let step = 1usize << (octave - 2);
        let quarter = (total - (1 << octave)).div_ceil(step); // 1..=4
        32 + (octave - 9) * 4 + quarter - 1
    }
}

const fn size_of_class(class: usize) -> usize {
    if class < 32 {
        (class + 1) * 16
    } else {
        let octave = 9 + (class - 32) / 4;
        (1 << octave) + ((class - 32) % 4 + 1) * (1 << (octave - 2))
    }
}

const SIZES: [usize; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        sizes[class] = size_of_class(class);
        class += 1;
    }
    sizes
};
const _: () = assert!(SIZES[CLASSES - 1] == SMALL_MAX);

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

struct Image {
    cursor: Cursor,
    /// Chunks in use.
    chunks: usize,
    /// Live stretches of the chunks: chunk, offset, bytes.
    live: Vec<(usize, usize, Box<[u8]>)>,
    /// Bytes of each large block, header included.
    large: Vec<Box<[u8]>>,
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

    fn allocate_large(&mut self, size: usize, zeroed: bool) -> *mut u8 {
        let Some(total) = size.checked_add(LARGE_HEADER + ALIGN) else { return ptr::null_mut() };
        if total > isize::MAX as usize / 2 || !self.admits(total) {
            return ptr::null_mut();
        }
        let layout = large_layout(total);
        // While no image exists the block may become part of one, which must read initialised bytes.
        let zeroed = zeroed || self.image.is_none();
        // SAFETY: the layout is not of size zero.
        let block = unsafe { if zeroed { std::alloc::alloc_zeroed(layout) } else { alloc(layout) } };
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
    unsafe fn release_large(&mut self, block: NonNull<u8>) {
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
    unsafe fn reallocate_large(&mut self, block: NonNull<u8>, size: usize) -> *mut u8 {
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

fn large_layout(total: usize) -> Layout {
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

fn large_total(block: NonNull<u8>) -> usize {
    // SAFETY: called with listed blocks only, whose headers are valid.
    unsafe { read_large_header(block) }.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_cover_every_size() {
        for total in 1..=SMALL_MAX {
            let class = class_of(total);
            assert!(SIZES[class] >= total, "{total}");
            assert!(class == 0 || SIZES[class - 1] < total, "{total}");
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Allocate(usize, u8),
        Release(usize),
        Reallocate(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let size = prop_oneof![0..600usize, 600..20_000usize, 20_000..200_000usize];
        prop_oneof![
            (size.clone(), any::<u8>()).prop_map(|(s, b)| Op::Allocate(s, b)),
            any::<usize>().prop_map(Op::Release),
            (any::<usize>(), size).prop_map(|(i, s)| Op::Reallocate(i, s)),
        ]
    }

    /// Blocks with the byte that fills them and their size.
    type Blocks = Vec<(*mut u8, u8, usize)>;

    fn run(arena: &mut Arena, blocks: &mut Blocks, ops: &[Op]) {
        for op in ops {
            match *op {
                Op::Allocate(size, byte) => {
                    let p = arena.allocate(size);
                    // SAFETY: fresh block of `size` bytes.
                    unsafe { ptr::write_bytes(p, byte, size) };
                    blocks.push((p, byte, size));
                }
                Op::Release(i) if !blocks.is_empty() => {
                    let (p, ..) = blocks.swap_remove(i % blocks.len());
                    // SAFETY: a live block.
                    unsafe { arena.release(p) };
                }
                Op::Reallocate(i, size) if !blocks.is_empty() => {
                    let i = i % blocks.len();
                    let (p, byte, old) = blocks[i];
                    // SAFETY: a live block, then filled to its new size.
                    unsafe {
                        let q = arena.reallocate(p, size);
                        check(q, byte, old.min(size));
                        ptr::write_bytes(q, byte, size);
                        blocks[i] = (q, byte, size);
                    }
                }
                _ => {}
            }
        }
    }

    fn check(p: *mut u8, byte: u8, size: usize) {
        // SAFETY: a live block of `size` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(p, size) };
        assert!(bytes.iter().all(|b| *b == byte));
    }

    /// Bytes of the blocks, headers included, counted from outside.
    fn total(blocks: &Blocks) -> usize {
        let bytes = |(p, ..): &(*mut u8, u8, usize)| {
            // SAFETY: a live block.
            let usable = unsafe { usable_size(*p) };
            usable + if usable + HEADER > SMALL_MAX { LARGE_HEADER } else { HEADER }
        };
        blocks.iter().map(bytes).sum()
    }

    #[test]
    fn beyond_the_limit_nothing_is_given_and_that_is_remembered() {
        let mut arena = Arena::new();
        let kept = arena.allocate(1000);
        arena.seal();
        for size in [10, 2000, 50_000] {
            arena.set_limit(200_000);
            let mut given = 0;
            while !arena.allocate(size).is_null() {
                given += size;
                assert!(given <= 200_000);
            }
            assert!(arena.was_refused() && given > 60_000, "{size}: {given}");
            // What is freed can be used again; growth counts only what is new.
            arena.restore();
            arena.set_limit(200_000);
            let large = arena.allocate(100_000);
            // SAFETY: a live block each time.
            unsafe {
                let large = arena.reallocate(large, 150_000);
                assert!(!large.is_null() && !arena.was_refused());
                assert!(arena.reallocate(large, 250_000).is_null() && arena.was_refused());
                arena.release(large);
            }
            assert!(!arena.allocate(150_000).is_null());
            arena.restore();
        }
        // SAFETY: a live block.
        unsafe { arena.release(kept) };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// After any operations, restoring brings back every block that was alive when the image was taken.
        #[test]
        fn restore_brings_back_every_block(
            before in proptest::collection::vec(op(), 0..60),
            rounds in proptest::collection::vec(proptest::collection::vec(op(), 0..60), 1..4),
        ) {
            let mut arena = Arena::new();
            let mut blocks = Vec::new();
            run(&mut arena, &mut blocks, &before);
            arena.seal();
            for round in &rounds {
                let mut scratch = blocks.clone();
                run(&mut arena, &mut scratch, round);
                // Blocks of the image that a round frees stay where they are if they are large.
                prop_assert!(arena.cursor.used >= total(&scratch));
                scratch.iter().for_each(|(p, b, s)| check(*p, *b, *s));
                arena.restore();
                prop_assert_eq!(arena.cursor.used, total(&blocks));
                blocks.iter().for_each(|(p, b, s)| check(*p, *b, *s));
            }
        }
    }
}
