//! Which of the media types that a call can answer in the client wants: its `Accept` (RFC 9110,
//! section 12.5.1).

use actix_web::HttpRequest;
use actix_web::http::header::ACCEPT;

use super::error::{ApiError, ErrorCode};

/// One range of an `Accept` header: `text/*;q=0.5`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    weight: u32,
}

/// The media type of `offered` that the request likes best; of several that it likes equally the
/// first. Without an `Accept` it is the first.
///
/// # Errors
/// `bad_request` when it takes none of them.
pub(super) fn best<'o>(request: &HttpRequest, offered: &[&'o str]) -> Result<&'o str, ApiError> {
    let values = request.headers().get_all(ACCEPT);
    let text: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let text = text.join(",");
    let none = || {
        let detail = format!("Accept takes none of {}", offered.join(", "));
        ApiError::with(ErrorCode::BadRequest, detail)
    };
    choose(&text, offered).ok_or_else(none)
}

fn choose<'o>(accept: &str, offered: &[&'o str]) -> Option<&'o str> {
    let ranges: Vec<Range<'_>> = accept.split(',').filter_map(range).collect();
    if ranges.is_empty() {
        return offered.first().copied();
    }
    let weighed = offered
        .iter()
        .map(|media_type| (weight(&ranges, media_type), *media_type))
        .filter(|(weight, _)| *weight > 0);
    // Of equals `max_by_key` takes the last.
    let best = weighed.rev().max_by_key(|(weight, _)| *weight);
    best.map(|(_, media_type)| media_type)
}

/// The weight of the most specific range that a media type falls under; 0 where there is none.
fn weight(ranges: &[Range<'_>], media_type: &str) -> u32 {
    let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
    let specificity = |range: &Range<'_>| match (range.kind, range.subtype) {
        (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => Some(2),
        (k, "*") if k.eq_ignore_ascii_case(kind) => Some(1),
        ("*", "*") => Some(0),
        _ => None,
    };
    let matching = ranges
        .iter()
        .filter_map(|range| Some((specificity(range)?, range.weight)));
    matching.max().map_or(0, |(_, weight)| weight)
}

/// Reads a range; what is none counts for nothing.
fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let quality = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    Some(Range {
        kind,
        subtype,
        weight: quality.map_or(Some(1_000), thousandths)?,
    })
}

/// A weight from `0` to `1` with at most three decimals.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !digits(decimals) {
        return None;
    }
    let thousandths = format!("{whole}{decimals:0<3}").parse::<u32>().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: &[&str] = &["application/json", "text/vnd.mermaid", "image/svg+xml"];

    #[test]
    fn what_is_liked_best_is_chosen() {
        for (accept, chosen) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("application/*", "application/json"),
            ("text/vnd.mermaid", "text/vnd.mermaid"),
            ("TEXT/VND.Mermaid; charset=utf-8", "text/vnd.mermaid"),
            ("image/*", "image/svg+xml"),
            ("application/json;q=0.5, image/svg+xml", "image/svg+xml"),
            (
                "text/vnd.mermaid;q=0.3, image/svg+xml;q=0.31",
                "image/svg+xml",
            ),
            ("*/*;q=0.1, text/*;q=0.2", "text/vnd.mermaid"),
            ("application/json;q=0, */*", "text/vnd.mermaid"),
            (
                "text/html, application/xml;q=0.9, */*;q=0.8",
                "application/json",
            ),
            ("nonsense", "application/json"),
            ("image/svg+xml;q=7, text/*", "text/vnd.mermaid"),
        ] {
            assert_eq!(choose(accept, OFFERED), Some(chosen), "{accept}");
        }
        for accept in [
            "text/html",
            "application/json;q=0",
            "*/*;q=0",
            "image/png, text/plain",
        ] {
            assert_eq!(choose(accept, OFFERED), None, "{accept}");
        }
    }
}
