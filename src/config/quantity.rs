//! Durations (`1h30m`), sizes (`1MiB`) and counts as the configuration writes them.

use std::ops::RangeInclusive;

use crate::definition::duration::{self, DurationError};

/// Reads one or more `<integer><ms|s|m|h|d>`, in milliseconds, as a definition does.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    duration::parse_ms(text).map_err(|error| match error {
        DurationError::Malformed => "is not a duration like 500ms, 10s or 1h30m".to_owned(),
        DurationError::OutOfRange if is_zero(text) => "must be above zero".to_owned(),
        DurationError::OutOfRange => "is longer than 400d".to_owned(),
    })
}

fn is_zero(text: &str) -> bool {
    text.bytes()
        .filter(u8::is_ascii_digit)
        .all(|digit| digit == b'0')
}

/// Reads a duration of at least `least_ms`.
pub(super) fn duration_from(least_ms: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match duration_ms(text)? {
        ms if ms < least_ms => Err(format!("must be at least {least_ms}ms")),
        ms => Ok(ms),
    }
}

/// Reads `<integer><B|KiB|MiB|GiB|KB|MB|GB>` (bytes without a unit), from 1 byte to 1 GiB.
pub(super) fn size_bytes(text: &str) -> Result<usize, String> {
    let wrong = || "is not a size like 64KiB or 1MiB".to_owned();
    let (number, unit, after) = quantity(text).ok_or_else(wrong)?;
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    if !after.is_empty() {
        return Err(wrong());
    }
    let bytes = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(factor));
    match bytes {
        Some(bytes) if (1..=1 << 30).contains(&bytes) => Ok(bytes),
        Some(_) | None => Err("must be from 1B to 1GiB".to_owned()),
    }
}

/// Reads a whole number within `range`.
pub(super) fn count(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> {
    move |text| match text.parse::<u32>() {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Reads a share, above 0 and up to 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("must be above 0 and at most 1".to_owned()),
    }
}

/// Reads `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The digits that `text` begins with, the letters after them, and the rest.
fn quantity(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    let letters = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at_checked(letters)?;
    Some((number.parse().ok()?, unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1m1s1ms", 61_001),
            ("400d", duration::DURATION_MS_MAX),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "0s",
            "1.5s",
            "-1s",
            "1 s",
            "401d",
            "1w",
            "99999999999999999d",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
        assert!(duration_from(1_000)("999ms").is_err());
        assert_eq!(duration_from(1_000)("1s"), Ok(1_000));
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        for (text, bytes) in [
            ("1", 1),
            ("1B", 1),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("2MB", 2_000_000),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "MiB", "1mib", "1MiB2", "2GiB", "1.5MiB", "-1"] {
            assert!(size_bytes(text).is_err(), "{text}");
        }
    }
}
