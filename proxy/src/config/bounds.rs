//! `limits` and `timeouts`.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    keys::{Absent, Key, Keys, Kind},
    problem::Wrong,
    reader::{At, Entries, Reader},
    scalar::{DURATION, MAX_COUNT, SIZE, SOME_TIME, count, duration, show_duration, show_size, size},
};
use crate::{
    limits::{Limits, Timeouts},
    sabotage::Omission,
};

/// The word of a limit that there is not.
const NO_LIMIT: &str = "none";

pub(super) const LIMITS: Keys = Keys {
    known: &[
        Key::new(
            "connections",
            Absent::Is("10000"),
            Kind::Count { least: 1, most: MAX_COUNT },
            "client connections at once. For the next, the one that has waited longest for a request is \
             closed; if all are at work, it gets a 503, or over TLS is closed. Fewer, with a warning, \
             where the system lets the process open too few files: it raises `ulimit -n` as far as it \
             may, and keeps 128 and `limits.upstream_connections` for the rest. Over HTTP/2 also the \
             requests at once on all connections (or `limits.streams`, if that is more); the next gets a \
             503",
        ),
        Key::new(
            "streams",
            Absent::Is("128"),
            Kind::Count { least: 1, most: MAX_COUNT },
            "requests at once on a connection of HTTP/2; further ones are refused (`REFUSED_STREAM`). \
             Each may have 64 KiB of its body waiting here for the app",
        ),
        Key::new(
            "header_bytes",
            Absent::Is("32KiB"),
            Kind::Text(&SIZE),
            "bytes of a request head; `1KiB` to `1MiB`",
        ),
        Key::new(
            "headers",
            Absent::Is("100"),
            Kind::Count { least: 1, most: MAX_HEADERS },
            "fields of a request head",
        ),
        Key::new(
            "uri_bytes",
            Absent::Is("8KiB"),
            Kind::Text(&SIZE),
            "bytes of a request target; `64B` to `32KiB`, and no more than `header_bytes`",
        ),
        Key::new(
            "request_body",
            Absent::Is("none"),
            Kind::Either(&[Kind::Text(&SIZE), Kind::Words(&[NO_LIMIT])]),
            "bytes of a request body",
        ),
        Key::new(
            "upstream_connections",
            Absent::Is("256"),
            Kind::Count { least: 1, most: MAX_COUNT },
            "connections to the app at once",
        ),
        Key::new(
            "upstream_queue",
            Absent::Is("1024"),
            Kind::Count { least: 0, most: MAX_COUNT },
            "requests that wait for one of them",
        ),
    ],
    foreign: &[
        ("max_connections", "did you mean `connections`?"),
        ("max_concurrent_streams", "did you mean `streams`?"),
        ("client_max_body_size", "did you mean `request_body`?"),
        ("body", "did you mean `request_body`?"),
        ("body_size", "did you mean `request_body`?"),
        ("max_body", "`max_body` belongs in a rule's `cache`; for request bodies write `request_body`"),
        ("header_size", "did you mean `header_bytes`?"),
        ("header_count", "did you mean `headers`?"),
        ("queue", "did you mean `upstream_queue`?"),
    ],
};

/// The most fields of a head: far above any request, and below where the map of fields ends.
const MAX_HEADERS: usize = 10_000;

