//! What `sidecache top` shows, as lines of text that fit the terminal. It knows neither sockets nor clocks.

use std::cmp::Reverse;

use tokio::time::Instant;

use crate::admin::stats::wire::{Circuit, Hot, Miss, Point, Quantiles, Redis, Resources, Rule, Stats};

/// What was told at a moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) stats: Stats,
    pub(super) resources: Resources,
}

/// Of the terminal, in characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Of a pipe or a file, where nothing is cut.
    pub(super) const ENDLESS: Self = Self { columns: usize::MAX, rows: usize::MAX };

    /// How wide a first column may be beside `others`: what is left, or as the longest of its texts.
    fn beside<'t>(self, others: usize, texts: impl Iterator<Item = &'t str>) -> usize {
        let room = match self.columns {
            usize::MAX => texts.map(|text| text.chars().count()).max().unwrap_or_default(),
            columns => columns.saturating_sub(others),
        };
        room.max(16)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) heading: bool,
}

/// The columns of numbers behind what may be long.
const NUMBERS: usize = 44;
/// The name of what no rule matched.
const NO_RULE: &str = "(no rule)";

/// What was read `now` from the sidecar at an address; how fast it goes by what was read `before`, or else by the last
/// step that is over.
pub(super) fn page(address: &str, now: &Reading, before: Option<&Reading>, size: Size) -> Vec<Line> {
    let mut lines = summary(address, now, before, size);
    let room = size.rows.saturating_sub(lines.len() + 3);
    let (hottest, misses) = (&now.resources.hottest, &now.resources.misses);
    // Two fifths for the rules, and what those leave for the others.
    let of_rules = now.stats.rules.len().min((room / 5 * 2).max(1));
    let of_misses = misses.len().min((room - of_rules.min(room)).div_ceil(2));
    let of_hottest = room.saturating_sub(of_rules + of_misses);
    lines.extend(rules(&now.stats, of_rules, size));
    lines.extend(heaviest(hottest, of_hottest, size));
    lines.extend(missed(misses, of_misses, size));
    fitted(lines, size)
}

/// That it could not be read.
pub(super) fn failed(why: &str, size: Size) -> Vec<Line> {
    fitted(vec![heading("sidecache top".to_owned()), plain(why.to_owned())], size)
}

fn plain(text: String) -> Line {
    Line { text, heading: false }
}

fn heading(text: String) -> Line {
    Line { text, heading: true }
}

/// Nothing beyond the edges of the terminal, and nothing that could steer it: URLs are what clients say.
fn fitted(lines: Vec<Line>, size: Size) -> Vec<Line> {
    let harmless =
        |c: char| if c == ' ' || c == '…' || c.is_ascii_graphic() || c.is_alphanumeric() { c } else { '?' };
    let fit =
        |line: Line| Line { text: line.text.chars().take(size.columns).map(harmless).collect(), ..line };
    lines.into_iter().take(size.rows).map(fit).collect()
}

/// What is so for all requests together.
fn summary(address: &str, now: &Reading, before: Option<&Reading>, size: Size) -> Vec<Line> {
    let Stats { version, health, store, upstream, config, .. } = &now.stats;
    let time = now.stats.now.split('T').nth(1).unwrap_or_default();
    let rates = Rates::of(now, before);
    let point = now.stats.window.points.last();
    let memory = &store.memory;
    let edit = match &config.last_reload {
        Some(edit) => format!("last edit {} {}", edit.result, edit.at),
        None => format!("in force since {}", config.loaded),
    };
    let mut lines = vec![heading(format!("sidecache {version} at {address}  {}  {time}", health.status))];
    lines.extend(health.reasons.iter().flat_map(|reason| wrapped(reason, size)));
    lines.extend([
        plain(format!(
            "requests {:.1}/s  hits {}  errors {:.1}/s  {}/s  origin saved {:.2} s/s",
            rates.requests,
            percent(rates.hits, rates.requests),
            rates.errors,
            bytes(rates.bytes),
            rates.saved,
        )),
        plain(format!(
            "latency  hit {}  app {}  ms (half, 99 of 100)",
            quantiles(point.and_then(|point| point.hit_ms)),
            quantiles(point.and_then(|point| point.forwarded_ms)),
        )),
        plain(format!(
            "memory   {} URLs, {} of {}; app {} busy, {} idle, {} queued",
            count(memory.resources),
            bytes(memory.bytes as f64),
            bytes(memory.budget_bytes as f64),
            upstream.busy,
            upstream.idle,
            upstream.queued,
        )),
        plain(format!("config   generation {}, {edit}", config.generation)),
    ]);
    lines.extend(store.redis.as_ref().into_iter().flat_map(redis));
    lines
}

