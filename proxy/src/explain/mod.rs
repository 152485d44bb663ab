//! Why a request is answered as it is, and what to change for another answer.
//!
//! A question is read as a request, and asked along the way of a request: the rules, the key, the store, the policy.
//! What they say is put into words; nothing is fetched, stored or counted by it but the look-up itself. The app is
//! asked only where the question says so, and its answer dropped.
//!
//! | file | what lives there |
//! |---|---|
//! | [`question`] | what is asked |
//! | `paper` | what the file alone says of it |
//! | `decided` | what is stored, and what would be done now |
//! | `origin` | what the app would answer |
//! | `cause` | which field of an answer is to blame |
//! | [`report`] | the answer |
//! | `text`, `wording` | the same for people |
//! | [`command`] | `sidecache explain` |

mod cause;
pub mod command;
mod decided;
mod origin;
mod paper;
pub mod question;
pub mod report;
mod text;
mod wording;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::{
    decided::{Decided, Held},
    paper::selected_by,
    report::{Last, StoredReport, Verdict},
    wording::time,
};
pub use self::{
    question::{Question, QuestionError},
    report::Report,
};
use crate::{
    admin::{Explain, rfc3339},
    admit::{HeadLimits, Refusal},
    advice::Advice,
    app::{App, Live},
    ask::Ask,
    config::Config,
    key::ResourceKey,
    message::Request,
    outcomes::{Told, resource},
    policy::{
        freshness::{current_age, drawn_lifetime},
        request::Admission,
        rule::CacheRule,
        tags,
    },
    routes::Rule,
    status::{Detail, Forward, Fwd, Outcome, Own},
    store::Selector,
    stored::Stored,
    tags::Tag,
    way::{Book, Way},
};

/// Explains a request to a running proxy.
pub async fn explain(app: &Arc<App>, question: &Question) -> Report {
    let live = &app.live();
    let request = match question.requests(&HeadLimits::of(&live.limits), &live.trusted_proxies) {
        Ok((request, others)) => meant(app, live, request, others).await,
        Err(refusal) => return refused(question, refusal),
    };
    let book = Book::from(&**live);
    let head = &request.head;
    let told = app.outcomes.last(&resource(book.rule(head), head), &head.method);
    let last = told.map(|told| last(told, app.clock.now()));
    match to_the_store(book.way(head)) {
        Err(verdict) => Report { last, ..paper::report(book, question.url(), &request, verdict) },
        Ok((rule, cache, admission)) => {
            let key = ResourceKey::new(&head.target, &cache.key.query);
            let selector = Selector { headers: &head.headers, keyed: &cache.key };
            let ask =
                Ask { app, live, request: &request, rule, cache, admission: &admission, key: &key, selector };
            let decided = decided::now(ask).await;
            let origin = if question.ask_origin { Some(origin::ask(ask).await) } else { None };
            let mut report = paper::report(book, question.url(), &request, decided.verdict.clone());
            if let Some(key) = &mut report.key {
                key.selected_by = selected_by(&cache.key, &decided.nominated);
            }
            report.stored = match &decided.stored {
                Some(held) => Some(stored(held, &decided, &ask).await),
                None => None,
            };
            (report.last, report.origin) = (last, origin);
            if report.stored.is_none() && report.last.is_none() {
                let hosts = app.outcomes.elsewhere(&head.target);
                report.elsewhere = hosts.iter().map(ToString::to_string).collect();
            }
            report.decision = informed(&report, &decided, told, &admission);
            report
        }
    }
}

/// The first of these of which anything is stored or remembered, or else the likeliest.
async fn meant(app: &App, live: &Live, likeliest: Request, others: Vec<Request>) -> Request {
    let is_known = async |Request { head, .. }: &Request| {
        let rule = live.rules.find(&head.method, &head.target, &head.headers);
        let key = resource(rule, head);
        app.outcomes.last(&key, &head.method).is_some()
            || app.store.variants(&key).await.is_some_and(|stored| stored > 0)
    };
    if !others.is_empty() && !is_known(&likeliest).await {
        for other in others {
            if is_known(&other).await {
                return other;
            }
        }
    }
    likeliest
}

/// [`explain`], for whoever is asked again and again.
#[must_use]
pub fn teller(app: Arc<App>) -> Explain {
    Arc::new(move |question| {
        let app = Arc::clone(&app);
        Box::pin(async move { explain(&app, &question).await })
    })
}

/// Explains a request by a file alone: what a proxy with it would do that has nothing stored.
#[must_use]
pub fn on_paper(config: &Config, question: &Question) -> Report {
    let request = match question.requests(&HeadLimits::of(&config.limits), &config.trusted_proxies) {
        Ok((request, _)) => request,
        Err(refusal) => return refused(question, refusal),
    };
    let book = Book::from(config);
    let verdict = match to_the_store(book.way(&request.head)) {
        Err(verdict) => verdict,
        Ok((_, cache, admission)) => {
            let verdict = decided::cold(&admission, cache);
            let summary = format!("by the file alone, as if nothing were stored: {}", verdict.summary);
            verdict.saying(summary)
        }
    };
    paper::report(book, question.url(), &request, verdict)
}

/// What is asked of the store, or what there is to say of a way that ends before it.
fn to_the_store(way: Way<'_>) -> Result<(&Rule, &Arc<CacheRule>, Admission), Verdict> {
    let outcome = match way {
        Way::Asks { rule, cache, admission } => return Ok((rule, cache, admission)),
        Way::Refused(failure) => {
            let why = format!("refused: {}", failure.failed().cause);
            return Err(Verdict::of(Outcome::Own(Own::Refused)).saying(why));
        }
        Way::Answered(_) => Outcome::Own(Own::Answered),
        Way::Passes(forward, _) => Outcome::Forward(forward),
    };
    Err(Verdict::of(outcome))
}

