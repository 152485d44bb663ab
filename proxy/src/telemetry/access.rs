//! The access log: a line for each request, or for those of interest.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use tracing::Level;

use crate::{
    headers::Peer, identity::RequestId, message::Request, observe::Exchange, policy::rule::Percent,
    routes::Pattern, status::Detail,
};

/// The target of these lines, for the filter.
const TARGET: &str = "access";

/// `access_log:`, which requests get a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How many of those of which there is nothing special to say.
    pub sample: Percent,
    /// From when on it is special that one takes so long.
    pub slow: Duration,
    /// Paths of which only errors are told.
    pub quiet: Vec<Pattern>,
}

impl Default for AccessLog {
    /// Every request.
    fn default() -> Self {
        Self { sample: Percent::ALL, slow: Duration::from_secs(1), quiet: Vec::new() }
    }
}

/// Whether there are any lines: the filter may say that nobody wants them.
#[must_use]
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

impl AccessLog {
    /// Writes the line of one exchange, if it gets one.
    pub fn tell(&self, exchange: &Exchange<'_>) {
        if self.wants(exchange) {
            write(exchange);
        }
    }

    /// By its id, a request that passes several sidecars has a line in all of them or in none.
    fn wants(&self, exchange: &Exchange<'_>) -> bool {
        if exchange.request.is_some_and(|request| self.is_quiet(request)) {
            return is_error(exchange.status) || !exchange.complete;
        }
        exchange.status.is_server_error()
            || !exchange.complete
            || exchange.duration >= self.slow
            || self.sample == Percent::ALL
            || exchange.request_id().is_some_and(|id| self.sample.includes(id.lot()))
    }

    fn is_quiet(&self, request: &Request) -> bool {
        let path = request.head.target.path().as_bytes();
        self.quiet.iter().any(|pattern| pattern.matches(path))
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The query is left out: tokens, session keys and personal data travel there, and a log is read by
/// more people than a database. No field of a request is logged either, but for its `Host`, and what it is
/// called. Where the request could not be read as one, what it said is missing.
fn write(exchange: &Exchange<'_>) {
    let head = exchange.request.map(|request| &request.head);
    tracing::info!(
        target: TARGET,
        method = head.map(|head| head.method.as_str()),
        host = head.map(|head| head.target.authority()),
        path = head.map(|head| head.target.path()),
        version = head.map(|head| debug(head.version)),
        status = exchange.status.as_u16(),
        bytes = exchange.body_bytes,
        duration_ms = milliseconds(exchange.duration),
        outcome = exchange.outcome.word(),
        fwd_status = exchange.outcome.fwd_status().map(|status| status.as_u16()),
        detail = exchange.outcome.detail().map(Detail::as_str),
        rule = exchange.rule.map(AsRef::as_ref),
        peer = address(exchange.peer).map(display),
        request_id = exchange.request_id().map(RequestId::as_str),
        trace_id = exchange.request.and_then(Request::trace).map(|trace| display(trace.id)),
        error = exchange.failed.map(|failed| failed.error),
        cause = exchange.failed.map(|failed| failed.cause.as_str()),
        // Said only where the client did not get all of it.
        complete = (!exchange.complete).then_some(false),
    );
}

/// A client on a unix socket has none.
fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Ip(address) => Some(address),
        Peer::Local => None,
    }
}

