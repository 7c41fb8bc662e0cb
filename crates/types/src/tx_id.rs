//! Positions in the ledger: [`View`], [`SeqNo`] and the pair [`TxId`] (consensus specification, section 1).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The epoch of a primary. 0 means unknown; the first view of a new service is 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(pub u64);

/// A position in the ledger. The first entry is 1; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeqNo(pub u64);

/// A view and a sequence number, written `view.seqno` in decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId {
    /// The view in which the transaction was executed.
    pub view: View,
    /// Its position in the ledger.
    pub seqno: SeqNo,
}

/// The text is not `view.seqno` in decimal digits without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction ID of the form view.seqno")]
pub struct InvalidTxId;

impl View {
    /// The unknown view.
    pub const UNKNOWN: View = View(0);
    /// The view in which a new service starts.
    pub const FIRST: View = View(2);

    /// The view after this one.
    #[must_use]
    pub fn next(self) -> View {
        View(self.0 + 1)
    }
}

impl SeqNo {
    /// No entry.
    pub const NONE: SeqNo = SeqNo(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> SeqNo {
        SeqNo(self.0 + 1)
    }

    /// The position before this one; [`SeqNo::NONE`] stays.
    #[must_use]
    pub fn previous(self) -> SeqNo {
        SeqNo(self.0.saturating_sub(1))
    }
}

impl TxId {
    /// The pair of both numbers.
    #[must_use]
    pub const fn new(view: u64, seqno: u64) -> TxId {
        TxId { view: View(view), seqno: SeqNo(seqno) }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view, self.seqno)
    }
}

impl FromStr for TxId {
    type Err = InvalidTxId;

    fn from_str(text: &str) -> Result<Self, InvalidTxId> {
        let (view, seqno) = text.split_once('.').ok_or(InvalidTxId)?;
        Ok(TxId { view: View(decimal(view)?), seqno: SeqNo(decimal(seqno)?) })
    }
}

fn decimal(text: &str) -> Result<u64, InvalidTxId> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidTxId);
    }
    text.parse().map_err(|_| InvalidTxId)
}

impl Serialize for TxId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TxId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_odd_text_is_refused() {
        assert_eq!("2.15".parse(), Ok(TxId::new(2, 15)));
        assert_eq!(TxId::new(2, 15).to_string(), "2.15");
        assert_eq!("0.0".parse(), Ok(TxId::new(0, 0)));
        for odd in
            ["", "2", "2.", ".1", "2.01", "+2.1", "2.1.1", "2.-1", "2.99999999999999999999", "a.b", "2. 1"]
        {
            assert_eq!(odd.parse::<TxId>(), Err(InvalidTxId), "{odd}");
        }
    }
}
