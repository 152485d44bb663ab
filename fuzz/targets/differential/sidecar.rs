//! The sidecar, as new for each run, and a client on one connection to it.

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, SystemTime},
};

use sidecache::{
    admit::Scheme,
    app::{App, Live},
    clock::{Clock, ManualClock},
    config::Config,
    headers::Peer,
    http1::{self, Connection},
    observe::Unobserved,
    places::Places,
    store::{memory::MemoryStore, tiers::Tiers},
    upstream::{Settings, Upstream},
};
use sidecache_fuzz::strict::{Message, Read};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
    time::timeout,
};

use super::origin::{NUMBER, path};

/// How long an answer may take that need not come: that to what could not be read.
const SILENCE: Duration = Duration::from_millis(50);

/// How long one may take that must not come: that to half a request.
const SETTLED: Duration = Duration::from_millis(1);

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = format!(
        "listen: 127.0.0.1:0\nupstream: unix:{}\nstore: {{ memory: 64MiB }}\nroutes:\n- match: /cached/**\n  cache: 1h\n",
        path().display()
    );
    Config::parse(&text, "fuzz.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
});

/// An answer to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The number that the origin gave to the request that it answers.
    pub number: Option<usize>,
}

fn app() -> Arc<App> {
    let config = &*CONFIG;
    let settings = Settings::new(config.upstream.clone(), &config.limits, &config.timeouts);
    let live = Live {
        rules: config.rules.clone(),
        purge_on: config.purge_on.clone(),
        upstream: Arc::new(Upstream::new(settings).expect("a runtime")),
        hosts: None,
        trusted_proxies: Vec::new(),
        begins_traces: config.begins_traces,
        pseudonym: "sidecache".into(),
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
    };
    let store = Tiers::Memory(MemoryStore::new(config.store.memory.expect("it says so"), Arc::default()));
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Arc::new(App::new(live, store, Clock::Manual(clock)))
}

/// Sends the bytes over one connection, and returns when it has ended. All answers, by the methods of what
/// was meant.
pub async fn send(bytes: &[u8], meant: &[Message], rest: &Read) -> Vec<Answer> {
    let (mut client, ours) = UnixStream::pair().expect("two descriptors");
    let places = Places::new();
    places.open(1);
    let (_draining, draining) = watch::channel(false);
    let connection = Connection {
        app: app(),
        observer: Arc::new(Unobserved),
        peer: Peer::Ip([192, 0, 2, 1].into()),
        scheme: Scheme::Http,
        draining,
        place: places.take().expect("it was just opened"),
        ended: OnceLock::new(),
    };
    let (read, write) = ours.into_split();
    let serving = http1::serve(read, write, connection);
    let asking = async move {
        // One that refuses may close before it has read all.
        let _ = client.write_all(bytes).await;
        let mut got = Vec::new();
        loop {
            let answers = answers(&got, meant);
            let all = answers.len() >= meant.len();
            let more = client.read_buf(&mut got);
            let more = match (all, rest) {
                (true, Read::Partial) => timeout(SETTLED, more).await.unwrap_or(Ok(0)),
                (true, _) => timeout(SILENCE, more).await.unwrap_or(Ok(0)),
                (false, _) => more.await,
            };
            if !matches!(more, Ok(1..)) {
                return self::answers(&got, meant);
            }
        }
    };
    tokio::join!(asking, serving).0
}

/// The whole answers among these bytes, interim ones apart.
fn answers(mut bytes: &[u8], meant: &[Message]) -> Vec<Answer> {
    let mut all = Vec::new();
    while let Some((answer, length)) = answer(bytes, meant.get(all.len())) {
        bytes = &bytes[length..];
        if answer.status >= 200 {
            all.push(answer);
        }
    }
    all
}

fn answer(bytes: &[u8], to: Option<&Message>) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => {
            panic!("the client got what is no answer: {error}: {:?}", String::from_utf8_lossy(bytes))
        }
    };
    let field = |name: &str| {
        let mut fields = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = fields.next().and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
        assert!(fields.next().is_none(), "two fields {name}");
        value
    };
    let status = response.code?;
    let answer = Answer { status, number: field(NUMBER) };
    let is_head = to.is_some_and(|to| to.method == "HEAD");
    // A refusal is the last answer, and has a body whatever was asked.
    if is_head && status >= 400 && answer.number.is_none() && bytes.len() > head {
        return Some((answer, bytes.len()));
    }
    let has_body = status >= 200 && status != 204 && status != 304 && !is_head;
    let length = if has_body { field("content-length").unwrap_or(0) } else { 0 };
    (bytes.len() >= head + length).then_some((answer, head + length))
}
