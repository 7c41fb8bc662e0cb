//! Durations and sizes written as text with a unit, kept verbatim (node specification, section 3.1).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};

/// A time such as `100ms`. No unit means microseconds. The text is kept and written back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeText {
    text: String,
    micros: u64,
}

/// A size such as `1MB` (factor 1024). No unit means bytes. The text is kept and written back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeText {
    text: String,
    bytes: u64,
}

/// Why a text is no time or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing there.
    #[error("the value is empty")]
    Empty,
    /// Letters that are no unit of this kind.
    #[error("'{0}' is not a unit; use one of {1}")]
    UnknownUnit(String, &'static str),
    /// No decimal integer before the unit.
    #[error("'{0}' does not begin with a whole number")]
    NotANumber(String),
    /// The number is too large for its unit.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// The published schema of sizes has the name of times.
impl JsonSchema for SizeText {
    fn schema_name() -> Cow<'static, str> {
        "TimeString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"pattern": "^[0-9]+(B|KB|MB|GB|TB|PB)?$", "type": "string"})
    }
}

const TIME_UNITS: &[(&str, u64)] =
    &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)];
const SIZE_UNITS: &[(&str, u64)] =
    &[("b", 1), ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("tb", 1 << 40), ("pb", 1 << 50)];

fn parse(text: &str, units: &[(&str, u64)], names: &'static str) -> Result<u64, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[number.len()..].to_ascii_lowercase();
    let factor = if unit.is_empty() {
        1
    } else {
        let known = units.iter().find(|(name, _)| *name == unit);
        known.ok_or(UnitError::UnknownUnit(unit, names))?.1
    };
    let digits_end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let value = &number[..digits_end];
    // A fraction is cut, as the reference does: "1.5s" reads as one second.
    let rest_is_fraction = number[digits_end..].is_empty() || number[digits_end..].starts_with('.');
    if value.is_empty() || !rest_is_fraction {
        return Err(UnitError::NotANumber(text.to_owned()));
    }
    let value: u64 = value.parse().map_err(|_| UnitError::TooLarge(text.to_owned()))?;
    value.checked_mul(factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

impl TimeText {
    /// The time it stands for.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

impl SizeText {
    /// The number of bytes it stands for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of bytes as a length in memory; more than the address space is the address space.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Whether it stands for zero bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The text as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for TimeText {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        let micros = parse(&text, TIME_UNITS, "us, ms, s, min, h")?;
        Ok(TimeText { text, micros })
    }
}

impl TryFrom<String> for SizeText {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        let bytes = parse(&text, SIZE_UNITS, "B, KB, MB, GB, TB, PB")?;
        Ok(SizeText { text, bytes })
    }
}

impl From<TimeText> for String {
    fn from(time: TimeText) -> String {
        time.text
    }
}

impl From<SizeText> for String {
    fn from(size: SizeText) -> String {
        size.text
    }
}

/// A time known at compile time, for defaults.
pub(super) fn time(text: &str) -> TimeText {
    TimeText::try_from(text.to_owned()).expect("a default is a valid time")
}

/// A size known at compile time, for defaults.
pub(super) fn size(text: &str) -> SizeText {
    SizeText::try_from(text.to_owned()).expect("a default is a valid size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale_and_text_is_kept() {
        for (text, micros) in [
            ("5", 5),
            ("5us", 5),
            ("100ms", 100_000),
            ("1S", 1_000_000),
            ("2min", 120_000_000),
            ("1.5s", 1_000_000),
        ] {
            let time = TimeText::try_from(text.to_owned()).expect(text);
            assert_eq!(time.duration(), Duration::from_micros(micros), "{text}");
            assert_eq!(String::from(time), text);
        }
        assert_eq!(size("1048576").bytes(), size("1MB").bytes());
        for bad in ["", "ms", "x5s", "5 s", "5days", "-1s", "99999999999999999999s", "9999999999999999h"] {
            assert!(TimeText::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
