//! What the name of a purge's announcement says. Pure.
//!
//! ```text
//! prefix:v1:p:{what}:<kind><mode><wait>:<epoch>
//! ```
//!
//! The name says all, so that whoever hears of it need not ask for the value. When the key expires the
//! same name is heard once more: `Echoes` tells the two apart.

use std::fmt;

use crate::epoch::{Epoch, Mode};

/// A purge, as the fleet hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// What is purged: the hash of a resource's key, or the id of a tag.
    pub what: u128,
    /// Which of the two.
    pub kind: Kind,
    /// What becomes of it.
    pub mode: Mode,
    /// Whether the purger waits until each sidecar has acknowledged it.
    pub wait: bool,
    /// When, among all purges of the fleet.
    pub epoch: Epoch,
}

/// What a purge names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One resource.
    Resource,
    /// All that carries a tag.
    Tag,
}

impl Announcement {
    /// Reads the part of a name that follows `prefix:v1:p:`. `None` for what [`fmt::Display`] does not
    /// write.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (what, rest) = text.strip_prefix('{')?.split_once("}:")?;
        let (letters, epoch) = rest.split_once(':')?;
        let mut letters = letters.chars();
        let kind = match letters.next()? {
            'u' => Kind::Resource,
            't' => Kind::Tag,
            _ => return None,
        };
        let mode = match letters.next()? {
            'h' => Mode::Hard,
            's' => Mode::Soft,
            _ => return None,
        };
        let wait = match letters.next()? {
            'w' => true,
            'n' => false,
            _ => return None,
        };
        let number = u64::try_from(hex(epoch, 16)?).ok()?;
        let (what, epoch) = (hex(what, 32)?, Epoch::from_number(number)?);
        letters.next().is_none().then_some(Self { what, kind, mode, wait, epoch })
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Resource => 'u',
            Kind::Tag => 't',
        };
        let mode = match self.mode {
            Mode::Hard => 'h',
            Mode::Soft => 's',
        };
        let wait = if self.wait { 'w' } else { 'n' };
        write!(f, "{{{:032x}}}:{kind}{mode}{wait}:{:016x}", self.what, self.epoch.number())
    }
}

/// A number of so many digits, in lower case.
pub(super) fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let well_formed = text.len() == digits && text.bytes().all(is_digit);
    well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHAT: &str = "{0123456789abcdef0123456789abcdef}";

    #[test]
    fn the_name_says_all() {
        let parsed = Announcement::parse(format!("{WHAT}:tsw:00000000000000ff").as_bytes()).unwrap();
        let what = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        let wanted = Announcement {
            what,
            kind: Kind::Tag,
            mode: Mode::Soft,
            wait: true,
            epoch: Epoch::from_number(255).unwrap(),
        };
        assert_eq!(parsed, wanted);
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        let epoch = "00000000000000ff";
        for bad in [
            String::new(),
            WHAT.to_owned(),
            format!("{WHAT}:uhn"),
            format!("{WHAT}:uhn:"),
            format!("{WHAT}:uhn:ff"),
            format!("{WHAT}:uhn:0{epoch}"),
            format!("{WHAT}:uhn:{epoch}:"),
            format!("{WHAT}:uhnx:{epoch}"),
            format!("{WHAT}:uh:{epoch}"),
            format!("{WHAT}:xhn:{epoch}"),
            format!("{WHAT}:uxn:{epoch}"),
            format!("{WHAT}:uhx:{epoch}"),
            format!("{{}}:uhn:{epoch}"),
            format!("{}:uhn:{epoch}", WHAT.to_uppercase()),
            format!("{WHAT}:uhn:{}", epoch.to_uppercase()),
            format!("{WHAT}:uhn:+{}", &epoch[1..]),
        ] {
            assert_eq!(Announcement::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Announcement::parse(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            what: u128,
            epoch in 0..=(1u64 << 53) - 1,
            tag: bool,
            soft: bool,
            wait: bool,
        ) {
            let kind = if tag { Kind::Tag } else { Kind::Resource };
            let mode = if soft { Mode::Soft } else { Mode::Hard };
            let written = Announcement { what, kind, mode, wait, epoch: Epoch::from_number(epoch).unwrap() };
            prop_assert_eq!(Announcement::parse(written.to_string().as_bytes()), Some(written));
        }

        #[test]
        fn what_is_read_is_what_was_written(raw in "\\{[0-9a-f]{30,34}\\}:[uthswnx]{2,4}:[0-9a-fA-F]{15,17}") {
            if let Some(read) = Announcement::parse(raw.as_bytes()) {
                prop_assert_eq!(read.to_string(), raw);
            }
        }

        #[test]
        fn reading_never_fails_hard(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = Announcement::parse(&raw) {
                prop_assert_eq!(read.to_string().into_bytes(), raw);
            }
        }
    }
}
