//! Which field of an answer is the cause of a detail. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPIRES, LAST_MODIFIED, PRAGMA,
        SET_COOKIE, VARY,
    },
};

use crate::{
    policy::{rule::CacheRule, tags::TAG_FIELDS, targeted},
    status::Detail,
};

/// Bytes of a field's value that are shown.
const SHOWN: usize = 120;

/// The line of the answer that is to blame, if one is: `Cache-Control: no-store`.
pub(super) fn of(
    detail: Detail,
    status: StatusCode,
    headers: &HeaderMap,
    rule: &CacheRule,
) -> Option<String> {
    let line = |name: &HeaderName| headers.get(name).map(|value| shown(name, value));
    match detail {
        Detail::NoStore | Detail::Private | Detail::NoCache => governing(headers, rule),
        Detail::NotFresh => {
            governing(headers, rule).or_else(|| line(&EXPIRES)).or_else(|| line(&LAST_MODIFIED))
        }
        Detail::StatusNotListed | Detail::OddRequest | Detail::StaleNotAllowed => {
            Some(format!("status {}", status.as_u16()))
        }
        Detail::SetCookie => headers.get(SET_COOKIE).map(cookie_name),
        Detail::VaryStar | Detail::VaryTooLong => line(&VARY),
        Detail::ContentType => line(&CONTENT_TYPE).or_else(|| Some("no Content-Type".to_owned())),
        Detail::EventStream => line(&CONTENT_TYPE),
        Detail::TooManyTags => TAG_FIELDS.iter().find_map(line),
        Detail::TooLarge => line(&CONTENT_LENGTH),
        Detail::Range => line(&CONTENT_RANGE).or_else(|| line(&CONTENT_TYPE)),
        Detail::NoLength => Some("neither Content-Length nor chunks".to_owned()),
        Detail::NoLifetime => Some("no max-age, s-maxage or Expires".to_owned()),
        _ => None,
    }
}

/// The field that says what may be done with the answer: a targeted one, or `Cache-Control`, or of old `Pragma`.
pub(super) fn governing(headers: &HeaderMap, rule: &CacheRule) -> Option<String> {
    let says = |name: &&HeaderName| targeted::control(headers, name).is_some();
    let targeted = rule.targeted.iter().find(says);
    let names = targeted.into_iter().chain([&CACHE_CONTROL, &PRAGMA]);
    names.into_iter().find_map(|name| headers.get(name).map(|value| shown(name, value)))
}

/// As it came, so far as it is not too long.
fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    let value = String::from_utf8_lossy(value.as_bytes());
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{name}: {}…", value.get(..end).unwrap_or_default()),
        None => format!("{name}: {value}"),
    }
}

/// A cookie without its value, which may be a secret.
fn cookie_name(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let name = text.split('=').next().unwrap_or_default().trim().to_owned();
    format!("set-cookie: {name}=…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(detail: Detail, fields: &[(&'static str, &'static str)]) -> Option<String> {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        super::of(detail, StatusCode::NOT_FOUND, &fields.collect(), &CacheRule::new(None))
    }

    #[test]
    fn the_field_that_counts_is_named() {
        let both = [("cache-control", "max-age=5"), ("cdn-cache-control", "no-store")];
        assert_eq!(of(Detail::NoStore, &both).unwrap(), "cdn-cache-control: no-store");
        let broken = [("cache-control", "private"), ("cdn-cache-control", "No-Store")];
        assert_eq!(of(Detail::Private, &broken).unwrap(), "cache-control: private");
        assert_eq!(of(Detail::NotFresh, &[("expires", "0")]).unwrap(), "expires: 0");
        assert_eq!(of(Detail::StatusNotListed, &[]).unwrap(), "status 404");
    }

    #[test]
    fn the_value_of_a_cookie_is_not_shown() {
        let told = of(Detail::SetCookie, &[("set-cookie", "session=s3cret; Path=/")]).unwrap();
        assert_eq!(told, "set-cookie: session=…");
    }
}
