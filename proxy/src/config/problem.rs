//! What is wrong with a file, said so that it can be mended at night.

use std::{borrow::Cow, fmt};

use thiserror::Error;

use super::{snippet, yaml::Span};

/// Everything found wrong with a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors {
    /// One text per finding: place, path, message, the line with a caret. Passwords are left out.
    findings: Vec<String>,
    /// How many there are besides.
    more: usize,
}

impl ConfigErrors {
    /// The most findings that are shown.
    pub const MAX_SHOWN: usize = 25;

    /// The file could not even be read.
    pub(super) fn unreadable(file: &str, reason: impl fmt::Display) -> Self {
        Self { findings: vec![format!("{}: {reason}", snippet::printable(file))], more: 0 }
    }

    pub(super) fn new(file: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.path.clone()));
        problems.dedup();
        // Each looks for its line from the top; of thousands, nobody reads them all.
        let shown = problems.iter().take(Self::MAX_SHOWN);
        let findings = shown.map(|problem| problem.render(file, source)).collect();
        Self { findings, more: problems.len().saturating_sub(Self::MAX_SHOWN) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.findings.join("\n\n"))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) span: Span,
    /// `routes[1].cache.ttl`; empty where it is the file as a whole.
    pub(super) path: String,
    pub(super) wrong: Wrong,
}

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    /// Stands behind the caret; may be empty. A borrowed one is all ours and quotes nothing of the
    /// file, so that it may show where a password belongs.
    pub(super) advice: Cow<'static, str>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}

impl Problem {
    fn render(&self, file: &str, source: &str) -> String {
        let Wrong { message, advice } = &self.wrong;
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let head = format!("{file}:{}:{}: {path}{message}", self.span.line, self.span.column);
        let advice = match advice {
            Cow::Borrowed(ours) => Cow::Borrowed(*ours),
            Cow::Owned(quoting) => Cow::Owned(snippet::printable(quoting)),
        };
        let shown = snippet::with_caret(source, self.span, &advice);
        format!("{}\n{shown}", snippet::printable(&head))
    }
}
