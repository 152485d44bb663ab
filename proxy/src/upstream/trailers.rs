//! Which trailers pass, of requests and of answers (RFC 9110 §6.5.1): many who get them merge them into the
//! fields.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
        CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, EXPECT, EXPIRES, FORWARDED, HOST, LOCATION, MAX_FORWARDS,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, RETRY_AFTER, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VARY, WWW_AUTHENTICATE,
    },
};
use http_body::Frame;

use crate::headers::{connection_options, matters, take_own, taken_for};

/// What frames a message, routes or controls it, says who sent it or how it is to be read belongs in front of
/// it.
const NEVER: [HeaderName; 30] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    EXPECT,
    EXPIRES,
    FORWARDED,
    HOST,
    HeaderName::from_static("keep-alive"),
    LOCATION,
    MAX_FORWARDS,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    RANGE,
    RETRY_AFTER,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VARY,
    WWW_AUTHENTICATE,
];

/// Which trailers of one message pass, but for those that never do.
#[derive(Debug)]
pub(super) enum Passing {
    /// Of a request: those that its fields announce.
    Announced(Vec<HeaderName>),
    /// Of an answer: all but those that its `Connection` names (RFC 9110 §7.6.1). Calls of procedures end with
    /// some that nothing announces.
    AllBut(Vec<HeaderName>),
}

impl Default for Passing {
    fn default() -> Self {
        Self::Announced(Vec::new())
    }
}

impl Passing {
    /// Of a request with these `fields`.
    pub(super) fn of_request(fields: &HeaderMap) -> Self {
        let lines = fields.get_all(TRAILER).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        Self::Announced(names.filter_map(|name| name.trim_ascii().try_into().ok()).collect())
    }

    /// Of an answer with these `fields`.
    pub(super) fn of_answer(fields: &HeaderMap) -> Self {
        Self::AllBut(connection_options(fields))
    }

    /// What of a `frame` passes, if anything does: of trailers those that may, and all else.
    pub(super) fn pass(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(frame) => return Some(frame),
        };
        let mut passed = HeaderMap::new();
        for (name, value) in &trailers {
            if self.lets(name) {
                passed.append(name, value.clone());
            }
        }
        take_own(&mut passed);
        Some(passed).filter(|passed| !passed.is_empty()).map(Frame::trailers)
    }

    fn lets(&self, name: &HeaderName) -> bool {
        match self {
            Self::Announced(names) => names.contains(name) && may_follow_request(name),
            Self::AllBut(names) => !names.contains(name) && !belongs_in_front(name),
        }
    }
}

/// Whether a field may come behind the body of a request: what matters in front of one, or an app may take for
/// something that does, has been looked at there, and removed or written anew.
#[must_use]
pub fn may_follow_request(name: &HeaderName) -> bool {
    let name = taken_for(name);
    !belongs_in_front(&name) && !matters(&name)
}

fn belongs_in_front(name: &HeaderName) -> bool {
    NEVER.contains(name) || name.as_str().starts_with("x-forwarded-")
}
