//! The client side over real sockets: what goes back to the pool, what is tried again, and what every way for
//! an origin to misbehave becomes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    reason = "a test that meets the unexpected ends there"
)]

#[path = "upstream/frames.rs"]
mod frames;
#[path = "upstream/origin.rs"]
mod origin;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use origin::{OK, Peer, Script, fetch, get, kind, read, request, settings, soon, until};
use rustls::pki_types::CertificateDer;
use sidecache::{
    address::{Protocol, UpstreamUrl},
    upstream::{Framing, Lookup, Roots, Settings, Upstream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
};

const MIB: usize = 1024 * 1024;

/// Long enough that only a fault makes it matter, short enough to wait for where the fault is meant.
const SHORT: Duration = Duration::from_millis(50);

fn with(script: &Script, change: impl FnOnce(&mut Settings)) -> Upstream {
    let mut settings = script.settings();
    change(&mut settings);
    Upstream::new(settings).unwrap()
}

/// A body whose data come from `next`.
struct Polled<F>(F);

impl<F, E> Body for Polled<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>> + Unpin,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        (self.0)(cx).map_ok(Frame::data)
    }
}

type Data = Result<Bytes, io::Error>;

/// A body whose data come through a channel.
fn channel_body() -> (mpsc::Sender<Data>, impl Body<Data = Bytes, Error = io::Error> + Send + 'static) {
    let (sender, mut receiver) = mpsc::channel(2);
    (sender, Polled(move |cx: &mut Context<'_>| receiver.poll_recv(cx)))
}

mod pooling {
    use super::*;

    #[tokio::test]
    async fn a_connection_serves_one_request_after_another() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (first, mut peer) = join!(fetch(&upstream, get("/1")), script.answer(OK));
        assert_eq!(first.unwrap(), "200 ok");
        for answer in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ] {
            until(&upstream, |stats| stats.idle == 1).await;
            let mut asked = get("/2");
            asked.headers_mut().insert("if-none-match", "\"a\"".parse().unwrap());
            let (answered, ()) = join!(fetch(&upstream, asked), async {
                peer.head().await;
                peer.send(answer).await;
            });
            answered.unwrap();
        }
        let stats = upstream.stats();
        assert_eq!((stats.open, stats.connects, stats.reuses, stats.waiting), (1, 1, 4, 0));
    }

    #[tokio::test]
    async fn the_answer_to_a_head_has_no_body_and_keeps_the_connection() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
        let (fetched, _peer) = join!(upstream.send(request(Method::HEAD, "/", "")), script.answer(answer));
        let fetched = fetched.unwrap();
        assert_eq!(fetched.ends, Framing::Empty);
        assert_eq!(fetched.head.headers["content-length"], "5000");
        until(&upstream, |stats| stats.idle == 1).await;
    }

    #[tokio::test]
    async fn at_the_cap_requests_wait_in_turn_and_beyond_the_queue_they_are_refused() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| (settings.connections, settings.queue) = (1, 2));
        let order = Mutex::new(Vec::new());
        let ask = async |path: &'static str, ahead: usize| {
            until(&upstream, |stats| stats.open == 1 && stats.waiting == ahead).await;
            fetch(&upstream, get(path)).await.unwrap();
            order.lock().unwrap().push(path);
        };
        let refused = async {
            until(&upstream, |stats| stats.waiting == 2).await;
            kind(upstream.send(get("/4")).await)
        };
        let serve = async |refused: oneshot::Receiver<()>| {
            let mut peer = script.accept().await;
            refused.await.unwrap();
            for path in ["/1", "/2", "/3"] {
                assert!(peer.head().await.starts_with(&format!("GET {path} ")));
                peer.send(OK).await;
            }
        };
        let (told, tell) = oneshot::channel();
        let refused = async {
            assert_eq!(refused.await, ("connection_limit_reached", 503));
            told.send(()).unwrap();
        };
        let first = async { fetch(&upstream, get("/1")).await.unwrap() };
        join!(first, ask("/2", 0), ask("/3", 1), refused, serve(tell));
        assert_eq!(order.into_inner().unwrap(), ["/2", "/3"]);
        assert_eq!(upstream.stats().connects, 1);
    }

    #[tokio::test]
    async fn the_wait_for_a_connection_is_bounded() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| (settings.connections, settings.first_byte) = (1, SHORT * 4));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let (held, _peer) = join!(upstream.send(get("/")), script.answer(answer));
        assert_eq!(kind(upstream.send(get("/")).await), ("connection_limit_reached", 503));
        assert_eq!(upstream.stats().waiting, 0);
        drop(held);
    }

    #[tokio::test]
    async fn a_connection_the_origin_closed_is_not_used_again() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (first, peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        drop(peer);
        until(&upstream, |stats| stats.open == 0 && stats.idle == 0).await;
        let (second, _peer) = join!(fetch(&upstream, request(Method::POST, "/", "x")), script.answer(OK));
        assert_eq!(second.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn the_origins_wish_to_close_is_obeyed() {
        for answer in [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
        ] {
            let script = Script::start().await;
            let upstream = script.upstream();
            let (first, mut peer) = join!(fetch(&upstream, get("/")), script.answer(answer));
            assert_eq!(first.unwrap(), "200 ok");
            peer.is_closed().await;
        }
    }

    /// RFC 9110 §8.6, RFC 9112 §6.1: it must not state one, and may send it all the same.
    #[tokio::test]
    async fn where_no_content_states_a_body_the_connection_is_not_used_again() {
        for stated in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let script = Script::start().await;
            let upstream = script.upstream();
            let answer = format!("HTTP/1.1 204 No Content\r\n{stated}\r\n\r\n");
            let (first, mut peer) = join!(fetch(&upstream, get("/")), script.answer(&answer));
            assert_eq!(first.unwrap(), "204 ", "{stated}");
            until(&upstream, |stats| stats.open == 0 && stats.idle == 0).await;
            peer.is_closed().await;
        }
    }

    #[tokio::test]
    async fn old_connections_are_closed_instead_of_used() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.max_age = Duration::ZERO);
        let (first, mut peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        peer.is_closed().await;
    }

    #[tokio::test]
    async fn idle_connections_are_closed_in_time_though_nobody_asks() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.max_idle = SHORT);
        let (first, mut peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn dropped_the_upstream_closes_what_is_idle_and_finishes_what_runs() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (running, mut busy) =
            join!(upstream.send(get("/")), script.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"));
        let (idle, mut peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        idle.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        drop(upstream);
        peer.is_closed().await;
        let (read, ()) = join!(read(running.unwrap()), busy.send("ok"));
        assert_eq!(read.unwrap(), "200 okok");
        busy.is_closed().await;
    }

    #[tokio::test]
    async fn a_full_pool_of_stale_connections_makes_room_even_without_a_queue() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| {
            (settings.connections, settings.queue) = (1, 0);
            settings.max_age = SHORT;
        });
        let (first, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        tokio::time::sleep(SHORT).await;
        let (second, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        assert_eq!(second.unwrap(), "200 ok");
    }
}

mod crowds {
    use super::*;

    /// Answers every request, chunked, and takes what comes.
    async fn serve(script: Script) {
        loop {
            let mut peer = script.accept().await;
            tokio::spawn(async move {
                while peer.next_head().await.is_some() {
                    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                    if peer.wire.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_clients_that_stay_or_leave_share_a_few_connections_and_none_is_lost() {
        const CONNECTIONS: usize = 8;
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.connections = CONNECTIONS);
        let upstream = Arc::new(upstream);
        let origin = tokio::spawn(serve(script));
        let clients = (0..64_usize).map(|client| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move {
                for round in 0..50 {
                    let fetched = upstream.send(get("/"));
                    match (client + round) % 7 {
                        0 => drop(fetched.await.unwrap()),
                        1 => drop(tokio::time::timeout(Duration::from_micros(200), fetched).await),
                        _ => assert_eq!(read(fetched.await.unwrap()).await.unwrap(), "200 ok"),
                    }
                    assert!(upstream.stats().open <= CONNECTIONS);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            soon(client).await.unwrap();
        }
        until(&upstream, |stats| stats.open == stats.idle && stats.waiting == 0).await;
        assert!(upstream.stats().reuses > 0);
        origin.abort();
    }
}

mod retries {
    use super::*;

    /// An upstream with one idle connection.
    async fn warm(script: &Script) -> (Upstream, Peer) {
        let upstream = script.upstream();
        let (first, peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        (upstream, peer)
    }

    #[tokio::test]
    async fn a_get_that_met_a_closing_connection_goes_out_once_more() {
        let script = Script::start().await;
        let (upstream, mut peer) = warm(&script).await;
        let (answer, ()) = join!(fetch(&upstream, get("/again")), async {
            assert!(peer.head().await.starts_with("GET /again "));
            drop(peer);
            let mut second = script.accept().await;
            assert!(second.head().await.starts_with("GET /again "));
            second.send(OK).await;
        });
        assert_eq!(answer.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn but_only_once() {
        let script = Script::start().await;
        let (upstream, mut peer) = warm(&script).await;
        let (answer, ()) = join!(fetch(&upstream, get("/again")), async {
            peer.head().await;
            drop(peer);
            script.accept().await.head().await;
        });
        assert_eq!(kind(answer), ("connection_terminated", 502));
        assert!(!script.is_called().await);
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn what_may_have_an_effect_is_sent_once() {
        for request in [
            request(Method::POST, "/", "x"),
            request(Method::POST, "/", ""),
            request(Method::PUT, "/", ""),
            request(Method::DELETE, "/", ""),
            request(Method::PATCH, "/", ""),
            request(Method::GET, "/", "x"),
        ] {
            let script = Script::start().await;
            let (upstream, mut peer) = warm(&script).await;
            let (answer, ()) = join!(fetch(&upstream, request), async {
                peer.head().await;
                drop(peer);
            });
            assert_eq!(kind(answer), ("connection_terminated", 502));
            assert!(!script.is_called().await);
        }
    }

    #[tokio::test]
    async fn a_new_connection_that_closes_is_not_tried_again() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (answer, ()) = join!(fetch(&upstream, get("/")), async {
            script.accept().await.head().await;
        });
        assert_eq!(kind(answer), ("connection_terminated", 502));
        assert!(!script.is_called().await);
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_is_not_asked_for_again() {
        let script = Script::start().await;
        let (upstream, mut peer) = warm(&script).await;
        let (answer, ()) = join!(fetch(&upstream, get("/")), async {
            peer.head().await;
            peer.send("HTTP/1.1 200 O").await;
            drop(peer);
        });
        assert_eq!(kind(answer), ("connection_terminated", 502));
        assert!(!script.is_called().await);
    }

    #[tokio::test]
    async fn at_the_cap_the_second_try_has_its_place() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| (settings.connections, settings.queue) = (1, 0));
        let (first, mut peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        first.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        let (answer, _peer) = join!(fetch(&upstream, get("/")), async {
            peer.head().await;
            drop(peer);
            script.answer(OK).await
        });
        assert_eq!(answer.unwrap(), "200 ok");
    }
}

mod timeouts {
    use super::*;

    #[tokio::test]
    async fn an_origin_that_never_answers() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.first_byte = SHORT);
        let (answer, mut peer) = join!(fetch(&upstream, get("/")), async {
            let mut peer = script.accept().await;
            peer.head().await;
            peer
        });
        assert_eq!(kind(answer), ("http_response_timeout", 504));
        peer.is_closed().await;
    }

    #[tokio::test]
    async fn an_upload_that_moves_is_not_cut_by_the_first_byte_timeout() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.first_byte = SHORT * 8);
        let (frames, body) = channel_body();
        let (answer, (), ()) = join!(
            upstream.send(Request::post("/").body(body).unwrap()),
            async {
                for _ in 0..16 {
                    tokio::time::sleep(SHORT).await;
                    frames.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
                }
                drop(frames);
            },
            async {
                let mut peer = script.accept().await;
                assert!(peer.head().await.contains("transfer-encoding: chunked\r\n"));
                peer.bytes("1\r\nx\r\n".len() * 16 + "0\r\n\r\n".len()).await;
                peer.send(OK).await;
            }
        );
        assert_eq!(read(answer.unwrap()).await.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn limits_beyond_all_time_are_none() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| {
            let all = [&mut settings.connect, &mut settings.first_byte, &mut settings.between_bytes];
            all.into_iter().for_each(|limit| *limit = Duration::MAX);
            (settings.idle, settings.max_age, settings.max_idle) =
                (Duration::MAX, Duration::MAX, Duration::MAX);
        });
        let (answer, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        assert_eq!(answer.unwrap(), "200 ok");
        until(&upstream, |stats| stats.idle == 1).await;
    }

    #[tokio::test]
    async fn a_body_that_stops() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.between_bytes = SHORT);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
        let (answer, mut peer) = join!(fetch(&upstream, get("/")), script.answer(answer));
        assert_eq!(kind(answer), ("connection_read_timeout", 504));
        peer.is_closed().await;
    }

    #[tokio::test]
    async fn a_body_that_moves_is_not_cut_however_long_it_takes() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.between_bytes = SHORT * 8);
        let (answer, _peer) = join!(fetch(&upstream, get("/")), async {
            let mut peer = script.answer("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await;
            for _ in 0..8 {
                tokio::time::sleep(SHORT * 2).await;
                peer.send("x").await;
            }
            peer
        });
        assert_eq!(answer.unwrap(), "200 xxxxxxxx");
    }

    #[tokio::test]
    async fn an_event_stream_may_be_quiet_for_longer() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| {
            settings.between_bytes = SHORT;
            settings.idle = SHORT * 100;
        });
        let (answer, ()) = join!(fetch(&upstream, get("/")), async {
            let mut peer = script.accept().await;
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n").await;
            tokio::time::sleep(SHORT * 4).await;
            peer.send("data: 1\n\n").await;
        });
        assert_eq!(answer.unwrap(), "200 data: 1\n\n");
    }

    #[tokio::test]
    async fn a_reader_that_takes_its_time_is_no_silence_of_the_origin() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.between_bytes = SHORT * 4);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
        let (fetched, mut peer) = join!(upstream.send(get("/")), script.answer(answer));
        let mut body = fetched.unwrap().body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        tokio::time::sleep(SHORT * 6).await;
        let (frame, ()) = join!(body.frame(), peer.send("ok"));
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_tls_handshake_that_hangs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut settings =
            settings(UpstreamUrl::Tcp { protocol: Protocol::Https, host: "localhost".into(), port });
        settings.connect = SHORT * 4;
        settings.roots = Roots::Only(vec![tls::authority().0]);
        let upstream = Upstream::with_lookup(settings, lookup(vec![listener.local_addr().unwrap()])).unwrap();
        let (answer, accepted) = join!(upstream.send(get("/")), listener.accept());
        assert_eq!(kind(answer), ("connection_timeout", 504));
        drop(accepted);
        until(&upstream, |stats| stats.open == 0).await;
    }
}

