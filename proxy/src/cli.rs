//! The command line: what may be said, and nothing of what is then done.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::telemetry::log::Format;

/// The file read when none is named.
pub const DEFAULT_CONFIG: &str = "config.yaml";

const EXAMPLES: &str = "\
Examples:
  sidecache                                  run with ./config.yaml
  sidecache --config /etc/sidecache.yaml -- python3 app.py
                                             run, and run the app as its child
  sidecache check config.yaml                is the file right, and how is it understood?
  sidecache healthcheck                      for a container's health check; needs no shell

Signals:
  SIGTERM, SIGINT   stop accepting, finish what runs, end the app, exit; a second one ends at once
  SIGHUP            read the configuration file again (an edit is noticed without it)";

/// A caching sidecar: answers from memory or Redis what its YAML rules allow, in front of an
/// unchanged HTTP app.
#[derive(Debug, Parser)]
#[command(name = "sidecache", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Proxy until a signal or the end of the app.
    Run(Run),
    /// Validate the file and print what was understood: exit 0, or the errors, exit 2.
    Check {
        /// The file.
        config: PathBuf,
    },
    /// Ask a running sidecar whether it is ready: exit 0 or 1.
    Healthcheck(Healthcheck),
}

impl Cli {
    /// The one action that the command line names.
    #[must_use]
    pub fn action(self) -> Action {
        match self.command {
            None => Action::Run(self.run),
            Some(Command::Check { config }) => Action::Check { config },
            Some(Command::Healthcheck(healthcheck)) => Action::Healthcheck(healthcheck),
        }
    }
}

/// How to run.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration; edits are applied while it runs
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,

    /// How log lines look on stderr; auto: human on a terminal, else json
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "auto")]
    pub log_format: Format,

    /// What is logged: a level, or levels by target ("info,access=off" leaves the access log out)
    #[arg(long, value_name = "FILTER", env = "SIDECACHE_LOG", default_value = "info")]
    pub log: String,

    /// The file with the bearer token of the admin listener; else SIDECACHE_ADMIN_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Accept once GET PATH on the app gives 2xx or 3xx, instead of once it takes a connection
    #[arg(long, value_name = "PATH", value_parser = path, requires = "command")]
    pub ready: Option<String>,

    /// How long the app may take to get ready
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub ready_timeout: Duration,

    /// The app to run as a child; the sidecar ends with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the configuration and print the rules as understood (exit 0), or its errors (exit 2)
    Check {
        /// The file to check
        #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Ask a running sidecar's /readyz: exit 0 when it is ready, 1 when not
    Healthcheck(Healthcheck),
}

/// Which sidecar to ask.
#[derive(Args, Debug)]
pub struct Healthcheck {
    /// Its admin listener (address:port or unix:/path); without it, `admin:` of the file
    #[arg(long, value_name = "ADDR", env = "SIDECACHE_ADMIN")]
    pub admin: Option<String>,

    /// The file that names the admin listener
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("a path begins with / and has no spaces".to_owned()) }
}

/// A whole number with a unit, as in the configuration file.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or_else(expected);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => Err(expected()),
    }
}

fn expected() -> String {
    "a duration is a number and a unit: ms, s, m, h or d, as in 60s".to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn action(line: &str) -> Action {
        Cli::try_parse_from(line.split(' ')).unwrap().action()
    }

    fn run(line: &str) -> Run {
        match action(line) {
            Action::Run(run) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> ErrorKind {
        Cli::try_parse_from(line.split(' ')).unwrap_err().kind()
    }

    #[test]
    fn is_consistent_in_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn runs_with_defaults() {
        let run = run("sidecache");
        assert_eq!(run.config, PathBuf::from("config.yaml"));
        assert_eq!(run.log_format, Format::Auto);
        assert_eq!(run.ready_timeout, Duration::from_secs(60));
        assert!(run.ready.is_none() && run.command.is_empty());
    }

    #[test]
    fn all_that_follows_the_dashes_is_the_app_s() {
        let app = run("sidecache --config x -- python3 app.py --flag --config y -- z");
        assert_eq!(app.config, PathBuf::from("x"));
        assert_eq!(app.command, ["python3", "app.py", "--flag", "--config", "y", "--", "z"]);
        // An app may be called what our own commands are called.
        assert_eq!(run("sidecache -- check").command, ["check"]);
    }

    #[test]
    fn waits_for_an_app_as_told() {
        let run = run("sidecache --ready /healthz --ready-timeout 1500ms --log info,access=off -- app");
        assert_eq!(run.ready.as_deref(), Some("/healthz"));
        assert_eq!(run.ready_timeout, Duration::from_millis(1500));
        assert_eq!(run.log, "info,access=off");
        assert_eq!(refused("sidecache --ready healthz -- app"), ErrorKind::ValueValidation);
        assert_eq!(refused("sidecache --ready /healthz"), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn checks_a_file() {
        assert!(matches!(action("sidecache check"), Action::Check { config } if config == *"config.yaml"));
        assert!(matches!(action("sidecache check a.yaml"), Action::Check { config } if config == *"a.yaml"));
    }

    #[test]
    fn asks_for_health() {
        let Action::Healthcheck(asked) = action("sidecache healthcheck --admin unix:/run/a.sock") else {
            panic!("not a health check")
        };
        assert_eq!(asked.admin.as_deref(), Some("unix:/run/a.sock"));
    }

    #[test]
    fn a_command_without_dashes_is_refused_not_guessed() {
        assert_eq!(refused("sidecache python3 app.py"), ErrorKind::UnknownArgument);
        assert_eq!(refused("sidecache --config x check"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn durations_carry_their_unit() {
        for (text, seconds) in [("60s", 60), ("2m", 120), ("1h", 3600), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "60", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_version_is_the_package_s() {
        assert_eq!(refused("sidecache --version"), ErrorKind::DisplayVersion);
    }
}
