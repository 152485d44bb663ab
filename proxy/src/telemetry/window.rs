//! The last minutes, step by step. Each step is the difference of two readings of the counters, so that requests pay
//! nothing for it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::counts::{Class, Counts, RuleCounts};

/// How long a step is.
pub const STEP: Duration = Duration::from_secs(5);

/// How many are kept: ten minutes.
pub const STEPS: usize = 120;

/// One step that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When it ended.
    pub at: SystemTime,
    /// What was counted in it.
    pub counts: Counts,
}

/// The last steps.
#[derive(Debug, Default)]
pub struct Window(Mutex<Steps>);

#[derive(Debug, Default)]
struct Steps {
    points: VecDeque<Point>,
    last: Option<(Instant, Counts)>,
    /// The counts of the rules at the ends of these steps and at the beginning of the first, the oldest first.
    rules: VecDeque<HashMap<Option<Arc<str>>, Answers>>,
}

/// How many requests were answered, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them.
    pub requests: u64,
    /// Those that the store answered.
    pub hits: u64,
    /// Those that the origin answered.
    pub forwarded: u64,
}

impl From<&Counts> for Answers {
    fn from(counts: &Counts) -> Self {
        let (hits, forwarded) = (counts.of(Class::Hit), counts.of(Class::Forwarded));
        Self { requests: counts.requests(), hits, forwarded }
    }
}

impl Window {
    /// A step ends now, with these counters. The first call begins the first one. One that took twice its time or
    /// more, because the machine slept or had no core to spare, is left out: its sum would look like a peak.
    pub fn step(&self, at: SystemTime, now: Instant, counts: Counts, by_rule: &[RuleCounts]) {
        let rules = by_rule.iter().map(|rule| (rule.name.clone(), Answers::from(&rule.counts))).collect();
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.rules.len() > STEPS {
            steps.rules.pop_front();
        }
        steps.rules.push_back(rules);
        let Some((began, before)) = steps.last.replace((now, counts)) else { return };
        if now.duration_since(began) >= STEP * 2 {
            return;
        }
        if steps.points.len() == STEPS {
            steps.points.pop_front();
        }
        steps.points.push_back(Point { at, counts: counts.since(&before) });
    }

    /// The steps of the last ten minutes, the oldest first.
    #[must_use]
    pub fn points(&self, now: SystemTime) -> Vec<Point> {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = STEP * u32::try_from(STEPS).unwrap_or(u32::MAX);
        let recent = |point: &&Point| now.duration_since(point.at).unwrap_or_default() <= length;
        steps.points.iter().filter(recent).copied().collect()
    }

    /// What of these counts of a rule has come since the window began.
    #[must_use]
    pub fn recent(&self, rule: &RuleCounts) -> Answers {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A rule that was not there then is new.
        let then = steps.rules.front().and_then(|rules| rules.get(&rule.name)).copied().unwrap_or_default();
        let now = Answers::from(&rule.counts);
        Answers {
            requests: now.requests.saturating_sub(then.requests),
            hits: now.hits.saturating_sub(then.hits),
            forwarded: now.forwarded.saturating_sub(then.forwarded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::UNIX_EPOCH};

    use super::*;
    use crate::histogram::Histogram;

    fn counted(bytes: u64) -> Counts {
        Counts { bytes, ..Counts::default() }
    }

    /// So many steps of that length, in the n-th of which n bytes are sent.
    fn stepped(length: Duration, steps: u32) -> (Window, SystemTime) {
        let (window, start) = (Window::default(), Instant::now());
        let mut bytes = 0;
        for step in 0..=steps {
            bytes += u64::from(step);
            window.step(UNIX_EPOCH + length * step, start + length * step, counted(bytes), &[]);
        }
        (window, UNIX_EPOCH + length * steps)
    }

    #[test]
    fn a_step_has_what_came_within_it() {
        let (window, now) = stepped(STEP, 3);
        let expected =
            [1_u32, 2, 3].map(|step| Point { at: UNIX_EPOCH + STEP * step, counts: counted(step.into()) });
        assert_eq!(window.points(now), expected);
    }

    #[test]
    fn the_oldest_steps_make_room() {
        let (window, now) = stepped(STEP, 500);
        let points = window.points(now);
        assert_eq!(points.len(), STEPS);
        assert_eq!((points[0].counts.bytes, points[STEPS - 1].counts.bytes), (381, 500));
    }

    #[test]
    fn what_is_before_the_window_or_no_whole_step_is_not_shown() {
        let (window, now) = stepped(STEP * 2, 3);
        assert_eq!(window.points(now), []);
        let (window, now) = stepped(STEP, 3);
        assert_eq!(window.points(now + Duration::from_secs(594)).len(), 2);
        assert_eq!(window.points(now + Duration::from_secs(3600)), []);
    }

    #[test]
    fn of_a_rule_only_what_came_in_the_window_is_recent() {
        let rule = |name: &str, hits| {
            let histogram = Histogram::default();
            (0..hits).for_each(|_| histogram.note(Duration::ZERO));
            let took = [histogram.read(), Default::default(), Default::default()];
            RuleCounts {
                name: Some(name.into()),
                counts: Counts { took, ..counted(0) },
                details: BTreeMap::new(),
            }
        };
        let (window, start) = (Window::default(), Instant::now());
        for step in 0..=200 {
            let (hits, at) = (3 * step, STEP * step);
            window.step(UNIX_EPOCH + at, start + at, counted(0), &[rule("/a", hits)]);
        }
        let expected = |hits| Answers { requests: hits, hits, forwarded: 0 };
        assert_eq!(window.recent(&rule("/a", 602)), expected(2 + 3 * STEPS as u64));
        assert_eq!(window.recent(&rule("/new", 5)), expected(5));
    }
}
