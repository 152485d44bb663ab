//! Trailers: after a chunked body, for those who take them, and never among the fields.

use crate::support::rig::{OK, Rig, message, request};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n";

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn those_of_the_answer_go_to_a_client_that_takes_them() {
    let line = "GET / HTTP/1.1";
    let (got, answer) =
        Rig::new("").await.exchange(&request(line, &["TE: trailers, gzip"], ""), ANSWER).await;
    assert_eq!(got.field("te"), Some("trailers"));
    assert_eq!(answer.trailers, [pair("x-sum", "1"), pair("x-sum", "2")]);
    assert_eq!((answer.text().as_str(), answer.field("x-sum")), ("ok", None));
}

#[tokio::test]
async fn those_of_the_answer_are_dropped_for_a_client_that_does_not() {
    let (got, answer) = Rig::new("").await.exchange(&request("GET / HTTP/1.1", &[], ""), ANSWER).await;
    assert_eq!(got.field("te"), None);
    assert_eq!((answer.text().as_str(), answer.trailers.len(), answer.field("x-sum")), ("ok", 0, None));
}

#[tokio::test]
async fn section_6_5_1_of_an_answer_those_that_mean_harm_are_dropped() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\n\r\n2\r\nok\r\n0\r\n\
                  Content-Length: 9\r\nSet-Cookie: a=1\r\nCache-Control: public\r\nWWW-Authenticate: Basic\r\n\
                  Location: /evil\r\nConnection: close\r\nContent-Type: text/html\r\nVary: *\r\nX-Hop: 1\r\n\
                  Sidecache-Tags: a\r\nX-Not-Named: 1\r\n\r\n";
    let asked = request("GET / HTTP/1.1", &["TE: trailers"], "");
    for routes in ["", "routes: [{ match: /**, cache: 60s }]"] {
        let (_, got) = Rig::new(routes).await.exchange(&asked, answer).await;
        assert_eq!((got.text().as_str(), got.trailers.as_slice()), ("ok", &[pair("x-not-named", "1")][..]));
    }
}

#[tokio::test]
async fn section_6_5_1_where_all_are_dropped_the_answer_is_whole() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nHost: evil\r\n\r\n";
    let asked = request("GET / HTTP/1.1", &["TE: trailers"], "");
    let (_, got) = Rig::new("").await.exchange(&asked, answer).await;
    assert_eq!((got.text().as_str(), got.trailers.len()), ("ok", 0));
}

#[tokio::test]
async fn those_of_a_request_pass_where_they_are_announced_and_are_never_merged() {
    let fields = ["Transfer-Encoding: chunked", "Trailer: X-Sum, Host", "Trailer: X-Other, Authorization"];
    let body = "2\r\nok\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX-Other: 2\r\nAuthorization: evil\r\nX-Not-Named: 3\r\n\r\n";
    let (got, _) = Rig::new("").await.exchange(&request("POST / HTTP/1.1", &fields, body), OK).await;
    assert_eq!(got.text(), "ok");
    let mut trailers = got.trailers.clone();
    trailers.sort();
    assert_eq!(trailers, [pair("x-other", "2"), pair("x-sum", "1")]);
    assert_eq!((got.field("host"), got.field("authorization"), got.field("x-sum")), (Some("a"), None, None));
    assert_eq!(got.field("trailer"), Some("X-Sum, X-Other"));
}

#[tokio::test]
async fn section_7_6_1_of_a_request_those_that_connection_names_are_dropped() {
    let fields = ["Transfer-Encoding: chunked", "Trailer: X-Sum, X-Hop", "Connection: x-hop"];
    let body = "2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Hop: 2\r\n\r\n";
    let (got, _) = Rig::new("").await.exchange(&request("POST / HTTP/1.1", &fields, body), OK).await;
    assert_eq!((got.text().as_str(), got.trailers.as_slice()), ("ok", &[pair("x-sum", "1")][..]));
    assert_eq!(got.field("trailer"), Some("X-Sum"));
}

#[tokio::test]
async fn a_trailer_field_without_a_chunked_body_means_nothing() {
    let fields = ["Trailer: X-Sum", "Content-Length: 2"];
    let (got, _) = Rig::new("").await.exchange(&request("POST / HTTP/1.1", &fields, "ok"), OK).await;
    assert_eq!(got.field("trailer"), None);
}

#[tokio::test]
async fn a_malformed_trailer_aborts_the_request_at_the_origin() {
    let rig = Rig::new("").await;
    let chunked = request("POST / HTTP/1.1", &["Transfer-Encoding: chunked", "Trailer: X"], "2\r\nok\r\n");
    let (mut client, mut origin, _) = rig.send(&chunked).await;
    assert_eq!(origin.chunk().await, b"ok");
    client.send("0\r\nX : 1\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 400);
    client.is_closed().await;
    origin.is_closed().await;
}

#[tokio::test]
async fn they_are_no_part_of_an_http_1_0_answer() {
    let old = message("GET / HTTP/1.0", &["TE: trailers"], "");
    let (_, answer) = Rig::new("").await.exchange(&old, ANSWER).await;
    assert_eq!((answer.text().as_str(), answer.field("transfer-encoding")), ("ok", None));
}
