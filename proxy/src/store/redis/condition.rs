//! Whether Redis is there, for health and log.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use redis::RedisError;

/// Lines of one kind that may come at once, and how long until there may be one more.
const BURST: u32 = 4;
const REFILL: Duration = Duration::from_secs(15);
/// By which Redis says that it takes no writes: of us, as a replica, for want of memory, of a disk or of replicas.
const NO_WRITES: [&str; 5] = ["NOPERM", "READONLY", "OOM", "MISCONF", "NOREPLICAS"];
/// Where a password is set.
const PASSWORD: &str = "store.redis.user and store.redis.password_file, or its URL";
/// Characters of what Redis said.
const MAX_REASON: usize = 200;

/// Whether Redis can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// It does not: every look-up is a miss, and nothing is stored.
    Down {
        /// Since when.
        since: SystemTime,
        /// What it last said, or how it failed. Never holds a password.
        reason: String,
    },
}

/// The present health, and what the log may be told of it.
#[derive(Debug)]
pub(super) struct Condition {
    address: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    health: Health,
    /// What Redis answered when it went down or while it was down; nothing, if it did not answer.
    code: Option<Option<String>>,
    lines: Throttle,
}

/// Why Redis is of no use.
#[derive(Debug)]
pub(super) struct Failure {
    /// By which it names an error (`NOAUTH`, `LOADING`), if it answers at all.
    code: Option<String>,
    /// For people: one line, and not a long one. Never holds a password.
    text: String,
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The first sentence of what Redis said, if it was that it takes no writes.
    pub(super) fn no_writes(&self) -> Option<&str> {
        let is_so = self.code.as_deref().is_some_and(|code| NO_WRITES.contains(&code));
        is_so.then(|| self.text.split(". ").next().unwrap_or_default().trim_end_matches('.'))
    }
}

/// Without the script that asked, which Redis names by a hash behind what it says.
fn without_script(text: &str) -> &str {
    match text.split_once(" script: ") {
        Some((said, script)) if script.contains(", on @user_script") => said,
        _ => text,
    }
}

/// By which Redis names an error. What a user may not do within a script it calls `ERR`, as if the script were wrong.
fn code(error: &RedisError) -> Option<&str> {
    let within_script = |detail: &str| detail.starts_with("The user executing the script can't");
    match error.code() {
        Some("ERR") if error.detail().is_some_and(within_script) => Some("NOPERM"),
        code => code,
    }
}

/// Without the arguments of a command that Redis does not know, which it repeats: of `HELLO` the password is one.
fn without_arguments(text: &str) -> &str {
    text.split_once(", with args beginning with").map_or(text, |(said, _)| said)
}

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Self { code: None, text: text.to_owned() }
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        let code = code(error);
        let text = match (code, error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            _ => error.to_string(),
        };
        let said: String = without_arguments(without_script(&text))
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_REASON)
            .collect();
        let text = match code {
            // It says what to send, and not what to write.
            Some("NOAUTH") => format!("NOAUTH Redis wants a password: {PASSWORD}"),
            Some("WRONGPASS") => format!("{said} See {PASSWORD}"),
            _ => said,
        };
        Self { code: code.map(str::to_owned), text }
    }
}

impl Condition {
    pub(super) fn new(address: String, now: SystemTime) -> Self {
        let health = Health::Down { since: now, reason: "not connected yet".to_owned() };
        Self { address, state: Mutex::new(State { health, code: None, lines: Throttle::new() }) }
    }

    pub(super) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// It failed. The log is told when that is news, if it is to be `told` at all: attempts to
    /// connect fail in many ways, but it is news only when Redis answers something else.
    pub(super) fn down(&self, failure: Failure, now: SystemTime, told: bool) {
        let mut state = self.lock();
        let news = state.code.as_ref() != Some(&failure.code);
        let since = match state.health {
            Health::Down { since, .. } => since,
            Health::Up => now,
        };
        if news && told && state.lines.allows() {
            let reason = failure.text();
            tracing::warn!(redis = %self.address, reason, "Redis does not serve us: every look-up is a miss");
        }
        state.health = Health::Down { since, reason: failure.text };
        state.code = Some(failure.code);
    }

