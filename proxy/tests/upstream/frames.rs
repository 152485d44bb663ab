//! Origins of HTTP/2, which say with frames what those of HTTP/1 say with the connection.

use futures_util::stream;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    server::{SendResponse, handshake},
};
use http::{HeaderMap, Response};
use http_body_util::StreamBody;
use sidecache::{
    message::BoxError,
    upstream::{FetchError, INFORMATIONAL},
};
use tokio::task::JoinHandle;

use super::{origin::Peer, *};

/// The frames before anything was agreed on, and a goodbye that says that no request was looked at.
const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";
const GOAWAY: &str = "\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// The origin's end of one connection; a task moves its frames.
struct Frames {
    requests: mpsc::Receiver<Exchange>,
    pings: PingPong,
    moving: JoinHandle<()>,
}

impl Frames {
    async fn of(peer: Peer) -> Self {
        let mut frames = soon(handshake(peer.wire)).await.unwrap();
        let pings = frames.ping_pong().unwrap();
        let (sender, requests) = mpsc::channel(1);
        let moving = tokio::spawn(async move {
            while let Some(Ok(exchange)) = frames.accept().await {
                sender.send(exchange).await.unwrap();
            }
        });
        Self { requests, pings, moving }
    }

    async fn accept(script: &Script) -> Self {
        Self::of(script.accept().await).await
    }

    async fn asked(&mut self) -> Exchange {
        soon(self.requests.recv()).await.unwrap()
    }

    async fn answer(&mut self) -> Request<RecvStream> {
        let (request, mut respond) = self.asked().await;
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data("ok".into(), true).unwrap();
        request
    }
}

fn upstream(script: &Script, change: impl FnOnce(&mut Settings)) -> Upstream {
    with(script, |settings| {
        settings.origin = UpstreamUrl::Tcp {
            protocol: Protocol::H2c,
            host: "127.0.0.1".into(),
            port: script.address().port(),
        };
        change(settings);
    })
}

/// What is answered to a request with a body of any kind.
async fn ask<B>(upstream: &Upstream, request: Request<B>) -> Result<String, FetchError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    read(soon(upstream.send(request)).await?).await
}

#[tokio::test]
async fn section_8_1_an_answer_that_is_reset_before_its_end_is_cut_whatever_the_reset_says() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        let answering = async {
            let mut frames = Frames::accept(&script).await;
            let (_, mut respond) = frames.asked().await;
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data("half".into(), false).unwrap();
            // What waits to be sent would go with the reset.
            let mut sent = frames.pings;
            soon(sent.ping(Ping::opaque())).await.unwrap();
            body.send_reset(reason);
        };
        let (answer, ()) = join!(fetch(&upstream, get("/")), answering);
        assert_eq!(kind(answer), ("http_response_incomplete", 502), "{reason:?}");
    }
    until(&upstream, |stats| stats.open == 0).await;
}

#[tokio::test]
async fn section_8_1_a_whole_answer_to_half_an_upload_stays_whole_when_the_rest_is_declined() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let (uploading, body) = channel_body();
    uploading.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    let answering = async {
        let mut frames = Frames::accept(&script).await;
        let (request, mut respond) = frames.asked().await;
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data("ok".into(), true).unwrap();
        // What waits to be sent would go with the reset.
        soon(frames.pings.ping(Ping::opaque())).await.unwrap();
        body.send_reset(Reason::NO_ERROR);
        (frames, request)
    };
    let (answer, (mut frames, _)) =
        join!(ask(&upstream, Request::post("/").header("host", "a").body(body).unwrap()), answering);
    assert_eq!(answer.unwrap(), "200 ok");
    until(&upstream, |stats| stats.idle == 1).await;
    let (again, _) = join!(fetch(&upstream, get("/")), frames.answer());
    assert_eq!(again.unwrap(), "200 ok");
}

/// An upload that goes on though its answer is complete.
struct Early {
    upstream: Upstream,
    uploading: mpsc::Sender<Data>,
    request: Request<RecvStream>,
    _frames: Frames,
}

impl Early {
    async fn answered() -> Self {
        let script = Script::start().await;
        let upstream = upstream(&script, |_| {});
        let (uploading, body) = channel_body();
        let answering = async {
            let mut frames = Frames::accept(&script).await;
            let request = frames.answer().await;
            (frames, request)
        };
        let upload = Request::post("/").header("host", "a").body(body).unwrap();
        let (answer, (frames, request)) = join!(ask(&upstream, upload), answering);
        assert_eq!(answer.unwrap(), "200 ok");
        Self { upstream, uploading, request, _frames: frames }
    }
}

