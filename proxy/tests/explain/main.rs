//! What an explanation says, held against what a request then gets.
//!
//! - [`words`]: each word of the vocabulary, made by real traffic, is named with what to do about it.
//! - [`views`]: the rule, the key, what is stored, what the app would answer.
//! - [`proxied`]: what a URL may mean behind a trusted proxy.
//! - [`command`]: the command beside a running binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

#[path = "../support/mod.rs"]
mod support;

mod command;
mod proxied;
mod views;
mod words;

use sidecache::{
    advice::Advice,
    explain::{self, Question, Report},
    status::Detail,
};

use crate::support::{browser::Answer, redis::eventually, story::Story};

type Fields<'f> = &'f [(&'f str, &'f str)];

/// What is to be asked of such a request, which goes to the host of every test.
fn question(line: &str, fields: Fields<'_>, ask_origin: bool) -> Question {
    let (method, target) = line.split_once(' ').unwrap();
    let fields: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Question::new(method, &format!("http://shop{target}"), &fields, ask_origin).unwrap()
}

async fn explained(story: &Story, line: &str, fields: Fields<'_>) -> Report {
    explain::explain(&story.app, &question(line, fields, false)).await
}

/// The same once the request before is noted: when there is its answer, or its client has left without one.
async fn afterwards(story: &Story, line: &str, fields: Fields<'_>, word: &str) -> Report {
    let mut found = None;
    let noted = async || {
        let report = explained(story, line, fields).await;
        let last = report.last.as_ref().map(|last| &last.verdict);
        let is_so = last.is_some_and(|last| last.outcome == word || last.detail.as_deref() == Some(word));
        found = Some(report).filter(|_| is_so);
        found.is_some()
    };
    eventually(&format!("the last one is {word}"), noted).await;
    found.unwrap()
}

/// The same, with a question to the app.
async fn explained_by_the_app(story: &Story, line: &str, fields: Fields<'_>) -> Report {
    explain::explain(&story.app, &question(line, fields, true)).await
}

/// The outcome that `Cache-Status` tells.
fn outcome(answer: &Answer) -> &str {
    let first = answer.says().split(';').next().unwrap();
    first.strip_prefix("fwd=").unwrap_or(first)
}

fn is_said(answer: &Answer, detail: Detail) {
    let word = format!("detail={}", detail.as_str());
    assert!(answer.says().split("; ").any(|part| part == word), "{word}: {answer:?}");
}

/// It is told before the request is sent, and then is so.
async fn foretold(story: &Story, line: &str, fields: Fields<'_>, detail: Detail) {
    let report = explained(story, line, fields).await;
    let answer = story.ask(line, fields).await;
    is_said(&answer, detail);
    let told = &report.decision;
    assert_eq!((told.outcome.as_str(), told.detail.as_deref()), (outcome(&answer), Some(detail.as_str())));
    assert_eq!(told.action, Advice::of(detail).action);
    assert!(told.summary.contains(Advice::of(detail).meaning), "{told:?}");
    assert!(!told.because.is_empty());
}

/// It is known from the answer, and told from then on.
async fn learnt(story: &Story, line: &str, fields: Fields<'_>, detail: Detail) -> Report {
    is_said(&story.ask(line, fields).await, detail);
    let report = afterwards(story, line, fields, detail.as_str()).await;
    let told = &report.decision;
    assert!(told.summary.contains(Advice::of(detail).meaning), "{told:?}");
    assert_eq!((told.because.as_str(), told.action.as_str()), {
        let Advice { because, action, .. } = *Advice::of(detail);
        (because, action)
    });
    is_remembered(&report, detail);
    report
}

/// The same, of an answer that the app gives again when it is asked for the explanation.
async fn judged(story: &Story, line: &str, fields: Fields<'_>, detail: Detail) {
    learnt(story, line, fields, detail).await;
    let asked = story.origin.count();
    let report = explained_by_the_app(story, line, fields).await;
    assert_eq!(story.origin.count(), asked + 1);
    let origin = report.origin.unwrap();
    assert_eq!((origin.would_store, origin.detail.as_deref()), (false, Some(detail.as_str())), "{origin:?}");
    assert_eq!(origin.action, Advice::of(detail).action);
    assert_eq!(report.decision.detail.as_deref(), Some(detail.as_str()));
}

/// The last request was told so.
async fn remembered(story: &Story, line: &str, fields: Fields<'_>, detail: Detail) {
    is_remembered(&afterwards(story, line, fields, detail.as_str()).await, detail);
}

fn is_remembered(report: &Report, detail: Detail) {
    let last = &report.last.as_ref().unwrap().verdict;
    assert_eq!(last.detail.as_deref(), Some(detail.as_str()), "{last:?}");
    assert_eq!(last.action, Advice::of(detail).action);
    assert!(!last.action.is_empty() && last.summary.contains(Advice::of(detail).meaning), "{last:?}");
}
