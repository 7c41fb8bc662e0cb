//! Who sits on the line changes what is sent.

use crate::world::Faults;
use ccf_channels::frame::OutgoingFrame;
use ccf_ledger::entry::{EntryHeader, HEADER_BYTES};
use ccf_simulator::Random;
use std::iter;

/// The bytes of a frame after the faults, and how many changes there are.
pub(crate) fn with_faults(random: &mut Random, faults: &Faults, frame: &OutgoingFrame) -> (Vec<u8>, u64) {
    let mut bytes = frame.to_vec();
    let entries =
        if frame.entries.is_empty() { Vec::new() } else { starts_of_entries(&bytes, frame.head.len()) };
    let mut changes = 0;
    let last = bytes.len() - 1;
    let mut flip = |at: usize, bit: u64| {
        changes += 1;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    };
    if !entries.is_empty() && random.percent(faults.flags_percent) {
        let bit = random.up_to(1);
        if let Some(at) = random.pick(&entries) {
            flip(at + FLAGS_AT, bit);
        }
    }
    if random.percent(faults.tamper_percent) {
        let at = if random.percent(50) {
            usize::try_from(random.up_to(200)).unwrap_or_default().min(last)
        } else {
            place(random.next(), &entries, last)
        };
        flip(at, random.up_to(7));
    }
    (bytes, changes)
}

/// Of the flags in the header of an entry.
const FLAGS_AT: usize = 1;

/// Where the entries in a frame begin, the first of which begins at `at`.
fn starts_of_entries(bytes: &[u8], mut at: usize) -> Vec<usize> {
    let mut starts = Vec::new();
    while let Some(header) = bytes.get(at..at + HEADER_BYTES).and_then(<[u8]>::first_chunk) {
        let Ok(header) = EntryHeader::parse(header) else { break };
        starts.push(at);
        at += usize::try_from(header.entry_bytes()).unwrap_or(usize::MAX);
    }
    starts
}

/// A place in a frame: in its head, or in an entry. Where that is in one of them does not depend on the exact sizes, which differ by
/// a few bytes from process to process as keys and signatures do.
fn place(number: u64, entries: &[usize], last: usize) -> usize {
    let number = usize::try_from(number % (1 << 30)).unwrap_or_default();
    let starts: Vec<usize> = iter::once(0).chain(entries.iter().copied()).collect();
    let (part, offset) = (number % starts.len(), number / starts.len());
    let start = starts.get(part).copied().unwrap_or_default();
    let end = starts.get(part + 1).map_or(last, |next| next - 1);
    let bytes = (end - start).max(1);
    // One in eight: the very last byte.
    if offset % 8 == 0 { end } else { start + offset / 8 % (1 << bytes.ilog2()) }
}
