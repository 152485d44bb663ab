//! What the values of a selecting field mean, so that two spellings of one meaning select alike.
//!
//! RFC 9111 §4.1 lets fields match after "adding or removing whitespace, where allowed in the header
//! field's syntax", after "combining multiple header field lines with the same field name", and after
//! what is "known to have identical semantics, according to the header field's specification". Each of
//! these may let one client choose what another one gets, so nothing is done by guess: what is no list,
//! or malformed, or long, is compared as it was sent. But for `Accept-Encoding`, of which the origin is not sent
//! more than is compared.
//!
//! | field | lines combined, space around commas | weights, case, empty members | order |
//! |---|---|---|---|
//! | `Accept-Encoding` | yes | only which of the [`codings`] are taken | does not count |
//! | `Accept-Language`, `-Charset` | yes | by meaning | does not count |
//! | `Accept` | yes | by meaning | counts, since servers are known to read it |
//! | one that is known to be no list | no | count | counts |
//! | any other | yes | count | counts |

use http::{
    HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, GetAll},
};
use smallvec::SmallVec;

use super::{
    codings::Codings,
    length_bytes,
    variant::{AS_SENT, Material, push_value},
};

/// Most members of a list that is compared by meaning. One with more is compared as it was sent.
pub(super) const MAX_MEMBERS: usize = 64;

/// Before a member of a list.
const MEMBER: u8 = b',';
/// Before the first of what a client prefers.
const PREFERENCES: u8 = b'p';
/// Before a set of codings.
const CODINGS: u8 = b'c';
/// Before a weight and what has it.
const WEIGHED: u8 = b'q';

/// How the values of a field are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    /// Not as a list: a comma is part of the value.
    Single,
    /// As a list of we know not what.
    List,
    /// RFC 9110 §12.5.2, §12.5.4: names with weights, in any order and case.
    Preferences,
    /// §12.5.1: media ranges with weights, in any case.
    MediaRanges,
}

impl Syntax {
    fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "accept-charset" | "accept-language" => Self::Preferences,
            "accept" => Self::MediaRanges,
            "authorization"
            | "content-length"
            | "content-type"
            | "cookie"
            | "date"
            | "from"
            | "host"
            | "if-modified-since"
            | "if-range"
            | "if-unmodified-since"
            | "max-forwards"
            | "origin"
            | "proxy-authorization"
            | "range"
            | "referer"
            | "user-agent"
            | "via"
            | "x-original-url"
            | "x-rewrite-url" => Self::Single,
            _ => Self::List,
        }
    }

    /// Whether this can name what is preferred. What cannot is not read at all.
    fn takes(self, name: &[u8]) -> bool {
        let (slashes, others) = match self {
            Self::MediaRanges => (1, &b"*-+._/"[..]),
            _ => (0, &b"*-"[..]),
        };
        !name.is_empty()
            && name.iter().filter(|&&b| b == b'/').count() == slashes
            && name.iter().all(|b| b.is_ascii_alphanumeric() || others.contains(b))
    }
}

/// Writes what the lines of a field mean; nothing if there are none.
pub(super) fn write(name: &HeaderName, lines: &GetAll<'_, HeaderValue>, out: &mut Material) {
    if *name == ACCEPT_ENCODING {
        return out.extend(Codings::of(lines).into_iter().flat_map(|codings| [CODINGS, codings.bits()]));
    }
    let syntax = Syntax::of(name);
    let Some(members) = members(syntax, lines) else {
        return lines.iter().for_each(|line| push_value(out, AS_SENT, line.as_bytes()));
    };
    let Some(preferences) = preferences(syntax, &members) else {
        return members.iter().for_each(|member| push_value(out, MEMBER, member));
    };
    out.push(PREFERENCES);
    for preference in preferences {
        out.push(WEIGHED);
        out.extend_from_slice(&preference.weight.to_le_bytes());
        out.extend_from_slice(&length_bytes(preference.name.len()));
        out.extend(preference.lower_case());
    }
}

type Members<'v> = SmallVec<[&'v [u8]; 16]>;

/// The members of all lines, the empty ones too. Nothing for what is not to be split: no list, one
/// with a quoted string that does not end, or too many members.
fn members<'v>(syntax: Syntax, lines: &'v GetAll<'_, HeaderValue>) -> Option<Members<'v>> {
    let mut members = Members::new();
    for line in lines {
        let mut rest = Some(line.as_bytes());
        while let Some(list) = rest {
            if syntax == Syntax::Single || members.len() == MAX_MEMBERS {
                return None;
            }
            let (member, others) = first_member(list)?;
            members.push(member.trim_ascii());
            rest = others;
        }
    }
    Some(members)
}

/// The first member of a list, and what follows its comma: one that is not within a quoted string
/// (RFC 9110 §5.6.4).
fn first_member(list: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut quoted = false;
    let mut bytes = list.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next();
            }
            b',' if !quoted => return Some((list.get(..at)?, list.get(at + 1..))),
            _ => {}
        }
    }
    (!quoted).then_some((list, None))
}

/// What a client names, and how much it wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Preference<'v> {
    name: &'v [u8],
    /// Thousandths. 0 forbids.
    weight: u16,
}

impl<'v> Preference<'v> {
    fn parse(syntax: Syntax, member: &'v [u8]) -> Option<Self> {
        let mut parts = member.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().filter(|name| syntax.takes(name))?;
        let weight = parts.next().map_or(Some(1000), weight)?;
        parts.next().is_none().then_some(Self { name, weight })
    }

    fn lower_case(&self) -> impl Iterator<Item = u8> {
        self.name.iter().map(u8::to_ascii_lowercase)
    }
}

type Preferences<'v> = SmallVec<[Preference<'v>; 16]>;

/// The list as preferences, if it is one and says nothing twice in two ways. Empty members say nothing
/// (RFC 9110 §5.6.1.2).
fn preferences<'v>(syntax: Syntax, members: &[&'v [u8]]) -> Option<Preferences<'v>> {
    if syntax == Syntax::List || members.is_empty() {
        return None;
    }
    let said = members.iter().filter(|member| !member.is_empty());
    let mut all =
        said.map(|member| Preference::parse(syntax, member)).collect::<Option<Preferences<'_>>>()?;
    if syntax == Syntax::MediaRanges {
        return Some(all);
    }
    all.sort_unstable_by(|a, b| a.lower_case().cmp(b.lower_case()));
    all.dedup_by(|a, b| a.weight == b.weight && a.name.eq_ignore_ascii_case(b.name));
    let agree = all.windows(2).all(|pair| match pair {
        [a, b] => !a.name.eq_ignore_ascii_case(b.name),
        _ => true,
    });
    agree.then_some(all)
}

/// RFC 9110 §12.4.2: `q=` and a number up to 1 with at most three decimals, in thousandths.
pub(super) fn weight(parameter: &[u8]) -> Option<u16> {
    let (whole, decimals) = match parameter {
        [b'q' | b'Q', b'=', whole] => (whole, &[][..]),
        [b'q' | b'Q', b'=', whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut digits = [*whole, b'0', b'0', b'0'];
    digits.iter_mut().skip(1).zip(decimals).for_each(|(digit, decimal)| *digit = *decimal);
    let number = digits.iter().try_fold(0_u16, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })?;
    (number <= 1000).then_some(number)
}

#[cfg(test)]
mod tests;