    /// It answered.
    pub(super) fn up(&self, told: bool) {
        let mut state = self.lock();
        if state.health == Health::Up {
            return;
        }
        state.health = Health::Up;
        state.code = None;
        if told && state.lines.allows() {
            tracing::info!(redis = %self.address, "Redis serves us");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a few lines through, then one now and then.
#[derive(Debug)]
pub(super) struct Throttle {
    left: u32,
    refilled: Instant,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { left: BURST, refilled: Instant::now() }
    }

    pub(super) fn allows(&mut self) -> bool {
        let quiet = self.refilled.elapsed();
        if quiet >= REFILL {
            let more = u32::try_from(quiet.as_secs() / REFILL.as_secs()).unwrap_or(BURST);
            self.left = self.left.saturating_add(more).min(BURST);
            self.refilled = Instant::now();
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_changes_writes_a_few_lines() {
        let mut throttle = Throttle::new();
        assert_eq!((0..100).filter(|_| throttle.allows()).count(), 4);
    }

    #[test]
    fn what_takes_no_writes_says_why_in_a_sentence() {
        let said = |line: &str| {
            let code = line.split(' ').next().unwrap_or_default();
            let text = without_script(line).to_owned();
            Failure { code: Some(code.to_owned()).filter(|_| !line.is_empty()), text }
        };
        for (line, expected) in [
            (
                "READONLY You can't write against a read only replica. script: 5e9c, on @user_script:1.",
                Some("READONLY You can't write against a read only replica"),
            ),
            ("MISCONF Redis cannot persist. Look at its log.", Some("MISCONF Redis cannot persist")),
            ("NOPERM User shop may not run 'eval'", Some("NOPERM User shop may not run 'eval'")),
            ("LOADING Redis is loading the dataset in memory", None),
            ("", None),
        ] {
            assert_eq!(said(line).no_writes(), expected, "{line}");
        }
        assert_eq!(without_script("a script: of ours"), "a script: of ours");
    }

    #[test]
    fn what_it_repeats_of_a_command_is_not_told() {
        let hello = "with args beginning with: '3' 'AUTH' 'default' 'canary'";
        let unknown = |sign| format!("unknown command {sign}HELLO{sign}, {hello} ");
        for (detail, expected) in [
            (unknown('\''), "ERR unknown command 'HELLO'"),
            (unknown('`'), "ERR unknown command `HELLO`"),
            ("syntax error".to_owned(), "ERR syntax error"),
        ] {
            let error = redis::make_extension_error("ERR".to_owned(), Some(detail));
            assert_eq!(Failure::from(&error).text(), expected);
        }
        let wrapped = RedisError::from(std::io::Error::other(format!("sentinel a:1: {}", unknown('\''))));
        assert!(!Failure::from(&wrapped).text().contains("canary"));
    }

    #[test]
    fn what_a_user_may_not_do_within_a_script_is_no_fault_of_the_script() {
        let detail = "The user executing the script can't run this command or subcommand script: 5e9c, on @user_script:1.";
        let error = redis::make_extension_error("ERR".to_owned(), Some(detail.to_owned()));
        let expected = "NOPERM The user executing the script can't run this command or subcommand";
        assert_eq!(Failure::from(&error).no_writes(), Some(expected));
    }

    #[test]
    fn who_is_not_let_in_is_told_what_to_set() {
        for (code, detail, expected) in [
            ("NOAUTH", "HELLO must be called with", "NOAUTH Redis wants a password: store.redis.user"),
            ("WRONGPASS", "invalid pair.", "WRONGPASS invalid pair. See store.redis.user"),
        ] {
            let error = redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
            let failure = Failure::from(&error);
            assert!(failure.text().starts_with(expected), "{}", failure.text());
        }
    }

    #[test]
    fn down_counts_from_the_first_failure() {
        let (start, later) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + REFILL);
        let condition = Condition::new("h:1".to_owned(), start);
        condition.up(false);
        condition.down("refused".into(), later, false);
        condition.down("gone".into(), later + REFILL, false);
        assert_eq!(condition.health(), Health::Down { since: later, reason: "gone".to_owned() });
    }
}
