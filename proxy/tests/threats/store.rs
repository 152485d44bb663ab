//! Redis as an input that strangers may write, and tiers that pass a response on.

use bytes::Bytes;
use http::HeaderMap;
use sidecache::{
    admit::{Scheme, Target},
    key::{QueryPolicy, ResourceKey},
    stored::{MAX_HEAD, TELLING},
};
use xxhash_rust::xxh3::xxh3_128;

use crate::support::{
    browser::Browser,
    origin::{Origin, ok},
    redis::{RedisServer, eventually},
    spawned::Spawned,
    story::{On, Story, everything},
    usage,
};

/// Bytes of the checksum behind a head.
const SUM: usize = 16;

/// What Redis has of the one response of a story: the entry, and where it is.
struct Entry<'s> {
    redis: &'s RedisServer,
    name: String,
    field: String,
    bytes: Vec<u8>,
}

impl<'s> Entry<'s> {
    async fn of(story: &'s Story) -> Self {
        story.stores(1).await;
        let redis = story.redis.as_ref().unwrap();
        let name = redis.resources().remove(0);
        let fields: Vec<String> = redis::from_redis_value(redis.command(&["HKEYS", &name])).unwrap();
        let field = fields.into_iter().find(|field| field.starts_with('v')).unwrap();
        let get = redis::cmd("HGET").arg(&name).arg(&field).query(&mut redis.connect().unwrap());
        Self { redis, name, field, bytes: get.unwrap() }
    }

    /// Puts these bytes in its place.
    fn forge(&self, bytes: &[u8]) {
        let mut set = redis::cmd("HSET");
        set.arg(&self.name).arg(&self.field).arg(bytes).exec(&mut self.redis.connect().unwrap()).unwrap();
    }

    /// The same with another head, of which nothing is wrong but perhaps what it says.
    fn with_head(&self, edit: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let [start, end] = self.head();
        let head = edit(&self.bytes[start..end]);
        let length = u32::try_from(head.len()).unwrap().to_le_bytes();
        let sealed = [&self.bytes[..TELLING], &length, &head].concat();
        [&sealed[..], &xxh3_128(&sealed).to_le_bytes(), &self.bytes[end + SUM..]].concat()
    }

    /// The same with this at a place before the head, under a checksum that fits.
    fn with(&self, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut forged = self.bytes.clone();
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        let [_, end] = self.head();
        let sum = xxh3_128(&forged[..end]).to_le_bytes();
        forged[end..end + SUM].copy_from_slice(&sum);
        forged
    }

    /// From where to where it is.
    fn head(&self) -> [usize; 2] {
        let start = TELLING + 4;
        let length: [u8; 4] = self.bytes[TELLING..start].try_into().unwrap();
        [start, start + u32::from_le_bytes(length) as usize]
    }
}

async fn story() -> Story {
    let story = Story::cached(On::Redis, Origin::saying("X-One: 1\r\n").await, "1h").await;
    story.get("/a").await;
    story
}

/// A head with another line among its fields, of which `X-One` is the first.
fn with_line(head: &[u8], line: &str) -> Vec<u8> {
    // The lines come last but for those that are hidden, of which there are none.
    let first = head.windows(6).position(|six| six.eq_ignore_ascii_case(b"x-one:")).unwrap();
    let lines = &head[first..head.len() - 1];
    let length = postcard::to_allocvec(&lines.len()).unwrap();
    assert!(head[..first].ends_with(&length) && head.ends_with(&[0]), "{}", head.escape_ascii());
    let more = [lines, line.as_bytes()].concat();
    [&head[..first - length.len()], &postcard::to_allocvec(&more[..]).unwrap(), &[0]].concat()
}

#[tokio::test]
async fn an_entry_of_another_release_is_a_miss() {
    let story = story().await;
    let entry = Entry::of(&story).await;
    entry.forge(&entry.with(0, &entry.bytes[..4]));
    assert_eq!(story.get("/a").await.body, "answer 1", "forged as it was");
    for version in [entry.bytes[3] - 1, entry.bytes[3] + 1, 0] {
        entry.forge(&entry.with(3, &[version]));
        let answer = story.get("/a").await;
        assert!(!answer.is_hit() && answer.status == 200, "{version}: {}", answer.says());
    }
}

#[tokio::test]
async fn a_head_larger_than_is_written_is_a_miss() {
    let story = story().await;
    let entry = Entry::of(&story).await;
    let line = |length: usize| format!("x-large: {}\r\n", "a".repeat(length));
    entry.forge(&entry.with_head(|head| with_line(head, &line(1000))));
    assert_eq!(story.get("/a").await.field("x-large").len(), 1000, "forged well");
    for length in [MAX_HEAD, 1 << 20] {
        entry.forge(&entry.with_head(|head| with_line(head, &line(length))));
        let answer = story.get("/a").await;
        assert_eq!((answer.is_hit(), answer.field("x-large")), (false, ""), "{length}");
    }
}

