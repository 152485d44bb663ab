//! A stored response and its bytes: what the tiers keep and what Redis is trusted with.
//!
//! ```text
//! magic+version  length  as written  packing  proof  head length  head (postcard)  proof  body
//!       4          8         8          1       16         4             …           16      …
//!                └──────── of the body ──────────┘                             └ of all before it
//! ```
//!
//! The body's length is that of the body as it is served. As it is written, it may be packed (`packing`). Where
//! that takes [`APART`] bytes or more, the entry ends with its proof, and the body is kept apart: whatever
//! is found there is the body if it is what the entry says of it, and else is not believed. A proof is a
//! checksum, or a code made with a key (`seal`).
//!
//! Redis is not trusted: lengths are checked before anything is allocated, the proof before
//! anything is read, and field lines before they can reach a client. Whatever is wrong is an error,
//! which the store turns into a miss.

mod body;
mod packing;
mod seal;

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    body::APART,
    packing::Compression,
    seal::{Seal, SealError},
};
use self::{
    body::Told,
    packing::{Packing, packed},
    seal::{MAGIC, Proof},
};
use crate::{
    clock::Offset,
    epoch::Epoch,
    headers::Lines,
    key::VariantKey,
    policy::{
        facts::ResponseFacts,
        freshness::{ExchangeTimes, Lot},
        partial::Part,
        range::Span,
        statuses::{is_about_another, is_final},
    },
    tags::Tag,
};

/// A response, ready to be served.
#[derive(Debug)]
pub struct Stored {
    /// The resource key's bytes.
    pub key: Bytes,
    /// By which values of which fields it was selected.
    pub variant: VariantKey,
    /// The fields that its `Vary` nominates: lower case, in order, each once.
    pub nominated: Box<[HeaderName]>,
    /// Under which [`CacheRule::fingerprint`](crate::policy::rule::CacheRule::fingerprint) it was made.
    pub fingerprint: u64,
    /// When the request was sent whose answer this is.
    pub request_time: SystemTime,
    /// When that answer came.
    pub response_time: SystemTime,
    /// What it drew then.
    pub lot: Lot,
    /// The latest purge that was known when the request was sent: later ones may cover it.
    pub epoch: Epoch,
    /// By what tags they may. [`Tag::everything`] does without being one of them.
    pub tags: Box<[Tag]>,
    /// Its end-to-end fields, as lines ready for the wire.
    pub lines: Lines,
    /// Those that are for caches like this one alone, and reach no client.
    pub hidden: Lines,
    /// What the policy needs of them.
    pub facts: ResponseFacts,
    /// Where the body belongs, if it is a part: what `facts` says is then of the whole.
    pub part: Option<Part>,
    /// The body: the whole, or a run of its bytes.
    pub body: Bytes,
}

/// Why bytes are not a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// No entry.
    #[error("not an entry")]
    Magic,
    /// Of another version, or proven in another way or with another key: others may be able to read it.
    #[error("an entry of another version, or under another key")]
    Foreign,
    /// Lengths that do not add up, or beyond the limits.
    #[error("wrong lengths")]
    Length,
    /// Damaged.
    #[error("wrong checksum")]
    Proof,
    /// A packed body that is none.
    #[error("unreadable body")]
    Body,
    /// A head that cannot be read.
    #[error("unreadable head")]
    Head,
    /// Field lines that must not reach a client.
    #[error("malformed field lines")]
    Fields,
}

/// By so many of their first bytes two entries of one version can be seen to have the same body.
pub const TELLING: usize = MAGIC + Told::SIZE;
/// What there is beside head and body.
const FRAME: usize = TELLING + 4 + size_of::<Proof>();
/// The longest entry, in bytes, without the body that is apart.
pub const LONGEST_ENTRY: usize = FRAME + MAX_HEAD + APART;
/// The longest head that is written or read: what the field limits allow, and the key.
pub const MAX_HEAD: usize = 256 * 1024;

/// A stored response as it is written.
#[derive(Debug)]
pub struct Encoded {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its body, where that is apart.
    pub body: Option<Bytes>,
}

/// An entry that was read.
#[derive(Debug)]
pub enum Entry {
    /// With its body.
    Whole(Stored),
    /// Without it.
    Apart(Apart),
}

