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

/// The time that they span.
const LENGTH: Duration = Duration::from_secs(STEP.as_secs() * STEPS as u64);

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
    rules: VecDeque<(SystemTime, ByRule)>,
}

type ByRule = HashMap<Option<Arc<str>>, Answers>;

impl Steps {
    /// What came while the machine slept is no longer recent, and a rule that was removed and put back meanwhile counts
    /// from nothing again.
    fn note_rules(&mut self, at: SystemTime, rules: ByRule) {
        let is_recent = |then: &SystemTime| at.duration_since(*then).unwrap_or_default() <= LENGTH + STEP;
        self.rules.retain(|(then, _)| is_recent(then));
        for (_, earlier) in &mut self.rules {
            earlier.retain(|name, then| rules.get(name).is_some_and(|now| then.requests <= now.requests));
        }
        if self.rules.len() > STEPS {
            self.rules.pop_front();
        }
        self.rules.push_back((at, rules));
    }
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
        steps.note_rules(at, rules);
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
        let recent = |point: &&Point| now.duration_since(point.at).unwrap_or_default() <= LENGTH;
        steps.points.iter().filter(recent).copied().collect()
    }

    /// What of these counts of a rule has come since the window began.
    #[must_use]
    pub fn recent(&self, rule: &RuleCounts) -> Answers {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Answers::from(&rule.counts);
        let then = steps.rules.front().and_then(|(_, rules)| rules.get(&rule.name)).copied();
        // A rule that was not there then is new, and so is one that counts less: it was put back since the last step.
        let then = then.filter(|then| then.requests <= now.requests).unwrap_or_default();
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

    fn rule(name: &str, hits: u64) -> RuleCounts {
        let histogram = Histogram::default();
        (0..hits).for_each(|_| histogram.note(Duration::ZERO));
        let took = [histogram.read(), Default::default(), Default::default()];
        RuleCounts {
            name: Some(name.into()),
            counts: Counts { took, ..counted(0) },
            details: BTreeMap::new(),
        }
    }

    fn hits(hits: u64) -> Answers {
        Answers { requests: hits, hits, forwarded: 0 }
    }

    #[test]
    fn of_a_rule_only_what_came_in_the_window_is_recent() {
        let (window, start) = (Window::default(), Instant::now());
        for step in 0..=200 {
            let at = STEP * step;
            window.step(UNIX_EPOCH + at, start + at, counted(0), &[rule("/a", 3 * u64::from(step))]);
        }
        assert_eq!(window.recent(&rule("/a", 602)), hits(2 + 3 * STEPS as u64));
        assert_eq!(window.recent(&rule("/new", 5)), hits(5));
    }

    #[test]
    fn what_came_before_the_machine_slept_is_not_recent_but_what_came_before_it_dawdled_is() {
        for (pause, recent) in [(3600, 5), (30, 45)] {
            let (window, start) = (Window::default(), Instant::now());
            let pause = Duration::from_secs(pause);
            let steps = [(Duration::ZERO, 0), (STEP, 20), (STEP + pause, 40), (STEP * 2 + pause, 42)];
            for (at, hits) in steps {
                window.step(UNIX_EPOCH + at, start + at, counted(0), &[rule("/a", hits)]);
            }
            assert_eq!(window.recent(&rule("/a", 45)), hits(recent), "{pause:?}");
        }
    }

    #[test]
    fn a_rule_that_was_put_back_counts_from_then_on() {
        let (window, start) = (Window::default(), Instant::now());
        let step = |n: u32, rules: &[RuleCounts]| {
            window.step(UNIX_EPOCH + STEP * n, start + STEP * n, counted(0), rules);
        };
        step(0, &[rule("/gone", 50), rule("/edited", 50)]);
        step(1, &[]);
        step(2, &[rule("/gone", 30)]);
        assert_eq!(window.recent(&rule("/gone", 70)), hits(70), "there was a step without it");
        step(3, &[rule("/gone", 70), rule("/edited", 60)]);
        assert_eq!(window.recent(&rule("/gone", 7)), hits(7), "not even a step");
        step(4, &[rule("/gone", 7), rule("/edited", 60)]);
        step(5, &[rule("/gone", 80), rule("/edited", 60)]);
        assert_eq!(window.recent(&rule("/gone", 90)), hits(90), "not even a step, some steps ago");
        assert_eq!(window.recent(&rule("/edited", 61)), hits(61));
    }
}
