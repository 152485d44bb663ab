//! What a connection gets that finds no place: an answer to whatever it asks, which is not looked at.

use std::io::{Read, Write};

use socket2::SockRef;

use super::listener::Accepted;

/// As the proxy's other errors are, but ready: a flood must cost little.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    cache-control: no-store\r\n\
    content-type: application/problem+json\r\n\
    proxy-status: sidecache; error=connection_limit_reached\r\n\
    retry-after: 1\r\n\
    content-length: 117\r\n\
    connection: close\r\n\r\n\
    {\"detail\":\"all connections of the proxy are in use (limits.connections)\",\"status\":503,\
    \"title\":\"Service Unavailable\"}\n";

/// Bytes of what the client has sent by now, which are thrown away: to close with bytes unread is to reset,
/// and some systems lose the answer then.
const UNREAD: usize = 4 * 1024;

/// Answers and closes, without waiting for anything.
pub(super) fn refuse(accepted: &Accepted) {
    let socket = match accepted {
        Accepted::Tcp(stream, _) => SockRef::from(stream),
        Accepted::Unix(stream) => SockRef::from(stream),
    };
    // Whoever does not get it finds the connection closed, which says as much.
    let _ = (&*socket).write(ANSWER).and_then(|_| (&*socket).read(&mut [0; UNREAD]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(document["status"], 503);
    }
}