impl Entry {
    /// All but the body, which may be missing.
    #[must_use]
    pub fn stored(&self) -> &Stored {
        match self {
            Self::Whole(stored) => stored,
            Self::Apart(apart) => apart.stored(),
        }
    }
}

/// A stored response whose body is somewhere else.
#[derive(Debug)]
pub struct Apart {
    stored: Stored,
    told: Told,
}

impl Apart {
    /// All but the body.
    #[must_use]
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// In how many bytes the body is written: so it says, and they may be any number.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.told.written
    }

    /// The whole, with what was found where the body should be.
    ///
    /// # Errors
    /// [`Corrupt`], if that is another one, or damaged.
    pub fn with(self, found: Bytes, seal: &Seal) -> Result<Stored, Corrupt> {
        Ok(Stored { body: self.told.admit(found, seal)?, ..self.stored })
    }
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    key: &'a [u8],
    material: &'a [u8],
    nominated: &'a str,
    fingerprint: u64,
    /// Milliseconds since 1970 by the store's clock.
    request_time: u64,
    response_time: u64,
    lot: Lot,
    epoch: Epoch,
    tags: Cow<'a, [Tag]>,
    status: u16,
    /// Seconds. `Age` is not among the lines: it is written anew with each answer.
    age: u64,
    part: Option<Part>,
    lines: &'a [u8],
    hidden: &'a [u8],
}

impl Stored {
    /// When it was asked for and came.
    #[must_use]
    pub fn exchange(&self) -> ExchangeTimes {
        let Self { request_time, response_time, lot, .. } = *self;
        ExchangeTimes { request_time, response_time, lot }
    }

    /// All its fields, as the origin sent them.
    #[must_use]
    pub fn fields(&self) -> HeaderMap {
        fields(&self.lines, &self.hidden)
    }

    /// How many bytes the whole has.
    #[must_use]
    pub fn complete(&self) -> u64 {
        self.part.map_or(self.body.len() as u64, |part| part.complete)
    }

    /// Which of them are here.
    #[must_use]
    pub fn held(&self) -> Span {
        let start = self.part.map_or(0, |part| part.start);
        Span { start, end: start.saturating_add(self.body.len() as u64) }
    }

    /// Those bytes of the whole, if they are here. They are shared, not copied.
    #[must_use]
    pub fn slice(&self, span: Span) -> Option<Bytes> {
        let offset = |place: u64| usize::try_from(place.checked_sub(self.held().start)?).ok();
        let bytes = self.body.get(offset(span.start)?..offset(span.end)?)?;
        Some(self.body.slice_ref(bytes))
    }

