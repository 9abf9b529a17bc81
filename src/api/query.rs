//! Reading query strings. A parameter that a call does not know, or that has a value it cannot
//! have, is an error: a filter that is ignored answers a question that nobody asked.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::error::{ApiError, ErrorCode};
use crate::saga::{SagaId, Status, Timestamp};
use crate::store::ListFilter;

/// How many items a page has when nobody says.
pub(super) const LIMIT_DEFAULT: u64 = 50;
/// The most items that a page can have.
pub(super) const LIMIT_MAX: u64 = 500;
/// The longest value that a text parameter can have, in characters: no stored text is longer.
pub(super) const TEXT_CHARS_MAX: usize = 255;

/// The parameters of a query, taken out one by one.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// The parameters of `query`; they have to be among `known`.
    pub(super) fn of(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        match pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            None => Ok(Self { pairs }),
            Some((name, _)) => {
                let detail = format!("`{name}` is not known here; known: {}", known.join(", "));
                Err(ApiError::with(ErrorCode::UnknownParameter, detail))
            }
        }
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn all<'p, 'n>(
        &'p self,
        name: &'n str,
    ) -> impl Iterator<Item = &'p str> + use<'p, 'n> {
        self.pairs
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of a parameter that may not be repeated.
    fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(invalid(name, "must not be repeated")),
        }
    }

    /// A parameter that is read by `FromStr`.
    pub(super) fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|_wrong| invalid(name, expected))
    }

    /// The number of a version.
    pub(super) fn version(&self) -> Result<Option<u32>, ApiError> {
        let expected = format!("must be a whole number from 1 to {}", u32::MAX);
        match self.parsed::<u32>("version", &expected)? {
            Some(0) => Err(invalid("version", &expected)),
            version => Ok(version),
        }
    }

    /// A text as the database can hold it.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.one(name)?
            .map(|value| storable(name, value))
            .transpose()
    }

    /// A moment; one between two milliseconds counts as the later of them, so that `after` and
    /// `before` hold exactly of times in whole milliseconds.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let expected = "must be an RFC 3339 time like 2026-11-21T09:30:00Z (a `+` is written %2B)";
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let moment =
            DateTime::parse_from_rfc3339(text).map_err(|_wrong| invalid(name, expected))?;
        let moment = moment.with_timezone(&Utc);
        let between = moment.timestamp_subsec_nanos() % 1_000_000 != 0;
        Ok(Some(Timestamp(
            moment.timestamp_millis() + i64::from(between),
        )))
    }

    /// How many items are wanted.
    pub(super) fn limit(&self) -> Result<u64, ApiError> {
        let expected = format!("must be a whole number from 1 to {LIMIT_MAX}");
        match self.parsed::<u64>("limit", &expected)? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Some(_) => Err(invalid("limit", &expected)),
        }
    }

    /// Where the page begins.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, ApiError> {
        self.parsed("cursor", "must be the `next_cursor` of an answer")
    }
}

/// What sagas are listed, and which page of them.
#[derive(Clone, Debug)]
pub(super) struct ListQuery {
    pub(super) filter: ListFilter,
    /// Whether the filters ask for two values of one label, which no saga has.
    pub(super) finds_nothing: bool,
    pub(super) cursor: Option<SagaId>,
    pub(super) limit: u64,
}

/// The parameters of `GET /sagas`.
pub(super) const LIST_PARAMETERS: &[&str] = &[
    "definition",
    "version",
    "status",
    "key",
    "label",
    "created_after",
    "created_before",
    "failure_code",
    "suspended",
    "overdue",
    "limit",
    "cursor",
];

impl ListQuery {
    /// Reads the query of `GET /sagas`.
    pub(super) fn read(query: &str) -> Result<Self, ApiError> {
        let parameters = Parameters::of(query, LIST_PARAMETERS)?;
        let version = parameters.parsed::<u32>("version", VERSION_EXPECTED)?;
        if version == Some(0) {
            return Err(invalid("version", VERSION_EXPECTED));
        }
        let pairs: Vec<(String, String)> = parameters
            .all("label")
            .map(label)
            .collect::<Result<_, _>>()?;
        let labels: BTreeMap<_, _> = pairs.iter().cloned().collect();
        let finds_nothing = pairs
            .iter()
            .any(|(name, value)| labels.get(name) != Some(value));
        let filter = ListFilter {
            definition: parameters.text("definition")?,
            version,
            statuses: parameters
                .all("status")
                .map(status)
                .collect::<Result<_, _>>()?,
            key: parameters.text("key")?,
            labels,
            created_after: parameters.moment("created_after")?,
            created_before: parameters.moment("created_before")?,
            failure_code: parameters.text("failure_code")?,
            suspended: parameters.parsed("suspended", "must be true or false")?,
            overdue: parameters.parsed("overdue", "must be true or false")?,
        };
        Ok(Self {
            filter,
            finds_nothing,
            cursor: parameters.cursor()?,
            limit: parameters.limit()?,
        })
    }
}

