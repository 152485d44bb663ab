//! An explanation for a terminal: a word at the left, what there is to it at the right.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{
    report::{Last, OriginReport, PassedOver, Report, RuleReport, StoredReport, Verdict},
    wording::{size, time},
};
use crate::admin::stats::IN_SHADOW;

/// Rules before the one that matches that are all shown; of more, only those of which more than the path was looked
/// at.
const RULES_SHOWN: usize = 5;
/// Columns of a line.
const WIDTH: usize = 96;
/// Columns of the word at the left.
const MARGIN: usize = 9;

/// Shows a report.
pub(super) struct Shown<'r> {
    pub(super) report: &'r Report,
    pub(super) asked: Asked,
}

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A file, which knows of nothing that is stored: what the rule does is all there is to say.
    File,
    /// A running proxy.
    Proxy,
    /// The same, and by that the app.
    App,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { method, url, rule, passed_over, key, stored, decision, last, origin, elsewhere } =
            self.report;
        writeln!(f, "{}\n", plain(&format!("{method} {url}")))?;
        line(f, "rule", &rule.as_ref().map_or_else(|| "none matches".to_owned(), in_force))?;
        for text in before(passed_over) {
            line(f, "", &text)?;
        }
        if let Some(key) = key {
            line(f, "key", &key.resource)?;
            for (name, value) in &key.headers {
                line(f, "", &format!("as a trusted proxy forwards it, with {name}: {value}"))?;
            }
            if !key.selected_by.is_empty() {
                line(f, "", &format!("selected by {}", key.selected_by.join(", ")))?;
            }
        }
        let said = rule.iter().filter(|_| self.asked == Asked::File).flat_map(|rule| &rule.says);
        for (place, text) in said.enumerate() {
            line(f, if place == 0 { "does" } else { "" }, text)?;
        }
        match stored {
            _ if self.asked == Asked::File => {}
            Some(stored) => line(f, "stored", &held(stored, rule.as_ref()))?,
            None if key.is_some() => line(f, "stored", "nothing that this request selects")?,
            None => {}
        }
        if !elsewhere.is_empty() {
            let hosts = elsewhere.join(" or ");
            let told = format!("clients ask for this path with the host {hosts}: write the URL with that");
            line(f, "but", &told)?;
        }
        verdict(f, "now", decision)?;
        if let Some(last) = last {
            line(f, "last", &told(last, decision))?;
        }
        match origin {
            Some(origin) => line(f, "app", &answered(origin, decision)),
            None if self.asked == Asked::App => {
                line(f, "app", "not asked: the answer to such a request is never stored")
            }
            None => Ok(()),
        }
    }
}

fn in_force(RuleReport { name, pattern, cache, .. }: &RuleReport) -> String {
    let pattern = if name == pattern { String::new() } else { format!(" ({pattern})") };
    format!("{name}{pattern}, cache: {cache}")
}

/// Why the rules before do not match.
fn before(passed_over: &[PassedOver]) -> Vec<String> {
    let few = passed_over.len() <= RULES_SHOWN;
    let shown = |rule: &&PassedOver| few || !rule.why.starts_with("the path is not");
    let mut lines: Vec<String> = passed_over
        .iter()
        .filter(shown)
        .map(|PassedOver { name, why }| format!("not {name}: {why}"))
        .collect();
    let others = passed_over.len() - lines.len();
    if others > 0 {
        lines.push(format!("nor {others} others, for other paths"));
    }
    lines
}

fn held(stored: &StoredReport, rule: Option<&RuleReport>) -> String {
    let StoredReport { tier, status, age_seconds, lifetime_seconds, left_seconds, body_bytes, .. } = stored;
    let seconds = |seconds: u64| time(Duration::from_secs(seconds));
    // Of what a rule in shadow would store only the head is kept.
    let is_head = *body_bytes == 0 && rule.is_some_and(|rule| rule.cache.ends_with(IN_SHADOW));
    let body = if is_head { "head only".to_owned() } else { size(*body_bytes) };
    let tier = match tier.as_str() {
        "arriving" => "on its way into the store".to_owned(),
        tier => format!("in {tier}"),
    };
    let fresh = match (lifetime_seconds, left_seconds) {
        (Some(lifetime), Some(left)) => match u64::try_from(*left) {
            Ok(left) if left > 0 => format!("fresh for {} more of {}", seconds(left), seconds(*lifetime)),
            _ => format!("stale for {}, after {}", seconds(left.unsigned_abs()), seconds(*lifetime)),
        },
        _ => "without a lifetime".to_owned(),
    };
    let others = match stored.other_variants {
        None | Some(0) => String::new(),
        Some(1) => "; one more variant".to_owned(),
        Some(others) => format!("; {others} more variants"),
    };
    format!(
        "{tier}: {status}, {body}, {} old, {fresh}; tags {}{others}",
        seconds(*age_seconds),
        stored.tags.join(", ")
    )
}

