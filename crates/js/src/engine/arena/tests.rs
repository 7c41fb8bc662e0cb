//! Against a naive count, and by looking at every byte.

use super::*;
use proptest::prelude::*;

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
