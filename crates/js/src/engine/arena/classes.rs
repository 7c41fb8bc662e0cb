//! The sizes of small blocks: a request for any size is served from the smallest class that holds it.

/// Largest block served from chunks, header included.
pub(super) const SMALL_MAX: usize = 16 * 1024;
/// Every 16 bytes up to 512, then four steps per doubling up to [`SMALL_MAX`].
pub(super) const CLASSES: usize = 32 + 4 * 5;

/// Bytes of the blocks of each class.
pub(super) const SIZES: [usize; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        sizes[class] = size_of_class(class);
        class += 1;
    }
    sizes
};
const _: () = assert!(SIZES[CLASSES - 1] == SMALL_MAX);

/// The class of a block of `total` bytes, at most [`SMALL_MAX`].
pub(super) const fn class_of(total: usize) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size() {
        for total in 1..=SMALL_MAX {
            let class = class_of(total);
            assert!(SIZES[class] >= total, "{total}");
            assert!(class == 0 || SIZES[class - 1] < total, "{total}");
        }
    }
}