/// Reads `limits`.
pub(super) fn limits(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Limits> {
    let entries = reader.entries(at, "{ connections: 10000 }", &LIMITS)?;
    let default = Limits::default();
    let limits = Limits {
        connections: number(reader, &entries, "connections", 1, default.connections),
        streams: number(reader, &entries, "streams", 1, default.streams),
        header_bytes: bytes(reader, &entries, "header_bytes", 1024..=1024 * 1024, default.header_bytes),
        headers: number(reader, &entries, "headers", 1, default.headers),
        uri_bytes: bytes(reader, &entries, "uri_bytes", 64..=32 * 1024, default.uri_bytes),
        request_body: request_body(reader, &entries),
        upstream_connections: number(
            reader,
            &entries,
            "upstream_connections",
            1,
            default.upstream_connections,
        ),
        upstream_queue: number(reader, &entries, "upstream_queue", 0, default.upstream_queue),
    };
    if let Some(at) = entries.get("uri_bytes").filter(|_| limits.uri_bytes > limits.header_bytes) {
        let message = "larger than `header_bytes`, of which the request line is a part";
        reader.wrong(
            at,
            Wrong::new(message, format!("write {} at most", show_size(limits.header_bytes as u64))),
        );
    }
    if let Some(at) = entries.get("headers").filter(|_| limits.headers > MAX_HEADERS) {
        reader.wrong(at, Wrong::new("more than any request has", format!("write {MAX_HEADERS} at most")));
    }
    Some(limits)
}

fn number(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str, least: usize, default: usize) -> usize {
    let Some(at) = entries.get(key) else { return default };
    let value = reader.scalar(at, "a number, 100", count);
    if value.is_some_and(|value| value < least) {
        reader.wrong(at, Wrong::new("0 would let nobody in", format!("write {least} or more")));
    }
    // A finding stops the file as a whole; reading on shows the others.
    value.unwrap_or(default)
}

fn bytes(
    reader: &mut Reader<'_>,
    entries: &Entries<'_>,
    key: &str,
    allowed: RangeInclusive<u64>,
    default: usize,
) -> usize {
    let Some(at) = entries.get(key) else { return default };
    let value = reader.scalar(at, "a size, 32KiB", size);
    if let Some(value) = value.filter(|value| !allowed.contains(value) && !Omission::SizeBounds.is_made()) {
        let message = format!("{} is out of range", show_size(value));
        let advice = format!("write {} to {}", show_size(*allowed.start()), show_size(*allowed.end()));
        reader.wrong(at, Wrong::new(message, advice));
    }
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
}

fn request_body(reader: &mut Reader<'_>, entries: &Entries<'_>) -> Option<u64> {
    let at = entries.get("request_body")?;
    let limit = reader.scalar(at, "a size, 10MiB, or none", |text| match text {
        NO_LIMIT => Ok(None),
        _ => size(text).map(Some),
    });
    limit.flatten()
}

pub(super) const TIMEOUTS: Keys = Keys {
    known: &[
        Key::new(
            "header",
            Absent::Is("10s"),
            Kind::Text(&SOME_TIME),
            "from the first byte of a request head to its last",
        ),
        Key::new(
            "idle",
            Absent::Is("75s"),
            Kind::Text(&SOME_TIME),
            "a kept connection between requests; a quiet tunnel or event stream",
        ),
        Key::new(
            "body",
            Absent::Is("30s"),
            Kind::Text(&SOME_TIME),
            "for which a client is waited for, at most, until it has sent 4 KiB of a body or taken 4 KiB \
             of a response, or the rest; time that the app takes does not count. Over TCP also for it to \
             acknowledge what was written (on Linux), as what the kernel took over, about 128 KiB beyond \
             what is on its way, counts as taken, and it takes more when half of that has gone; over TLS \
             what the session took over, up to 64 KiB, counts only when the kernel has it. Calls of gRPC \
             (`POST` with `te: trailers`, to an app in HTTP/2) may pause for `timeouts.idle`",
        ),
        Key::new(
            "connect",
            Absent::Is("3s"),
            Kind::Text(&SOME_TIME),
            "to connect to the app, all its addresses together",
        ),
        Key::new(
            "first_byte",
            Absent::Is("60s"),
            Kind::Text(&SOME_TIME),
            "from the request's end to the first byte of the app's answer",
        ),
        Key::new(
            "between_bytes",
            Absent::Is("60s"),
            Kind::Text(&SOME_TIME),
            "between two reads of the app's answer, however little comes; what takes 5 minutes in all is \
             passed on but not stored, and nobody else waits for it",
        ),
        Key::new(
            "drain",
            Absent::Is("30s"),
            Kind::Text(&DURATION),
            "from SIGTERM to the end; a wrapped app has at least 5 s of its own",
        ),
    ],
    foreign: &[
        ("read", "did you mean `first_byte` or `between_bytes`?"),
        ("response", "did you mean `first_byte`?"),
        ("ttfb", "did you mean `first_byte`?"),
        ("upstream", "did you mean `first_byte`?"),
        ("keepalive", "did you mean `idle`?"),
        ("keep_alive", "did you mean `idle`?"),
        ("write", "did you mean `body`?"),
        ("request", "did you mean `header` or `body`?"),
        ("shutdown", "did you mean `drain`?"),
        ("grace", "did you mean `drain`?"),
    ],
};

/// Reads `timeouts`.
pub(super) fn timeouts(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Timeouts> {
    let entries = reader.entries(at, "{ first_byte: 60s }", &TIMEOUTS)?;
    let default = Timeouts::default();
    let mut read = |key, default| timeout(reader, &entries, key, default);
    Some(Timeouts {
        header: read("header", default.header),
        idle: read("idle", default.idle),
        body: read("body", default.body),
        connect: read("connect", default.connect),
        first_byte: read("first_byte", default.first_byte),
        between_bytes: read("between_bytes", default.between_bytes),
        drain: read("drain", default.drain),
    })
}

fn timeout(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str, default: Duration) -> Duration {
    let Some(at) = entries.get(key) else { return default };
    let value = reader.scalar(at, "a duration, 30s", |text| match duration(text)? {
        Duration::ZERO if key != "drain" => {
            let advice = format!("write how long to wait, {}", show_duration(default));
            Err(Wrong::new("0s would wait for nothing and fail every request", advice))
        }
        value => Ok(value),
    });
    value.unwrap_or(default)
}
