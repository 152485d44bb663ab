//! Who may ask what: the checks before every answer.
//!
//! *Host.* A page in an operator's browser can have its own name resolve to 127.0.0.1 and then read
//! what listens there (DNS rebinding). Its requests carry that name, so only requests that name the
//! listener itself are answered; others get 421. Who presents the token is exempt, because such a
//! page cannot: so a Prometheus may scrape the listener under any name. Where there is a token, so is the
//! dashboard's page, which is the same for everybody: what it shows, it asks for with the token.
//!
//! *Token.* All but health and the dashboard's page needs it where one is set; others get 401.
//!
//! *Site.* A page from elsewhere can have an operator's browser send a request here under the listener's
//! own name. Browsers say where such a request comes from (`Sec-Fetch-Site`, `Origin`); if it is not
//! from a page of this very listener, and not of a safe method, it gets 403, with the token or without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::{
    extract::{Extension, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode, Version,
    header::{
        AUTHORIZATION, CACHE_CONTROL, HOST, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
    uri::Authority,
};

use super::{dashboard, problem::Problem, token::Token};
use crate::sabotage::Omission;

/// Paths that need no token.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the checks know of one connection.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The end of it that is ours; nothing for a unix socket, which no browser can reach.
    pub(super) local: Option<SocketAddr>,
    /// The token, where one is set.
    pub(super) token: Option<Token>,
}

/// The middleware that asks the guard.
pub(super) async fn check(Extension(guard): Extension<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.admits(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Host,
    /// With the port that it was asked at.
    NotThisHost(u16),
    Token,
    OtherSite,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Host => Problem::new(StatusCode::BAD_REQUEST, "one Host field is needed").into_response(),
            Self::NotThisHost(port) => {
                let text = format!(
                    "the listener is at port {port}: ask by its own address or localhost with that port, as by \
                     `ssh -L {port}:127.0.0.1:{port}`; with the token any name will do"
                );
                Problem::new(StatusCode::MISDIRECTED_REQUEST, text).into_response()
            }
            Self::Token => {
                let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"sidecache\"")];
                let text = "the admin token is needed, as Authorization: Bearer …";
                (challenge, Problem::new(StatusCode::UNAUTHORIZED, text)).into_response()
            }
            Self::OtherSite => {
                let text = "pages of other sites may not ask for this";
                Problem::new(StatusCode::FORBIDDEN, text).into_response()
            }
        }
    }
}

impl Guard {
    fn admits<B>(&self, request: &http::Request<B>) -> Result<(), Refusal> {
        let known = self.token.as_ref().map(|token| presents(request.headers(), token));
        let page = dashboard::is_asked_for(request);
        if known.is_none() || known == Some(false) && !page {
            self.is_for_us(request)?;
        }
        let open = page || OPEN.contains(&request.uri().path());
        if known == Some(false) && !open {
            return Err(Refusal::Token);
        }
        let harmless = request.method().is_safe() || is_from_here(request);
        if harmless { Ok(()) } else { Err(Refusal::OtherSite) }
    }

    fn is_for_us<B>(&self, request: &http::Request<B>) -> Result<(), Refusal> {
        let Some(local) = self.local else { return Ok(()) };
        let fields = request.headers().get_all(HOST);
        let mut fields = fields.iter();
        let authority = match (request.uri().authority(), fields.next(), fields.next()) {
            (_, _, Some(_)) => return Err(Refusal::Host),
            (Some(authority), _, None) => authority.clone(),
            (None, Some(field), None) => Authority::try_from(field.as_bytes()).map_err(|_| Refusal::Host)?,
            // No browser sends HTTP/1.0.
            (None, None, None) if request.version() == Version::HTTP_10 => return Ok(()),
            (None, None, None) => return Err(Refusal::Host),
        };
        if names(&authority, local) { Ok(()) } else { Err(Refusal::NotThisHost(local.port())) }
    }
}

/// Whether no browser sends it, or for a page that was loaded under the name that is asked now.
fn is_from_here<B>(request: &http::Request<B>) -> bool {
    let headers = request.headers();
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let own_site = sites.all(|site| site == "same-origin" || site == "none");
    let asked = request.uri().authority().map(Authority::as_str);
    let asked = asked.map(str::as_bytes).or_else(|| headers.get(HOST).map(HeaderValue::as_bytes));
    let mut origins = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes);
    own_site && origins.all(|origin| asked.is_some_and(|asked| is_origin_of(origin, asked)))
}

/// Whether a page of `origin` was loaded from `authority`. By whichever scheme: something in front of us
/// may speak TLS.
fn is_origin_of(origin: &[u8], authority: &[u8]) -> bool {
    let of = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|a| a.eq_ignore_ascii_case(authority));
    of(b"http://") || of(b"https://")
}

/// Whether an authority is `local`, or a name of this machine for itself, with the right port.
fn names(authority: &Authority, local: SocketAddr) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_host = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| {
            ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST || ip == local.ip().to_canonical()
        });
    let is_host = is_host || Omission::AdminHost.is_made() && host.starts_with("localhost");
    // Nothing in front of the host (userinfo), and behind it the port alone: `[::1]0:9090` is no name.
    let behind = authority.as_str().strip_prefix(authority.host());
    let is_whole = behind.is_some_and(|port| port.is_empty() || port.starts_with(':'));
    is_host && is_whole && authority.port_u16().unwrap_or(80) == local.port()
}

