//! One connection to the origin, and one exchange on it at a time.

use std::{net::SocketAddr, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use h2::Reason;
use http::{HeaderMap, Request, Response, StatusCode, header::HeaderName};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    OnContinue, OnInterim, OnItsWay,
    error::FetchError,
    outgoing::Outgoing,
    pool::Permit,
    sender::{Fault, Incoming, NoAnswer, Protocol, Sender, Tasks},
    socket::{Activity, Socket, Stream},
    upload::Upload,
};

/// How long a request body may stand still once the answer to it is complete. The origin has said all it
/// will; while the body still moves somebody reads it, afterwards the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// A connection. Dropped, it is closed at once, whatever was under way.
pub(super) struct Connection {
    sender: Sender,
    driver: Driver,
    activity: Arc<Activity>,
    /// The body of the request under way or the last one, if it had one.
    upload: Option<Arc<Upload>>,
    peer: Option<SocketAddr>,
    kept_for: Option<Duration>,
}

impl Connection {
    /// Speaks `protocol` over `stream`; `permit` is held until that is closed.
    pub(super) async fn start(
        stream: Box<dyn Stream>,
        peer: Option<SocketAddr>,
        permit: Permit,
        protocol: Protocol,
    ) -> Result<Self, FetchError> {
        let activity = Arc::new(Activity::of(protocol));
        let socket = Socket::new(stream, Arc::clone(&activity), permit);
        let tasks = Tasks::default();
        let sender = Sender::start(socket, protocol, &tasks).await?;
        let driver = Driver(Some(tasks));
        Ok(Self { sender, driver, activity, upload: None, peer, kept_for: None })
    }

    /// Sends `request` and waits for the head of the answer, at most `first_byte` from the moment the last
    /// byte of the request moved.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<Outgoing>,
        first_byte: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        self.activity.begin();
        if let Some(way) = request.extensions().get::<OnItsWay>() {
            way.begin();
        }
        self.upload = request.body_mut().watch(&self.activity);
        let told = Told::of(&request, &self.activity);
        let mut answer = pin!(self.sender.exchange(request, told));
        let mut deadline = self.activity.last_write() + first_byte;
        loop {
            if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
                return self.judge(answer);
            }
            deadline = self.activity.last_write() + first_byte;
            if deadline <= Instant::now() {
                return Err(Failure::Final(FetchError::FirstByte(first_byte)));
            }
        }
    }

    fn judge(&mut self, answer: Result<Response<Incoming>, NoAnswer>) -> Result<Response<Incoming>, Failure> {
        if self.activity.too_many_informational() {
            return Err(Failure::Final(FetchError::TooManyInformational));
        }
        match answer {
            Ok(answer) => {
                self.kept_for = keep_alive_timeout(answer.headers());
                Ok(answer)
            }
            Err(NoAnswer { unsent: Some(request), fault }) => {
                Err(Failure::Unsent(request, FetchError::from_exchange(fault)))
            }
            Err(NoAnswer { unsent: None, fault }) => Err(self.judge_sent(fault)),
        }
    }

    fn judge_sent(&self, fault: Fault) -> Failure {
        if let Some(error) = self.upload.as_ref().and_then(|upload| upload.failure()) {
            return Failure::Final(FetchError::RequestBody(error));
        }
        let (is_declined, is_unanswered) = match &fault {
            Fault::Http1(_) => (false, !self.activity.is_answering()),
            // There come bytes that are no answer.
            Fault::Http2(error) => (is_declined(error), error.is_io()),
        };
        match FetchError::from_exchange(fault) {
            error @ FetchError::Terminated(_) if is_declined => Failure::Declined(error),
            error @ FetchError::Terminated(_) if is_unanswered => Failure::Unanswered(error),
            error => Failure::Final(error),
        }
    }

    /// Whether what it speaks can say that a request was not begun with.
    pub(super) fn tells_what_it_declines(&self) -> bool {
        matches!(self.sender, Sender::Http2(..))
    }

    /// When the connection was made.
    pub(super) fn born(&self) -> Instant {
        self.activity.born()
    }

    /// When the origin last took bytes of the request.
    pub(super) fn last_write(&self) -> Instant {
        self.activity.last_write()
    }

    /// The origin's address; a unix socket has none.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// How long the origin says it keeps an idle connection.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        self.kept_for
    }

    /// Whether it is open and the last exchange on it is over, the request sent to its end and the answer
    /// read to its end with nothing behind it.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && self.upload.as_ref().is_none_or(|upload| upload.is_over())
    }

    /// Waits until [`is_ready`](Self::is_ready) holds; `None` if it never will.
    pub(super) async fn settled(mut self) -> Option<Self> {
        let mut since = Instant::now();
        loop {
            if let Ok(ready) = timeout(LINGER, self.ready()).await {
                return ready.then_some(self);
            }
            let moved = self.last_write();
            if moved <= since {
                return None;
            }
            since = moved;
        }
    }

    async fn ready(&mut self) -> bool {
        if let Some(upload) = &self.upload {
            upload.over().await;
        }
        self.sender.ready().await
    }

    /// Lets the connection live on as the tunnel it became.
    pub(super) fn into_tunnel(mut self) {
        self.driver.0 = None;
    }
}