/// What the last one was told, as far as the decision has not said so.
fn told(Last { at, status, verdict, .. }: &Last, decision: &Verdict) -> String {
    let words = words(verdict);
    match decision.summary.contains("; the last answer, ") {
        true => format!("{words}, status {status}, at {at}"),
        false => format!("{words}, status {status}: {}", verdict.summary),
    }
}

/// The same of what the app answers.
fn answered(OriginReport { status, summary, would_store, .. }: &OriginReport, decision: &Verdict) -> String {
    match (decision.summary.contains(summary), would_store) {
        (true, true) => format!("status {status}, to be stored"),
        (true, false) => format!("status {status}, not to be stored"),
        (false, _) => format!("status {status}: {summary}"),
    }
}

fn words(Verdict { outcome, detail, .. }: &Verdict) -> String {
    detail.as_ref().map_or_else(|| outcome.clone(), |detail| format!("{outcome} ({detail})"))
}

fn verdict(f: &mut fmt::Formatter<'_>, word: &str, verdict: &Verdict) -> fmt::Result {
    line(f, word, &format!("{}: {}", words(verdict), verdict.summary))?;
    line(f, "because", &verdict.because)?;
    line(f, "to do", &verdict.action)
}

/// One entry, over as many lines as it needs.
fn line(f: &mut fmt::Formatter<'_>, word: &str, text: &str) -> fmt::Result {
    let mut column = MARGIN;
    write!(f, "{word:MARGIN$}")?;
    for (place, word) in plain(text).split(' ').enumerate() {
        let width = word.chars().count();
        if place > 0 && column + 1 + width > WIDTH {
            write!(f, "\n{:MARGIN$}", "")?;
            column = MARGIN;
        } else if place > 0 {
            f.write_char(' ')?;
            column += 1;
        }
        f.write_str(word)?;
        column += width;
    }
    f.write_char('\n')
}

/// What came from outside must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        explain::report::KeyReport,
        status::{Detail, Forward, Fwd, Outcome},
    };

    fn report() -> Report {
        let outcome = Outcome::Forward(Forward::because(Fwd::Bypass, Some(Detail::Cookie)));
        Report {
            method: "GET".to_owned(),
            url: "http://shop.example/a".to_owned(),
            rule: Some(RuleReport {
                name: "home".to_owned(),
                pattern: "/a".to_owned(),
                cache: "5m".to_owned(),
                says: Vec::new(),
            }),
            passed_over: vec![PassedOver { name: "/b".to_owned(), why: "the path is not /b".to_owned() }],
            key: Some(KeyReport {
                headers: vec![("x-forwarded-proto".to_owned(), "https".to_owned())],
                resource: "http://shop.example/a".to_owned(),
                selected_by: vec!["accept-encoding".to_owned(), "cookie lang".to_owned()],
            }),
            stored: Some(StoredReport {
                tier: "memory".to_owned(),
                status: 200,
                age_seconds: 12,
                lifetime_seconds: Some(300),
                left_seconds: Some(288),
                tags: vec!["products".to_owned(), "rule home".to_owned()],
                body_bytes: 9342,
                other_variants: Some(1),
            }),
            decision: Verdict::of(outcome).saying("\u{1b}[2Jthe app is asked"),
            last: None,
            origin: None,
            elsewhere: vec![],
        }
    }

    #[test]
    fn is_aligned_and_within_the_width() {
        let text = Shown { report: &report(), asked: Asked::Proxy }.to_string();
        assert!(text.starts_with("GET http://shop.example/a\n\nrule     home (/a), cache: 5m\n"), "{text}");
        let stored = "stored   in memory: 200, 9.1 KiB, 12s old, fresh for 4m 48s more of 5m; tags products, rule\n         home; one more variant\n";
        assert!(text.contains(stored), "{text}");
        assert!(
            text.contains("\nnow      bypass (cookie): [2Jthe app is asked\nbecause  `credentials"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn what_a_rule_in_shadow_has_noted_is_no_empty_body() {
        let mut report = report();
        report.rule.as_mut().unwrap().cache.push_str(IN_SHADOW);
        report.stored.as_mut().unwrap().body_bytes = 0;
        let text = Shown { report: &report, asked: Asked::Proxy }.to_string();
        assert!(
            text.contains("cache: 5m, in shadow\n") && text.contains("200, head only, 12s old"),
            "{text}"
        );
    }

    #[test]
    fn of_many_rules_only_those_are_shown_that_were_near() {
        let of = |name: &str, why: &str| PassedOver { name: name.to_owned(), why: why.to_owned() };
        let mut rules = vec![of("/x", "the path is not /x"); 9];
        rules.push(of("beta", "it is for POST alone"));
        assert_eq!(before(&rules), ["not beta: it is for POST alone", "nor 9 others, for other paths"]);
    }

    #[test]
    fn goes_over_the_wire_and_back() {
        let wire = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&wire).unwrap(), report());
    }
}
