//! Names of chunk and snapshot files (sections 12.1 and 14.4), parsed strictly.

use ccf_types::SeqNo;
use std::fmt;

/// What the name of a chunk file says. Anything else in a ledger directory is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName {
    /// Its first entry.
    pub start: SeqNo,
    /// Its last entry, if the name says so.
    pub end: Option<SeqNo>,
    /// Whether all its entries are committed; such a file never changes.
    pub committed: bool,
    /// Written while a recovery was in progress.
    pub recovery: bool,
}

impl ChunkName {
    /// The name of a chunk in progress.
    #[must_use]
    pub fn open(start: SeqNo, recovery: bool) -> Self {
        Self { start, end: None, committed: false, recovery }
    }

    /// The name of a committed chunk.
    #[must_use]
    pub fn committed(start: SeqNo, end: SeqNo, recovery: bool) -> Self {
        Self { start, end: Some(end), committed: true, recovery }
    }

    /// Reads a file name; `None` if it is not that of a chunk, or carries `.ignored` or `.committed_prefix`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("ledger_")?;
        let (rest, recovery) = strip(rest, ".recovery");
        let (rest, committed) = strip(rest, ".committed");
        let (start, end) = match rest.split_once('-') {
            Some((start, end)) => (seqno(start)?, Some(seqno(end)?)),
            None => (seqno(rest)?, None),
        };
        let plausible = end.map_or(!committed, |end| end >= start);
        plausible.then_some(Self { start, end, committed, recovery })
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger_{}", self.start)?;
        if let Some(end) = self.end {
            write!(f, "-{end}")?;
        }
        f.write_str(if self.committed { ".committed" } else { "" })?;
        f.write_str(if self.recovery { ".recovery" } else { "" })
    }
}

/// A copy of committed entries, made for a download: never a file that a node reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixName {
    /// Its first entry.
    pub start: SeqNo,
    /// Its last entry.
    pub end: SeqNo,
}

impl PrefixName {
    /// Reads a name; `None` if it is not one in its only spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let range = name.strip_prefix("ledger_")?.strip_suffix(".committed_prefix")?;
        let (start, end) = range.split_once('-')?;
        let (start, end) = (seqno(start)?, seqno(end)?);
        (start <= end).then_some(Self { start, end })
    }
}

impl fmt::Display for PrefixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger_{}-{}.committed_prefix", self.start, self.end)
    }
}

/// What the name of a snapshot file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    /// The state it holds.
    pub seqno: SeqNo,
    /// The entry that carries its digest.
    pub evidence: SeqNo,
    /// Whether it is complete, receipt included.
    pub committed: bool,
}

impl SnapshotName {
    /// Reads a file name; `None` if it is not that of a snapshot of today's form.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, committed) = strip(name.strip_prefix("snapshot_")?, ".committed");
        let (at, evidence) = rest.split_once('_')?;
        let (at, evidence) = (seqno(at)?, seqno(evidence)?);
        (evidence > at).then_some(Self { seqno: at, evidence, committed })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot_{}_{}", self.seqno, self.evidence)?;
        f.write_str(if self.committed { ".committed" } else { "" })
    }
}

fn strip<'a>(name: &'a str, suffix: &str) -> (&'a str, bool) {
    name.strip_suffix(suffix).map_or((name, false), |rest| (rest, true))
}

fn seqno(text: &str) -> Option<SeqNo> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number = canonical.then(|| text.parse().ok()).flatten()?;
    (number <= crate::limits::SEQNO_MAX).then_some(SeqNo(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_names_round_trip_and_others_are_refused() {
        let (one, nine) = (SeqNo(1), SeqNo(9));
        for (text, name) in [
            ("ledger_1", ChunkName::open(one, false)),
            ("ledger_1.recovery", ChunkName::open(one, true)),
            ("ledger_1-9.committed", ChunkName::committed(one, nine, false)),
            ("ledger_1-9.committed.recovery", ChunkName::committed(one, nine, true)),
            ("ledger_1-9", ChunkName { start: one, end: Some(nine), committed: false, recovery: false }),
        ] {
            assert_eq!(ChunkName::parse(text), Some(name));
            assert_eq!(name.to_string(), text);
        }
        for odd in [
            "ledger_",
            "ledger_0",
            "ledger_01",
            "ledger_1-",
            "ledger_9-1.committed",
            "ledger_1.committed",
            "ledger_a",
            "ledger_1-9.committed.ignored",
            "ledger_1-9.committed_prefix",
            "ledger_1-9.recovery.committed",
            "ledger_1-9-10.committed",
            "Ledger_1",
            "ledger_1.ignored",
            "ledger_+1",
            "ledger_99999999999999999999",
            "x",
        ] {
            assert_eq!(ChunkName::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn prefix_names_have_one_spelling() {
        let text = "ledger_7-12.committed_prefix";
        assert_eq!(PrefixName::parse(text).map(|name| name.to_string()).as_deref(), Some(text));
        for odd in [
            "ledger_0-12.committed_prefix",
            "ledger_07-12.committed_prefix",
            "ledger_12-7.committed_prefix",
            "ledger_7.committed_prefix",
            "ledger_7-12.committed",
            "ledger_7-+12.committed_prefix",
            "ledger_7-99999999999999999999.committed_prefix",
        ] {
            assert_eq!(PrefixName::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn snapshot_names_round_trip_and_others_are_refused() {
        for text in ["snapshot_61_62.committed", "snapshot_61_62"] {
            assert_eq!(SnapshotName::parse(text).map(|name| name.to_string()).as_deref(), Some(text));
        }
        for odd in
            ["snapshot_61", "snapshot_62_61", "snapshot_1_2.committed_3", "snapshot_1_2.committed.ignored"]
        {
            assert_eq!(SnapshotName::parse(odd), None, "{odd}");
        }
    }
}
