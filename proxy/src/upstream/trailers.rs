//! Which trailers of a request reach the origin (RFC 9110 §6.5.1): many apps merge them into the fields.

use http::{
    HeaderMap, HeaderName,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, MAX_FORWARDS, PROXY_AUTHORIZATION, RANGE, SET_COOKIE,
        TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// What frames a message, routes it, says who sent it or how it is to be read belongs in front of it.
const NEVER: [HeaderName; 21] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    FORWARDED,
    HOST,
    HeaderName::from_static("keep-alive"),
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    RANGE,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The names of the trailers that may pass: those that the fields announce.
#[derive(Debug, Default)]
pub(super) struct Announced(Vec<HeaderName>);

impl Announced {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let lines = fields.get_all(TRAILER).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        Self(names.filter_map(|name| name.trim_ascii().try_into().ok()).filter(may_trail).collect())
    }

    /// Those of `trailers` that may pass, if any may.
    pub(super) fn pass(&self, trailers: &HeaderMap) -> Option<HeaderMap> {
        let mut passed = HeaderMap::new();
        for (name, value) in trailers {
            if self.0.contains(name) {
                passed.append(name, value.clone());
            }
        }
        Some(passed).filter(|passed| !passed.is_empty())
    }
}

fn may_trail(name: &HeaderName) -> bool {
    !NEVER.contains(name) && !name.as_str().starts_with("x-forwarded-")
}
