//! What is told of a fetch to who records spans, if anybody does.

use std::time::SystemTime;

use http::{Method, Request};

use super::{FetchError, Fetched};
use crate::{
    headers::TRACEPARENT,
    identity::{
        SpanId, Trace,
        spans::{FetchSpan, Recorder, recorder},
    },
};

/// A fetch that is under way. Dropped before its end, it was given up.
pub(super) struct Span {
    recorder: &'static dyn Recorder,
    trace: Trace,
    id: SpanId,
    method: Method,
    path: String,
    began: SystemTime,
    told: bool,
}

impl Span {
    /// Names a fetch in its request, as what is below it. Nothing: nobody records it.
    pub(super) fn begin<B>(request: &mut Request<B>) -> Option<Self> {
        let recorder = recorder()?;
        let trace = *request.extensions().get::<Trace>()?;
        if !trace.sampled {
            return None;
        }
        let id = SpanId::make();
        // What is keyed selects, and stays as it is.
        let ours = trace.to_value();
        if let Some(field) = request.headers_mut().get_mut(TRACEPARENT)
            && ours.as_ref() == Some(&*field)
            && let Some(below) = trace.below(id)
        {
            *field = below;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Some(Self { recorder, trace, id, method, path, began: SystemTime::now(), told: false })
    }

    /// There is an answer, or there will be none.
    pub(super) fn end(mut self, answer: &Result<Fetched, FetchError>) {
        let answer = answer.as_ref().map(|fetched| fetched.head.status);
        self.tell(Some(answer.map_err(FetchError::proxy_status_error)));
    }

    fn tell(&mut self, answer: Option<Result<http::StatusCode, &'static str>>) {
        self.told = true;
        self.recorder.fetched(FetchSpan {
            trace: self.trace,
            id: self.id,
            method: self.method.clone(),
            path: std::mem::take(&mut self.path),
            began: self.began,
            ended: SystemTime::now(),
            answer,
        });
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.told {
            self.tell(None);
        }
    }
}
