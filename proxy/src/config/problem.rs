//! What is wrong with a file, said so that it can be mended at night.

use std::fmt;

use thiserror::Error;

use super::{snippet, yaml::Span};

/// Everything found wrong with a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors {
    /// One text per finding: place, path, message, the line with a caret. Passwords are left out.
    findings: Vec<String>,
}

impl ConfigErrors {
    /// The most findings that are shown.
    pub const MAX_SHOWN: usize = 25;

    /// The file could not even be read.
    pub(super) fn unreadable(file: &str, reason: impl fmt::Display) -> Self {
        Self { findings: vec![format!("{}: {reason}", snippet::printable(file))] }
    }

    pub(super) fn new(file: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.path.clone()));
        problems.dedup();
        let findings = problems.iter().map(|problem| problem.render(file, source)).collect();
        Self { findings }
    }

    /// One text per finding.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().map(String::as_str)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().take(Self::MAX_SHOWN).enumerate() {
            let gap = if at > 0 { "\n\n" } else { "" };
            write!(f, "{gap}{finding}")?;
        }
        match self.findings.len().checked_sub(Self::MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n\nand {more} more"),
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
    /// Stands behind the caret; may be empty.
    pub(super) advice: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}

impl Problem {
    fn render(&self, file: &str, source: &str) -> String {
        let Wrong { message, advice } = &self.wrong;
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let head = format!("{file}:{}:{}: {path}{message}", self.span.line, self.span.column);
        let shown = snippet::with_caret(source, self.span, &snippet::printable(advice));
        format!("{}\n{shown}", snippet::printable(&head))
    }
}
