//! Replays the fuzz corpora, and a bounded number of mutants of each file, on the stable compiler.
//!
//! The same mutants every time: the point is that no change of a parser gets in that a minute of fuzzing would stop.

use ccf_cli::fuzzing::TARGETS;
use std::{fs, path::PathBuf};

/// Mutants of each corpus file.
const MUTANTS: u64 = 300;

/// A mutant grows to this at most.
const MUTANT_BYTES_MAX: usize = 64 * 1024;

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

#[test]
fn every_target_has_its_program() {
    let mut programs: Vec<String> = fs::read_dir(fuzz().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn corpora_and_their_mutants_pass() {
    for (name, target) in TARGETS {
        let mut seeds: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name}");
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            target(&bytes);
            // Long inputs cost more and teach less.
            let mutants = if bytes.len() > 16 * 1024 { MUTANTS / 10 } else { MUTANTS };
            for round in 1..=mutants {
                target(&mutant(&bytes, round));
            }
        }
    }
}

/// `bytes` with a few changes that depend on `round` only.
fn mutant(bytes: &[u8], round: u64) -> Vec<u8> {
    let mut dice = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 11) as usize % below.max(1)
    };
    let mut out = bytes.to_vec();
    for _ in 0..=roll(3) {
        let at = roll(out.len());
        match roll(7) {
            0 => out.truncate(at),
            1 if !out.is_empty() => out[at] ^= 1 << roll(8),
            2 if !out.is_empty() => out[at] = [0, 1, 0x7f, 0x80, 0xff][roll(5)],
            3 => out.insert(at, roll(256) as u8),
            4 if !out.is_empty() => drop(out.remove(at)),
            5 if out.len() * 2 <= MUTANT_BYTES_MAX => {
                let piece = out[at..out.len().min(at + roll(64))].to_vec();
                let to = roll(out.len());
                out.splice(to..to, piece);
            }
            // A length or count that lies.
            _ if out.len() >= 8 => {
                let at = at.min(out.len() - 8);
                let lie = [0, u64::MAX, 1 << 32, 1 << 63, out.len() as u64][roll(5)];
                out[at..at + 8].copy_from_slice(&lie.to_le_bytes());
            }
            _ => {}
        }
    }
    out
}