mod endings {
    use super::*;

    #[tokio::test]
    async fn a_body_cut_short_is_an_error() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        ] {
            let script = Script::start().await;
            let upstream = script.upstream();
            let serve = async { drop(script.answer(answer).await) };
            let (answered, ()) = join!(fetch(&upstream, get("/")), serve);
            assert_eq!(kind(answered), ("http_response_incomplete", 502), "{answer:?}");
            until(&upstream, |stats| stats.open == 0).await;
        }
    }

    #[tokio::test]
    async fn a_body_that_the_close_ends_is_marked() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (fetched, peer) = join!(upstream.send(get("/")), script.answer("HTTP/1.1 200 OK\r\n\r\nok"));
        let fetched = fetched.unwrap();
        assert_eq!(fetched.ends, Framing::Close);
        assert!(!fetched.ends.proves_end());
        drop(peer);
        assert_eq!(read(fetched).await.unwrap(), "200 ok");
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn trailers_come_through_and_the_connection_stays() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                      2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
        let (fetched, _peer) = join!(upstream.send(get("/")), script.answer(answer));
        let mut body = fetched.unwrap().body;
        assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "ok");
        let trailers = soon(body.frame()).await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["x-sum"], "7");
        // Nothing can follow, so nobody need ask.
        assert!(body.is_end_stream());
        until(&upstream, |stats| stats.idle == 1).await;
    }

    #[tokio::test]
    async fn surplus_bytes_reach_nobody() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let poison = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSEE-THIS\
                      HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBAD";
        for _ in 0..20 {
            let (answer, mut peer) = join!(fetch(&upstream, get("/")), script.answer(poison));
            assert_eq!(answer.unwrap(), "200 SEE-THIS");
            peer.is_closed().await;
        }
        assert_eq!(upstream.stats().reuses, 0);
    }

    #[tokio::test]
    async fn surplus_bytes_that_come_late_close_the_idle_connection() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (answer, mut peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        answer.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBAD").await;
        peer.is_closed().await;
        until(&upstream, |stats| stats.idle == 0).await;
    }

    #[tokio::test]
    async fn framing_that_contradicts_itself_is_refused() {
        for fields in [
            "Content-Length: 2\r\nContent-Length: 2",
            "Content-Length: 2\r\nContent-Length: 3",
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Content-Length: foo",
            "Transfer-Encoding: foo",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            assert_refused(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n2\r\nok\r\n0\r\n\r\n")).await;
        }
        assert_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    }

    #[tokio::test]
    async fn what_is_not_http_1_is_refused() {
        for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n"] {
            assert_refused(answer).await;
        }
    }

    async fn assert_refused(answer: &str) {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (answered, mut peer) = join!(fetch(&upstream, get("/")), script.answer(answer));
        assert_eq!(kind(answered), ("http_protocol_error", 502), "{answer:?}");
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200 * 1024));
        let (answer, ()) = join!(fetch(&upstream, get("/")), async {
            let mut peer = script.accept().await;
            peer.head().await;
            // The rest of it finds the connection closed, which is as it should be.
            let _cut = peer.wire.write_all(head.as_bytes()).await;
        });
        assert_eq!(kind(answer), ("http_response_header_section_size", 502));
    }

    #[tokio::test]
    async fn interim_answers_are_skipped_up_to_a_limit() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let hinted = format!("{hints}{OK}");
        let (answer, mut peer) = join!(fetch(&upstream, get("/")), script.answer(&hinted));
        assert_eq!(answer.unwrap(), "200 ok");
        until(&upstream, |stats| stats.idle == 1).await;
        let (answer, ()) = join!(fetch(&upstream, get("/")), async {
            peer.head().await;
            while peer.wire.write_all(hints.as_bytes()).await.is_ok() {}
        });
        assert_eq!(kind(answer), ("http_protocol_error", 502));
        let flood = format!("{}{OK}", hints.repeat(20));
        let (answer, _peer) = join!(fetch(&upstream, get("/")), script.answer(&flood));
        assert_eq!(kind(answer), ("http_protocol_error", 502));
    }
}

