//! What one rule of the file says about caching, in types. Built by `config`, read by `policy`.

use std::{collections::BTreeMap, fmt, hash::Hasher, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use xxhash_rust::xxh3::Xxh3;

use super::{media::MediaRange, targeted::DEFAULT_TARGETS};
use crate::{key::KeyPolicy, tags::Tag};

/// The `cache:` map of a rule.
///
/// Lifetimes are not part of what is stored: they are computed anew on each read, so an edited
/// `ttl` acts at once, on entries that are already stored too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// Lifetime where the origin states none; absent: the origin alone decides.
    pub ttl: Option<Duration>,
    /// `ttl` also beats what the origin states, but for `no-store` and `private`.
    pub override_origin: bool,
    /// The two directives that only an explicit word of the operator may beat.
    pub ignore: Ignore,
    /// Lifetimes of statuses other than 200.
    pub status: BTreeMap<StatusCode, Duration>,
    /// Up to so much of a lifetime that this rule gives is taken off it, by chance.
    pub jitter: Percent,
    /// In the last part of its lifetime, of this share, a response that is asked for often is refreshed.
    pub refresh_ahead: Percent,
    /// What types of content are stored; all, if there are none.
    pub content_type: Arc<[MediaRange]>,
    /// Which parts of a request select a stored response.
    pub key: KeyPolicy,
    /// What requests with `Cookie` or `Authorization` do.
    pub credentials: Credentials,
    /// What responses with `Set-Cookie` do.
    pub set_cookie: SetCookie,
    /// Whether a client's `Cache-Control` and `Pragma` count.
    pub client_control: ClientControl,
    /// RFC 5861 §3, where the origin says nothing.
    pub stale_while_revalidate: Duration,
    /// RFC 5861 §4, where the origin says nothing.
    pub stale_if_error: Duration,
    /// The fields that govern instead of `Cache-Control` and `Expires`: the first of them that says
    /// anything (RFC 9213 §2.2).
    pub targeted: Arc<[HeaderName]>,
    /// Names of tags that every response of the rule is stored with, beside its own.
    pub tags: Arc<[Box<str>]>,
    /// Clients do not get the fields that tag a response.
    pub strip_tags: bool,
    /// Nothing is answered by the store: it is told what it would have answered.
    pub shadow: bool,
    /// Bodies longer than this, in bytes, stream through and are not stored.
    pub max_body: u64,
}

/// Directives of the origin that the rule sets aside (`ignore:`, only with `override: true`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    /// `no-store` does not keep a response from being stored.
    pub no_store: bool,
    /// `private` does not keep a response from being shared.
    pub private: bool,
}

/// A share, of a time or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// A hundred of them.
    pub const ALL: Self = Self(100);

    /// Nothing beyond a hundred.
    #[must_use]
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= 100).then_some(Self(percent))
    }

    /// Whether it is no share at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether a number from 0 to 99 is among so many of a hundred.
    #[must_use]
    pub fn includes(self, number: u8) -> bool {
        number < self.0
    }

    /// So much of a time.
    #[must_use]
    pub fn of(self, time: Duration) -> Duration {
        time / 100 * u32::from(self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// `credentials:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Such requests neither read, store nor collapse, unless the response itself allows it.
    #[default]
    Bypass,
    /// Such requests are cached; fills are sent without the credentials that are not keyed.
    Ignore,
}

/// `set_cookie:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// Not stored.
    #[default]
    Bypass,
    /// Stored, and served to everybody, without the field.
    Strip,
    /// Stored with the field.
    Store,
}

/// `client_control:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientControl {
    /// A reload key cannot undo the shield.
    Ignore,
    /// RFC 9111 §5.2.1.
    Honour,
}

impl CacheRule {
    /// The tags of `tags:`.
    pub fn named_tags(&self) -> impl Iterator<Item = Tag> {
        self.tags.iter().map(|name| Tag::named(name.as_bytes()))
    }

    /// The default size above which a body is not stored.
    pub const DEFAULT_MAX_BODY: u64 = 1024 * 1024;

    /// A rule with every key of the map at its default; `ttl` absent means `cache: origin`.
    #[must_use]
    pub fn new(ttl: Option<Duration>) -> Self {
        Self {
            ttl,
            override_origin: false,
            ignore: Ignore::default(),
            status: BTreeMap::new(),
            jitter: Percent::default(),
            refresh_ahead: Percent::default(),
            content_type: [].into(),
            key: KeyPolicy::default(),
            credentials: Credentials::default(),
            set_cookie: SetCookie::default(),
            client_control: if ttl.is_some() { ClientControl::Ignore } else { ClientControl::Honour },
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            targeted: Arc::new(DEFAULT_TARGETS.clone()),
            tags: [].into(),
            strip_tags: false,
            shadow: false,
            max_body: Self::DEFAULT_MAX_BODY,
        }
    }

    /// What of the rule decided how an entry was made (`key`, `credentials`, `set_cookie`, `ignore`,
    /// `content_type`, `shadow`, and which field said what may not be stored), and the `name` that a purge of it names.
    /// An entry made under another fingerprint is not served: it may hold what the rule of today would have
    /// kept out, or not go when that is purged. Its tags are no part of that: it keeps those that it has.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> u64 {
        let mut hash = Xxh3::new();
        hash.write(name.as_bytes());
        hash.write_u8(0xff);
        self.key.write_fingerprint(&mut hash);
        hash.write_u8(self.credentials as u8);
        hash.write_u8(self.set_cookie as u8);
        hash.write_u8(u8::from(self.ignore.no_store) | u8::from(self.ignore.private) << 1);
        // What requests with cookies may fill hangs on it (`sharing`).
        hash.write_u8(u8::from(self.ttl.is_some()));
        for name in &*self.targeted {
            hash.write(name.as_str().as_bytes());
            hash.write_u8(0);
        }
        for range in &*self.content_type {
            hash.write(range.as_str().as_bytes());
            hash.write_u8(1);
        }
        // What is stored in shadow has no body.
        if self.shadow {
            hash.write_u8(2);
        }
        hash.finish()
    }
}