/// Milliseconds, exact to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::Value;
    use tracing::{Event, Subscriber};
    use tracing_subscriber::{
        Layer,
        layer::{Context, SubscriberExt},
    };

    use super::*;
    use crate::{
        admit::{Head, HeadLimits, Scheme},
        identity::Identity,
        interim::Interims,
        message::Failed,
        status::{Forward, Fwd, Outcome},
        telemetry::log::{Format, tests::written},
    };

    const REQUEST: &str = "GET /products?token=s3cret HTTP/1.1\r\nHost: shop.example\r\n\
        Cookie: id=s3cret\r\nAuthorization: Bearer s3cret\r\nX-Request-Id: from-the-edge\r\n\
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

    fn request(text: &str) -> Request {
        let limits = HeadLimits { bytes: 1000, fields: 10, target: 100 };
        let head = Head::parse(&Bytes::from(text.to_owned()), Scheme::Http, &limits).unwrap();
        let (peer, identity) = (Peer::Ip("192.0.2.7".parse().unwrap()), Identity::new(true, false));
        Request { head, peer, identity, expectation: None, interims: Interims::default() }
    }

    /// An exchange of which there is nothing special to say.
    fn exchange(request: Option<&Request>) -> Exchange<'_> {
        Exchange {
            request,
            unread: None,
            peer: Peer::Ip("192.0.2.7".parse().unwrap()),
            status: StatusCode::OK,
            outcome: Outcome::Forward(Forward::because(Fwd::Bypass, Some(Detail::Cookie))),
            rule: None,
            spared: Duration::ZERO,
            body_bytes: 1234,
            duration: Duration::from_micros(1501),
            complete: true,
            failed: None,
        }
    }

    fn told(access: &AccessLog, exchange: &Exchange<'_>) -> String {
        written(Format::Json, "info", false, || access.tell(exchange))
    }

    /// The line of an exchange that has every field.
    fn full_line() -> Value {
        let request = request(REQUEST);
        let (rule, failed) = (Arc::from("/products"), Failed { error: "e", cause: "c".into() });
        let forward = Forward {
            status: Some(StatusCode::NOT_MODIFIED),
            ..Forward::because(Fwd::Bypass, Some(Detail::Cookie))
        };
        let exchange = Exchange {
            rule: Some(&rule),
            outcome: Outcome::Forward(forward),
            failed: Some(&failed),
            complete: false,
            ..exchange(Some(&request))
        };
        serde_json::from_str(&told(&AccessLog::default(), &exchange)).unwrap()
    }

    #[test]
    fn one_object_a_request() {
        let json = full_line();
        for (field, value) in [
            ("target", "access"),
            ("method", "GET"),
            ("host", "shop.example"),
            ("path", "/products"),
            ("version", "HTTP/1.1"),
            ("outcome", "bypass"),
            ("detail", "cookie"),
            ("rule", "/products"),
            ("peer", "192.0.2.7"),
            ("request_id", "from-the-edge"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ] {
            assert_eq!(json[field], value, "{field} in {json}");
        }
        assert_eq!((json["status"].as_u64(), json["bytes"].as_u64()), (Some(200), Some(1234)));
        assert_eq!(json["duration_ms"].as_f64(), Some(1.501));
        let time = json["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    /// The fields that the code of a line names, whether they are in it or not.
    #[derive(Clone, Default)]
    struct Named(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Named {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let fields = event.metadata().fields().iter().map(|field| field.name().to_owned());
            self.0.lock().unwrap().extend(fields);
        }
    }

    #[test]
    fn the_fields_are_those_of_the_readme() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let (_, table) = readme.split_once("| field | type | present |\n|---|---|---|\n").expect("the table");
        let cells = |row: &str| row.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
        let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).map(cells).collect();
        let listed: BTreeMap<_, _> = rows.iter().map(|row| (row[1].as_str(), row[2].as_str())).collect();
        assert_eq!(listed.len(), rows.len(), "a field is listed twice");

        let line = full_line();
        let kind = |value: &Value| match value {
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            _ => "none",
        };
        let has: BTreeMap<_, _> =
            line.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), kind(value))).collect();
        assert_eq!(listed, has);

        let named = Named::default();
        let subscriber = tracing_subscriber::registry().with(named.clone());
        tracing::subscriber::with_default(subscriber, || AccessLog::default().tell(&exchange(None)));
        let mut known = named.0.lock().unwrap().clone();
        known.extend(["timestamp", "level", "target"].map(str::to_owned));
        known.sort();
        assert_eq!(known, listed.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn what_may_be_secret_is_never_logged() {
        let request = request(REQUEST);
        for format in [Format::Human, Format::Json] {
            let tell = || AccessLog::default().tell(&exchange(Some(&request)));
            let text = written(format, "trace", false, tell);
            assert!(text.contains("/products") && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn what_was_cut_or_could_not_be_read_says_so() {
        let id = RequestId::make();
        let exchange = Exchange { unread: Some(&id), ..exchange(None) };
        let text = told(&AccessLog::default(), &Exchange { complete: false, ..exchange });
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["complete"], json.get("path")), (&false.into(), None), "{text}");
        assert_eq!(json["request_id"], id.as_str());
        let text = written(Format::Human, "info", false, || AccessLog::default().tell(&exchange));
        assert!(!text.contains("complete") && text.contains("outcome=\"bypass\""), "{text}");
    }

    fn sampling(percent: u8) -> AccessLog {
        AccessLog { sample: Percent::new(percent).unwrap(), ..AccessLog::default() }
    }

    #[test]
    fn a_sample_has_its_share_and_all_that_went_wrong() {
        let some = sampling(10);
        let requests: Vec<_> = (0..500).map(|_| request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        let lines = requests.iter().filter(|request| some.wants(&exchange(Some(request)))).count();
        assert!((20..100).contains(&lines), "{lines} of 500");

        let none = sampling(0);
        let usual = exchange(Some(&requests[0]));
        assert_eq!(told(&none, &usual), "");
        for special in [
            Exchange { status: StatusCode::BAD_GATEWAY, ..usual },
            Exchange { complete: false, ..usual },
            Exchange { duration: Duration::from_secs(1), ..usual },
        ] {
            assert!(told(&none, &special).contains("\"access\""), "{special:?}");
        }
        let client_error = Exchange { status: StatusCode::NOT_FOUND, ..usual };
        assert_eq!(told(&none, &client_error), "", "anybody can cause any number of these");
    }

    proptest! {
        #[test]
        fn sidecars_agree_on_who_is_in_the_sample(id in "[a-zA-Z0-9-]{1,60}", percent in 0u8..=100) {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n");
            let (here, there) = (request(&text), request(&text));
            let access = sampling(percent);
            let wanted = access.wants(&exchange(Some(&here)));
            prop_assert_eq!(wanted, access.wants(&exchange(Some(&there))));
            prop_assert!(!wanted || sampling(percent.saturating_add(1).min(100)).wants(&exchange(Some(&here))));
        }
    }

    #[test]
    fn of_quiet_paths_only_errors_are_told() {
        let quiet = ["/healthz", "/probes/*"].map(|path| Pattern::parse(path).unwrap()).to_vec();
        let access = AccessLog { quiet, slow: Duration::ZERO, ..AccessLog::default() };
        for (path, is_quiet) in [
            ("/healthz", true),
            ("/healthz?deep=1", true),
            ("/probes/db", true),
            ("/healthz/db", false),
            ("/", false),
        ] {
            let request = request(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let usual = exchange(Some(&request));
            assert_eq!(told(&access, &usual).is_empty(), is_quiet, "{path}");
            let missing = Exchange { status: StatusCode::NOT_FOUND, ..usual };
            for wrong in [missing, Exchange { complete: false, ..usual }] {
                assert!(!told(&access, &wrong).is_empty(), "{path}");
            }
        }
    }
}