#[tokio::test]
async fn a_forged_length_takes_no_memory() {
    let story = story().await;
    let entry = Entry::of(&story).await;
    entry.forge(&entry.with(0, &entry.bytes[..4]));
    assert!(story.get("/a").await.is_hit(), "forged well");
    let me = rustix::process::getpid();
    let before = usage::memory(me, "VmHWM:").unwrap();
    let [length, written, head] = [4, 12, TELLING];
    for (at, bytes) in [
        (length, &(4_u64 << 30).to_le_bytes()[..]),
        (length, &u64::MAX.to_le_bytes()),
        (written, &(4_u64 << 30).to_le_bytes()),
        (written, &u64::MAX.to_le_bytes()),
        (head, &u32::MAX.to_le_bytes()),
    ] {
        entry.forge(&entry.with(at, bytes));
        let answer = story.get("/a").await;
        assert!(!answer.is_hit() && answer.status == 200, "{at}: {}", answer.says());
    }
    let more = usage::memory(me, "VmHWM:").unwrap() - before;
    assert!(more < 1 << 30, "{more} bytes");
}

#[tokio::test]
async fn names_of_keys_are_printable_and_all_of_them_end() {
    let story = Story::cached(On::Redis, Origin::saying("Vary: accept\r\n").await, "1h").await;
    let long = format!("/long/{}", "x".repeat(4000));
    let hostile = [
        "/%0d%0aSET%20a%201%0d%0a",
        "/a%00b",
        "/*?[a]\\",
        "/{a}{b}",
        "/%7Bstory%7D",
        "/\u{7f}",
        "/\"'`$(a)",
        "/:v1:r:{0}:",
        "/\x1b[2J",
        "/a?{}=%ff&*",
        &long,
    ];
    for target in hostile {
        for host in ["a", "a{b}", "*"] {
            story.get_with(target, &[("host", host), ("accept", "{*}")]).await;
        }
    }
    assert!(story.origin.count() > 5);
    let redis = story.redis.as_ref().unwrap();
    for name in redis.all_keys() {
        assert!(name.starts_with("story:v1:") && name.bytes().all(|b| b.is_ascii_graphic()), "{name:?}");
        let braces: String = name.chars().filter(|c| matches!(c, '{' | '}')).collect();
        assert!(braces.is_empty() || braces == "{}", "{name}");
        assert_ne!(redis.command(&["PTTL", &name]), redis::Value::Int(-1), "{name}");
    }
    assert!(redis.resources().len() > 2);
}

#[tokio::test]
async fn a_purge_of_all_leaves_what_another_app_has_in_the_same_redis() {
    let (origin, redis) = (Origin::saying("").await, RedisServer::start());
    let file = |prefix| {
        let store = format!("{{ redis: \"{}\", prefix: {prefix}, memory: off }}", redis.url());
        format!("upstream: http://{}\nstore: {store}\n{}", origin.address, everything("1h"))
    };
    let (one, other) = (Spawned::start(&file("one")).await, Spawned::start(&file("other")).await);
    redis.command(&["SET", "of-nobody", "1"]);
    let of = |prefix: &str| {
        let mut names = redis.resources();
        names.retain(|name| name.starts_with(&format!("{prefix}:v1:")));
        names.len()
    };
    for sidecar in [&one, &other] {
        let stored = async || {
            let mut browser = Browser::connect(sidecar.address).await;
            browser.ask("GET /a", &[]).await.is_hit()
        };
        eventually("it is a hit", stored).await;
    }
    assert_eq!((of("one"), of("other")), (1, 1));
    let purged = one.admin_post("/purge", r#"{"all":true}"#);
    assert!(purged.starts_with("HTTP/1.1 200"), "{purged}");
    let mut browser = Browser::connect(one.address).await;
    assert!(!browser.ask("GET /a", &[]).await.is_hit());
    let mut browser = Browser::connect(other.address).await;
    assert!(browser.ask("GET /a", &[]).await.is_hit());
    assert_eq!(of("other"), 1);
    assert_eq!(redis.all_keys().iter().filter(|name| *name == "of-nobody").count(), 1);
}

#[tokio::test]
async fn an_age_grows_from_tier_to_tier() {
    let fields = "Age: 40\r\nCache-Control: max-age=60\r\n";
    let origin = Origin::start(move |asked| ok(fields, &format!("answer {}", asked.number))).await;
    let mut story = Story::cached(On::Tiers, origin, "origin").await;
    assert_eq!(story.get("/a").await.field("age"), "40");
    story.stores(1).await;
    story.pass_millis(4500);
    assert_eq!(story.get("/a").await.field("age"), "44", "in the memory of who fetched it");
    story.restart(&everything("origin")).await;
    story.pass_millis(4000);
    for from in ["Redis", "memory"] {
        let answer = story.get("/a").await;
        assert_eq!((answer.body.as_str(), answer.field("age")), ("answer 1", "48"), "from {from}");
    }
    story.pass_millis(5000);
    assert_eq!(story.get("/a").await.field("age"), "53");
    story.pass_millis(7000);
    assert_eq!(story.get("/a").await.body, "answer 2");
}

/// Which of the 16,384 slots of a cluster a name with this between its braces is in.
fn slot(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    });
    crc % 16_384
}

#[test]
fn slots_are_taken_evenly_whatever_is_asked_for() {
    assert_eq!(slot("foo"), 12_182);
    let mut shares = [0_u32; 16];
    for number in 0..100_000 {
        let path = Bytes::from(format!("/{{same}}/x?page={number}"));
        let target = Target::parse(&path, &HeaderMap::new(), Scheme::Http, false).unwrap();
        let hash = ResourceKey::new(&target, &QueryPolicy::All).wide_hash();
        shares[usize::from(slot(&format!("{hash:032x}")) / 1024)] += 1;
    }
    let fair = 100_000 / 16;
    assert!(shares.iter().all(|share| share.abs_diff(fair) < fair / 10), "{shares:?}");
}
