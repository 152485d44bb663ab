//! Server-sent events.

use crate::{
    app::{App, script},
    support::{process::Process, wire::Ends},
};

#[tokio::test]
async fn each_event_comes_when_it_is_sent_and_silence_cuts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&[&script("stage.py"), "0"], folder.path()).await;
    let yaml = format!(
        "{}\ntimeouts: {{ between_bytes: 50ms }}\nroutes: [{{ match: /events, cache: 1m }}]",
        app.upstream()
    );
    let sidecar = Process::ready(&yaml, &[]).await;
    let mut stream = sidecar.connect().await;
    stream.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await;
    let head = stream.head().await;
    assert_eq!(head.response_ends("GET"), Ends::Chunked, "{head:?}");
    for event in ["one", "two", "three"] {
        // Longer in all than any other answer may be quiet.
        stream.is_silent().await;
        stream.is_silent().await;
        let length = event.len();
        let emit = format!("POST /emit HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{event}");
        assert_eq!(sidecar.ask(&emit).await.text(), "sent");
        assert_eq!(stream.chunk().await, format!("data: {event}\n\n").as_bytes());
    }
}
