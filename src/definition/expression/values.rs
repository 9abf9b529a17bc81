//! JSON to the evaluator's values and back. Strings are borrowed, never copied, on the way in.

use std::collections::{BTreeMap, HashMap};

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull,
    CelOptional, CelString, CelTimestamp, CelType, CelUInt,
};
use cel::common::value::Val;
use serde_json::{Number, Value};

use super::failure::Failure;

/// The largest result of one expression, in bytes of JSON.
pub(super) const RESULT_BYTES_MAX: usize = 1 << 20;

/// Deeper results than this are not written.
const RESULT_DEPTH_MAX: usize = 120;

/// JSON as a value of the evaluator. An integer stays one; of those beyond 64 signed bits it
/// makes an unsigned one.
pub(super) fn from_json<'v>(json: &'v Value) -> Box<dyn Val + 'v> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => number_value(number),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => Box::new(CelList::from(
            items.iter().map(from_json).collect::<Vec<_>>(),
        )),
        Value::Object(entries) => {
            let entries: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> = entries
                .iter()
                .map(|(key, value)| {
                    (
                        CelMapKey::String(CelString::from(key.as_str())),
                        from_json(value),
                    )
                })
                .collect();
            Box::new(CelMap::from(entries))
        }
    }
}

fn number_value<'v>(number: &Number) -> Box<dyn Val + 'v> {
    if let Some(integer) = number.as_i64() {
        Box::new(CelInt::from(integer))
    } else if let Some(unsigned) = number.as_u64() {
        Box::new(CelUInt::from(unsigned))
    } else {
        Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
    }
}

/// A value of the evaluator as JSON: keys sorted, an optional that holds nothing as null.
pub(super) fn to_json(value: &dyn Val) -> Result<Value, Failure> {
    let mut left = RESULT_BYTES_MAX;
    write(value, &mut left, RESULT_DEPTH_MAX)
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), Failure> {
    *left = left
        .checked_sub(bytes)
        .ok_or(Failure::TooLarge(RESULT_BYTES_MAX))?;
    Ok(())
}

fn write(value: &dyn Val, left: &mut usize, depth: usize) -> Result<Value, Failure> {
    if depth == 0 {
        return Err(Failure::NotJson("a value nested this deep".to_owned()));
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        spend(left, text.inner().len() + 2)?;
        return Ok(Value::String(text.inner().to_owned()));
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        spend(left, 2)?;
        return list
            .inner()
            .iter()
            .map(|item| write(item.as_ref(), left, depth - 1))
            .collect();
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        spend(left, 2)?;
        let sorted: BTreeMap<String, &dyn Val> = map
            .inner()
            .iter()
            .map(|(key, value)| (key_text(key), value.as_ref()))
            .collect();
        let mut object = serde_json::Map::with_capacity(sorted.len());
        for (key, value) in sorted {
            spend(left, key.len() + 3)?;
            object.insert(key, write(value, left, depth - 1)?);
        }
        return Ok(Value::Object(object));
    }
    if let Some(optional) = value.downcast_ref::<CelOptional>() {
        return optional
            .option()
            .map_or(Ok(Value::Null), |held| write(held, left, depth - 1));
    }
    spend(left, 8)?;
    scalar(value)
}

fn scalar(value: &dyn Val) -> Result<Value, Failure> {
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Ok(Value::from(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        return Ok(Value::from(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelDouble>() {
        return Number::from_f64(*value.inner())
            .map(Value::Number)
            .ok_or_else(|| Failure::NotJson("a number that is not finite".to_owned()));
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Value::Null);
    }
    if let Some(time) = value.downcast_ref::<CelTimestamp>() {
        let text = time
            .inner()
            .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        return Ok(Value::String(text));
    }
    if let Some(duration) = value.downcast_ref::<CelDuration>() {
        let milliseconds = duration.inner().num_milliseconds();
        return u64::try_from(milliseconds)
            .map(|milliseconds| Value::String(crate::definition::duration::format_ms(milliseconds)))
            .map_err(|_negative| Failure::NotJson("a negative duration".to_owned()));
    }
    if let Some(kind) = value.downcast_ref::<CelType>() {
        return Ok(Value::String(kind.name().to_owned()));
    }
    Err(Failure::NotJson(format!(
        "a value of type {}",
        value.get_type().name()
    )))
}

/// A map's key as JSON has it.
pub(super) fn key_text(key: &CelMapKey<'_>) -> String {
    match key {
        CelMapKey::Bool(value) => value.inner().to_string(),
        CelMapKey::Int(value) => value.inner().to_string(),
        CelMapKey::UInt(value) => value.inner().to_string(),
        CelMapKey::String(value) => value.inner().to_owned(),
    }
}

/// About how many bytes a value takes, counted no further than `limit`.
pub(super) fn size(value: &dyn Val, limit: usize) -> usize {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return text.inner().len() + 8;
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return bytes.inner().len() + 8;
    }
    let mut total: usize = 8;
    if let Some(list) = value.downcast_ref::<CelList>() {
        for item in list.inner() {
            if total > limit {
                break;
            }
            total = total.saturating_add(size(item.as_ref(), limit - total));
        }
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        for item in map.inner().values() {
            if total > limit {
                break;
            }
            total = total.saturating_add(8 + size(item.as_ref(), limit - total));
        }
    } else if let Some(held) = value
        .downcast_ref::<CelOptional>()
        .and_then(CelOptional::option)
    {
        total = total.saturating_add(size(held, limit - total.min(limit)));
    }
    total
}