const VERSION_EXPECTED: &str = "must be a whole number from 1";

fn status(word: &str) -> Result<Status, ApiError> {
    let known = Status::ALL
        .into_iter()
        .find(|status| status.as_str() == word);
    known.ok_or_else(|| {
        let words = Status::ALL.map(Status::as_str).join(", ");
        invalid("status", &format!("must be one of {words}"))
    })
}

fn label(text: &str) -> Result<(String, String), ApiError> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => {
            Ok((storable("label", name)?, storable("label", value)?))
        }
        Some(_) | None => Err(invalid("label", "must be name:value")),
    }
}

fn storable(name: &str, value: &str) -> Result<String, ApiError> {
    if value.contains('\0') {
        return Err(invalid(name, "must not contain the character U+0000"));
    }
    if value.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid(
            name,
            &format!("must have at most {TEXT_CHARS_MAX} characters"),
        ));
    }
    Ok(value.to_owned())
}

pub(super) fn invalid(name: &str, expected: &str) -> ApiError {
    ApiError::with(ErrorCode::ParameterInvalid, format!("`{name}` {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_read() {
        let query = "definition=order&version=2&status=running&status=failed&key=ORD%201\
            &label=channel:web&label=a:b:c&created_after=2026-11-21T09:30:00.0001Z\
            &created_before=2026-11-21T10:30:00%2B01:00&failure_code=x&suspended=true\
            &overdue=false&limit=7&cursor=0198c7c4-aaaa-7000-8000-000000000000";
        let read = ListQuery::read(query).unwrap();
        assert_eq!(read.filter.definition.as_deref(), Some("order"));
        assert_eq!(read.filter.version, Some(2));
        assert_eq!(read.filter.statuses, [Status::Running, Status::Failed]);
        assert_eq!(read.filter.key.as_deref(), Some("ORD 1"));
        let labels = [("a", "b:c"), ("channel", "web")];
        assert!(
            read.filter
                .labels
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .eq(labels)
        );
        assert!(!read.finds_nothing);
        let nine_thirty = 1_795_253_400_000;
        assert_eq!(read.filter.created_after, Some(Timestamp(nine_thirty + 1)));
        assert_eq!(read.filter.created_before, Some(Timestamp(nine_thirty)));
        assert_eq!(
            (read.filter.suspended, read.filter.overdue),
            (Some(true), Some(false))
        );
        assert_eq!(read.limit, 7);
        assert!(read.cursor.is_some());
    }

    #[test]
    fn nothing_is_no_filter() {
        let read = ListQuery::read("").unwrap();
        assert!(read.filter.definition.is_none() && read.filter.statuses.is_empty());
        assert_eq!((read.limit, read.cursor), (LIMIT_DEFAULT, None));
    }

    #[test]
    fn no_saga_has_two_values_of_one_label() {
        let finds_nothing = |query| ListQuery::read(query).unwrap().finds_nothing;
        assert!(finds_nothing("label=a:1&label=a:2"));
        assert!(!finds_nothing("label=a:1&label=a:1"));
    }

    #[test]
    fn what_is_not_known_or_wrong_is_an_error() {
        let code = |query: &str| ListQuery::read(query).unwrap_err().code;
        assert_eq!(code("statuses=running"), ErrorCode::UnknownParameter);
        let long = format!("key={}", "k".repeat(256));
        for bad in [
            "version=0",
            "version=x",
            "version=4294967296",
            "status=done",
            "status=",
            "label=x",
            "label=:x",
            "created_after=yesterday",
            "created_after=2026-11-21T10:30:00+01:00",
            "suspended=1",
            "overdue=",
            "limit=0",
            "limit=501",
            "limit=-1",
            "limit=",
            "cursor=x",
            "key=%00",
            "label=a:%00",
            "definition=a&definition=b",
            "limit=1&limit=2",
            &long,
        ] {
            assert_eq!(code(bad), ErrorCode::ParameterInvalid, "{bad}");
        }
    }
}