/// Hears what the origin says before its answer (RFC 9110 §15.2).
pub(super) struct Told {
    activity: Arc<Activity>,
    waiting: Option<OnContinue>,
    taking: Option<OnInterim>,
}

impl Told {
    fn of(request: &Request<Outgoing>, activity: &Arc<Activity>) -> Self {
        let extensions = request.extensions();
        let (waiting, taking) = (extensions.get().cloned(), extensions.get().cloned());
        Self { activity: Arc::clone(activity), waiting, taking }
    }

    /// Counts an interim response, which the libraries take without limit, and passes on that the body is wanted,
    /// and what else the client may know before its answer. Breaks off when there are too many.
    pub(super) fn informational(&self, status: StatusCode, headers: &HeaderMap) -> ControlFlow<()> {
        self.activity.informational();
        if self.activity.too_many_informational() {
            return ControlFlow::Break(());
        }
        match (status, &self.waiting, &self.taking) {
            (StatusCode::CONTINUE, Some(OnContinue(client)), _) => client.notify_one(),
            // HTTP/2 has no such thing (RFC 9113 §8.6).
            (StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS, ..) => {}
            (_, _, Some(client)) => client.pass_on(status, headers),
            (_, _, None) => {}
        }
        ControlFlow::Continue(())
    }
}

/// Why an exchange gave no answer, and what that says about asking again.
pub(super) enum Failure {
    /// Nothing of the request was sent: here it is.
    Unsent(Box<Request<Outgoing>>, FetchError),
    /// The connection ended without a byte of an answer; the origin may or may not have seen the request.
    Unanswered(FetchError),
    /// The origin says that it has not begun with the request.
    Declined(FetchError),
    /// Anything else.
    Final(FetchError),
}

impl Failure {
    pub(super) fn into_error(self) -> FetchError {
        match self {
            Self::Unsent(_, error) | Self::Unanswered(error) | Self::Declined(error) | Self::Final(error) => {
                error
            }
        }
    }
}

/// A stream that is refused, or lies behind the last that a goodbye names, has not been looked at (RFC 9113 §8.7).
fn is_declined(said: &h2::Error) -> bool {
    said.is_remote() && (said.is_go_away() || said.reason() == Some(Reason::REFUSED_STREAM))
}

/// The tasks that move the bytes; dropped, they end and close the socket.
struct Driver(Option<Tasks>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.abort();
        }
    }
}

/// `timeout` of a `Keep-Alive` field. Closing a second before the origin does spares a POST the race against
/// the origin's close, which it would lose with a 502.
fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let parameters = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let seconds = parameters.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    let told = Duration::from_secs(seconds.parse().ok()?);
    Some(told.saturating_sub(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::io::duplex;

    use super::*;
    use crate::upstream::{outgoing::prepare, pool::tests::permit};

    #[tokio::test]
    async fn a_request_for_a_closed_connection_comes_back_whole() {
        let (ours, theirs) = duplex(1024);
        let mut connection =
            Connection::start(Box::new(ours), None, permit(), Protocol::Http1).await.unwrap();
        drop(theirs);
        let request = prepare(Request::post("/").body(Full::from("body")).unwrap());
        let Err(Failure::Unsent(request, _)) = connection.exchange(request, LINGER).await else {
            panic!("it was never sent");
        };
        assert_eq!(request.headers()["content-length"], "4");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "body");
    }

    #[test]
    fn the_origins_keep_alive_is_undercut_by_a_second() {
        let told = |value: &str| {
            let headers = HeaderMap::from_iter([("keep-alive".parse().unwrap(), value.parse().unwrap())]);
            keep_alive_timeout(&headers)
        };
        assert_eq!(told("timeout=5, max=1000"), Some(Duration::from_secs(4)));
        assert_eq!(told("max=1000, timeout=5"), Some(Duration::from_secs(4)));
        assert_eq!(told("timeout=0"), Some(Duration::ZERO));
        assert_eq!(told("max=1000"), None);
        assert_eq!(told("timeout=soon"), None);
    }
}