    /// Bytes of memory that this entry really holds.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let names = self.nominated.len() * size_of::<HeaderName>();
        size_of::<Self>()
            + self.key.len()
            + self.variant.material().len()
            + names
            + size_of_val(&*self.tags)
            + self.lines.as_bytes().len()
            + self.hidden.as_bytes().len()
            + self.facts.heap()
            + self.body.len()
    }

    /// Writes it, with times by the clock that is `store` away from ours, the body packed where `compression`
    /// lets it and it is worth it, and proven by `seal`.
    ///
    /// # Errors
    /// [`Corrupt::Length`] if the head is beyond [`MAX_HEAD`]: such a response is not stored.
    pub fn encode(&self, store: Offset, compression: Compression, seal: &Seal) -> Result<Encoded, Corrupt> {
        let names = self.nominated.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(",");
        let head = Head {
            key: &self.key,
            material: self.variant.material(),
            nominated: &names,
            fingerprint: self.fingerprint,
            request_time: to_millis(store.there(self.request_time)),
            response_time: to_millis(store.there(self.response_time)),
            lot: self.lot,
            epoch: self.epoch,
            tags: Cow::Borrowed(&self.tags),
            status: self.facts.status.as_u16(),
            age: self.facts.age.as_secs(),
            part: self.part,
            lines: self.lines.as_bytes(),
            hidden: self.hidden.as_bytes(),
        };
        let head = postcard::to_allocvec(&head).map_err(|_| Corrupt::Head)?;
        let head_length = u32::try_from(head.len()).ok().filter(|_| head.len() <= MAX_HEAD);
        let (packing, body) = match compression {
            Compression::Zstd => packed(&self.body, &self.fields()),
            Compression::Off => None,
        }
        .map_or_else(|| (Packing::Plain, self.body.clone()), |packed| (Packing::Zstd, packed.into()));
        let told = Told::of(self.body.len(), &body, packing, seal);
        let mut entry = Vec::with_capacity(FRAME + head.len() + if told.is_apart() { 0 } else { body.len() });
        entry.extend_from_slice(&seal.magic());
        told.write(&mut entry);
        entry.extend_from_slice(&head_length.ok_or(Corrupt::Length)?.to_le_bytes());
        entry.extend_from_slice(&head);
        entry.extend_from_slice(&seal.prove(&entry));
        if told.is_apart() {
            return Ok(Encoded { entry, body: Some(body) });
        }
        entry.extend_from_slice(&body);
        Ok(Encoded { entry, body: None })
    }

    /// Reads an entry that [`Stored::encode`] wrote. Fields and body share the given bytes, unless the body was
    /// packed: then these need not be kept.
    ///
    /// # Errors
    /// [`Corrupt`], for bytes that are not exactly such an entry.
    pub fn decode(bytes: &Bytes, store: Offset, seal: &Seal) -> Result<Entry, Corrupt> {
        let (told, head, body) = split(bytes, seal)?;
        if told.is_apart() {
            let stored = Self::read(&bytes.slice_ref(head), (told.length, Bytes::new()), store)?;
            return if body.is_empty() {
                Ok(Entry::Apart(Apart { stored, told }))
            } else {
                Err(Corrupt::Length)
            };
        }
        let head = match told.packing {
            Packing::Plain => bytes.slice_ref(head),
            Packing::Zstd => Bytes::copy_from_slice(head),
        };
        let body = told.admit(bytes.slice_ref(body), seal)?;
        Ok(Entry::Whole(Self::read(&head, (told.length, body), store)?))
    }

    /// Reads a head, with this body, which has or will have this length.
    fn read(head: &Bytes, (length, body): (u64, Bytes), store: Offset) -> Result<Self, Corrupt> {
        let (read, rest) = postcard::take_from_bytes::<Head<'_>>(head).map_err(|_| Corrupt::Head)?;
        if !rest.is_empty() {
            return Err(Corrupt::Head);
        }
        let sound = |lines: &[u8]| Lines::checked(head.slice_ref(lines)).filter(|lines| !lines.frame());
        let lines = sound(read.lines).ok_or(Corrupt::Fields)?;
        let hidden = sound(read.hidden).ok_or(Corrupt::Fields)?;
        if read.part.is_some_and(|part| !is_part(part, length)) {
            return Err(Corrupt::Length);
        }
        let status = StatusCode::from_u16(read.status).map_err(|_| Corrupt::Head)?;
        if !is_final(status) || is_about_another(status) {
            return Err(Corrupt::Head);
        }
        let names = read.nominated.split(',').filter(|name| !name.is_empty());
        Ok(Self {
            key: head.slice_ref(read.key),
            variant: VariantKey::from_material(head.slice_ref(read.material)),
            nominated: names.map(str::parse).collect::<Result<_, _>>().map_err(|_| Corrupt::Head)?,
            fingerprint: read.fingerprint,
            request_time: store.here(from_millis(read.request_time)?),
            response_time: store.here(from_millis(read.response_time)?),
            lot: read.lot,
            epoch: Epoch::from_number(read.epoch.number()).ok_or(Corrupt::Head)?,
            tags: read.tags.into(),
            facts: ResponseFacts {
                age: Duration::from_secs(read.age),
                ..ResponseFacts::of(status, &fields(&lines, &hidden))
            },
            lines,
            hidden,
            part: read.part,
            body,
        })
    }
}

/// Whether so many bytes can be this part, and less than the whole.
fn is_part(part: Part, length: u64) -> bool {
    let end = part.start.checked_add(length);
    (1..part.complete).contains(&length) && end.is_some_and(|end| end <= part.complete)
}

fn fields(lines: &Lines, hidden: &Lines) -> HeaderMap {
    let mut fields = lines.to_map();
    fields.extend(hidden.to_map());
    fields
}

