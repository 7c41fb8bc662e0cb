//! Validity periods, and the many ways to write their start.

use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::der::DerWriter;

/// Why a period is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValidity {
    /// The end is not after the start, or lies beyond the year 9999.
    #[error("the end of the validity period must be after its start")]
    Period,
    /// `valid_from` is in none of the accepted forms.
    #[error("invalid time {0:?}")]
    Time(String),
}

/// From when to when a certificate is valid, both ends included, in UTC and whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Validity {
    /// A period with the given ends.
    ///
    /// # Errors
    /// [`InvalidValidity::Period`] unless the end is later than the start.
    pub fn new(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<Self, InvalidValidity> {
        let (not_before, not_after) = (whole_seconds(not_before)?, whole_seconds(not_after)?);
        if not_after <= not_before {
            return Err(InvalidValidity::Period);
        }
        Ok(Validity { not_before, not_after })
    }

    /// A period of so many days: the end is one second before the last of them is over (crypto 2).
    ///
    /// # Errors
    /// [`InvalidValidity::Period`] for zero days, or an end beyond the year 9999.
    pub fn from_days(valid_from: OffsetDateTime, days: u64) -> Result<Self, InvalidValidity> {
        let days =
            i64::try_from(days).ok().filter(|days| *days < 10_000 * 366).ok_or(InvalidValidity::Period)?;
        let not_after =
            valid_from.checked_add(Duration::seconds(days * 86_400 - 1)).ok_or(InvalidValidity::Period)?;
        Self::new(valid_from, not_after)
    }

    /// First second.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Last second.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether `at` lies within.
    #[must_use]
    pub fn contains(&self, at: OffsetDateTime) -> bool {
        self.not_before <= at && at < self.not_after + Duration::SECOND
    }

    /// A period as read, which may be an impossible one.
    pub(crate) fn from_parsed(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        Validity { not_before, not_after }
    }
}

/// Writes a time: UTCTime from 1950 to 2049, else GeneralizedTime (RFC 5280 4.1.2.5).
pub(crate) fn write_time(writer: &mut DerWriter, at: OffsetDateTime) {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if (1950..2050).contains(&at.year()) {
        writer.element(UTC_TIME, format!("{:02}{rest}", at.year() % 100).as_bytes());
    } else {
        writer.element(GENERALIZED_TIME, format!("{:04}{rest}", at.year()).as_bytes());
    }
}

/// Reads `valid_from` (crypto 2): `yymmddHHMMSSZ` (69 and later are 19xx), `yyyymmddHHMMSSZ`, or
/// `yyyy-mm-dd HH:MM:SS` with a `T` or blank, an optional fraction, and an optional offset such as ` +1:30`.
///
/// # Errors
/// [`InvalidValidity::Time`] for anything else.
pub fn parse_valid_from(text: &str) -> Result<OffsetDateTime, InvalidValidity> {
    parse(text).ok_or_else(|| InvalidValidity::Time(text.to_owned()))
}

fn parse(text: &str) -> Option<OffsetDateTime> {
    if !text.is_ascii() {
        return None;
    }
    if let Some(digits) = text.strip_suffix('Z').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    {
        let (year, rest) = match digits.len() {
            12 => match number(&digits[..2])? {
                year @ 69.. => (1900 + year, &digits[2..]),
                year => (2000 + year, &digits[2..]),
            },
            14 => (number(&digits[..4])?, &digits[4..]),
            _ => return None,
        };
        let field = |index: usize| rest.get(2 * index..2 * index + 2).and_then(number);
        return utc(year, [field(0)?, field(1)?, field(2)?, field(3)?, field(4)?], UtcOffset::UTC);
    }
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let rest = rest.strip_prefix(['T', ' '])?;
    let (clock, mut rest) = rest.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if [year.len(), month.len(), day.len(), hour.len(), minute.len(), second.len()] != [4, 2, 2, 2, 2, 2] {
        return None;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if after.len() == fraction.len() {
            return None;
        }
        rest = after;
    }
    let fields = [number(month)?, number(day)?, number(hour)?, number(minute)?, number(second)?];
    utc(number(year)?, fields, parse_offset(rest)?)
}

