//! What becomes of a request is told once, however it ends: answered, cut short, or given up
//! because the client has gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::Connection;
use crate::{
    headers::X_REQUEST_ID,
    identity::RequestId,
    message::{Failed, Fields, Reply, Request},
    observe::Exchange,
    outcomes::Told,
    status::{Outcome, Own},
};

/// The account of one exchange. Dropped, it tells the observer.
pub(crate) struct Account<'c> {
    connection: &'c Connection,
    request: Option<&'c Request>,
    /// The id of one that could not be read.
    unread: Option<RequestId>,
    started: Instant,
    /// Bytes of bodies sent on this connection; before this exchange, and ever.
    before: u64,
    sent: Arc<AtomicU64>,
    answer: Answer,
    complete: bool,
}

struct Answer {
    status: StatusCode,
    outcome: Outcome,
    rule: Option<Arc<str>>,
    spared: Duration,
    failed: Option<Box<Failed>>,
}

impl<'c> Account<'c> {
    /// Until there is an answer, the client is taken to leave without one, unless it is we who end the connection.
    pub(crate) fn open(
        connection: &'c Connection,
        request: Option<&'c Request>,
        sent: &Arc<AtomicU64>,
    ) -> Self {
        let before = sent.load(Ordering::Relaxed);
        Self {
            connection,
            request,
            unread: None,
            started: Instant::now(),
            before,
            sent: Arc::clone(sent),
            answer: Answer::none(),
            complete: false,
        }
    }

    /// There is an answer, and its sending begins.
    pub(crate) fn answered(&mut self, reply: &mut Reply) {
        if reply.failed.is_some() && matches!(reply.outcome, Outcome::Own(_)) {
            self.name(&mut reply.fields);
        }
        self.answer = Answer {
            status: reply.status,
            outcome: reply.outcome,
            rule: reply.rule.take(),
            spared: reply.spared,
            failed: reply.failed.take(),
        };
        // Before the client can have it: who asks next why it is not cached is told of this one.
        self.note();
    }

    /// An error of our own says what to ask the log for.
    fn name(&mut self, fields: &mut Fields) {
        let id = match self.request {
            Some(request) => request.request_id(),
            None => self.unread.insert(RequestId::make()),
        };
        if let (Fields::Map(fields), Some(id)) = (fields, id.to_value()) {
            fields.insert(X_REQUEST_ID, id);
        }
    }

    /// There will be no answer, because of this.
    pub(crate) fn refused(&mut self, why: &str) {
        self.answer = Answer::refused(why);
        self.note();
    }

    /// All of it was handed on to who brings it to the client: the system, or the frames of HTTP/2. What they hold
    /// then, some kilobytes, may still be lost on its way.
    pub(crate) fn completed(&mut self) {
        self.complete = true;
    }
}

impl Answer {
    /// The client has gone before there was one.
    fn none() -> Self {
        Self {
            status: client_closed_request(),
            outcome: Outcome::Own(Own::ClientGone),
            rule: None,
            spared: Duration::ZERO,
            failed: None,
        }
    }

    /// What came with the request, or on its connection, is not to be borne.
    fn refused(why: &str) -> Self {
        let failed = Failed { error: "http_request_error", cause: why.to_owned() };
        Self {
            status: StatusCode::BAD_REQUEST,
            outcome: Outcome::Own(Own::Refused),
            rule: None,
            spared: Duration::ZERO,
            failed: Some(Box::new(failed)),
        }
    }
}

impl Account<'_> {
    /// Whoever asks later why it is not cached is told what this request was.
    fn note(&self) {
        let Answer { status, outcome, .. } = self.answer;
        let Some(request) = self.request else { return };
        if matches!(outcome, Outcome::Hit { .. }) {
            return;
        }
        let app = &self.connection.app;
        app.outcomes.note(&app.live().rules, &request.head, Told { outcome, status, at: app.clock.now() });
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        // There was no answer.
        if self.answer.outcome == Outcome::Own(Own::ClientGone) {
            match self.connection.ended.get() {
                Some(why) => self.refused(why),
                None => self.note(),
            }
        }
        self.connection.observer.observe(&Exchange {
            request: self.request,
            unread: self.unread.as_ref(),
            peer: self.connection.peer,
            status: self.answer.status,
            outcome: self.answer.outcome,
            rule: self.answer.rule.as_ref(),
            spared: self.answer.spared,
            failed: self.answer.failed.as_deref(),
            body_bytes: self.sent.load(Ordering::Relaxed) - self.before,
            duration: self.started.elapsed(),
            complete: self.complete,
        });
    }
}

/// 499, for which no RFC has a name: that of a request whose client left before its answer.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