/// What is not even read as a request.
fn refused(question: &Question, refusal: Refusal) -> Report {
    let why = format!("refused with {}: {}", refusal.status.as_u16(), refusal.reason);
    Report {
        method: question.method.to_string(),
        url: question.url(),
        rule: None,
        passed_over: Vec::new(),
        key: None,
        stored: None,
        decision: Verdict::of(Outcome::Own(Own::Refused)).saying(why),
        last: None,
        origin: None,
        elsewhere: Vec::new(),
    }
}

/// Why a request is a miss once more is known only by what the app answers: by the answer of now, or else by the last.
fn informed(report: &Report, decided: &Decided, told: Option<Told>, admission: &Admission) -> Verdict {
    let verdict = decided.verdict.clone();
    if !decided.fetches {
        return verdict;
    }
    if let Some(origin) = report.origin.as_ref().filter(|origin| {
        // Else it has been said.
        origin.detail.is_none() || origin.detail != verdict.detail
    }) {
        let summary = format!("{}; asked just now: {}", verdict.summary, origin.summary);
        let (because, action, detail) =
            (origin.because.clone(), origin.action.clone(), origin.detail.clone());
        return Verdict { because, action, detail: verdict.detail.clone().or(detail), ..verdict }
            .saying(summary);
    }
    let ago = |told: Told| time(decided.now.duration_since(told.at).unwrap_or_default());
    if let Some(told) = told.filter(|told| told.outcome == Outcome::Own(Own::OriginFailed)) {
        let Verdict { because, action, .. } = Verdict::of(told.outcome);
        let summary = format!("{}; the last one, {} ago, got no answer from it", verdict.summary, ago(told));
        return Verdict { because, action, ..verdict }.saying(summary);
    }
    match told.and_then(|told| Some((told, unstored(told.outcome, admission)?))) {
        Some((told, detail)) => {
            let ago = ago(told);
            let meaning = Advice::of(detail).meaning;
            let summary =
                format!("{}; the last answer, {ago} ago, was not stored: {meaning}", verdict.summary);
            verdict.by(detail).saying(summary)
        }
        None => verdict,
    }
}

/// Why an answer was not stored, if that says anything of a request with this admission.
fn unstored(outcome: Outcome, admission: &Admission) -> Option<Detail> {
    let Outcome::Forward(Forward { fwd, stored: false, detail: Some(detail), .. }) = outcome else {
        return None;
    };
    let of_another = match detail {
        Detail::Cookie => !admission.cookie,
        Detail::Authorization => !admission.authorization,
        Detail::RuleChanged | Detail::Head => true,
        _ => false,
    };
    (!of_another && !matches!(fwd, Fwd::Bypass | Fwd::Method | Fwd::Request)).then_some(detail)
}

fn last(told: Told, now: SystemTime) -> Last {
    let verdict = Verdict::of(told.outcome);
    let ago = time(now.duration_since(told.at).unwrap_or_default());
    let on = Advice::on(told.outcome).meaning;
    let detail = told.outcome.detail().map(|detail| format!(": {}", Advice::of(detail).meaning));
    let summary = format!("{ago} ago, {on}{}", detail.unwrap_or_default());
    let stored = matches!(told.outcome, Outcome::Forward(Forward { stored: true, .. }));
    Last { at: rfc3339(told.at), status: told.status.as_u16(), stored, verdict: verdict.saying(summary) }
}

async fn stored(held: &Held, decided: &Decided, ask: &Ask<'_>) -> StoredReport {
    let Held { stored, marked, tier } = held;
    let Ask { app, rule, cache, key, .. } = *ask;
    let (facts, exchange) = (&stored.facts, stored.exchange());
    let lifetime = drawn_lifetime(facts, exchange.lot, cache);
    let source = lifetime.map(|lifetime| lifetime.source);
    let age = source.map(|source| current_age(facts, source, exchange, decided.now)).unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let marked = marked.map(|since| seconds(decided.now.duration_since(since).unwrap_or_default()));
    let left = lifetime.map(|lifetime| seconds(lifetime.length).saturating_sub(seconds(age)));
    StoredReport {
        tier: (*tier).to_owned(),
        status: facts.status.as_u16(),
        age_seconds: age.as_secs(),
        lifetime_seconds: lifetime.map(|lifetime| lifetime.length.as_secs()),
        left_seconds: left.map(|left| marked.map_or(left, |since| left.min(-since))),
        tags: names(stored, rule, cache),
        body_bytes: stored.body.len() as u64,
        other_variants: app.store.variants(key).await.map(|all| all.saturating_sub(1)),
    }
}

/// The names of its tags, as far as they can be read off the response and the rule of now. It keeps those with which
/// it was stored, whatever the rule says since.
fn names(stored: &Stored, rule: &Rule, cache: &CacheRule) -> Vec<String> {
    let mut fields = stored.hidden.to_map();
    fields.extend(stored.fields());
    let mut names: Vec<String> = cache.tags.iter().map(ToString::to_string).collect();
    names.extend(tags::names_of(&fields));
    names.retain(|name| stored.tags.contains(&Tag::named(name.as_bytes())));
    names.extend(stored.tags.contains(&rule.tag()).then(|| format!("rule {}", rule.name)));
    names
}