fn parse_offset(text: &str) -> Option<UtcOffset> {
    if text.is_empty() || text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (sign, text) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match text.split_once(':') {
        Some(parts) => parts,
        None if text.len() == 4 => text.split_at(2),
        None => (text, "0"),
    };
    if hours.is_empty() || hours.len() > 2 || minutes.is_empty() || minutes.len() > 2 {
        return None;
    }
    let (hours, minutes) = (i8::try_from(number(hours)?).ok()?, i8::try_from(number(minutes)?).ok()?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

fn utc(year: i32, [month, day, hour, minute, second]: [i32; 5], offset: UtcOffset) -> Option<OffsetDateTime> {
    let byte = |value: i32| u8::try_from(value).ok();
    let date = Date::from_calendar_date(year, Month::try_from(byte(month)?).ok()?, byte(day)?).ok()?;
    let time = Time::from_hms(byte(hour)?, byte(minute)?, byte(second)?).ok()?;
    PrimitiveDateTime::new(date, time).assume_offset(offset).checked_to_offset(UtcOffset::UTC)
}

fn number(digits: &str) -> Option<i32> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn whole_seconds(at: OffsetDateTime) -> Result<OffsetDateTime, InvalidValidity> {
    let at = at.checked_to_offset(UtcOffset::UTC).ok_or(InvalidValidity::Period)?;
    if at.year() < 0 {
        return Err(InvalidValidity::Period);
    }
    at.replace_nanosecond(0).map_err(|_| InvalidValidity::Period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn starts_are_read_in_every_form() {
        let expected = datetime!(2022-04-12 15:30:45 UTC);
        for text in [
            "220412153045Z",
            "20220412153045Z",
            "2022-04-12 15:30:45",
            "2022-04-12T15:30:45",
            "2022-04-12T15:30:45.123456",
            "2022-04-12T15:30:45Z",
            "2022-04-12 17:00:45 +1:30",
            "2022-04-12T14:30:45-01:00",
            "2022-04-12T14:30:45.5 -0100",
        ] {
            assert_eq!(parse_valid_from(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_valid_from("690101000000Z"), Ok(datetime!(1969-01-01 0:00 UTC)));
        assert_eq!(parse_valid_from("680101000000Z"), Ok(datetime!(2068-01-01 0:00 UTC)));
        for text in [
            "",
            "Z",
            "hello",
            "2022-04-12",
            "2022-13-12 15:30:45",
            "2022-04-12 25:30:45",
            "2022-04-12  5:30:45",
            "2022-04-12T15:30:45.",
            "2022-04-12T15:30:45 1:30",
            "2022-04-12T15:30:45+",
            "22041215304Z",
            "é",
            "2022-4-12 15:30:45",
            "2022-04-12T15:30:45+99:00",
            "9999-12-31T23:59:59-23:00",
        ] {
            assert!(parse_valid_from(text).is_err(), "{text}");
        }
    }

    /// Check 4 of the specification.
    #[test]
    fn a_period_ends_one_second_early() {
        let start = datetime!(2025-05-08 12:31:54 UTC);
        let period = Validity::from_days(start, 90).unwrap();
        assert_eq!(period.not_after(), datetime!(2025-08-06 12:31:53 UTC));
        assert!(period.contains(start) && period.contains(period.not_after()));
        assert!(!period.contains(start - Duration::SECOND));
        assert!(!period.contains(period.not_after() + Duration::SECOND));
        assert_eq!(Validity::from_days(start, 0), Err(InvalidValidity::Period));
        assert_eq!(Validity::from_days(start, u64::MAX), Err(InvalidValidity::Period));
        assert_eq!(Validity::from_days(start, 3_000_000), Err(InvalidValidity::Period));
    }
}
