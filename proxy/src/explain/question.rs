//! What is asked: a request that was never sent, read as one that was.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header::HOST};
use ipnet::IpNet;
use thiserror::Error;

use crate::{
    admit::{Head, HeadLimits, Refusal, Scheme},
    headers::{Peer, X_FORWARDED_PROTO},
    identity::Identity,
    interim::Interims,
    message::Request,
    purge::{PurgeUrlError, named, spellings},
};

/// A request to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Whether the app is asked what it would answer.
    pub ask_origin: bool,
    scheme: Scheme,
    host: HeaderValue,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why something is no question, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// No URL that clients could ask for.
    #[error("url: {0}")]
    Url(#[from] PurgeUrlError),
    /// No method.
    #[error("method: `{0}` is none: write GET, HEAD, POST, …")]
    Method(String),
    /// The method behind the URL.
    #[error("the method comes first: sidecache explain {0} {1}")]
    Order(String, String),
    /// No field.
    #[error("headers: `{0}` is no field: write [\"Name\", \"value\"], without line ends")]
    Header(String),
}

impl Question {
    /// Reads one: `http://host[:port]/path?query`, or `https://…`, and the fields of the request.
    ///
    /// # Errors
    /// What no client could have sent.
    pub fn new(
        method: &str,
        url: &str,
        headers: &[(String, String)],
        ask_origin: bool,
    ) -> Result<Self, QuestionError> {
        let (scheme, host, rest) = named(url)?;
        if rest.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err(PurgeUrlError::Byte(url.to_owned()).into());
        }
        let path = spellings(rest).into_iter().next().unwrap_or_default();
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| QuestionError::Method(method.to_owned()))?;
        let headers = headers.iter().map(field).collect::<Result<_, _>>()?;
        Ok(Self { method, ask_origin, scheme, host, path, headers })
    }

    /// The URL that it is about: with the `Host` of its fields, if they have one.
    #[must_use]
    pub fn url(&self) -> String {
        let host = String::from_utf8_lossy(self.host().as_bytes()).into_owned();
        format!("{}://{host}{}", self.scheme.as_str(), self.path)
    }

    fn host(&self) -> &HeaderValue {
        let stated = self.headers.iter().find(|(name, _)| name == HOST);
        stated.map_or(&self.host, |(_, value)| value)
    }

    /// The request that a client would have sent, as it would have been read. Where there are trusted proxies, it
    /// comes from one of them, and a URL does not say how: the likeliest request first, and which others it may be.
    ///
    /// # Errors
    /// What would have been refused.
    pub fn requests(
        &self,
        limits: &HeadLimits,
        trusted: &[IpNet],
    ) -> Result<(Request, Vec<Request>), Refusal> {
        let Some(proxy) = trusted.first().map(IpNet::addr) else {
            return Ok((self.read(limits, self.scheme, None, None)?, Vec::new()));
        };
        let says_how = self.headers.iter().any(|(name, _)| name == X_FORWARDED_PROTO);
        let proto = (!says_how).then_some(self.scheme);
        let tls = (Scheme::Https, proto);
        // Without a field that says so, it was asked for as we were.
        let others = if says_how { vec![tls] } else { vec![(self.scheme, None), tls] };
        let read = |scheme, proto| self.read(limits, scheme, Some(proxy), proto);
        let others = others.into_iter().filter_map(|(scheme, proto)| read(scheme, proto).ok());
        Ok((read(Scheme::Http, proto)?, others.collect()))
    }

    /// As a listener of that scheme would have read it, of a trusted proxy that says how it was asked.
    fn read(
        &self,
        limits: &HeadLimits,
        scheme: Scheme,
        proxy: Option<IpAddr>,
        proto: Option<Scheme>,
    ) -> Result<Request, Refusal> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: ", self.method, self.path).into_bytes();
        bytes.extend_from_slice(self.host().as_bytes());
        let mut put = |name: &HeaderName, value: &[u8]| {
            for part in [b"\r\n", name.as_str().as_bytes(), b": ", value] {
                bytes.extend_from_slice(part);
            }
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| name != HOST) {
            put(name, value.as_bytes());
        }
        if let Some(proto) = proto {
            put(&X_FORWARDED_PROTO, proto.as_str().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let mut head = Head::parse(&Bytes::from(bytes), scheme, limits)?;
        if proxy.is_some() {
            head.target.trust(&head.headers);
        }
        let peer = Peer::Ip(proxy.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let identity = Identity::new(proxy.is_some(), false);
        Ok(Request { head, peer, identity, expectation: None, interims: Interims::default() })
    }
}

fn field((name, value): &(String, String)) -> Result<(HeaderName, HeaderValue), QuestionError> {
    let read = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
    // A value may be a secret.
    read.ok_or_else(|| QuestionError::Header(name.escape_debug().to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 16, target: 256 };

    fn question(url: &str, headers: &[(&str, &str)]) -> Question {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Question::new("GET", url, &headers, false).unwrap()
    }

    #[test]
    fn it_is_read_as_a_request_of_a_client() {
        let asked = question("http://Shop.Example/a?b=1", &[("Cookie", "c=1"), ("Accept", "x")]);
        let head = asked.requests(&LIMITS, &[]).unwrap().0.head;
        assert_eq!((head.target.authority(), head.target.path()), ("shop.example", "/a"));
        assert_eq!((head.target.query(), head.target.scheme()), (Some("b=1"), Scheme::Http));
        assert_eq!(head.headers.get("cookie").unwrap(), "c=1");
        assert_eq!(asked.url(), "http://shop.example/a?b=1");
        let named = question("http://127.0.0.1:8080/a", &[("host", "shop.example")]);
        assert_eq!(named.requests(&LIMITS, &[]).unwrap().0.head.target.authority(), "shop.example");
        assert_eq!(named.url(), "http://shop.example/a");
        assert!(question("http://a/x//y", &[]).requests(&LIMITS, &[]).unwrap().0.head.target.is_ambiguous());
    }

    #[test]
    fn behind_a_trusted_proxy_it_is_one_that_this_passes_on() {
        let trusted: Vec<IpNet> = vec!["192.0.2.0/24".parse().unwrap()];
        let read = |url: &str, headers: &[(&str, &str)]| {
            let (first, others) = question(url, headers).requests(&LIMITS, &trusted).unwrap();
            let told = |request: &Request| {
                assert!(request.peer.is_trusted(&trusted));
                let target = &request.head.target;
                let proto =
                    target.forwarded().scheme.as_ref().map(|scheme| scheme.to_str().unwrap().to_owned());
                format!("{} {}", target.scheme().as_str(), proto.unwrap_or_default())
            };
            [&first].into_iter().chain(&others).map(told).collect::<Vec<_>>()
        };
        assert_eq!(read("https://shop.example/a", &[]), ["http https", "https ", "https https"]);
        assert_eq!(read("http://shop.example/a", &[]), ["http http", "http ", "https http"]);
        assert_eq!(read("http://a/", &[("X-Forwarded-Proto", "wss")]), ["http wss", "https wss"]);
        let (alone, others) = question("https://a/", &[]).requests(&LIMITS, &[]).unwrap();
        assert_eq!((alone.head.target.scheme(), others.len()), (Scheme::Https, 0));
    }

    #[test]
    fn what_no_client_could_send_is_no_question() {
        let refused = |method: &str, url: &str, name: &str, value: &str| {
            let headers = [(name.to_owned(), value.to_owned())];
            Question::new(method, url, &headers, false).unwrap_err().to_string()
        };
        assert!(refused("GET", "/a", "a", "b").contains("url: `/a` names no host"));
        assert!(refused("GET", "http://a/\r\nx: y", "a", "b").contains("percent-encode"));
        assert!(refused("G T", "http://a/", "a", "b").contains("method: `G T`"));
        for (name, value) in [("a b", "c"), ("a", "b\r\nc: d"), ("", "b")] {
            let told = refused("GET", "http://a/", name, value);
            assert!(told.starts_with("headers: ") && !told.contains("c: d"), "{told}");
        }
    }

    #[test]
    fn what_would_be_refused_is() {
        assert!(question("http://a/", &[("content-length", "x")]).requests(&LIMITS, &[]).is_err());
        assert!(question(&format!("http://a/{}", "b".repeat(300)), &[]).requests(&LIMITS, &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(url in "(http://a/)?\\PC{0,16}", method in "\\PC{0,4}", name in "\\PC{0,4}", value in "\\PC{0,4}") {
            if let Ok(question) = Question::new(&method, &url, &[(name, value)], false) {
                let _ = (question.requests(&LIMITS, &[]), question.url());
            }
        }
    }
}
