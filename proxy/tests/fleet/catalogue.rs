//! The origin of the consistency check: resources that have a version, a tag of their own and one
//! that they share with others.

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
/// The origin reads its version, then thinks for so long at most: time enough for a purge.
const THINKS: Duration = Duration::from_millis(25);

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
        let version = self.version(key);
        let mut random = Random::new(seed.wrapping_add(asked.number as u64));
        let fields = format!("ETag: \"{version}\"\r\nCache-Tag: {}, {}\r\n", tag(key), shared_tag(key));
        let page = match asked.field("if-none-match") == Some(&format!("\"{version}\"")) {
            true => vec![crate::support::origin::send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))],
            false => ok(&fields, &body(key, version)),
        };
        let thinks = Step::Pause(random.between(Duration::ZERO, THINKS));
        [vec![thinks], page].concat()
    }
}

pub(crate) fn path(key: Key) -> String {
    format!("/page/{key}")
}

fn key_of(target: &str) -> Option<Key> {
    target.strip_prefix("/page/")?.parse().ok().filter(|key| *key < KEYS)
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

/// What the page says: which one it is, and its version.
fn body(key: Key, version: Version) -> String {
    format!("{key} {version}")
}

/// The version of this page, if it is one of it.
pub(crate) fn version_in(key: Key, body: &str) -> Option<Version> {
    let (name, version) = body.split_once(' ')?;
    (name.parse() == Ok(key)).then_some(())?;
    version.parse().ok()
}

#[tokio::test]
async fn the_catalogue_serves_what_it_has() {
    use crate::support::browser::Browser;

    let catalogue = Catalogue::new();
    let origin = catalogue.open(1).await;
    let mut browser = Browser::connect(origin.address).await;
    assert_eq!(catalogue.raise(5), 2);
    let page = browser.ask("GET /page/5", &[]).await;
    assert_eq!((version_in(5, &page.body), version_in(6, &page.body)), (Some(2), None));
    assert_eq!((page.field("etag"), page.field("cache-tag")), ("\"2\"", "page-5, group-1"));
    assert_eq!(neighbours(5).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(browser.ask("GET /page/5", &[("if-none-match", "\"2\"")]).await.status, 304);
    catalogue.raise(5);
    assert_eq!(browser.ask("GET /page/5", &[("if-none-match", "\"2\"")]).await.body, "5 3");
    assert_eq!(browser.ask("GET /page/32", &[]).await.status, 404);
}
