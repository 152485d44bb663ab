//! By what a request is known, here and elsewhere: its id, and the trace that it is part of.
//!
//! Both are read or made when somebody first asks: for a line of the log, or for a request to the app. A hit of
//! which nothing is said pays for neither.

mod random;
mod request_id;
pub mod spans;
mod trace;

use std::sync::OnceLock;

use http::HeaderMap;

pub use self::{
    request_id::RequestId,
    trace::{SpanId, Trace, TraceId},
};

/// The id of a request and its trace, as far as anybody has asked for them.
#[derive(Debug, Default)]
pub struct Identity {
    trusted: bool,
    begins: bool,
    id: OnceLock<RequestId>,
    trace: OnceLock<Option<Trace>>,
}

impl Identity {
    /// Nothing is read yet. `trusted`: the sender's id is believed. `begins`: a trace begins here where none comes
    /// with the request.
    #[must_use]
    pub fn new(trusted: bool, begins: bool) -> Self {
        Self { trusted, begins, ..Self::default() }
    }

    /// The id that came with these fields, or one of our own.
    pub fn request_id(&self, headers: &HeaderMap) -> &RequestId {
        self.id.get_or_init(|| {
            let given = if self.trusted { RequestId::given(headers) } else { None };
            given.unwrap_or_else(RequestId::make)
        })
    }

    /// The trace that these fields tell of, or one that begins here.
    ///
    /// Whoever sent it is believed: which trace a request is part of is no secret, and selects nothing.
    pub fn trace(&self, headers: &HeaderMap) -> Option<&Trace> {
        self.trace.get_or_init(|| self.read_trace(headers)).as_ref()
    }

    fn read_trace(&self, headers: &HeaderMap) -> Option<Trace> {
        let recorder = spans::recorder();
        let begins = self.begins || recorder.is_some();
        let trace = Trace::told(headers).or_else(|| begins.then(Trace::begin))?;
        Some(match recorder {
            Some(recorder) => Trace { sampled: recorder.samples(&trace), is_ours: true, ..trace },
            None => trace,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers() -> HeaderMap {
        let fields = [("x-request-id", "from-the-edge"), ("traceparent", TRACE)];
        fields.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_id_is_taken_from_whom_we_trust_and_stays_the_same() {
        let (trusted, stranger) = (Identity::new(true, false), Identity::new(false, false));
        assert_eq!(trusted.request_id(&headers()).as_str(), "from-the-edge");
        let made = stranger.request_id(&headers());
        assert_eq!((made.as_str().len(), made), (32, stranger.request_id(&HeaderMap::new())));
        assert_ne!(made, Identity::default().request_id(&HeaderMap::new()));
    }

    #[test]
    fn a_trace_is_taken_from_anybody_and_begun_only_where_that_is_asked_for() {
        let told = Identity::new(false, true);
        assert_eq!(told.trace(&headers()).unwrap().id.to_string(), &TRACE[3..35]);
        assert_eq!(Identity::new(true, false).trace(&HeaderMap::new()), None);
        let begun = Identity::new(false, true);
        let trace = begun.trace(&HeaderMap::new()).unwrap();
        assert!(!trace.sampled && trace.parent.is_none());
        assert_eq!(begun.trace(&headers()), Some(trace), "it does not change");
    }
}
