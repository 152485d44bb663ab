//! Spans of requests, and of what is fetched for them, exported by OTLP.
//!
//! Only in builds with the feature `otel`, and where the environment names a collector. What is exported, how much of
//! it and to whom is said by the variables `OTEL_*` that every exporter knows. Ids are our own: the span of a request is
//! known to the app before it is over, and spans are made only when they are.

mod client;

use std::{
    borrow::Cow,
    env,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Method;
use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{
        SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceContextExt, TraceFlags,
        TraceId as OtelTraceId, TraceState,
    },
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{
        BatchSpanProcessor, Config, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks,
        SpanProcessor,
    },
};
use thiserror::Error;
use tokio::{runtime::Handle, task::spawn_blocking};

use self::client::Client;
use crate::{
    headers::{PSEUDONYM, Peer},
    identity::{
        SpanId, Trace,
        spans::{FetchSpan, Recorder, record_by},
    },
    message::Request,
    observe::{Exchange, Observer},
    status::Detail,
};

/// How long the last spans may take to be sent.
const LAST: Duration = Duration::from_secs(2);

/// Why spans cannot be exported as the environment says.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct ExportError(#[from] ExporterBuildError);

/// Exports spans.
#[derive(Debug)]
pub struct Spans {
    processor: BatchSpanProcessor,
    sampler: Box<dyn ShouldSample>,
    scope: InstrumentationScope,
}

