//! Stored responses, and what a request finds of them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sidecache::{
    admit::{Scheme, Target},
    headers::Lines,
    key::{KeyPolicy, QueryPolicy, ResourceKey, VariantKey},
    policy::{facts::ResponseFacts, freshness::Lot},
    store::{
        Claim, Claimant, Lookup, Selector, Store, StoreError,
        redis::RedisStore,
        tiers::{Fleet, OnOutage, TierSettings},
    },
    stored::Stored,
};

/// Memory before Redis, as it is unless the file says otherwise.
pub const TIERS: TierSettings = TierSettings {
    memory: 64 << 20,
    untracked_max_age: Duration::from_secs(2),
    on_outage: OnOutage::Serve,
    shed_above: 64,
};

/// Memory before this Redis.
pub fn fleet(redis: RedisStore, settings: TierSettings) -> Fleet {
    Fleet::start(redis, settings, Vec::new())
}

/// Long enough for any test.
pub const KEEP: Duration = Duration::from_secs(60);

/// What a claim may take.
pub const CLAIM: Duration = Duration::from_secs(1);

/// The key of a path.
pub fn resource(path: &str) -> ResourceKey {
    let target =
        Target::parse(&Bytes::copy_from_slice(path.as_bytes()), &HeaderMap::new(), Scheme::Http, false)
            .unwrap();
    ResourceKey::new(&target, &QueryPolicy::All)
}

/// The fields of a request.
pub fn request(fields: &[(HeaderName, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

/// A response to that request, which nominates these fields.
pub fn entry(key: &ResourceKey, headers: &HeaderMap, nominated: &[HeaderName], body: &str) -> Arc<Stored> {
    entry_with(key, headers, nominated, body, &[])
}

/// The same, with these fields.
pub fn entry_with(
    key: &ResourceKey,
    headers: &HeaderMap,
    nominated: &[HeaderName],
    body: &str,
    fields: &[(HeaderName, &str)],
) -> Arc<Stored> {
    let fields = request(&[&[(http::header::CONTENT_TYPE, "text/plain")], fields].concat());
    // Whole milliseconds, as they are written.
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
    Arc::new(Stored {
        key: Bytes::copy_from_slice(key.as_bytes()),
        variant: VariantKey::new(headers, &KeyPolicy::default(), nominated),
        nominated: nominated.into(),
        fingerprint: 7,
        request_time: now,
        response_time: now + Duration::from_millis(5),
        lot: Lot::default(),
        epoch: sidecache::epoch::Epoch::from_number((1 << 53) - 1).unwrap(),
        tags: Box::default(),
        lines: Lines::from_map(&fields),
        hidden: Lines::default(),
        facts: ResponseFacts { age: Duration::from_secs(7), ..ResponseFacts::of(StatusCode::OK, &fields) },
        part: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

/// Stores it, as a fill does that nobody is in the way of.
pub async fn commit(
    store: &impl Store,
    key: &ResourceKey,
    entry: Arc<Stored>,
    keep: Duration,
) -> Result<(), StoreError> {
    match store.claim(key, &entry.variant, Claimant::Flight, CLAIM).await? {
        Claim::Granted(lease) => store.commit(key, entry, keep, lease).await,
        Claim::Held | Claim::Unshared(_) => Err(StoreError::LeaseLost),
    }
}

/// What the request finds, where the rule keys nothing.
pub async fn lookup(store: &impl Store, key: &ResourceKey, headers: &HeaderMap) -> Lookup {
    let selector = Selector { headers, keyed: &KeyPolicy::default() };
    store.lookup(key, &selector).await.unwrap()
}

/// The body that is found, `-` for another variant, nothing for nothing.
pub async fn body(store: &impl Store, key: &ResourceKey, headers: &HeaderMap) -> String {
    match lookup(store, key, headers).await {
        Lookup::Found(stored) => String::from_utf8(stored.body.to_vec()).unwrap(),
        Lookup::Marked(stored, _) => format!("{}, stale", String::from_utf8_lossy(&stored.body)),
        Lookup::OtherVariants(_) => "-".to_owned(),
        Lookup::Nothing => String::new(),
    }
}
