//! Requests through the whole proxy, from the client's connection to the origin's: a second reader says what
//! the client meant, and what the origin got. Whatever was answered by the origin must have been one
//! well-formed request there, and the same.
#![no_main]

mod differential {
    pub mod judge;
    pub mod origin;
    pub mod sidecar;
}

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sidecache_fuzz::{
    grammar::{Words, connection},
    strict,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use self::differential::{judge, origin::Origin, sidecar};

/// Whoever begins like this speaks HTTP/2 (RFC 9113 §3.4), and is answered so.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// More than anything takes here: who waits for this long waits for ever.
const HANGS: Duration = Duration::from_secs(5);

const WORDS: Words = Words {
    methods: &[
        "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "gET", "CONNECT", "TRACE", "M-SEARCH",
    ],
    targets: &[
        "/",
        "/a?b=c&d",
        "/cached/x",
        "/cached/y?z",
        "/a%2fb",
        "//a/../b;c",
        "/\u{e9}",
        "http://a/b",
        "http://a",
        "http://b:80/cached/x",
        "HTTPS://a/?q",
        "*",
        "a",
        "/#f",
        "http://a?x",
    ],
    hosts: &["a", "a", "a", "b", "A:80", "[::1]", "a.", "a:8080", "", "u@a", "a b"],
    fields: &[
        (
            "Connection",
            &[
                "close",
                "keep-alive",
                "X-One",
                "x-one, X-Two",
                "te",
                "upgrade",
                "Host",
                "content-length, close",
            ],
        ),
        ("X-One", &["1", "a, b", "\u{e9}", "", "\t x \t"]),
        ("X-Two", &["2", "1"]),
        (
            "Transfer-Encoding",
            &["chunked", "Chunked", "gzip, chunked", "identity", ",chunked", "\x0bchunked"],
        ),
        ("Content-Length", &["0", "3", "+3", "03", "3, 3"]),
        ("Content_Length", &["3"]),
        ("Host", &["a", "evil"]),
        ("Expect", &["100-continue", "x"]),
        ("TE", &["trailers", "trailers, deflate", "gzip"]),
        ("Trailer", &["X-Sum", "Host, X-Sum", "Content-Length"]),
        ("Upgrade", &["websocket", "h2c"]),
        ("Keep-Alive", &["timeout=5"]),
        ("Proxy-Connection", &["keep-alive"]),
        ("X-Forwarded-For", &["1.2.3.4"]),
        ("X-Forwarded-Host", &["evil"]),
        ("Via", &["1.1 x"]),
        ("Cookie", &["a=b", "c"]),
        ("Authorization", &["Basic x"]),
        ("Cache-Control", &["no-cache", "no-store", "only-if-cached"]),
        ("If-None-Match", &["\"x\""]),
        ("Range", &["bytes=0-0"]),
        ("Accept-Encoding", &["gzip", "br;q=0.5, identity"]),
        ("Max-Forwards", &["0", "1", "x"]),
    ],
    bodies: &[
        "",
        "abc",
        "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "0\r\n\r\n",
        "0123456789abcdef0123456789",
    ],
};

fuzz_target!(|data: &[u8]| {
    let bytes = connection(data, &WORDS);
    if bytes.starts_with(HTTP2) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // What runs libFuzzer has left the signal as it was: a write to who has gone would end it.
        let _pipe = signal(SignalKind::pipe()).expect("a handler");
        let (meant, rest) = strict::requests(&bytes);
        let origin = Origin::start();
        let answers = timeout(HANGS, sidecar::send(&bytes, &meant, &rest)).await.expect("the sidecar hangs");
        let got = timeout(HANGS, origin.end()).await.expect("a connection to the origin stays open");
        judge::compare(&meant, &answers, &got);
    });
});
