//! Interim responses (RFC 9110 §15.2): what the origin says before its answer, on the way to the
//! client.
//!
//! They are for the one client whose request went to the origin, and are hints: they are neither
//! stored nor shared, and one for which there is no room is dropped.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Poll, Waker},
};

use http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_LENGTH};

use crate::headers::{Lines, remove_hop_by_hop, take_own};

/// Bytes of interim responses that wait for one client at most.
pub const WAITING_BYTES: usize = 64 * 1024;

/// An interim response as the client gets it: a head and nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interim {
    /// 1xx.
    pub status: StatusCode,
    /// Its end-to-end fields.
    pub lines: Lines,
}

impl Interim {
    /// `100 Continue`.
    #[must_use]
    pub fn go_on() -> Self {
        Self { status: StatusCode::CONTINUE, lines: Lines::default() }
    }

    /// The origin's, without what is for one connection, for sidecaches alone or `withheld`, and
    /// without framing: "it cannot contain content or trailers" (RFC 9110 §15.2).
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap, withheld: &[HeaderName]) -> Self {
        let mut headers = headers.clone();
        remove_hop_by_hop(&mut headers);
        take_own(&mut headers);
        for name in withheld.iter().chain(&[CONTENT_LENGTH]) {
            headers.remove(name);
        }
        Self { status, lines: Lines::from_map(&headers) }
    }

    /// Bytes on the wire, all but the reason phrase.
    fn length(&self) -> usize {
        "HTTP/1.1 103 \r\n\r\n".len() + self.lines.as_bytes().len()
    }
}

/// The interim responses to one request, to be read by who answers it. Empty, and no burden, until
/// the request goes forward and somebody asks for the [`sink`](Self::sink).
#[derive(Debug, Default)]
pub struct Interims(OnceLock<InterimSink>);

/// Where they come in.
#[derive(Clone, Debug, Default)]
pub struct InterimSink(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Interim>,
    reader: Option<Waker>,
}

impl Interims {
    /// Where they come in; from now on they may.
    pub fn sink(&self) -> InterimSink {
        self.0.get_or_init(InterimSink::default).clone()
    }

    /// The next one, if it is there.
    pub fn take(&self) -> Option<Interim> {
        self.0.get().and_then(|sink| sink.lock().waiting.pop_front())
    }

    /// Waits for the next one. The sink may be made meanwhile, by something that the same task polls
    /// before this.
    pub async fn next(&self) -> Interim {
        poll_fn(|cx| {
            let Some(sink) = self.0.get() else { return Poll::Pending };
            let mut queue = sink.lock();
            if let Some(interim) = queue.waiting.pop_front() {
                return Poll::Ready(interim);
            }
            queue.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl InterimSink {
    /// Hands one on to the client. Whether there was room for it.
    #[must_use]
    pub fn offer(&self, interim: Interim) -> bool {
        let mut queue = self.lock();
        let waiting: usize = queue.waiting.iter().map(Interim::length).sum();
        if waiting + interim.length() > WAITING_BYTES {
            return false;
        }
        queue.waiting.push_back(interim);
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin};

    use http::header::SET_COOKIE;

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }

    fn hint(link: &str) -> Interim {
        Interim::of(StatusCode::EARLY_HINTS, &map(&[("link", link)]), &[])
    }

    #[test]
    fn section_15_2_a_client_gets_the_end_to_end_fields_and_no_framing() {
        let link = [("link", "</a>"), ("link", "</b>")];
        let cookie = [("set-cookie", "a=1")];
        let dropped = [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "echo"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("sidecache-cache-control", "max-age=60"),
        ];
        let sent = map(&[&link[..], &cookie, &dropped].concat());
        let of = |withheld| Interim::of(StatusCode::EARLY_HINTS, &sent, withheld).lines.to_map();
        assert_eq!(of(&[]), map(&[&link[..], &cookie].concat()));
        assert_eq!(of(&[SET_COOKIE]), map(&link));
    }

    #[test]
    fn what_has_no_room_is_dropped_until_there_is_room_again() {
        let interims = Interims::default();
        let sink = interims.sink();
        let half = hint(&"x".repeat(WAITING_BYTES / 2));
        assert!(sink.offer(hint("first")));
        assert!(sink.offer(half.clone()));
        assert!(!sink.offer(half.clone()));
        assert!(sink.offer(hint("small")), "there is room for this one");
        assert_eq!(interims.take(), Some(hint("first")));
        assert_eq!(interims.take(), Some(half.clone()));
        assert!(sink.offer(half));
        assert_eq!(interims.take(), Some(hint("small")), "in their order");
    }

    #[tokio::test]
    async fn a_reader_is_woken_though_it_came_before_the_sink() {
        let interims = Interims::default();
        let mut next = pin!(interims.next());
        assert!(is_pending(next.as_mut()).await);
        let sink = interims.sink();
        assert!(is_pending(next.as_mut()).await);
        let offered = async { assert!(sink.offer(hint("late"))) };
        assert_eq!(tokio::join!(next, offered).0, hint("late"));
        assert_eq!(interims.take(), None);
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