mod upgrades {
    use super::*;

    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";

    fn upgrade() -> Request<http_body_util::Full<Bytes>> {
        let mut request = get("/");
        request.headers_mut().insert("connection", "upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", "echo".parse().unwrap());
        request
    }

    #[tokio::test]
    async fn a_tunnel_carries_both_ways_and_counts_as_a_connection() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (fetched, mut peer) = join!(upstream.send(upgrade()), script.answer(SWITCH));
        let fetched = fetched.unwrap();
        assert_eq!(fetched.head.status, StatusCode::SWITCHING_PROTOCOLS);
        let mut tunnel = TokioIo::new(soon(fetched.upgraded.unwrap()).await.unwrap());
        let mut hello = [0; 5];
        soon(tunnel.read_exact(&mut hello)).await.unwrap();
        assert_eq!(&hello, b"hello");
        soon(tunnel.write_all(b"ping")).await.unwrap();
        assert_eq!(peer.bytes(4).await, b"ping");
        assert_eq!(upstream.stats().open, 1);
        drop(tunnel);
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn a_tunnel_nobody_wants_is_closed() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (fetched, mut peer) = join!(upstream.send(upgrade()), script.answer(SWITCH));
        drop(fetched.unwrap());
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn an_origin_may_decline() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (fetched, _peer) = join!(upstream.send(upgrade()), script.answer(OK));
        let fetched = fetched.unwrap();
        assert!(fetched.upgraded.is_none());
        assert_eq!(read(fetched).await.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn nobody_switches_unasked() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (answer, mut peer) = join!(fetch(&upstream, get("/")), script.answer(SWITCH));
        assert_eq!(kind(answer), ("http_protocol_error", 502));
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }
}

