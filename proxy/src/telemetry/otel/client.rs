//! The way to the collector: over the client that asks the app, and so with the same TLS.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::{
    address::UpstreamUrl,
    limits::{Limits, Timeouts},
    upstream::{Settings, Upstream},
};

/// What OTLP has for the time of one export.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a collector's answer, which is a few words.
const LONGEST: usize = 64 * 1024;

/// Sends what a thread of the exporter's own brings, in the runtime of ours.
pub(super) struct Client {
    runtime: Handle,
    collector: OnceLock<Arc<Upstream>>,
}

impl Client {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, collector: OnceLock::new() }
    }

    /// The collector of this URL, which is always the same.
    fn collector(&self, uri: &Uri) -> Result<Arc<Upstream>, HttpError> {
        if let Some(collector) = self.collector.get() {
            return Ok(Arc::clone(collector));
        }
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let url = UpstreamUrl::parse(&format!("{scheme}://{}", authority.map_or("", |name| name.as_str())))?;
        let timeouts = Timeouts { first_byte: PATIENCE, between_bytes: PATIENCE, ..Timeouts::default() };
        let _inside = self.runtime.enter();
        let collector = Upstream::new(Settings::new(url, &Limits::default(), &timeouts))?;
        Ok(Arc::clone(self.collector.get_or_init(|| Arc::new(collector))))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.collector).finish()
    }
}

/// What the trait's macro makes of an asynchronous method.
type Sent<'f> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>;

impl HttpClient for Client {
    fn send_bytes<'c, 'f>(&'c self, request: Request<Bytes>) -> Sent<'f>
    where
        'c: 'f,
        Self: 'f,
    {
        let sent =
            self.collector(request.uri()).map(|collector| self.runtime.spawn(send(collector, request)));
        Box::pin(async move { sent?.await? })
    }
}

async fn send(collector: Arc<Upstream>, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut request = request.map(Full::new);
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.headers_mut().insert(HOST, collector.host());
    let fetched = collector.send(request).await?;
    let body = Limited::new(fetched.body, LONGEST).collect().await?.to_bytes();
    Ok(Response::from_parts(fetched.head, body))
}
