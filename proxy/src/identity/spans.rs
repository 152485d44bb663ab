//! The seam to whoever records spans, which is nobody unless a build can export them and is asked to.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use http::{Method, StatusCode};

use super::{SpanId, Trace};

/// Records what becomes of requests, in the process as a whole: where to is said by its environment.
pub trait Recorder: Send + Sync {
    /// Whether our part of this trace is recorded. Where it has a parent, that one's word is in `sampled`.
    fn samples(&self, trace: &Trace) -> bool;

    /// A fetch is over. Must not block.
    fn fetched(&self, fetch: FetchSpan);
}

/// One fetch from the app, as a span below that of the request for which it is made.
#[derive(Clone, Debug)]
pub struct FetchSpan {
    /// Where the request stands.
    pub trace: Trace,
    /// The span.
    pub id: SpanId,
    /// What was asked for.
    pub method: Method,
    /// Without the query: tokens travel there.
    pub path: String,
    /// When it began.
    pub began: SystemTime,
    /// When the head of the answer was here, or there was none to come.
    pub ended: SystemTime,
    /// The answer's status, or the word in `Proxy-Status` for why there is none; nothing where nobody waited for it
    /// any more.
    pub answer: Option<Result<StatusCode, &'static str>>,
}

static RECORDER: OnceLock<Arc<dyn Recorder>> = OnceLock::new();

/// Has spans recorded from now on, by the first that is given.
pub fn record_by(recorder: Arc<dyn Recorder>) {
    RECORDER.get_or_init(|| recorder);
}

/// Who records spans.
#[must_use]
pub fn recorder() -> Option<&'static dyn Recorder> {
    RECORDER.get().map(AsRef::as_ref)
}