mod uploads {
    use super::*;

    #[tokio::test]
    async fn a_connection_with_an_unfinished_request_is_not_pooled() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (frames, body) = channel_body();
        frames.send(Ok(Bytes::from_static(b"some"))).await.unwrap();
        let early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\ntoo";
        let upload = Request::post("/").body(body).unwrap();
        let (answer, mut first) = join!(upstream.send(upload), script.answer(early));
        assert_eq!(read(answer.unwrap()).await.unwrap(), "413 too");
        assert_eq!(upstream.stats().idle, 0);

        let (second, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        assert_eq!(second.unwrap(), "200 ok");
        // Nobody sends the rest: the connection is given up, without a last chunk.
        assert_eq!(first.rest().await, b"4\r\nsome\r\n");
        assert_eq!(upstream.stats().open, 1);
        drop(frames);
    }

    #[tokio::test]
    async fn a_connection_whose_request_ends_after_the_answer_is_pooled_then() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (frames, body) = channel_body();
        let (answer, mut peer) =
            join!(upstream.send(Request::post("/").body(body).unwrap()), script.answer(OK));
        assert_eq!(read(answer.unwrap()).await.unwrap(), "200 ok");
        assert_eq!(upstream.stats().idle, 0);
        frames.send(Ok(Bytes::from_static(b"late"))).await.unwrap();
        drop(frames);
        assert_eq!(peer.bytes("4\r\nlate\r\n0\r\n\r\n".len()).await, b"4\r\nlate\r\n0\r\n\r\n");
        until(&upstream, |stats| stats.idle == 1).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_early_answer_survives_the_close_that_follows_it() {
        const REFUSAL: &str =
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\ntoo";
        let script = Script::start().await;
        let upstream = script.upstream();
        let refuse = tokio::spawn(async move {
            loop {
                script.answer(REFUSAL).await;
            }
        });
        for _ in 0..200 {
            let endless = Polled(|_: &mut Context<'_>| Poll::Ready(Some(Data::Ok(vec![0; 1024].into()))));
            let answer = soon(upstream.send(Request::post("/").body(endless).unwrap())).await;
            assert_eq!(read(answer.unwrap()).await.unwrap(), "413 too");
        }
        until(&upstream, |stats| stats.open == 0).await;
        refuse.abort();
    }

    #[tokio::test]
    async fn a_body_that_fails_is_the_clients_fault_and_never_looks_complete() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let (frames, body) = channel_body();
        frames.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        frames.send(Err(io::Error::other("the client left"))).await.unwrap();
        let (answer, mut peer) =
            join!(upstream.send(Request::post("/").body(body).unwrap()), script.accept());
        let error = answer.map(|_| ()).unwrap_err();
        assert_eq!((error.proxy_status_error(), error.status().as_u16()), ("http_request_error", 400));
        let told = std::error::Error::source(&error).unwrap();
        assert_eq!(told.to_string(), "the client left");
        assert!(!peer.rest().await.ends_with(b"0\r\n\r\n"));
    }

