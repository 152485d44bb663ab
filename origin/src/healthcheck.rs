//! The client's side of `/healthz`, so that an image needs neither a shell nor curl to be checked.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Of the answer only the status line counts; it is shorter than this, in bytes.
const STATUS_LINE_LIMIT: u64 = 64;

/// Why a service is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It could not be asked, or did not answer in time.
    #[error("no answer from {address}")]
    Unreachable {
        /// The address asked.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
    /// It answered with something other than 200.
    #[error("{address} answered: {answer}")]
    Refused {
        /// The address asked.
        address: SocketAddr,
        /// The first line of the answer.
        answer: String,
    },
}

/// Requests `/healthz` from the service that listens on `listen`; `limit` bounds connecting, and
/// each wait for bytes.
///
/// # Errors
///
/// [`Unhealthy`] unless the answer is 200.
pub fn ask(listen: SocketAddr, limit: Duration) -> Result<(), Unhealthy> {
    let address = reachable(listen);
    let answer = status_line(address, limit).map_err(|source| Unhealthy::Unreachable { address, source })?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(Unhealthy::Refused { address, answer }) }
}

/// A listener on "any address" is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn status_line(address: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream.take(STATUS_LINE_LIMIT)).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_any_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("10.1.2.3:8000", "10.1.2.3:8000"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