/// Whether the request carries the token, in the one `Authorization` field that it has.
fn presents(headers: &HeaderMap, token: &Token) -> bool {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, credentials)) = field.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && token.matches(credentials.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn answer(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.admits(&request.body(()).unwrap()).err()
    }

    fn listening(local: &str) -> Guard {
        Guard { local: Some(local.parse().unwrap()), token: None }
    }

    #[test]
    fn only_the_listener_s_own_names_are_answered() {
        let guard = listening("192.0.2.7:9090");
        for host in ["192.0.2.7:9090", "localhost:9090", "LocalHost:9090", "127.0.0.1:9090", "[::1]:9090"] {
            assert_eq!(answer(&guard, "/metrics", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example:9090",
            "localhost.evil.example:9090",
            "192.0.2.8:9090",
            "localhost",
            "localhost:80",
            "192.0.2.7",
            "evil@localhost:9090",
            "[::1]0:9090",
        ] {
            for path in ["/metrics", "/readyz"] {
                assert_eq!(
                    answer(&guard, path, &[("host", host)]),
                    Some(Refusal::NotThisHost(9090)),
                    "{host}"
                );
            }
        }
        assert_eq!(answer(&listening("127.0.0.1:80"), "/", &[("host", "localhost")]), None);
        assert_eq!(answer(&listening("[::ffff:192.0.2.7]:1"), "/", &[("host", "192.0.2.7:1")]), None);
    }

    #[test]
    fn one_host_counts() {
        let guard = listening("127.0.0.1:9090");
        assert_eq!(answer(&guard, "/", &[]), Some(Refusal::Host));
        assert_eq!(answer(&guard, "/", &[("host", "localhost:9090"), ("host", "evil")]), Some(Refusal::Host));
        let own = [("host", "localhost:9090")];
        assert_eq!(answer(&guard, "http://evil.example:9090/", &own), Some(Refusal::NotThisHost(9090)));
        let mut old = Request::get("/").body(()).unwrap();
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(guard.admits(&old).err(), None);
        assert_eq!(answer(&Guard { local: None, token: None }, "/", &[("host", "x")]), None);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let token = Token::new("0123456789abcdef").unwrap();
        let guards = [
            listening("127.0.0.1:9090"),
            Guard { local: None, token: None },
            Guard { local: None, token: Some(token) },
        ];
        let own = [("host", "localhost:9090"), ("authorization", "Bearer 0123456789abcdef")];
        let post = |guard: &Guard, method: &str, fields: &[(&str, &str)]| {
            let request = Request::builder().method(method).uri("/purge");
            let fields = own.iter().chain(fields);
            let request = fields.fold(request, |request, (name, value)| request.header(*name, *value));
            guard.admits(&request.body(()).unwrap()).err()
        };
        for guard in &guards {
            for (name, value) in [
                ("origin", "http://evil.example"),
                ("origin", "http://evil.example:9090"),
                ("origin", "http://localhost"),
                ("origin", "http://localhost:90900"),
                ("origin", "http://127.0.0.1:9090"),
                ("origin", "null"),
                ("origin", ""),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-site", ""),
            ] {
                for method in ["POST", "PUT", "DELETE", "PURGE"] {
                    let refusal = post(guard, method, &[(name, value)]);
                    assert_eq!(refusal, Some(Refusal::OtherSite), "{method} {name}: {value}");
                }
                assert_eq!(post(guard, "GET", &[(name, value)]), None, "{name}: {value}");
            }
            for fields in [
                &[][..],
                &[("origin", "http://LOCALHOST:9090"), ("sec-fetch-site", "same-origin")],
                &[("origin", "https://localhost:9090")],
                &[("sec-fetch-site", "none")],
            ] {
                assert_eq!(post(guard, "POST", fields), None, "{fields:?}");
            }
            let twice = [("origin", "http://localhost:9090"), ("origin", "http://evil.example")];
            assert_eq!(post(guard, "POST", &twice), Some(Refusal::OtherSite));
        }
    }

    #[test]
    fn a_token_opens_everything_and_nothing_else_does() {
        let token = Token::new("0123456789abcdef").unwrap();
        let guard = Guard { local: Some("192.0.2.7:9090".parse().unwrap()), token: Some(token) };
        let own = ("host", "192.0.2.7:9090");
        for right in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef"] {
            assert_eq!(answer(&guard, "/metrics", &[own, ("authorization", right)]), None);
            assert_eq!(
                answer(&guard, "/metrics", &[("host", "sidecar:9090"), ("authorization", right)]),
                None
            );
        }
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"]
        {
            let headers = [own, ("authorization", wrong)];
            assert_eq!(answer(&guard, "/metrics", &headers), Some(Refusal::Token), "{wrong}");
            assert_eq!(answer(&guard, "/readyz", &headers), None, "{wrong}");
        }
        let twice = [own, ("authorization", "Bearer 0123456789abcdef"), ("authorization", "Bearer x")];
        assert_eq!(answer(&guard, "/", &twice), Some(Refusal::Token));
        assert_eq!(answer(&guard, "/", &[own]), Some(Refusal::Token));
    }
}