    #[tokio::test]
    async fn bodies_of_64_mib_wait_for_whoever_is_slower() {
        const SIZE: usize = 64 * MIB;
        /// More than the socket buffers and ours hold together, less than the body.
        const AHEAD: usize = 24 * MIB;
        let script = Script::start().await;
        let upstream = script.upstream();
        let (produced, consumed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (made, taken) = (Arc::clone(&produced), Arc::clone(&consumed));
        let body = Polled(move |_: &mut Context<'_>| {
            let before = made.fetch_add(64 * 1024, SeqCst);
            assert!(before - taken.load(SeqCst) < AHEAD, "the upload is not held back");
            Poll::Ready((before < SIZE).then(|| Data::Ok(vec![0; 64 * 1024].into())))
        });
        let upload = Request::post("/").header("content-length", SIZE).body(body).unwrap();
        let serve = async {
            let mut peer = script.accept().await;
            peer.head().await;
            for _ in 0..SIZE / MIB {
                peer.bytes(MIB).await;
                consumed.fetch_add(MIB, SeqCst);
            }
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
            let mebibyte = vec![0; MIB];
            for sent in 0..SIZE / MIB {
                let ahead = (sent * MIB).saturating_sub(consumed.load(SeqCst).saturating_sub(SIZE));
                assert!(ahead < AHEAD, "the download is not held back");
                soon(peer.wire.write_all(&mebibyte)).await.unwrap();
            }
            peer
        };
        let download = async {
            let mut body = soon(upstream.send(upload)).await.unwrap().body;
            let mut count = 0;
            while let Some(frame) = soon(body.frame()).await {
                let data = frame.unwrap().into_data().unwrap();
                count += data.len();
                consumed.fetch_add(data.len(), SeqCst);
            }
            count
        };
        let (count, _peer) = join!(download, serve);
        assert_eq!(count, SIZE);
        until(&upstream, |stats| stats.idle == 1).await;
    }
}

