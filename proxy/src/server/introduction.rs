//! Who is spoken for, where a trusted proxy begins each connection with a PROXY header.
//!
//! From such a proxy the header is required: were it optional, whoever can make the proxy send bytes of his
//! choice could be anybody. From others it is never read, and is not HTTP.

use std::io;

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};
use tracing::field::display;

use crate::{
    admit::proxy_header::{self, LEAST, ProxyHeader, ProxyHeaderError, Source},
    complaint::Complaint,
    headers::Peer,
    http1::Connection,
};

/// What is done with connections of trusted proxies.
#[derive(Default)]
pub(super) struct Introductions {
    complaint: Complaint,
}

/// Why a connection is closed before it has begun.
#[derive(Debug, Error)]
enum NotIntroduced {
    /// It has left, or has to make room or to go, before it has said anything.
    #[error("nothing was said")]
    Silent,
    #[error("{0}")]
    Header(#[from] ProxyHeaderError),
    #[error("the PROXY header did not come to its end: {0}")]
    Cut(#[from] io::Error),
}

impl Introductions {
    /// Reads the header, where the peer is one that sends it, and takes its word for who the peer is.
    /// `false`: the connection is to be closed.
    pub(super) async fn hear(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        connection: &mut Connection,
    ) -> bool {
        let live = connection.app.live();
        let sends_one = match connection.peer {
            Peer::Local => true,
            peer @ Peer::Ip(_) => peer.is_trusted(&live.trusted_proxies),
        };
        if !sends_one {
            return true;
        }
        let heard = tokio::select! {
            biased;
            heard = timeout(live.timeouts.header, source(stream, connection)) => match heard {
                Ok(heard) => heard,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            },
            () = connection.last_call() => Err(NotIntroduced::Silent),
        };
        match heard {
            Ok(source) => {
                connection.peer = match source {
                    Source::Client(address) => Peer::Ip(address),
                    // The trust in the proxy is not for whoever is behind it.
                    Source::Unknown => Peer::Local,
                    Source::Proxy => connection.peer,
                };
                return true;
            }
            Err(NotIntroduced::Silent) => {}
            Err(error) => {
                connection.place.lost_without_header();
                if let Some(times) = self.complaint.again() {
                    // As in the access log.
                    let peer = match connection.peer {
                        Peer::Ip(address) => Some(display(address)),
                        Peer::Local => None,
                    };
                    tracing::warn!(
                        peer,
                        times,
                        "a trusted proxy was not understood, proxy_protocol: {error}"
                    );
                }
            }
        }
        false
    }
}

/// Reads to the header's last byte, and no further.
async fn source(
    stream: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
) -> Result<Source, NotIntroduced> {
    let mut header = vec![0; LEAST];
    let begun = tokio::select! {
        biased;
        begun = stream.read(&mut header) => begun?,
        () = connection.place.asked_for() => 0,
    };
    if begun == 0 || !connection.place.begin() {
        return Err(NotIntroduced::Silent);
    }
    let mut read = begun;
    loop {
        stream.read_exact(header.get_mut(read..).unwrap_or_default()).await?;
        read = header.len();
        match proxy_header::read(&header)? {
            ProxyHeader::Whole(source) => return Ok(source),
            ProxyHeader::Partial(more) => header.resize(read + more, 0),
        }
    }
}
