//! An explanation, as it goes over the wire: written by the admin listener, read by the command and the dashboard.

use serde::{Deserialize, Serialize};

use crate::{
    advice::Advice,
    status::{Detail, Outcome},
};

/// All that there is to say of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its method.
    pub method: String,
    /// What it asks for.
    pub url: String,
    /// The rule that it falls under.
    pub rule: Option<RuleReport>,
    /// The rules before that one, in their order.
    pub passed_over: Vec<PassedOver>,
    /// What it may share with others.
    pub key: Option<KeyReport>,
    /// What is stored for it.
    pub stored: Option<StoredReport>,
    /// What would be done now.
    pub decision: Verdict,
    /// What the last such request that was no hit was told, since the file was last edited.
    pub last: Option<Last>,
    /// What the app would answer, if it was asked.
    pub origin: Option<OriginReport>,
    /// Where nothing is stored or remembered of the request: with which hosts clients ask for its path.
    #[serde(default)]
    pub elsewhere: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// Its path.
    #[serde(rename = "match")]
    pub pattern: String,
    /// `off`, `origin`, or for how long.
    pub cache: String,
    /// What it does, a line for each part of it.
    pub says: Vec<String>,
}

/// A rule that does not match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Its name.
    pub name: String,
    /// Why it does not.
    pub why: String,
}

/// What a stored response is found by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyReport {
    /// The URL, with what of its query counts.
    pub resource: String,
    /// Name and value of the fields of a trusted proxy that are part of it.
    pub headers: Vec<(String, String)>,
    /// The fields and cookies whose values select among what is stored for it.
    pub selected_by: Vec<String>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredReport {
    /// `memory` or `redis`; `arriving`, if it is whole and on its way there.
    pub tier: String,
    /// Its status.
    pub status: u16,
    /// RFC 9111 §4.2.3.
    pub age_seconds: u64,
    /// For how long it is fresh in all. Nothing where neither app nor rule says.
    pub lifetime_seconds: Option<u64>,
    /// What is left of that; below zero: for how long it has been stale.
    pub left_seconds: Option<i64>,
    /// By what names a purge finds it.
    pub tags: Vec<String>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// How many more variants of the resource are stored, as far as Redis answers.
    pub other_variants: Option<usize>,
}

/// What would be done, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The word for log and metric.
    pub outcome: String,
    /// The word in `detail=`.
    pub detail: Option<String>,
    /// The same in a sentence.
    pub summary: String,
    /// By which section of an RFC, or which key of the file.
    pub because: String,
    /// What to change for another answer.
    pub action: String,
}

/// What a request was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Last {
    /// When, in RFC 3339.
    pub at: String,
    /// The status of its answer.
    pub status: u16,
    /// Whether storing the app's answer began.
    pub stored: bool,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What the app answers when it is asked now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginReport {
    /// The status of its answer, or of the error that a client would get.
    pub status: u16,
    /// Whether that answer would be stored.
    pub would_store: bool,
    /// Why not.
    pub detail: Option<String>,
    /// The same in a sentence, with the field that is the cause.
    pub summary: String,
    /// By which section of an RFC, or which key of the file.
    pub because: String,
    /// What to change for another answer.
    pub action: String,
    /// For how long it would be fresh.
    pub lifetime_seconds: Option<u64>,
}

impl Verdict {
    /// An outcome in the words of [`Advice`].
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        let detail = outcome.detail();
        let advice = Advice::about(outcome, detail);
        Self {
            outcome: outcome.word().to_owned(),
            detail: detail.map(|detail| detail.as_str().to_owned()),
            summary: advice.meaning.to_owned(),
            because: advice.because.to_owned(),
            action: advice.action.to_owned(),
        }
    }

    /// The same, in other words than those of everybody.
    #[must_use]
    pub fn saying(self, summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..self }
    }

    /// The same, by the reasons of a detail.
    #[must_use]
    pub fn by(self, detail: Detail) -> Self {
        let Advice { because, action, .. } = *Advice::of(detail);
        Self { because: because.to_owned(), action: action.to_owned(), ..self }
    }
}