impl Spans {
    /// Records spans from now on, in the whole process. Nothing: the environment names no collector. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// What the environment says cannot be done.
    pub fn start() -> Result<Option<Arc<Self>>, ExportError> {
        if !is_asked_for(|name| env::var(name).ok()) {
            return Ok(None);
        }
        let exporter =
            SpanExporter::builder().with_http().with_http_client(Client::new(Handle::current())).build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource());
        let sampler = Config::default().sampler;
        let scope = InstrumentationScope::builder(PSEUDONYM).with_version(env!("CARGO_PKG_VERSION")).build();
        let spans = Arc::new(Self { processor, sampler, scope });
        record_by(Arc::clone(&spans) as _);
        Ok(Some(spans))
    }

    /// Sends what is left, and nothing after it.
    pub async fn finish(self: Arc<Self>) {
        let sent = spawn_blocking(move || self.processor.shutdown_with_timeout(LAST)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "the last spans are lost");
        }
    }

    fn export(&self, span: Finished) {
        let Finished { trace, id, parent, kind, name, began, ended, attributes, status } = span;
        self.processor.on_end(SpanData {
            span_context: context(&trace, id),
            parent_span_id: parent.map_or(OtelSpanId::INVALID, |id| OtelSpanId::from(u64::from(id))),
            parent_span_is_remote: kind == SpanKind::Server,
            span_kind: kind,
            name,
            start_time: began,
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// A span that is over.
struct Finished {
    trace: Trace,
    id: SpanId,
    parent: Option<SpanId>,
    kind: SpanKind,
    name: Cow<'static, str>,
    began: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

/// Whether a collector is named, and neither it nor all of this is switched off.
fn is_asked_for(variable: impl Fn(&str) -> Option<String>) -> bool {
    let says =
        |name: &str, word: &str| variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word));
    let names = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
    let off = says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none");
    !off && (names("OTEL_EXPORTER_OTLP_ENDPOINT") || names("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

/// Who exports: as the environment says, else by our own name.
fn resource() -> Resource {
    let named = env::var_os("OTEL_SERVICE_NAME").is_some()
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|list| list.contains("service.name="));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder();
    match named {
        true => builder.build(),
        false => builder.with_service_name(PSEUDONYM).with_attribute(version).build(),
    }
}

fn context(trace: &Trace, span: SpanId) -> SpanContext {
    let (id, span) = (OtelTraceId::from(u128::from(trace.id)), OtelSpanId::from(u64::from(span)));
    let flags = if trace.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(id, span, flags, true, TraceState::default())
}

impl Recorder for Spans {
    fn samples(&self, trace: &Trace) -> bool {
        let parent =
            trace.parent.map(|parent| Context::new().with_remote_span_context(context(trace, parent)));
        let id = OtelTraceId::from(u128::from(trace.id));
        let result = self.sampler.should_sample(parent.as_ref(), id, PSEUDONYM, &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn fetched(&self, fetch: FetchSpan) {
        let FetchSpan { trace, id, method, path, began, ended, answer } = fetch;
        let mut attributes =
            vec![KeyValue::new("http.request.method", method_name(&method)), KeyValue::new("url.path", path)];
        let status = match answer {
            Some(Ok(status)) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if status.as_u16() < 400 { Status::Unset } else { Status::error("") }
            }
            Some(Err(error)) => failed(&mut attributes, error),
            None => failed(&mut attributes, "given-up"),
        };
        let (name, kind, parent) = (method_name(&method).into(), SpanKind::Client, Some(trace.span));
        self.export(Finished { trace, id, parent, kind, name, began, ended, attributes, status });
    }
}

fn failed(attributes: &mut Vec<KeyValue>, error: &'static str) -> Status {
    attributes.push(KeyValue::new("error.type", error));
    Status::error(error)
}

impl Observer for Spans {
    fn observe(&self, exchange: &Exchange<'_>) {
        let Some(request) = exchange.request else { return };
        let Some(trace) = request.trace().filter(|trace| trace.sampled && trace.is_ours) else { return };
        let method = method_name(&request.head.method);
        let ended = SystemTime::now();
        self.export(Finished {
            trace: *trace,
            id: trace.span,
            parent: trace.parent,
            kind: SpanKind::Server,
            name: exchange.rule.map_or(method.into(), |rule| format!("{method} {rule}").into()),
            began: ended.checked_sub(exchange.duration).unwrap_or(ended),
            ended,
            attributes: attributes(exchange, request),
            status: match exchange.status.is_server_error() {
                true => {
                    Status::error(exchange.failed.map_or_else(String::new, |failed| failed.cause.clone()))
                }
                false => Status::Unset,
            },
        });
    }
}

/// By the names of the semantic conventions for HTTP, and ours for what they do not know. What may be secret is
/// in none of them, as in the log.
fn attributes(exchange: &Exchange<'_>, request: &Request) -> Vec<KeyValue> {
    let head = &request.head;
    let version = match head.version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    };
    let bytes = i64::try_from(exchange.body_bytes).unwrap_or(i64::MAX);
    let always = [
        KeyValue::new("http.request.method", method_name(&head.method)),
        KeyValue::new("url.scheme", head.target.scheme().as_str()),
        KeyValue::new("url.path", head.target.path().to_owned()),
        KeyValue::new("server.address", head.target.authority().to_owned()),
        KeyValue::new("network.protocol.version", version),
        KeyValue::new("http.response.status_code", i64::from(exchange.status.as_u16())),
        KeyValue::new("http.response.body.size", bytes),
        KeyValue::new("sidecache.outcome", exchange.outcome.word()),
        KeyValue::new("sidecache.request_id", request.request_id().as_str().to_owned()),
    ];
    let detail =
        exchange.outcome.detail().map(Detail::as_str).map(|word| KeyValue::new("sidecache.detail", word));
    let rule = exchange.rule.map(|rule| KeyValue::new("sidecache.rule", Arc::clone(rule)));
    let error = exchange.failed.map(|failed| KeyValue::new("error.type", failed.error));
    let client = match exchange.peer {
        Peer::Ip(address) => Some(KeyValue::new("client.address", address.to_string())),
        Peer::Local => None,
    };
    always.into_iter().chain(detail).chain(rule).chain(error).chain(client).collect()
}

/// One of those that are registered, so that nobody makes names of spans.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|name| *name == method.as_str()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        let asked = |variables: &[(&str, &str)]| {
            is_asked_for(|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(asked(&[endpoint]));
        assert!(asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]));
        assert!(!asked(&[]) && !asked(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(!asked(&[endpoint, ("OTEL_SDK_DISABLED", "True")]));
        assert!(!asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn names_of_spans_are_few() {
        assert_eq!(method_name(&Method::PATCH), "PATCH");
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
    }
}
