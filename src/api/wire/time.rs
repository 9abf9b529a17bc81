//! Times on the wire: RFC 3339 in UTC with milliseconds.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::openapi::words;
use crate::saga::Timestamp;

/// A moment as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Timestamp);

impl PartialSchema for At {
    fn schema() -> RefOr<Schema> {
        words::time().into()
    }
}

impl ToSchema for At {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Time")
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = DateTime::from_timestamp_millis(self.0.0);
        let text = moment.and_then(Written::new);
        match text.as_ref().and_then(Written::as_str) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_str(&self.0.to_rfc3339()),
        }
    }
}

/// `2026-11-21T09:30:00.123Z`, on the stack: a saga's answer has a dozen of them.
struct Written([u8; 24]);

impl Written {
    /// `None` outside of the years that have four digits.
    fn new(moment: DateTime<Utc>) -> Option<Self> {
        let year = u32::try_from(moment.year())
            .ok()
            .filter(|year| *year <= 9_999)?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(text.get_mut(0..4)?, year);
        put(text.get_mut(5..7)?, moment.month());
        put(text.get_mut(8..10)?, moment.day());
        put(text.get_mut(11..13)?, moment.hour());
        put(text.get_mut(14..16)?, moment.minute());
        put(text.get_mut(17..19)?, moment.second());
        put(text.get_mut(20..23)?, moment.timestamp_subsec_millis());
        Some(Self(text))
    }

    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Writes a number into places that hold as many digits, with leading zeros.
fn put(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        *place = u8::try_from(number % 10).map_or(b'?', |digit| b'0' + digit);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_milliseconds() {
        for ms in [
            0,
            1,
            999,
            1_795_000_000_123,
            -1,
            253_402_300_799_999,
            253_402_300_800_000,
        ] {
            let at = serde_json::to_value(At(Timestamp(ms))).unwrap();
            assert_eq!(at, Timestamp(ms).to_rfc3339());
        }
        assert_eq!(
            serde_json::to_value(At(Timestamp(0))).unwrap(),
            "1970-01-01T00:00:00.000Z"
        );
    }
}