mod leaving {
    use super::*;

    #[tokio::test]
    async fn a_body_dropped_midway_closes_its_connection_and_frees_its_place() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| settings.connections = 1);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
        let (fetched, mut first) = join!(upstream.send(get("/")), script.answer(answer));
        drop(fetched.unwrap());
        let (second, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        assert_eq!(second.unwrap(), "200 ok");
        first.is_closed().await;
    }

    #[tokio::test]
    async fn a_request_dropped_while_it_waits_for_the_answer() {
        let script = Script::start().await;
        let upstream = script.upstream();
        let mut peer = tokio::select! {
            _ = upstream.send(get("/")) => panic!("nobody answered"),
            peer = async { let mut peer = script.accept().await; peer.head().await; peer } => peer,
        };
        peer.is_closed().await;
        until(&upstream, |stats| stats.open == 0).await;
    }

    #[tokio::test]
    async fn a_request_dropped_in_the_queue_gives_its_place_to_the_next() {
        let script = Script::start().await;
        let upstream = with(&script, |settings| (settings.connections, settings.queue) = (1, 1));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
        let (held, mut peer) = join!(upstream.send(get("/")), script.answer(answer));
        tokio::select! {
            _ = upstream.send(get("/left")) => panic!("there was no connection"),
            () = until(&upstream, |stats| stats.waiting == 1) => {}
        }
        assert_eq!(upstream.stats().waiting, 0);
        let (held, next, ()) = join!(read(held.unwrap()), fetch(&upstream, get("/next")), async {
            until(&upstream, |stats| stats.waiting == 1).await;
            peer.send("ok").await;
            assert!(peer.head().await.starts_with("GET /next "));
            peer.send(OK).await;
        });
        assert_eq!((held.unwrap(), next.unwrap()), ("200 okok".into(), "200 ok".into()));
    }

    #[tokio::test]
    async fn a_request_dropped_while_it_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = settings(UpstreamUrl::Tcp {
            protocol: Protocol::Https,
            host: "localhost".into(),
            port: address.port(),
        });
        settings.roots = Roots::Only(vec![tls::authority().0]);
        let upstream = Upstream::with_lookup(settings, lookup(vec![address])).unwrap();
        let hello = async {
            let mut peer = Peer::new(listener.accept().await.unwrap().0);
            peer.bytes(100).await;
            peer
        };
        let mut peer = tokio::select! {
            _ = upstream.send(get("/")) => panic!("there was no handshake"),
            peer = hello => peer,
        };
        peer.rest().await;
        until(&upstream, |stats| stats.open == 0).await;
    }
}

