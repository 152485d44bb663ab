//! How a purge is told to all: by the name of a key that everybody hears of. Pure.

use crate::{
    epoch::{Epoch, Mode},
    store::Wait,
};

/// What a purge covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All variants of a resource, by the hash of its key.
    Resource(u128),
    /// What carries a tag, by its bits.
    Tag(u128),
}

/// One purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) what: What,
    pub(super) mode: Mode,
    /// Whether somebody waits until all have applied it.
    pub(super) wait: Wait,
    pub(super) epoch: Epoch,
}

/// What stands between the prefix and the announcement.
const MARK: &str = ":v1:p:";

/// What every announcement begins with.
pub(super) fn prefix(prefix: &str) -> String {
    format!("{prefix}{MARK}")
}

impl Announcement {
    /// The name of the key.
    pub(super) fn name(&self, prefix: &str) -> String {
        let (kind, what) = match self.what {
            What::Resource(hash) => ('u', hash),
            What::Tag(bits) => ('t', bits),
        };
        let mode = match self.mode {
            Mode::Hard => 'h',
            Mode::Soft => 's',
        };
        let wait = match self.wait {
            Wait::ForFleet => 'w',
            Wait::ForStore => 'n',
        };
        format!("{prefix}{MARK}{{{what:032x}}}:{kind}{mode}{wait}:{:016x}", self.epoch.number())
    }

    /// Reads what [`Announcement::name`] wrote, after the prefix and [`MARK`]; nothing for any other.
    pub(super) fn parse(rest: &[u8]) -> Option<Self> {
        let rest = str::from_utf8(rest).ok()?.strip_prefix('{')?;
        let (what, rest) = rest.split_once("}:")?;
        let (how, epoch) = rest.split_once(':')?;
        let are_digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if what.len() != 32 || epoch.len() != 16 || !are_digits(what) || !are_digits(epoch) {
            return None;
        }
        let (what, epoch) = (u128::from_str_radix(what, 16).ok()?, u64::from_str_radix(epoch, 16).ok()?);
        let [kind, mode, wait] = *how.as_bytes().first_chunk().filter(|_| how.len() == 3)?;
        Some(Self {
            what: match kind {
                b'u' => What::Resource(what),
                b't' => What::Tag(what),
                _ => return None,
            },
            mode: match mode {
                b'h' => Mode::Hard,
                b's' => Mode::Soft,
                _ => return None,
            },
            wait: match wait {
                b'w' => Wait::ForFleet,
                b'n' => Wait::ForStore,
                _ => return None,
            },
            epoch: Epoch::from_number(epoch)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_announced_is_heard() {
        for what in [What::Resource(7), What::Tag(u128::MAX)] {
            for mode in [Mode::Hard, Mode::Soft] {
                for wait in [Wait::ForFleet, Wait::ForStore] {
                    let epoch = Epoch::from_number(1_790_000_000_000_000).unwrap();
                    let told = Announcement { what, mode, wait, epoch };
                    let name = told.name("shop");
                    let rest = name.strip_prefix(&prefix("shop")).unwrap();
                    assert_eq!(Announcement::parse(rest.as_bytes()), Some(told), "{name}");
                }
            }
        }
    }

    #[test]
    fn nothing_else_is() {
        let what = "0".repeat(32);
        let epoch = "0".repeat(16);
        for bad in [
            String::new(),
            format!("{{{what}}}:uhw:+{}", &epoch[1..]),
            format!("{{{what}}}:uhw:f{}", &epoch[1..]),
            format!("{{{what}}}:uhwx:{epoch}"),
            format!("{{{what}}}:xhw:{epoch}"),
            format!("{{{what}0}}:uhw:{epoch}"),
            format!("{{+{}}}:uhw:{epoch}", &what[1..]),
            format!("{{{what}}}:uhw:{epoch}0"),
        ] {
            assert_eq!(Announcement::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_fails_hard(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(told) = Announcement::parse(&raw) {
                prop_assert_eq!(told.name("").into_bytes(), [MARK.as_bytes(), &raw[..]].concat());
            }
        }
    }
}
