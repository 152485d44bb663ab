//! What a map of the file may hold. From these tables come the checks of the reader, the schema for editors
//! and the reference, so that none of them knows a key that another does not.

use super::{
    problem::Wrong,
    suggest::{nearest, plain},
};

/// What a map of the file may hold.
pub(super) struct Keys {
    /// The keys that have an effect.
    pub(super) known: &'static [Key],
    /// What other programs call it, and what to do about it.
    pub(super) foreign: &'static [(&'static str, &'static str)],
}

/// A key that has an effect.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) absent: Absent,
    pub(super) takes: Kind,
    /// What it means, in Markdown without links: editors show it too.
    pub(super) doc: &'static str,
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    /// It may not be.
    Refused,
    /// This value, as the file would have it.
    Is(&'static str),
    /// This, in words.
    Means(&'static str),
}

/// What a key takes. Of whatever is a scalar, a variable (`${NAME}`) may be a part.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text(&'static Text),
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number without a unit.
    Count {
        least: usize,
        most: usize,
    },
    /// Scalars, each at most once; one alone needs no brackets.
    List {
        of: &'static Self,
        least: usize,
        most: usize,
    },
    /// The same, where one alone does.
    Items {
        of: &'static Self,
        least: usize,
        most: usize,
    },
    Map(&'static Keys),
    /// Maps in a list.
    Maps {
        of: &'static Keys,
        least: usize,
        most: usize,
    },
    /// A map whose keys are free within a form.
    Free {
        key: &'static Text,
        value: &'static Self,
    },
    /// No value at all, or an empty text, as a variable may be.
    Empty,
    Either(&'static [Self]),
}

/// Texts of one form.
#[derive(Debug)]
pub(super) struct Text {
    /// In words, with an example.
    pub(super) is: &'static str,
    /// All texts of the form, and as few others as can be said so: a regular expression of ECMA 262 for the
    /// whole text.
    pub(super) like: &'static str,
    /// Whether what YAML takes for a number, or for true, may be one.
    pub(super) bare: bool,
}

/// More than anybody lists.
pub(super) const ANY: usize = usize::MAX;

impl Key {
    pub(super) const fn new(name: &'static str, absent: Absent, takes: Kind, doc: &'static str) -> Self {
        Self { name, absent, takes, doc }
    }
}

impl Keys {
    pub(super) fn has(&self, name: &str) -> bool {
        self.known.iter().any(|key| key.name == name)
    }

    /// What is wrong with a key that is not known.
    pub(super) fn explain(&self, key: &str) -> Wrong {
        let message = format!("unknown key `{key}`");
        if let Some((_, advice)) = self.foreign.iter().find(|(theirs, _)| plain(theirs) == plain(key)) {
            return Wrong::new(message, *advice);
        }
        let known: Vec<&str> = self.known.iter().map(|key| key.name).collect();
        match nearest(key, known.iter().copied()) {
            Some(near) => Wrong::new(message, format!("did you mean `{near}`?")),
            None => Wrong::new(message, format!("known here: {}", known.join(", "))),
        }
    }
}

/// The words of a table, for [`Kind::Words`].
#[expect(clippy::indexing_slicing, reason = "a constant: what is not there would not compile")]
pub(super) const fn words<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut place = 0;
    while place < N {
        words[place] = table[place].0;
        place += 1;
    }
    words
}
