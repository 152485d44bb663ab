//! The request as it leaves: one body type for all, and a framing that says the same as the body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, Parts, Uri},
};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use super::{
    socket::Activity,
    trailers::Passing,
    upload::{Failed, Upload},
};
use crate::{
    admit::Scheme,
    message::{BoxError, PollFrame},
};

/// A request body of any kind, so that one pool serves all of them. None costs no allocation.
#[derive(Default)]
pub(super) struct Outgoing {
    body: Option<UnsyncBoxBody<Bytes, BoxError>>,
    trailers: Passing,
    /// Who wants to know how far it is, once it is on its way.
    upload: Option<Arc<Upload>>,
}

impl Outgoing {
    fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let body = (!body.is_end_stream()).then(|| body.map_err(Into::into).boxed_unsync());
        Self { body, trailers: Passing::default(), upload: None }
    }

    /// Lets the one who waits for the answer see how far it is, if there is anything to see. What was seen of
    /// it before, on a connection that did not take it, ends.
    pub(super) fn watch(&mut self, activity: &Arc<Activity>) -> Option<Arc<Upload>> {
        self.upload = self.body.is_some().then(|| Arc::new(Upload::new(Arc::clone(activity))));
        self.upload.clone()
    }

    /// A piece of it is on its way.
    pub(super) fn moved(&self) {
        self.tell(Upload::moved);
    }

    fn tell(&self, tell: impl FnOnce(&Upload)) {
        if let Some(upload) = &self.upload {
            tell(upload);
        }
    }
}

/// Whoever sends it keeps it until all of it is sent.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.tell(Upload::ended);
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        Poll::Ready(match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => self.trailers.pass(frame).map(Ok),
            Some(Err(error)) => {
                self.tell(|upload| upload.failed(error));
                Some(Err(Failed.into()))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Readies a request for the wire: our own HTTP version, and framing fields that agree with the body.
pub(super) fn prepare<B>(request: Request<B>) -> Request<Outgoing>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut request = request.map(Outgoing::new);
    request.body_mut().trailers = Passing::of_request(request.headers());
    *request.version_mut() = Version::HTTP_11;
    let length = request.body().size_hint().exact();
    let means_a_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    frame(request.headers_mut(), length, means_a_body);
    request
}

/// States the length where it is known and `chunked` where not. Left to itself, hyper sends no body at all
/// for a GET of unknown length, and leaves a `Content-Length` standing that an emptied body belies.
fn frame(headers: &mut HeaderMap, length: Option<u64>, means_a_body: bool) {
    headers.remove(TRANSFER_ENCODING);
    match length {
        Some(0) if !means_a_body && !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if headers.contains_key(CONTENT_LENGTH) => {}
        None => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// The same for HTTP/2, which has the host in the target, frames that say where a body ends, and nothing that is
/// about a connection (RFC 9113 §8.2.2, §8.3.1). Nor is anything upgraded.
pub(super) fn for_http2(request: &mut Request<Outgoing>, scheme: Scheme) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        request.headers_mut().remove(name);
    }
    *request.version_mut() = Version::HTTP_2;
    let absolute = request.headers().get(HOST).and_then(|host| absolute(request.uri(), host, scheme));
    if let Some(uri) = absolute {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
}

fn absolute(target: &Uri, host: &HeaderValue, scheme: Scheme) -> Option<Uri> {
    let mut parts = Parts::default();
    parts.scheme = scheme.as_str().parse().ok();
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    parts.path_and_query = target.path_and_query().cloned();
    Uri::from_parts(parts).ok()
}

/// Whether asking twice changes nothing at the origin (RFC 9110 §9.2.1).
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The same request, with no body (the default one) in the place of its own.
#[must_use]
pub fn without_body<B: Default>(request: &Request<B>) -> Request<B> {
    let mut copy = Request::new(B::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn framed(method: Method, fields: &[(&str, &str)], body: Given) -> (Option<String>, bool) {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = match body {
            Given::Nothing => prepare(request.body(Empty::new()).unwrap()),
            Given::Text(text) => prepare(request.body(Full::from(text)).unwrap()),
            Given::Unknown => prepare(request.body(unknown()).unwrap()),
        };
        let length = request.headers().get(CONTENT_LENGTH).map(|v| v.to_str().unwrap().to_owned());
        (length, request.headers().contains_key(TRANSFER_ENCODING))
    }

    #[derive(Clone, Copy)]
    enum Given {
        Nothing,
        Text(&'static str),
        Unknown,
    }

    /// A body that does not know its length.
    fn unknown() -> impl Body<Data = Bytes, Error = std::io::Error> + Send + 'static {
        struct Unknown(Option<Bytes>);
        impl Body for Unknown {
            type Data = Bytes;
            type Error = std::io::Error;
            fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> PollFrame<std::io::Error> {
                Poll::Ready(self.0.take().map(|data| Ok(http_body::Frame::data(data))))
            }
        }
        Unknown(Some(Bytes::from_static(b"hi")))
    }

    #[test]
    fn the_framing_says_what_the_body_is() {
        let length = |n: &str| (Some(n.to_owned()), false);
        assert_eq!(framed(Method::GET, &[], Given::Nothing), (None, false));
        assert_eq!(framed(Method::POST, &[], Given::Nothing), length("0"));
        assert_eq!(framed(Method::DELETE, &[("content-length", "0")], Given::Nothing), length("0"));
        assert_eq!(framed(Method::POST, &[], Given::Text("hello")), length("5"));
        assert_eq!(framed(Method::POST, &[], Given::Unknown), (None, true));
        assert_eq!(framed(Method::GET, &[], Given::Unknown), (None, true));
        assert_eq!(framed(Method::POST, &[("content-length", "2")], Given::Unknown), length("2"));
    }

    #[test]
    fn a_length_the_body_belies_is_corrected() {
        let none = (Some("0".to_owned()), false);
        assert_eq!(framed(Method::GET, &[("content-length", "35")], Given::Nothing), none);
        let coded = [("transfer-encoding", "gzip")];
        assert_eq!(framed(Method::POST, &coded, Given::Text("hello")), (Some("5".to_owned()), false));
    }
}
