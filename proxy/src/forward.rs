//! The request as the origin gets it.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, UPGRADE,
    },
};

use crate::{
    admit::{Framing, Target},
    app::Live,
    headers::{
        TRACEPARENT, TRACESTATE, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID, append_via,
        connection_options, has_rewriting, max_forwards, rebuild_forwarded, remove_hop_by_hop_of_request,
        remove_lookalikes, remove_rewriting,
    },
    identity::Trace,
    key::{KeyPolicy, cookies, normalise_codings},
    message::Request,
    policy::{
        freshening::ask,
        partial::ask_for_rest,
        rule::{CacheRule, Credentials, SetCookie},
    },
    upstream::{OnContinue, OnInterim, may_follow_request},
};

/// Whether a request carries a field by which some apps let it be another one, and that is not keyed; or says how it
/// was forwarded in other words than the key of its resource.
#[must_use]
pub fn rewrites(request: &Request, rule: &CacheRule) -> bool {
    let headers = &request.head.headers;
    let mut stated = HeaderMap::new();
    for name in [X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED] {
        stated.extend(headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    let said = stated.clone();
    state_forwarded(&mut stated, &request.head.target, &rule.key.headers);
    stated != said || has_rewriting(headers, &rule.key.headers)
}

/// A request passed on for its own sake.
#[must_use]
pub fn passed<B>(request: &Request, live: &Live, body: B) -> http::Request<B> {
    let mut headers = request.head.headers.clone();
    let upgrade = headers.get(UPGRADE).filter(|_| request.head.connection.wants_upgrade).cloned();
    let trailers = announced_trailers(request);
    remove_hop_by_hop_of_request(&mut headers);
    remove_lookalikes(&mut headers);
    count_forward(&request.head.method, &mut headers);
    if request.trace().is_none_or(|trace| trace.parent.is_none()) {
        headers.remove(TRACESTATE); // W3C Trace Context §3.3: it goes with a `traceparent` that is valid.
    }
    identify(&mut headers, request, &[]);
    if let Some(names) = trailers {
        headers.insert(TRAILER, names);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let mut outgoing = outgoing(request, live, headers, body);
    pass_interims(request, &mut outgoing, &[]);
    if let Some(expectation) = &request.expectation {
        outgoing.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        outgoing.extensions_mut().insert(OnContinue(Arc::clone(&expectation.granted)));
    }
    outgoing
}

/// RFC 9110 §7.6.2: "If the received Max-Forwards value is greater than zero, the intermediary MUST generate an
/// updated Max-Forwards field in the forwarded message". One of zero does not come here; `TRACE` never does.
fn count_forward(method: &Method, headers: &mut HeaderMap) {
    if method == Method::OPTIONS
        && let Some(left) = max_forwards(headers)
    {
        headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Lets the client have what the origin says before its answer, but for the fields `withheld`.
fn pass_interims<B>(request: &Request, outgoing: &mut http::Request<B>, withheld: &'static [HeaderName]) {
    if let Some(sink) = request.interim_sink() {
        outgoing.extensions_mut().insert(OnInterim { sink, withheld });
    }
}

/// The names in `Trailer`, as one line, but for those that `Connection` lists (RFC 9110 §7.6.1), and those that
/// belong in front of a request. The fields that they announce pass with a chunked body, and those that are not
/// announced do not (§6.6.2).
fn announced_trailers(request: &Request) -> Option<HeaderValue> {
    if request.head.framing != Framing::Chunked {
        return None;
    }
    let headers = &request.head.headers;
    let hop_by_hop = connection_options(headers);
    let names = headers.get_all(TRAILER).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    let passes = |name: HeaderName| !hop_by_hop.contains(&name) && may_follow_request(&name);
    let names: Vec<_> =
        names.map(<[u8]>::trim_ascii).filter(|name| HeaderName::from_bytes(name).is_ok_and(passes)).collect();
    HeaderValue::from_bytes(&names.join(&b", "[..])).ok().filter(|names| !names.is_empty())
}

/// Which conditions a request carries whose answer is to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Conditions<'s> {
    /// The client's: it goes alone, and most likely gets an answer for itself.
    Clients,
    /// None: others may share the answer.
    None,
    /// Those of a stored response with these fields, which is renewed if they hold.
    Stored(&'s HeaderMap),
    /// That what a stored part with these fields and so many bytes is a part of still holds: then the
    /// rest of it comes, else all.
    Rest(&'s HeaderMap, u64),
}

/// What the rule strips of the answer must not come to the client before it.
static STRIPPED: [HeaderName; 1] = [SET_COOKIE];

/// A request whose answer is to be stored: without the credentials that the rule neither keys nor
/// lets through.
#[must_use]
pub fn filling<B: Default>(
    request: &Request,
    live: &Live,
    rule: &CacheRule,
    conditions: Conditions<'_>,
) -> http::Request<B> {
    let mut filling = fill_with(request.head.headers.clone(), request, live, rule, conditions);
    let withheld: &[_] = if rule.set_cookie == SetCookie::Strip { &STRIPPED } else { &[] };
    pass_interims(request, &mut filling, withheld);
    filling
}

/// The fields of a request that select the response, and no others: what is keyed and nominated, and
/// how a trusted proxy was asked, which is part of the resource's key.
#[must_use]
pub fn selecting(request: &Request, rule: &CacheRule, nominated: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let cookies = Some(COOKIE).filter(|_| !rule.key.cookies.is_empty());
    let forwarded = request.head.target.forwarded();
    let proto = forwarded.scheme.as_ref().map(|_| X_FORWARDED_PROTO);
    let host = forwarded.host.as_ref().map(|_| X_FORWARDED_HOST);
    let member = forwarded.member().map(|_| FORWARDED);
    let named = rule.key.headers.iter().chain(nominated).chain(&cookies);
    for name in named.chain(&proto).chain(&host).chain(&member) {
        if !headers.contains_key(name) {
            let values = request.head.headers.get_all(name).iter().cloned();
            headers.extend(values.map(|value| (name.clone(), value)));
        }
    }
    remove_unkeyed_credentials(&mut headers, &rule.key);
    headers
}

/// A request of the proxy's own, which no client waits for, with the fields that select the response: so
/// nobody's cookies or cache directives reach the origin in it.
#[must_use]
pub fn refreshing<B: Default>(
    selecting: HeaderMap,
    request: &Request,
    live: &Live,
    rule: &CacheRule,
    conditions: Conditions<'_>,
) -> http::Request<B> {
    let mut refresh = fill_with(selecting, request, live, rule, conditions);
    *refresh.method_mut() = Method::GET;
    refresh
}

fn fill_with<B: Default>(
    mut headers: HeaderMap,
    request: &Request,
    live: &Live,
    rule: &CacheRule,
    conditions: Conditions<'_>,
) -> http::Request<B> {
    remove_hop_by_hop_of_request(&mut headers);
    match conditions {
        Conditions::Clients => {}
        Conditions::None => {
            headers.remove(IF_NONE_MATCH);
            headers.remove(IF_MODIFIED_SINCE);
        }
        Conditions::Stored(stored) => {
            ask(&mut headers, stored);
        }
        Conditions::Rest(stored, held) => ask_for_rest(&mut headers, stored, held),
    }
    state_forwarded(&mut headers, &request.head.target, &rule.key.headers);
    remove_rewriting(&mut headers, &rule.key.headers);
    if !rule.key.headers.contains(&TRACESTATE) {
        headers.remove(TRACESTATE); // In no fixed form, and anybody's.
    }
    identify(&mut headers, request, &rule.key.headers);
    normalise_codings(&mut headers);
    if rule.credentials == Credentials::Ignore {
        remove_unkeyed_credentials(&mut headers, &rule.key);
    }
    outgoing(request, live, headers, B::default())
}

/// Says how a trusted proxy was asked in the words of the resource's key: the answer may depend on no others. What
/// is `keyed` stays as it is. Of anybody else nothing is left of these fields in the end.
fn state_forwarded(headers: &mut HeaderMap, target: &Target, keyed: &[HeaderName]) {
    let told = target.forwarded();
    let scheme = told.scheme.clone().map(|scheme| (X_FORWARDED_PROTO, scheme));
    let host = told.host.clone().map(|host| (X_FORWARDED_HOST, host));
    for (name, value) in scheme.into_iter().chain(host) {
        if headers.contains_key(&name) && !keyed.contains(&name) {
            headers.insert(name, value);
        }
    }
    if headers.contains_key(FORWARDED) && !keyed.contains(&FORWARDED) {
        match told.member() {
            Some(member) => headers.insert(FORWARDED, member),
            None => headers.remove(FORWARDED),
        };
    }
}

/// Tells the app what the request is called here and in traces: no word of a client's own, since even a trace is
/// told in one form. What is `keyed` selects, and stays as it is.
fn identify(headers: &mut HeaderMap, request: &Request, keyed: &[HeaderName]) {
    let trace = request.trace().and_then(Trace::to_value);
    for (name, value) in [(X_REQUEST_ID, request.request_id().to_value()), (TRACEPARENT, trace)] {
        match value {
            _ if keyed.contains(&name) => {}
            Some(value) => {
                headers.insert(name, value);
            }
            None => {
                headers.remove(name);
            }
        }
    }
}

fn outgoing<B>(request: &Request, live: &Live, mut headers: HeaderMap, body: B) -> http::Request<B> {
    let head = &request.head;
    headers.remove(EXPECT); // Stated anew where the client waits for the answer to it.
    headers.remove(CONTENT_LENGTH); // Stated anew from the body.
    headers.insert(HOST, host(request, live));
    rebuild_forwarded(&mut headers, &head.target, request.peer, &live.trusted_proxies);
    append_via(&mut headers, head.version, &live.pseudonym);
    if headers.contains_key(TE) {
        // RFC 9110 §10.1.4: it is for the next hop alone.
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = head.method.clone();
    *outgoing.uri_mut() = Uri::from(head.target.path_and_query().clone());
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = headers;
    if let Some(trace) = request.trace().filter(|trace| trace.is_ours) {
        outgoing.extensions_mut().insert(*trace);
    }
    outgoing
}

/// The client's, so that the app sees the name under which it is known; an HTTP/1.0 request may
/// have none.
fn host(request: &Request, live: &Live) -> HeaderValue {
    let host = request.head.target.host_field();
    if host.is_empty() { live.upstream.host() } else { host.clone() }
}

fn remove_unkeyed_credentials(headers: &mut HeaderMap, keyed: &KeyPolicy) {
    if !keyed.headers.contains(&AUTHORIZATION) {
        headers.remove(AUTHORIZATION);
    }
    if keyed.headers.contains(&COOKIE) {
        return;
    }
    let kept = cookies(headers)
        .filter(|(name, _)| keyed.cookies.iter().any(|cookie| cookie.as_bytes() == *name))
        .map(|(name, value)| [name, b"=", value].concat())
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(COOKIE, value);
    }
}
