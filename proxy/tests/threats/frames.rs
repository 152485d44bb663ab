//! An app in HTTP/2 that has an origin in HTTP/1 answer for it: what must not reach the one must not reach the
//! other.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{
    HeaderValue, Request, Response, Version,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Where such an app listens, before `origin`.
pub(crate) async fn before(origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, origin));
        }
    });
    address
}

async fn serve(stream: TcpStream, origin: SocketAddr) {
    let Ok(mut frames) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = frames.accept().await {
        tokio::spawn(async move {
            if relay(request, &mut respond, origin).await.is_err() {
                respond.send_reset(Reason::INTERNAL_ERROR);
            }
        });
    }
}

/// One connection for each request: what is left of one is in front of no other.
async fn relay(
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    origin: SocketAddr,
) -> Result<(), Failed> {
    let (mut send, connection) = http1::handshake(TokioIo::new(TcpStream::connect(origin).await?)).await?;
    tokio::spawn(connection);
    let answer = send.send_request(in_http_1(request)).await?;
    let (mut head, mut body) = answer.into_parts();
    head.headers.remove(TRANSFER_ENCODING);
    head.version = Version::HTTP_2;
    let mut stream = respond.send_response(Response::from_parts(head, ()), false)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            stream.send_data(data, false)?;
        }
    }
    Ok(stream.send_data(Bytes::new(), true)?)
}

fn in_http_1(
    request: Request<RecvStream>,
) -> Request<impl http_body::Body<Data = Bytes, Error = Failed> + Send + 'static> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let host = HeaderValue::try_from(authority).unwrap();
    (head.uri, head.version) = (target.parse().unwrap(), Version::HTTP_11);
    head.headers.insert(HOST, host);
    if !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH) {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let data = stream::unfold(body, async |mut body| {
        let data = body.data().await?.and_then(|data| {
            body.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        });
        Some((data.map_err(Failed::from), body))
    });
    Request::from_parts(head, StreamBody::new(data.boxed()))
}