/// What is said of the body, the head, and what follows it: all of it is proven but what follows.
fn split<'b>(bytes: &'b [u8], seal: &Seal) -> Result<(Told, &'b [u8], &'b [u8]), Corrupt> {
    let rest = bytes.strip_prefix(&seal.magic()).ok_or_else(|| seal::stranger(bytes))?;
    let (told, rest) = Told::read(rest)?;
    let (head_length, rest) = rest.split_first_chunk().ok_or(Corrupt::Length)?;
    let head_length = usize::try_from(u32::from_le_bytes(*head_length)).map_err(|_| Corrupt::Length)?;
    if head_length > MAX_HEAD {
        return Err(Corrupt::Length);
    }
    let (head, rest) = rest.split_at_checked(head_length).ok_or(Corrupt::Length)?;
    let (proof, body) = rest.split_first_chunk().ok_or(Corrupt::Length)?;
    let before = bytes.get(..TELLING + 4 + head_length).ok_or(Corrupt::Length)?;
    if !seal.proves(before, proof) {
        return Err(seal.denied());
    }
    Ok((told, head, body))
}

fn to_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_millis(millis: u64) -> Result<SystemTime, Corrupt> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).ok_or(Corrupt::Head)
}

#[cfg(test)]
impl Stored {
    /// A whole 200 without a body, with these fields, that came `at` once, and is there for everybody.
    pub(crate) fn of(fields: &HeaderMap, at: SystemTime) -> Self {
        Self {
            key: Bytes::new(),
            variant: VariantKey::only(),
            nominated: Box::default(),
            fingerprint: 0,
            request_time: at,
            response_time: at,
            lot: Lot::default(),
            epoch: Epoch::FIRST,
            tags: Box::default(),
            lines: Lines::from_map(fields),
            hidden: Lines::default(),
            facts: ResponseFacts::of(StatusCode::OK, fields),
            part: None,
            body: Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(part: Option<Part>, body: &'static str) -> Stored {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Stored {
            key: Bytes::from_static(b"key"),
            fingerprint: 7,
            part,
            body: Bytes::from_static(body.as_bytes()),
            ..Stored::of(&HeaderMap::new(), at)
        }
    }

    fn again(stored: &Stored) -> Result<Stored, Corrupt> {
        let seal = &Seal::default();
        let Encoded { entry, body } = stored.encode(Offset::NONE, Compression::Off, seal).unwrap();
        match (Stored::decode(&entry.into(), Offset::NONE, seal)?, body) {
            (Entry::Whole(stored), None) => Ok(stored),
            (Entry::Apart(apart), Some(body)) => apart.with(body, seal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_that_was_forged_frames_an_answer() {
        let forged = |name: &'static str, status| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static("5"));
            let status = StatusCode::from_u16(status).unwrap();
            let (lines, facts) = (Lines::from_map(&headers), ResponseFacts::of(status, &headers));
            again(&Stored { lines, facts, ..entry(None, "body") }).err()
        };
        for status in [101, 103, 206, 304, 600, 999] {
            assert_eq!(forged("x", status), Some(Corrupt::Head), "{status}");
        }
        for name in ["transfer-encoding", "content-length", "connection", "upgrade", "trailer", "te"] {
            assert_eq!(forged(name, 200), Some(Corrupt::Fields), "{name}");
        }
        assert_eq!(forged("x", 200), None);
    }

    #[test]
    fn a_part_comes_back_as_that_part() {
        for part in [None, Some(Part { start: 0, complete: 5 }), Some(Part { start: 7, complete: 11 })] {
            let read = again(&entry(part, "body")).unwrap();
            assert_eq!((read.part, &*read.body), (part, &b"body"[..]));
        }
    }

    #[test]
    fn what_cannot_be_a_part_is_corrupt() {
        for (start, complete) in [(0, 4), (0, 3), (1, 4), (8, 11), (u64::MAX, u64::MAX), (u64::MAX - 1, 0)] {
            let read = again(&entry(Some(Part { start, complete }), "body"));
            assert_eq!(read.err(), Some(Corrupt::Length), "{start} {complete}");
        }
        assert!(again(&entry(Some(Part { start: 0, complete: 4 }), "")).is_err());
    }

    #[test]
    fn bytes_are_cut_by_their_place_in_the_whole() {
        let held = entry(Some(Part { start: 4, complete: 11 }), "4567");
        let cut = |start, end| held.slice(Span { start, end });
        assert_eq!(cut(4, 8).unwrap(), "4567");
        assert_eq!(cut(5, 7).unwrap(), "56");
        assert!(cut(3, 5).is_none() && cut(7, 9).is_none() && cut(9, 10).is_none());
        assert_eq!((held.held(), held.complete()), (Span { start: 4, end: 8 }, 11));
    }
}
