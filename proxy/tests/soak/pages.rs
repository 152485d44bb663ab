//! What is asked for, and the app that has it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{random::Random, support::scale::Scale};

/// Pages that all want: in a long run more than memory has room for.
static WANTED: LazyLock<usize> = LazyLock::new(|| Scale::asked_for().pick(60, 1_500));
/// Pages in several languages.
const VARIED: usize = 200;
/// Pages that are not for others.
const OWN: usize = 50;
/// Tags; every fourth page that is asked for once has one, and each that all want.
pub(crate) const SECTIONS: usize = 50;
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// How each is kept. No page can be validated: what can is kept for an hour.
pub(crate) fn rules(ttl: u32) -> String {
    format!(
        "routes:
  - {{ match: /once/*, cache: {{ ttl: 3s }} }}
  - {{ match: /wanted/*, cache: {{ ttl: {ttl}s, stale_while_revalidate: 5s, jitter: 10%, refresh_ahead: 20% }} }}
  - {{ match: /varied/*, cache: {{ ttl: 3s }} }}
  - {{ match: /own/*, cache: {{ ttl: 3s }} }}\n"
    )
}

/// The longest that any of them is kept, in seconds: a minute beyond its freshness.
pub(crate) const fn kept(longest_ttl: u64) -> u64 {
    longest_ttl + 60
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) language: &'static str,
}

impl Page {
    /// Three of five are asked for once and never again.
    pub(crate) fn choose(random: &mut Random, once: &AtomicUsize) -> Self {
        let path = match random.below(100) {
            0..60 => format!("/once/{}", once.fetch_add(1, Ordering::Relaxed)),
            60..92 => wanted(random),
            92..97 => format!("/varied/{}", random.below(VARIED)),
            _ => format!("/own/{}", random.below(OWN)),
        };
        Self { path, language: LANGUAGES[random.below(LANGUAGES.len())] }
    }

    /// Whether that is it.
    pub(crate) fn is(&self, body: &str) -> bool {
        body.starts_with(&beginning(&self.path, self.language))
    }
}

/// The path of a page that all want, some more than others.
pub(crate) fn wanted(random: &mut Random) -> String {
    let most = random.below(*WANTED) + 1;
    format!("/wanted/{}", random.below(most))
}

/// What a page begins with. Those in several languages say in which they are.
fn beginning(path: &str, language: &str) -> String {
    match path.starts_with("/varied/") {
        true => format!("{path} in {language}\n"),
        false => format!("{path}\n"),
    }
}

/// The app; it ends with this value.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl App {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let (mut accepting, count) = (JoinSet::new(), Arc::clone(&asked));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let count = Arc::clone(&count);
                let answer = service_fn(move |request| {
                    count.fetch_add(1, Ordering::Relaxed);
                    async move { Ok::<_, Infallible>(answer(&request)) }
                });
                stream.set_nodelay(true).unwrap();
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, asked, _accepting: accepting }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (kind, number) = path[1..].split_once('/').expect("a page");
    let number: usize = number.parse().expect("the number of a page");
    let language = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let mut body = beginning(path, language.unwrap_or_default());
    let (length, answer) = match kind {
        "wanted" => (24_576 + number % 8 * 4096, Response::builder().header("cache-tag", section(number))),
        "once" if number.is_multiple_of(4) => (512, Response::builder().header("cache-tag", section(number))),
        "once" => (256 + number % 4 * 256, Response::builder()),
        "varied" => (1024, Response::builder().header(header::VARY, "accept-language")),
        _ => (256, Response::builder().header(header::CACHE_CONTROL, "private")),
    };
    body.extend(std::iter::repeat_n('.', length));
    answer.body(Full::from(body)).unwrap()
}

/// The tag of a page with this number.
pub(crate) fn section(number: usize) -> String {
    format!("section-{}", number % SECTIONS)
}