/// A resolver that knows one answer.
fn lookup(addresses: Vec<SocketAddr>) -> Lookup {
    moving(Arc::new(Mutex::new(addresses)))
}

/// A resolver whose answer changes.
fn moving(addresses: Arc<Mutex<Vec<SocketAddr>>>) -> Lookup {
    Arc::new(move |_, _| {
        let addresses = addresses.lock().unwrap().clone();
        Box::pin(async move { Ok(addresses) })
    })
}

fn named(port: u16) -> UpstreamUrl {
    UpstreamUrl::Tcp { protocol: Protocol::Http, host: "origin.test".into(), port }
}

mod ways {
    use super::*;

    #[tokio::test]
    async fn the_family_that_listens_is_found() {
        let script = Script::start().await;
        let v4 = script.address();
        let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v4.port()));
        for addresses in [vec![v6, v4], vec![v4, v6]] {
            let upstream = Upstream::with_lookup(settings(named(v4.port())), lookup(addresses)).unwrap();
            let (answer, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
            assert_eq!(answer.unwrap(), "200 ok");
        }
    }

    #[tokio::test]
    async fn a_name_goes_through_the_systems_resolver() {
        let script = Script::start().await;
        let origin = UpstreamUrl::Tcp {
            protocol: Protocol::Http,
            host: "localhost".into(),
            port: script.address().port(),
        };
        let upstream = Upstream::new(settings(origin)).unwrap();
        let (answer, _peer) = join!(fetch(&upstream, get("/")), script.answer(OK));
        assert_eq!(answer.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn when_the_origin_moves_its_old_connections_are_not_used_again() {
        let (old, new) = (Script::start().await, Script::start().await);
        let addresses = Arc::new(Mutex::new(vec![old.address()]));
        let upstream = Upstream::with_lookup(settings(named(80)), moving(Arc::clone(&addresses))).unwrap();
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok";
        let (busy, mut first) = join!(upstream.send(get("/")), old.answer(half));
        let (idle, mut second) = join!(fetch(&upstream, get("/")), old.answer(OK));
        idle.unwrap();
        until(&upstream, |stats| stats.idle == 1).await;

        *addresses.lock().unwrap() = vec![new.address()];
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        // The idle connection still serves; the next request needs a new one and learns of the move.
        let (kept, (moved, _peer), ()) = join!(
            fetch(&upstream, get("/")),
            async { join!(fetch(&upstream, get("/")), new.answer(OK)) },
            async {
                second.head().await;
                until(&upstream, |stats| stats.connects == 3).await;
                second.send(OK).await;
            }
        );
        assert_eq!((kept.unwrap(), moved.unwrap()), ("200 ok".into(), "200 ok".into()));
        second.is_closed().await;
        let (busy, ()) = join!(read(busy.unwrap()), first.send("ok"));
        assert_eq!(busy.unwrap(), "200 okok");
        first.is_closed().await;
    }

    #[tokio::test]
    async fn nothing_listens() {
        let port = Script::start().await.address().port();
        let upstream = Upstream::new(settings(UpstreamUrl::Tcp {
            protocol: Protocol::Http,
            host: "127.0.0.1".into(),
            port,
        }))
        .unwrap();
        assert_eq!(kind(upstream.send(get("/")).await), ("connection_refused", 502));
        assert_eq!(upstream.stats().open, 0);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve() {
        let unknown: Lookup = Arc::new(|_, _| Box::pin(async { Err(io::Error::other("NXDOMAIN")) }));
        let upstream = Upstream::with_lookup(settings(named(80)), unknown).unwrap();
        assert_eq!(kind(upstream.send(get("/")).await), ("dns_error", 502));
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs() {
        let hangs: Lookup = Arc::new(|_, _| Box::pin(std::future::pending()));
        let upstream = Upstream::with_lookup(settings(named(80)), hangs).unwrap();
        assert_eq!(kind(upstream.send(get("/")).await), ("dns_timeout", 504));
        assert_eq!(upstream.stats().open, 0);
    }

    #[tokio::test]
    async fn a_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let upstream = Upstream::new(settings(UpstreamUrl::Unix(path))).unwrap();
        let (answer, _peer) = join!(fetch(&upstream, get("/")), async {
            let mut peer = Peer::new(listener.accept().await.unwrap().0);
            assert!(peer.head().await.contains("host: origin\r\n"));
            peer.send(OK).await;
            peer
        });
        assert_eq!(answer.unwrap(), "200 ok");
        let upstream = Upstream::new(settings(UpstreamUrl::Unix(folder.path().join("none.sock")))).unwrap();
        assert_eq!(kind(upstream.send(get("/")).await), ("destination_unavailable", 503));
    }
}

mod tls {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    pub(super) fn authority() -> (CertificateDer<'static>, Authority) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        (authority.der().clone(), authority)
    }

    /// Speaks TLS for `name`.
    fn acceptor(authority: &Authority, name: &str) -> TlsAcceptor {
        acceptor_of(authority, name, &[b"h2", b"http/1.1"])
    }

    /// The same, and these protocols in it.
    fn acceptor_of(authority: &Authority, name: &str, protocols: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        acceptor_with(certificate.der().clone(), key, protocols)
    }

    fn acceptor_with(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        protocols: &[&[u8]],
    ) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    async fn listen(root: CertificateDer<'static>) -> (TcpListener, Upstream) {
        listen_for(root, "https").await
    }

    async fn listen_for(root: CertificateDer<'static>, scheme: &str) -> (TcpListener, Upstream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("{scheme}://origin.test:{}", address.port());
        let mut settings = settings(UpstreamUrl::parse(&url).unwrap());
        settings.roots = Roots::Only(vec![root]);
        (listener, Upstream::with_lookup(settings, lookup(vec![address])).unwrap())
    }

    #[tokio::test]
    async fn https_with_a_name_and_http_1_1() {
        let (root, authority) = authority();
        let acceptor = acceptor(&authority, "origin.test");
        let (listener, upstream) = listen(root).await;
        let (answer, _peer) = join!(fetch(&upstream, get("/")), async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(stream.get_ref().1.server_name(), Some("origin.test"));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut peer = Peer::new(stream);
            peer.head().await;
            peer.send(OK).await;
            peer
        });
        assert_eq!(answer.unwrap(), "200 ok");
        until(&upstream, |stats| stats.idle == 1).await;
    }

    #[tokio::test]
    async fn h2_with_a_name_and_http_2() {
        let (root, authority) = authority();
        let acceptor = acceptor(&authority, "origin.test");
        let (listener, upstream) = listen_for(root, "h2").await;
        let ask = async {
            let answer = fetch(&upstream, get("/p")).await;
            until(&upstream, |stats| stats.idle == 1).await;
            drop(upstream);
            answer
        };
        let (answer, ()) = join!(ask, async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut frames = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = frames.accept().await.unwrap().unwrap();
            assert_eq!(request.uri(), "https://origin/p");
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data("ok".into(), true).unwrap();
            let end = soon(frames.accept()).await;
            assert!(!matches!(end, Some(Ok(_))), "closed with the upstream");
        });
        assert_eq!(answer.unwrap(), "200 ok");
    }

    #[tokio::test]
    async fn an_origin_that_agrees_to_nothing_is_not_spoken_to_in_http_2() {
        let (root, authority) = authority();
        let acceptor = acceptor_of(&authority, "origin.test", &[]);
        let (listener, upstream) = listen_for(root, "h2").await;
        let serve = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        let (answer, _accepted) = join!(upstream.send(get("/")), serve);
        assert_eq!(kind(answer), ("tls_protocol_error", 502));
    }

    #[tokio::test]
    async fn a_certificate_of_another_name_or_another_authority_is_refused() {
        let (root, ours) = authority();
        for acceptor in [acceptor(&ours, "other.test"), acceptor(&authority().1, "origin.test")] {
            let (listener, upstream) = listen(root.clone()).await;
            let serve = async { acceptor.accept(listener.accept().await.unwrap().0).await };
            let (answer, refused) = join!(upstream.send(get("/")), serve);
            assert_eq!(kind(answer), ("tls_certificate_error", 502));
            assert!(refused.is_err());
            until(&upstream, |stats| stats.open == 0).await;
        }
    }

    /// As `openssl req -x509` makes them.
    #[tokio::test]
    async fn what_to_do_about_an_authority_that_speaks_for_itself_is_said() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["origin.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let acceptor = acceptor_with(own.clone(), key, &[]);
        let (listener, upstream) = listen(own).await;
        let serve = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        let (answer, _refused) = join!(upstream.send(get("/")), serve);
        let error = answer.map(|_| ()).unwrap_err();
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("CA:FALSE"), "{said}");
        assert_eq!(error.proxy_status_error(), "tls_certificate_error");
    }

    #[tokio::test]
    async fn an_origin_that_speaks_no_tls() {
        let (listener, upstream) = listen(authority().0).await;
        let (answer, ()) = join!(upstream.send(get("/")), async {
            let mut stream = listener.accept().await.unwrap().0;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        assert_eq!(kind(answer), ("tls_protocol_error", 502));
    }
}