/// A sentence over as many lines as it needs, each set in.
fn wrapped(sentence: &str, size: Size) -> Vec<Line> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= size.columns => {
                line.extend([" ", word]);
            }
            _ => lines.push(format!("         {word}")),
        }
    }
    lines.into_iter().map(plain).collect()
}

fn redis(redis: &Redis) -> [Line; 2] {
    let up = if redis.up { "up" } else { "DOWN" };
    let tracked = if redis.tracked { "tracked" } else { "untracked" };
    let spared = |what, circuit| if circuit == Circuit::Open { what } else { "" };
    let [reads, writes] =
        [spared(", reads spared", redis.breaker.read), spared(", writes spared", redis.breaker.write)];
    let [hits, misses, timeouts] = [redis.hits, redis.misses, redis.timeouts].map(count);
    let [errors, dropped] = [redis.errors, redis.dropped_writes].map(count);
    [
        plain(format!("redis    {up}, {tracked}{reads}{writes}")),
        plain(format!(
            "         hits {hits}, misses {misses}, timeouts {timeouts}, errors {errors}, dropped {dropped}"
        )),
    ]
}

/// How much comes in a second.
struct Rates {
    requests: f64,
    hits: f64,
    errors: f64,
    bytes: f64,
    saved: f64,
}

impl Rates {
    fn of(now: &Reading, before: Option<&Reading>) -> Self {
        match before.map(|before| (before, now.at.duration_since(before.at).as_secs_f64())) {
            Some((before, seconds)) if seconds > 0.0 && before.stats.started == now.stats.started => {
                let (old, new) = (&before.stats.totals, &now.stats.totals);
                let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
                Self {
                    requests: rate(new.answered.requests, old.answered.requests),
                    hits: rate(new.answered.hits, old.answered.hits),
                    errors: rate(new.errors, old.errors),
                    bytes: rate(new.bytes, old.bytes),
                    saved: (new.origin_saved_seconds - old.origin_saved_seconds) / seconds,
                }
            }
            _ => Self::of_step(now.stats.window.points.last(), now.stats.window.step_seconds as f64),
        }
    }

    fn of_step(point: Option<&Point>, seconds: f64) -> Self {
        let rate = |of: fn(&Point) -> f64| point.map_or(0.0, |point| of(point) / seconds);
        Self {
            requests: rate(|point| point.answered.requests as f64),
            hits: rate(|point| point.answered.hits as f64),
            errors: rate(|point| point.errors as f64),
            bytes: rate(|point| point.bytes as f64),
            saved: rate(|point| point.origin_saved_seconds),
        }
    }
}

/// Those with the most requests in the last ten minutes.
fn rules(now: &Stats, room: usize, size: Size) -> Vec<Line> {
    let mut rules: Vec<&Rule> = now.rules.iter().collect();
    rules.sort_by_key(|rule| (Reverse(rule.recent.requests), Reverse(rule.answered.requests)));
    rules.truncate(room);
    let cache_wide =
        rules.iter().map(|rule| rule.cache.chars().count()).max().unwrap_or_default().clamp(8, 18);
    let names = rules.iter().map(|rule| rule.name.as_deref().unwrap_or(NO_RULE));
    let wide = size.beside(NUMBERS + 10 + cache_wide, names);
    let head = format!(
        "{:<wide$} {:>cache_wide$} {:>9} {:>7} {:>9}  since the start",
        "IN 10 MINUTES", "cache", "requests", "hits", "app"
    );
    let line = |rule: &Rule| {
        let name = rule.name.as_deref().unwrap_or(NO_RULE);
        let most = rule.details.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(word, count)| format!("{word} {}", self::count(*count))).unwrap_or_default();
        format!(
            "{:<wide$} {:>cache_wide$} {:>9} {:>7} {:>9}  {most}",
            short(name, wide),
            short(&rule.cache, cache_wide),
            count(rule.recent.requests),
            percent(rule.recent.hits as f64, rule.recent.requests as f64),
            count(rule.recent.forwarded),
        )
    };
    let lines = rules.into_iter().map(|rule| plain(line(rule)));
    [heading(head)].into_iter().chain(lines).collect()
}

