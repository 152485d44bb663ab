//! The body of a request on its way to the origin, as seen by the one who waits for the answer.
//!
//! Whoever sends it does so in a task of its own, and says little of what became of it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use super::socket::Activity;
use crate::message::BoxError;

/// What became of a body so far.
#[derive(Debug)]
pub(super) struct Upload {
    activity: Arc<Activity>,
    over: AtomicBool,
    ends: Notify,
    failure: Mutex<Option<BoxError>>,
}

/// Stands for the error of a body where nobody looks at it.
#[derive(Debug, thiserror::Error)]
#[error("the request's body failed")]
pub(super) struct Failed;

impl Upload {
    /// One that moves `activity`.
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, over: AtomicBool::new(false), ends: Notify::new(), failure: Mutex::default() }
    }

    /// The origin has made room for a piece of it.
    pub(super) fn moved(&self) {
        self.activity.took_piece();
    }

    /// Nothing more of it will be sent: that was all, or nobody wants the rest.
    pub(super) fn ended(&self) {
        self.over.store(true, Ordering::Release);
        self.ends.notify_waiters();
    }

    /// It failed.
    pub(super) fn failed(&self, error: BoxError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why it failed, if it did. Told once.
    pub(super) fn failure(&self) -> Option<BoxError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nothing more of it will be sent.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits until [`is_over`](Self::is_over) holds.
    pub(super) async fn over(&self) {
        // It hears what comes after this line, so that nothing is missed.
        let ends = self.ends.notified();
        if !self.is_over() {
            ends.await;
        }
    }
}