#[tokio::test]
async fn a_connection_is_not_pooled_while_an_upload_goes_on() {
    let Early { upstream, uploading, mut request, .. } = Early::answered().await;
    assert_eq!(upstream.stats().idle, 0);
    uploading.send(Ok(Bytes::from_static(b"late"))).await.unwrap();
    drop(uploading);
    assert_eq!(soon(request.body_mut().data()).await.unwrap().unwrap(), "late");
    until(&upstream, |stats| stats.idle == 1).await;
}

#[tokio::test]
async fn a_connection_is_not_pooled_while_what_was_uploaded_waits_for_room() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let large: &'static [u8] = &[b'x'; MIB];
    let upload =
        Request::post("/").header("host", "a").body(http_body_util::Full::new(Bytes::from_static(large)));
    let answering = async {
        let mut frames = Frames::accept(&script).await;
        let request = frames.answer().await;
        (frames, request)
    };
    let (answer, (_frames, _request)) = join!(ask(&upstream, upload.unwrap()), answering);
    assert_eq!(answer.unwrap(), "200 ok");
    assert_eq!(upstream.stats().idle, 0);
    until(&upstream, |stats| stats.open == 0).await;
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_closes_the_connection() {
    let Early { upstream, uploading: _uploading, mut request, .. } = Early::answered().await;
    assert!(soon(request.body_mut().data()).await.unwrap().is_err(), "it looks complete");
    until(&upstream, |stats| stats.open == 0).await;
}

#[tokio::test]
async fn a_body_that_fails_is_the_clients_fault_and_never_looks_complete() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let (uploading, body) = channel_body();
    uploading.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    let failing = async {
        let mut frames = Frames::accept(&script).await;
        let (mut request, _respond) = frames.asked().await;
        assert_eq!(soon(request.body_mut().data()).await.unwrap().unwrap(), "half");
        uploading.send(Err(io::Error::other("the client left"))).await.unwrap();
        assert!(soon(request.body_mut().data()).await.unwrap().is_err(), "it looks complete");
    };
    let (answer, ()) =
        join!(upstream.send(Request::post("/").header("host", "a").body(body).unwrap()), failing);
    let error = answer.map(|_| ()).unwrap_err();
    assert_eq!((error.proxy_status_error(), error.status().as_u16()), ("http_request_error", 400));
    let told = std::error::Error::source(&error).unwrap();
    assert_eq!(told.to_string(), "the client left");
}

#[tokio::test]
async fn section_6_5_1_of_the_trailers_pass_those_that_were_announced_and_mean_no_harm() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let mut trailers = HeaderMap::new();
    let bad = ["connection", "te", "host", "cookie", "authorization", "content-length", "x-forwarded-for"];
    for name in bad.into_iter().chain(["x-sum", "x-not-named"]) {
        trailers.insert(name, "1".parse().unwrap());
    }
    let frames = [Frame::data(Bytes::from_static(b"hi")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, io::Error>)));
    let announced = bad.join(", ");
    let upload = Request::post("/")
        .header("host", "a")
        .header("trailer", announced)
        .header("trailer", "X-Sum")
        .body(body);
    let answering = async {
        let mut frames = Frames::accept(&script).await;
        let (mut request, mut respond) = frames.asked().await;
        assert_eq!(soon(request.body_mut().data()).await.unwrap().unwrap(), "hi");
        let came = soon(request.body_mut().trailers()).await.unwrap().unwrap();
        assert_eq!(came, HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]));
        respond.send_response(Response::new(()), true).unwrap();
    };
    let (answer, ()) = join!(ask(&upstream, upload.unwrap()), answering);
    assert_eq!(answer.unwrap(), "200 ");
}

#[tokio::test]
async fn pings_are_no_progress_of_a_request() {
    let script = Script::start().await;
    let upstream = upstream(&script, |settings| settings.first_byte = SHORT * 8);
    let pinging = async {
        let mut frames = Frames::accept(&script).await;
        let _asked = frames.asked().await;
        while frames.pings.ping(Ping::opaque()).await.is_ok() {
            tokio::time::sleep(SHORT).await;
        }
    };
    let (answer, ()) = soon(async { join!(upstream.send(get("/")), pinging) }).await;
    assert_eq!(kind(answer), ("http_response_timeout", 504));
}

