//! Why a fetch failed, in the words of RFC 9209.

use std::{io, time::Duration};

use http::StatusCode;
use rustls::CertificateError;

use super::{framing::FramingError, sender::Fault};
use crate::message::BoxError;

/// Why [`send`](super::Upstream::send) failed, or why the body of its answer did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Every connection is in use, and as many requests wait for one as may.
    #[error("every connection to the origin is in use, and the queue for one is full")]
    QueueFull,
    /// No connection became free in time.
    #[error("every connection to the origin is in use, and none became free within {0:?}")]
    QueueTimeout(Duration),
    /// The store is out of reach, and as many misses are being fetched as may be then.
    #[error("the store is out of reach, and as many requests are with the origin as may be then")]
    Shed,
    /// The origin's name did not resolve, now or ever before.
    #[error("the origin's name does not resolve")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The resolver did not answer in time.
    #[error("the origin's name did not resolve within {limit:?}")]
    DnsTimeout {
        /// The name.
        host: String,
        /// The connect timeout.
        limit: Duration,
    },
    /// Nothing listens at the origin's address.
    #[error("the origin refused the connection")]
    Refused(#[source] io::Error),
    /// There is no way to the origin's address.
    #[error("no route leads to the origin")]
    Unroutable(#[source] io::Error),
    /// The connection failed otherwise.
    #[error("the origin cannot be reached")]
    Unreachable(#[source] io::Error),
    /// No connection was up, TLS included, within the connect timeout.
    #[error("no connection to the origin within {0:?}")]
    ConnectTimeout(Duration),
    /// The origin's certificate was not accepted.
    #[error("the origin's certificate is not valid")]
    Certificate(#[source] io::Error),
    /// The origin ended the TLS handshake with an alert.
    #[error("the origin refused the TLS handshake")]
    TlsAlert(#[source] io::Error),
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake with the origin failed")]
    Tls(#[source] io::Error),
    /// The connection was closed or reset before the head of an answer was complete.
    #[error("the origin closed the connection before it answered")]
    Terminated(#[source] BoxError),
    /// The request was sent and no answer came.
    #[error("the origin did not answer within {0:?}")]
    FirstByte(Duration),
    /// The head of the answer is larger than [`HEAD_BYTES`](super::HEAD_BYTES) or has more than 100
    /// fields, over HTTP/1.
    #[error("the head of the origin's answer is too large")]
    HeadTooLarge(#[source] BoxError),
    /// The answer is malformed. Over HTTP/2 its head may also be too large, which the library does not tell apart.
    #[error("the origin's answer cannot be parsed")]
    Unparsable(#[source] BoxError),
    /// The answer does not say in one way where it ends.
    #[error("the framing of the origin's answer is not valid")]
    Framing(#[from] FramingError),
    /// The origin switched protocols though the request asked for no other.
    #[error("the origin switched protocols unasked")]
    UnaskedUpgrade,
    /// The origin says that nothing has changed, to a request that did not ask (RFC 9110 §15.4.5).
    #[error("the origin answered 304 to a request without conditions")]
    UnaskedNotModified,
    /// The origin failed, and the proxy has a stored response that may stand in (RFC 5861 §4).
    #[error("the origin answered {0}")]
    ServerError(StatusCode),
    /// The origin sent more than [`INFORMATIONAL`](super::INFORMATIONAL) interim answers to one request.
    #[error("the origin sent too many 1xx answers")]
    TooManyInformational,
    /// The body stopped moving.
    #[error("the origin's answer stopped for {0:?}")]
    BetweenBytes(Duration),
    /// The body ended before its end.
    #[error("the origin's answer is incomplete")]
    Incomplete(#[source] BoxError),
    /// The request's own body failed: the client's fault, or a limit of ours. The source is the error the body
    /// gave.
    #[error("the request's body failed")]
    RequestBody(#[source] BoxError),
}

impl FetchError {
    /// Whether the same request might succeed at once: the fault was the connection's. What took its
    /// time to fail would take it again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Terminated(_) | Self::Incomplete(_) | Self::Unparsable(_) | Self::Framing(_))
    }

    /// The status that the origin answered with, if it is that which failed.
    #[must_use]
    pub fn answered(&self) -> Option<StatusCode> {
        match self {
            Self::ServerError(status) => Some(*status),
            _ => None,
        }
    }

    /// The error type for `Proxy-Status` (RFC 9209 §2.3).
    #[must_use]
    pub fn proxy_status_error(&self) -> &'static str {
        match self {
            Self::QueueFull | Self::QueueTimeout(_) | Self::Shed => "connection_limit_reached",
            Self::Dns { .. } => "dns_error",
            Self::DnsTimeout { .. } => "dns_timeout",
            Self::Refused(_) => "connection_refused",
            Self::Unroutable(_) => "destination_ip_unroutable",
            Self::Unreachable(_) => "destination_unavailable",
            Self::ConnectTimeout(_) => "connection_timeout",
            Self::Certificate(_) => "tls_certificate_error",
            Self::TlsAlert(_) => "tls_alert_received",
            Self::Tls(_) => "tls_protocol_error",
            Self::Terminated(_) => "connection_terminated",
            Self::FirstByte(_) => "http_response_timeout",
            Self::HeadTooLarge(_) => "http_response_header_section_size",
            Self::BetweenBytes(_) => "connection_read_timeout",
            Self::Incomplete(_) => "http_response_incomplete",
            Self::RequestBody(_) => "http_request_error",
            Self::Unparsable(_)
            | Self::Framing(_)
            | Self::UnaskedUpgrade
            | Self::UnaskedNotModified
            | Self::ServerError(_)
            | Self::TooManyInformational => "http_protocol_error",
        }
    }

    /// The status the client gets, where nothing was sent to it yet: as RFC 9209 §2.3 recommends.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::QueueFull | Self::QueueTimeout(_) | Self::Shed | Self::Unreachable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DnsTimeout { .. }
            | Self::ConnectTimeout(_)
            | Self::FirstByte(_)
            | Self::BetweenBytes(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::ServerError(status) => *status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// What a failed TCP or unix connection means.
    pub(super) fn from_connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused(error),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Self::Unroutable(error),
            _ => Self::Unreachable(error),
        }
    }

    /// What a failed TLS handshake means.
    pub(super) fn from_handshake(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(match remedy(why) {
                Some(remedy) => io::Error::new(error.kind(), format!("{error}: {remedy}")),
                None => error,
            }),
            Some(rustls::Error::AlertReceived(_)) => Self::TlsAlert(error),
            _ => Self::Tls(error),
        }
    }

    /// What an exchange that ended without an answer means.
    pub(super) fn from_exchange(fault: Fault) -> Self {
        match fault {
            Fault::Http1(error) if error.is_user() => Self::RequestBody(error.into()),
            Fault::Http1(error) if error.is_parse_too_large() => Self::HeadTooLarge(error.into()),
            Fault::Http1(error) if error.is_parse() => Self::Unparsable(error.into()),
            Fault::Http1(error) => Self::Terminated(error.into()),
            Fault::Http2(error) if error.is_library() => Self::Unparsable(error.into()),
            Fault::Http2(error) => Self::Terminated(error.into()),
        }
    }
}

/// What to do where a certificate is not accepted, if that is not plain from why it is not.
fn remedy(why: &CertificateError) -> Option<&'static str> {
    match why {
        CertificateError::UnknownIssuer => Some(
            "nobody whom this machine trusts has signed it; SSL_CERT_FILE names a file of those who are trusted instead",
        ),
        // The library hands on the name of the error alone.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => Some(
            "it is an authority's (CA:TRUE), with which no server may speak for itself: sign one for the server with it, \
             or make it anew with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE …`",
        ),
        _ => None,
    }
}

/// Why an [`Upstream`](super::Upstream) could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The machine has no certificate authorities, so no origin could be verified.
    #[error("no root certificates were found on this machine; https upstreams cannot be verified")]
    NoRoots,
    /// TLS could not be configured.
    #[error("TLS cannot be configured")]
    Tls(#[from] rustls::Error),
    /// The host of an https upstream is neither a DNS name nor an address.
    #[error("`{0}` is not a name that a certificate can hold")]
    ServerName(String),
    /// There is no tokio runtime on this thread.
    #[error("an upstream needs a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}