fn heaviest(hottest: &[Hot], room: usize, size: Size) -> Vec<Line> {
    let wide = size.beside(18, hottest.iter().take(room).map(|hot| hot.resource.url.as_str()));
    let head = heading(format!("{:<wide$} {:>9} {:>7}", "HOTTEST", "requests", "hits"));
    let lines = hottest.iter().take(room).map(|hot| {
        let hits = percent(hot.hits as f64, hot.requests as f64);
        plain(format!("{:<wide$} {:>9} {hits:>7}", short(&hot.resource.url, wide), count(hot.requests)))
    });
    [head].into_iter().chain(lines).collect()
}

fn missed(misses: &[Miss], room: usize, size: Size) -> Vec<Line> {
    let wide = size.beside(NUMBERS, misses.iter().take(room).map(|miss| miss.resource.url.as_str()));
    let head = heading(format!("{:<wide$} {:>9}  why", "FETCHED MOST", "requests"));
    let lines = misses.iter().take(room).map(|miss| {
        let detail = miss.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
        let (url, requests) = (short(&miss.resource.url, wide), count(miss.forwarded));
        plain(format!("{url:<wide$} {requests:>9}  {}{detail}", miss.outcome))
    });
    [head].into_iter().chain(lines).collect()
}

/// The beginning and the end of what is too long: hosts are much alike, paths differ at their ends.
fn short(text: &str, wide: usize) -> String {
    let length = text.chars().count();
    if length <= wide {
        return text.to_owned();
    }
    let (head, tail) = (wide / 3, wide - wide / 3 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1}%", 100.0 * part / whole) } else { "-".to_owned() }
}

fn quantiles(of: Option<Quantiles>) -> String {
    of.map_or_else(|| "- -".to_owned(), |of| format!("{:.2} {:.2}", of.p50, of.p99))
}

/// In seven characters at most.
fn count(number: u64) -> String {
    let scales = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match scales.into_iter().find(|(scale, _)| number >= *scale) {
        Some((scale, unit)) if number >= 100_000 => format!("{:.1}{unit}", number as f64 / scale as f64),
        _ => number.to_string(),
    }
}

