//! Small values as people type them on a command line.

use std::time::Duration;

/// Reads `10s`, `500ms`, `2min`, or a bare number of seconds.
///
/// # Errors
/// A sentence for the user.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("'{unit}' is not a unit of time; write for example 500ms, 10s or 2min")),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds_per_unit).ok())
        .ok_or_else(|| format!("'{text}' is not a time; write for example 500ms, 10s or 2min"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("2min", 120_000), ("1.5", 1_500)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "ms", "10 parsecs", "-1s", "1e400s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
