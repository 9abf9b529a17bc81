//! Durations as people write them: `1h30m`, `200ms`, `3d`.

/// The longest duration, 400 days, in milliseconds.
pub const DURATION_MS_MAX: u64 = 400 * 86_400_000;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not written as one.
    #[error("a duration is written as `200ms`, `10s`, `5m`, `1h30m` or `3d`")]
    Malformed,
    /// It is zero, or longer than 400 days.
    #[error("a duration is above zero and at most `400d`")]
    OutOfRange,
}

/// Reads a duration, one or more `<integer><ms|s|m|h|d>`, as milliseconds.
///
/// # Errors
/// When the text is not a duration, or is zero or longer than 400 days.
pub fn parse_ms(text: &str) -> Result<u64, DurationError> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return Err(DurationError::Malformed);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit_ms = UNITS
            .iter()
            .find_map(|(name, unit_ms)| (*name == unit).then_some(*unit_ms))
            .ok_or(DurationError::Malformed)?;
        if count.is_empty() {
            return Err(DurationError::Malformed);
        }
        let part_ms = count
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(unit_ms))
            .ok_or(DurationError::OutOfRange)?;
        total_ms = total_ms
            .checked_add(part_ms)
            .ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    if (1..=DURATION_MS_MAX).contains(&total_ms) {
        Ok(total_ms)
    } else {
        Err(DurationError::OutOfRange)
    }
}

/// Writes milliseconds as the shortest duration that [`parse_ms`] reads back; zero is `0ms`.
#[must_use]
pub fn format_ms(duration_ms: u64) -> String {
    let mut text = String::new();
    let mut left = duration_ms;
    for (unit, unit_ms) in UNITS {
        if left >= unit_ms {
            text.push_str(&(left / unit_ms).to_string());
            text.push_str(unit);
            left %= unit_ms;
        }
    }
    if text.is_empty() {
        text.push_str("0ms");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_bounded() {
        assert_eq!(parse_ms("1h30m"), Ok(5_400_000));
        assert_eq!(parse_ms("200ms"), Ok(200));
        assert_eq!(parse_ms("1s500ms"), Ok(1_500));
        assert_eq!(parse_ms("400d"), Ok(DURATION_MS_MAX));
        assert_eq!(parse_ms("400d1ms"), Err(DurationError::OutOfRange));
        assert_eq!(parse_ms("0s"), Err(DurationError::OutOfRange));
        assert_eq!(
            parse_ms("99999999999999999999s"),
            Err(DurationError::OutOfRange)
        );
        for text in [
            "", "10", "s", "1.5s", "-1s", " 1s", "1 s", "1S", "1y", "1h30",
        ] {
            assert_eq!(parse_ms(text), Err(DurationError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(duration_ms in 1..=DURATION_MS_MAX) {
            prop_assert_eq!(parse_ms(&format_ms(duration_ms)), Ok(duration_ms));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let answer = parse_ms(&text);
            prop_assert!(answer.is_err() || answer.is_ok_and(|ms| ms <= DURATION_MS_MAX));
        }
    }
}
