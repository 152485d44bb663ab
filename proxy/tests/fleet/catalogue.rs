//! The origin of the consistency check: resources that have a version, a tag of their own and one
//! that they share with others. Some come in several languages, some are written by POST, and some keep
//! their entity tag whatever their version.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    history::{Key, Version},
    random::Random,
    support::origin::{Asked, Origin, Step, answer, ok},
};

/// How many resources there are.
pub(crate) const KEYS: usize = 32;
/// How many share a tag.
pub(crate) const GROUP: usize = 4;
/// What clients ask for. The last two get the same.
pub(crate) const LANGUAGES: [&str; 3] = ["de", "en", "en-GB"];
/// The origin reads its version, then thinks for so long at most: time enough for a purge.
const THINKS: Duration = Duration::from_millis(25);
/// But one time in so many for so long: more than a sidecar trusts its memory without a word from Redis.
const SLOWLY: (usize, Duration) = (50, Duration::from_secs(3));

/// What the origin has, for the writer to raise.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue(Arc<[AtomicU64]>);

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self((0..KEYS).map(|_| AtomicU64::new(1)).collect())
    }

    /// Makes a new version of it.
    pub(crate) fn raise(&self, key: Key) -> Version {
        self.0[key].fetch_add(1, Ordering::SeqCst) + 1
    }

    fn version(&self, key: Key) -> Version {
        self.0[key].load(Ordering::SeqCst)
    }

    /// The origin that serves it.
    pub(crate) async fn open(&self, seed: u64) -> Origin {
        let catalogue = self.clone();
        Origin::start(move |asked| catalogue.page(asked, seed)).await
    }

    fn page(&self, asked: &Asked, seed: u64) -> Vec<Step> {
        let Some(key) = key_of(&asked.target) else { return answer("404 Not Found", "", "") };
        let mut random = Random::new(seed.wrapping_add(asked.number as u64));
        let thinks = match random.one_in(SLOWLY.0) {
            true => Step::Pause(SLOWLY.1),
            false => Step::Pause(random.between(Duration::ZERO, THINKS)),
        };
        if asked.method == "POST" && is_posted(key) {
            return [vec![thinks], self.written(key)].concat();
        }
        let (version, language) = (self.version(key), asked.field("accept-language").unwrap_or_default());
        let etag = etag(key, version, language);
        let fields = fields(key, &etag);
        let page = match asked.field("if-none-match") {
            Some(known) if known.split(", ").any(|known| known == etag) => {
                answer("304 Not Modified", &fields, "")
            }
            _ => ok(&fields, &body(key, version, language)),
        };
        [vec![thinks], page].concat()
    }

    /// What was written is the next version, and may answer whoever asks for it.
    fn written(&self, key: Key) -> Vec<Step> {
        let version = self.raise(key);
        let may = format!("Content-Location: {}\r\nCache-Control: max-age=3600\r\n", path(key));
        ok(&(may + &fields(key, &etag(key, version, ""))), &body(key, version, ""))
    }
}

pub(crate) fn path(key: Key) -> String {
    format!("/page/{key}")
}

fn key_of(target: &str) -> Option<Key> {
    target.strip_prefix("/page/")?.parse().ok().filter(|key| *key < KEYS)
}

/// Whether it is another one in another language.
fn is_varied(key: Key) -> bool {
    key % 4 == 3
}

/// Whether it is written by POST.
pub(crate) fn is_posted(key: Key) -> bool {
    key % 8 == 5
}

/// Whether it keeps its entity tag. Who asks by that is told that nothing has changed: soft purges, which
/// have it asked so, promise nothing for it.
pub(crate) fn keeps_etag(key: Key) -> bool {
    matches!(key % 8, 1 | 7)
}

/// The tag of one resource.
pub(crate) fn tag(key: Key) -> String {
    format!("page-{key}")
}

/// The tag of it and its neighbours.
pub(crate) fn shared_tag(key: Key) -> String {
    format!("group-{}", key / GROUP)
}

/// All that have the shared tag of this one.
pub(crate) fn neighbours(key: Key) -> impl Iterator<Item = Key> {
    let first = key / GROUP * GROUP;
    first..first + GROUP
}

/// What of it is told in this language.
fn spoken(key: Key, language: &str) -> &str {
    if is_varied(key) { language.split('-').next().unwrap_or_default() } else { "" }
}

fn etag(key: Key, version: Version, language: &str) -> String {
    let version = if keeps_etag(key) { 0 } else { version };
    format!("\"{version}{}\"", spoken(key, language))
}

fn fields(key: Key, etag: &str) -> String {
    let vary = if is_varied(key) { "Vary: Accept-Language\r\n" } else { "" };
    format!("ETag: {etag}\r\nCache-Tag: {}, {}\r\n{vary}", tag(key), shared_tag(key))
}

/// What the page says: which one it is, its version, and its language if it has several.
fn body(key: Key, version: Version, language: &str) -> String {
    format!("{key} {version} {}", spoken(key, language))
}

/// The version of this page, if it is one of it in this language.
pub(crate) fn version_in(key: Key, language: &str, body: &str) -> Option<Version> {
    let (name, rest) = body.split_once(' ')?;
    let (version, speaks) = rest.split_once(' ')?;
    (name.parse() == Ok(key) && speaks == spoken(key, language)).then_some(())?;
    version.parse().ok()
}

#[tokio::test]
async fn the_catalogue_serves_what_it_has() {
    use crate::support::browser::{Browser, request};

    let catalogue = Catalogue::new();
    let origin = catalogue.open(1).await;
    let mut browser = Browser::connect(origin.address).await;
    assert_eq!(catalogue.raise(6), 2);
    let page = browser.ask("GET /page/6", &[]).await;
    let version = |key| version_in(key, "en", &page.body);
    assert_eq!((version(6), version(5), version(7)), (Some(2), None, None));
    assert_eq!((page.field("etag"), page.field("cache-tag")), ("\"2\"", "page-6, group-1"));
    assert_eq!(neighbours(6).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(browser.ask("GET /page/6", &[("if-none-match", "\"1\", \"2\"")]).await.status, 304);
    catalogue.raise(6);
    assert_eq!(browser.ask("GET /page/6", &[("if-none-match", "\"2\"")]).await.body, "6 3 ");
    assert_eq!(browser.ask("GET /page/32", &[]).await.status, 404);

    let british = browser.ask("GET /page/3", &[("accept-language", "en-GB")]).await;
    assert_eq!((british.body.as_str(), british.field("vary")), ("3 1 en", "Accept-Language"));
    assert_eq!((version_in(3, "en", "3 1 en"), version_in(3, "de", "3 1 en")), (Some(1), None));

    browser.send(&request("POST /page/5", &[], "anew")).await;
    let written = browser.answer("POST").await;
    assert_eq!((written.body.as_str(), written.field("content-location")), ("5 2 ", "/page/5"));
    assert_eq!(browser.ask("GET /page/5", &[]).await.body, "5 2 ");

    catalogue.raise(1);
    assert_eq!(
        browser.ask("GET /page/1", &[("if-none-match", "\"0\"")]).await.status,
        304,
        "it keeps its tag"
    );
}
