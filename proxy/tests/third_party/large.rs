//! Two gibibytes each way, in the memory of a few.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::interval,
};

use crate::support::process::Process;

const SIZE: u64 = 2 << 30;
const FRAME: usize = 256 * 1024;
static ZEROES: [u8; FRAME] = [0; FRAME];
/// What is moved first, so that buffers have the size they take.
const WARM_UP: u64 = 32 << 20;
/// What memory may grow by, whatever passes through.
const FLAT: u64 = 8 << 20;

/// So many bytes, of unannounced length.
struct Zeroes(u64);

impl Body for Zeroes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.min(FRAME as u64);
        self.0 -= length;
        let data = Bytes::from_static(&ZEROES[..usize::try_from(length).unwrap()]);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(data))))
    }
}

async fn count(mut body: Incoming) -> u64 {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
    }
    bytes
}

/// `POST` is answered with the length of its body, `GET /N` with a body of N bytes.
async fn answer(request: Request<Incoming>) -> Result<Response<Either<Full<Bytes>, Zeroes>>, Infallible> {
    let body = if request.method() == Method::POST {
        Either::Left(Full::from(count(request.into_body()).await.to_string()))
    } else {
        Either::Right(Zeroes(request.uri().path()[1..].parse().unwrap()))
    };
    Ok(Response::new(body))
}

async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serving = server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serving);
        }
    });
    address
}

async fn ask(sidecar: &Process, request: Request<Either<Full<Bytes>, Zeroes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(sidecar.address).await.unwrap();
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

async fn upload(sidecar: &Process, bytes: u64) {
    let request = Request::post("/").header("host", "a").body(Either::Right(Zeroes(bytes))).unwrap();
    let counted = ask(sidecar, request).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(counted, bytes.to_string());
}

async fn download(sidecar: &Process, bytes: u64) {
    let request = Request::get(format!("/{bytes}")).header("host", "a");
    let request = request.body(Either::Left(Full::default())).unwrap();
    assert_eq!(count(ask(sidecar, request).await.into_body()).await, bytes);
}

/// The most memory that was seen in use while `step` ran.
async fn peak_while(sidecar: &Process, step: impl Future<Output = ()>) -> u64 {
    let (mut step, mut peak) = (pin!(step), 0);
    let mut samples = interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            () = step.as_mut() => return peak,
            _ = samples.tick() => peak = peak.max(sidecar.memory("VmRSS:")),
        }
    }
}

fn assert_flat(before: u64, after: u64) {
    assert!(after < before + FLAT, "from {} to {} KiB", before >> 10, after >> 10);
}

async fn sidecar() -> Process {
    Process::ready(&format!("upstream: http://{}\nroutes: []", origin().await), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_upload() {
    let sidecar = sidecar().await;
    let before = peak_while(&sidecar, upload(&sidecar, WARM_UP)).await;
    assert_flat(before, peak_while(&sidecar, upload(&sidecar, SIZE)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_download() {
    let sidecar = sidecar().await;
    let before = peak_while(&sidecar, download(&sidecar, WARM_UP)).await;
    assert_flat(before, peak_while(&sidecar, download(&sidecar, SIZE)).await);
}