#[tokio::test]
async fn section_8_7_a_request_without_a_body_that_is_refused_goes_out_once_more_and_another_does_not() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let refuse = async || {
        let mut frames = Frames::accept(&script).await;
        let (_, mut respond) = frames.asked().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        frames
    };
    let answering = async || {
        let _first = refuse().await;
        let mut second = Frames::accept(&script).await;
        second.answer().await;
        second
    };
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let (answer, second) = join!(fetch(&upstream, request(method, "/", "")), answering());
        assert_eq!(answer.unwrap(), "200 ok");
        second.moving.abort();
        until(&upstream, |stats| stats.open == 0).await;
    }
    let (answer, _) = join!(fetch(&upstream, request(Method::POST, "/", "x")), refuse());
    assert_eq!(kind(answer), ("connection_terminated", 502));
    let (answer, _) = join!(fetch(&upstream, get("/")), async { (refuse().await, refuse().await) });
    assert_eq!(kind(answer), ("connection_terminated", 502), "a third time it does not go");
}

#[tokio::test]
async fn section_9_2_2_a_request_that_may_have_been_begun_goes_out_once_more_only_if_it_is_safe() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    for (method, goes_again) in [(Method::GET, true), (Method::DELETE, false)] {
        let first = async {
            let mut frames = Frames::accept(&script).await;
            frames.answer().await;
            frames
        };
        let (answer, mut first) = join!(fetch(&upstream, get("/")), first);
        assert_eq!(answer.unwrap(), "200 ok");
        until(&upstream, |stats| stats.idle == 1).await;
        let answering = async {
            first.asked().await;
            first.moving.abort();
            if !goes_again {
                return None;
            }
            let mut second = Frames::accept(&script).await;
            second.answer().await;
            Some(second)
        };
        let (answer, second) = join!(fetch(&upstream, request(method, "/", "")), answering);
        match second {
            Some(second) => {
                assert_eq!(answer.unwrap(), "200 ok");
                second.moving.abort();
            }
            None => assert_eq!(kind(answer), ("connection_terminated", 502)),
        }
        until(&upstream, |stats| stats.open == 0).await;
    }
}

#[tokio::test]
async fn section_8_1_1_a_head_that_is_malformed_or_too_large_is_told_as_such() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let large = "x".repeat(2 * MIB / 10);
    for (name, value) in [("content-length", "soon"), ("x-large", &large)] {
        let answering = async {
            let mut frames = Frames::accept(&script).await;
            let (_, mut respond) = frames.asked().await;
            let head = Response::builder().header(name, value).body(()).unwrap();
            respond.send_response(head, true).unwrap();
            frames
        };
        let (answer, _frames) = join!(fetch(&upstream, get("/")), answering);
        assert_eq!(kind(answer), ("http_protocol_error", 502), "{name}");
    }
}

#[tokio::test]
async fn section_15_2_the_origin_may_send_so_many_interim_answers_and_no_more() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    for (count, expected) in [(INFORMATIONAL, None), (INFORMATIONAL + 1, Some("http_protocol_error"))] {
        let answering = async {
            let mut frames = Frames::accept(&script).await;
            let (_, mut respond) = frames.asked().await;
            for _ in 0..count {
                let hint = Response::builder().status(StatusCode::EARLY_HINTS).body(()).unwrap();
                respond.send_informational(hint).unwrap();
            }
            if expected.is_none() {
                respond.send_response(Response::new(()), true).unwrap();
            }
            frames
        };
        let (answer, frames) = join!(soon(upstream.send(get("/"))), answering);
        assert_eq!(answer.err().map(|error| error.proxy_status_error()), expected);
        frames.moving.abort();
        until(&upstream, |stats| stats.open == 0).await;
    }
}

#[tokio::test]
async fn section_6_8_a_safe_request_that_crosses_a_goodbye_goes_out_once_more() {
    let script = Script::start().await;
    let upstream = upstream(&script, |_| {});
    let answering = async {
        let mut peer = script.accept().await;
        peer.send(SETTINGS).await;
        peer.bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await;
        while frame(&mut peer).await != 1 {}
        peer.send(GOAWAY).await;
        Frames::accept(&script).await.answer().await;
    };
    let (answer, ()) = join!(fetch(&upstream, get("/")), answering);
    assert_eq!(answer.unwrap(), "200 ok");
}

/// Reads a frame; says of which type it is.
async fn frame(peer: &mut Peer) -> u8 {
    let head = peer.bytes(9).await;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    peer.bytes(length).await;
    head[3]
}
