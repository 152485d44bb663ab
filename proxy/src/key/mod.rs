//! Station 4: which stored response a request may meet.
//!
//! A *resource key* names everything that is stored for one URL; a *variant key* picks one of its
//! stored responses by the values of the fields that select (RFC 9111 §4.1). Both are injective
//! bytes: every part carries its length, so that two requests that differ in meaning never share
//! them. Hashes are made of these bytes only to find a place; what is found is compared with the
//! whole key.
//!
//! | file | what lives there |
//! |---|---|
//! | here | the resource key, and what a rule says of keys |
//! | `variant` | the variant key |
//! | `meaning` | which spellings of a selecting field are one value |
//! | `codings` | the same of `Accept-Encoding` |

mod codings;
mod meaning;
#[cfg(test)]
mod tests;
mod variant;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use http::HeaderName;
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3;

pub use self::{
    codings::normalise_codings,
    variant::{VariantKey, cookies},
};

use crate::admit::{Scheme, Target};

/// `key:` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Which parameters of the query are part of the resource key.
    pub query: QueryPolicy,
    /// Request fields whose values select a variant.
    pub headers: Vec<HeaderName>,
    /// Cookies whose values select a variant.
    pub cookies: Vec<String>,
}

/// `key.query` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryPolicy {
    /// The whole query, byte for byte.
    #[default]
    All,
    /// None of it.
    None,
    /// Only the parameters of these names, in the order in which the request has them.
    Only(Vec<String>),
    /// All but the parameters whose name matches; a trailing `*` matches any rest.
    Except(Vec<String>),
}

impl KeyPolicy {
    pub(crate) fn write_fingerprint(&self, hash: &mut Xxh3) {
        let part = |hash: &mut Xxh3, tag: u8, text: &str| {
            hash.write_u8(tag);
            hash.write(&(text.len() as u64).to_le_bytes());
            hash.write(text.as_bytes());
        };
        match &self.query {
            QueryPolicy::All => hash.write_u8(0),
            QueryPolicy::None => hash.write_u8(1),
            QueryPolicy::Only(names) => names.iter().for_each(|name| part(hash, 2, name)),
            QueryPolicy::Except(names) => names.iter().for_each(|name| part(hash, 3, name)),
        }
        self.headers.iter().for_each(|name| part(hash, 4, name.as_str()));
        self.cookies.iter().for_each(|name| part(hash, 5, name));
    }
}

impl QueryPolicy {
    /// Whether the parameter belongs to the key.
    ///
    /// One that an app may read under another name than it shows (`;` splits in some, `%61` is
    /// `a`, `page[]` is `page`) is always keyed: what the rule leaves out must not hide it.
    fn keeps(&self, parameter: &[u8]) -> bool {
        let name = parameter.split(|&b| b == b'=').next().unwrap_or_default();
        let plain = !parameter.contains(&b';')
            && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'~'));
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => !plain || names.iter().any(|n| n.as_bytes() == name),
            Self::Except(patterns) => !plain || !patterns.iter().any(|p| name_matches(p, name)),
        }
    }

    /// Writes the keyed part of `query`, as the request spells it and in its order.
    fn write(&self, query: &[u8], out: &mut KeyBytes) {
        if *self == Self::All {
            out.extend_from_slice(query);
            return;
        }
        let start = out.len();
        for parameter in query.split(|&b| b == b'&').filter(|p| self.keeps(p)) {
            if out.len() > start {
                out.push(b'&');
            }
            out.extend_from_slice(parameter);
        }
    }
}

fn name_matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => pattern.as_bytes() == name,
    }
}

/// Long enough for nearly every URL; a longer one costs an allocation.
type KeyBytes = SmallVec<[u8; 192]>;

/// Scheme, authority, path, and the query after `key.query`: all variants of a URL share it.
#[derive(Clone)]
pub struct ResourceKey {
    bytes: KeyBytes,
    /// Where the readable part (`/path?query`) starts.
    path_at: usize,
    /// Computed when it is needed: a hit in memory does without.
    wide_hash: OnceLock<u128>,
}

impl ResourceKey {
    /// The key of `target` under a query policy.
    #[must_use]
    pub fn new(target: &Target, query: &QueryPolicy) -> Self {
        let mut bytes = KeyBytes::new();
        write_origin(target, &mut bytes);
        let path = target.path().as_bytes();
        bytes.extend_from_slice(&length_bytes(path.len()));
        let path_at = bytes.len();
        bytes.extend_from_slice(path);
        if let Some(text) = target.query() {
            // A marker apart from the text: `/a` and `/a?` are different requests.
            let marker = bytes.len();
            bytes.push(b'?');
            query.write(text.as_bytes(), &mut bytes);
            if *query != QueryPolicy::All && bytes.len() == marker + 1 {
                bytes.truncate(marker);
            }
        }
        Self { bytes, path_at, wide_hash: OnceLock::new() }
    }

    /// The whole key. Injective: no two resources share it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// 128 bits of a hash of the key: what a resource is called where its key is too long. No two are
    /// expected to share it, not even by intent.
    #[must_use]
    pub fn wide_hash(&self) -> u128 {
        *self.wide_hash.get_or_init(|| {
            let hash = blake3::hash(&self.bytes);
            hash.as_bytes().first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
        })
    }

    /// What of it is the origin: see [`origin`].
    #[must_use]
    pub fn origin(&self) -> &[u8] {
        let ends = self.path_at.saturating_sub(length_bytes(0).len());
        self.bytes.get(..ends).unwrap_or_default()
    }

    /// Path and query, for people who read keys.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        self.bytes.get(self.path_at..).unwrap_or_default()
    }
}

impl PartialEq for ResourceKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for ResourceKey {}

impl Hash for ResourceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceKey({})", self.bytes.escape_ascii())
    }
}

/// The origin of a target (RFC 9110 §4.3.1), as every key of it begins: scheme and authority, and what a
/// trusted proxy says of them. Injective.
#[must_use]
pub fn origin(target: &Target) -> Vec<u8> {
    let mut bytes = KeyBytes::new();
    write_origin(target, &mut bytes);
    bytes.into_vec()
}

fn write_origin(target: &Target, bytes: &mut KeyBytes) {
    let authority = target.host_field().as_bytes();
    bytes.push(match target.scheme() {
        Scheme::Http => b'h',
        Scheme::Https => b's',
    });
    bytes.extend_from_slice(&length_bytes(authority.len()));
    bytes.extend_from_slice(authority);
    let forwarded = target.forwarded();
    for (mark, value) in [(u32::MAX, &forwarded.scheme), (u32::MAX - 1, &forwarded.host)] {
        if let Some(value) = value {
            // A length that no path has, so that this part cannot be taken for the next one.
            bytes.extend_from_slice(&mark.to_le_bytes());
            bytes.extend_from_slice(&length_bytes(value.len()));
            bytes.extend_from_slice(value.as_bytes());
        }
    }
}

/// Heads are limited to far less than 4 GiB; a longer part would only share its length's bytes.
fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
impl ResourceKey {
    /// Of a path of some host, with all of its query.
    pub(crate) fn of_path(path: &str) -> Self {
        let (raw, headers) = (bytes::Bytes::copy_from_slice(path.as_bytes()), http::HeaderMap::new());
        Self::new(&Target::parse(&raw, &headers, Scheme::Http, false).unwrap(), &QueryPolicy::All)
    }
}