fn bytes(number: f64) -> String {
    let scales = [(f64::from(1 << 30), "GiB"), (f64::from(1 << 20), "MiB"), (1024.0, "KiB")];
    match scales.into_iter().find(|(scale, _)| number >= *scale) {
        Some((scale, unit)) => format!("{:.1} {unit}", number / scale),
        None => format!("{number:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn rule(name: &Value, requests: u64) -> Value {
        json!({
            "name": name, "cache": "300s", "requests": requests, "hits": requests / 2, "forwarded": requests / 2,
            "own": 0, "hit_ratio": 0.5, "would_hit": 0, "bytes": 1, "hit_ms": { "p50": 0.075, "p99": 0.2 }, "forwarded_ms": null,
            "origin_saved_seconds": 3.0, "details": { "cookie": 3, "no-store": 7 },
            "recent": { "requests": requests, "hits": 0, "forwarded": requests, "hit_ratio": null },
        })
    }

    /// So many requests since the start, and 50 in the last step.
    fn reading(requests: u64, at: Instant) -> Reading {
        let rules: Vec<_> = (0..30).map(|n| rule(&json!(format!("/rule/{n}")), n)).collect();
        let stats = json!({
            "version": "1.2.3", "started": "2026-11-23T07:00:00Z", "now": "2026-11-23T07:43:12Z",
            "health": { "status": "degraded", "reasons": ["Redis is away"] },
            "window": { "step_seconds": 5, "points": [{
                "at": "2026-11-23T07:43:10Z", "requests": 50, "hits": 40, "forwarded": 10, "own": 0, "errors": 5,
                "bytes": 51200, "hit_ms": { "p50": 0.075, "p99": 0.2 }, "forwarded_ms": null,
                "origin_saved_seconds": 10.0,
            }] },
            "totals": {
                "requests": requests, "hits": requests / 4, "forwarded": 0, "own": 0, "errors": 0, "bytes": 0,
                "collapsed": 0, "origin_saved_seconds": 0.0,
            },
            "rules": rules,
            "store": {
                "memory": { "resources": 1_234_567, "bytes": 50 << 20, "budget_bytes": 64 << 20 },
                "redis": {
                    "up": false, "tracked": false, "breaker": { "read": "open", "write": "closed" }, "hits": 1,
                    "misses": 2, "errors": 3, "timeouts": 4, "dropped_writes": 5,
                },
            },
            "upstream": { "busy": 3, "idle": 2, "queued": 1 },
            "config": {
                "file": "c", "generation": 4, "loaded": "2026-11-23T07:00:00Z", "needs_restart": [],
                "last_reload": { "at": "2026-11-23T07:40:00Z", "result": "refused", "error": "no" },
            },
        });
        let url = |n: u64| format!("http://shop.example/{n}/{}", "long/".repeat(30));
        let resources = json!({
            "since": "2026-11-23T07:35:00Z",
            "hottest": (0..20).map(|n| json!({ "url": url(n), "headers": [], "rule": null, "requests": 90 - n, "hits": 1 })).collect::<Vec<_>>(),
            "misses": (0..20).map(|n| json!({
                "url": format!("http://a/\u{1b}[2J\u{9b}31m\u{202e}{n}"), "headers": [], "rule": null, "forwarded": 9, "outcome": "bypass",
                "detail": "cookie", "last": "2026-11-23T07:40:00Z",
            })).collect::<Vec<_>>(),
        });
        Reading {
            at,
            stats: serde_json::from_value(stats).unwrap(),
            resources: serde_json::from_value(resources).unwrap(),
        }
    }

    fn shown(before: Option<&Reading>, size: Size) -> String {
        let at = before.map_or_else(Instant::now, |before| before.at + Duration::from_secs(2));
        let lines = page("localhost:9090", &reading(600, at), before, size);
        lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    #[test]
    fn all_of_it_is_on_a_small_terminal() {
        let page = shown(None, SIZE);
        for part in [
            "sidecache 1.2.3 at localhost:9090  degraded  07:43:12Z\n         Redis is away\nrequests ",
            "requests 10.0/s  hits 80.0%  errors 1.0/s  10.0 KiB/s  origin saved 2.00 s/s",
            "hit 0.07 0.20  app - -",
            "1.2M URLs, 50.0 MiB of 64.0 MiB; app 3 busy, 2 idle, 1 queued",
            "redis    DOWN, untracked, reads spared\n",
            "hits 1, misses 2, timeouts 4, errors 3, dropped 5",
            "generation 4, last edit refused",
            "IN 10 MINUTES",
            "/rule/29",
            "no-store 7",
            "HOTTEST",
            "FETCHED MOST",
            "bypass, cookie",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        assert_eq!(page.lines().count(), SIZE.rows, "{page}");
    }

    #[test]
    fn it_keeps_within_any_terminal_and_steers_none() {
        for size in [(80, 24), (20, 5), (1, 1), (300, 100)].map(|(columns, rows)| Size { columns, rows }) {
            let page = shown(None, size);
            assert!(page.lines().count() <= size.rows, "{size:?}\n{page}");
            assert!(page.lines().all(|line| line.chars().count() <= size.columns), "{size:?}\n{page}");
            assert!(!page.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{page:?}");
        }
    }

    #[test]
    fn into_a_pipe_nothing_is_cut() {
        let page = shown(None, Size::ENDLESS);
        let url = format!("\nhttp://shop.example/0/{} ", "long/".repeat(30));
        assert!(page.contains(&url) && page.contains("\n/rule/0 "), "{page}");
        assert!(page.lines().all(|line| line.chars().count() < 300), "{page}");
    }

    #[test]
    fn a_reason_has_lines_of_its_own() {
        let size = Size { columns: 24, rows: 9 };
        let lines: Vec<_> =
            wrapped("what is stored is stale", size).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["         what is stored", "         is stale"]);
    }

    #[test]
    fn the_pace_is_that_since_the_reading_before() {
        let before = reading(100, Instant::now());
        let page = shown(Some(&before), SIZE);
        assert!(page.contains("requests 250.0/s  hits 25.0%"), "{page}");
    }

    #[test]
    fn numbers_stay_short() {
        for (number, text) in [(0, "0"), (99_999, "99999"), (100_000, "100.0k"), (123_456_789, "123.5M")] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [(0.0, "0 B"), (2048.0, "2.0 KiB"), (5e9, "4.7 GiB")] {
            assert_eq!(bytes(number), text);
        }
    }
}
