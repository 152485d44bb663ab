//! The command line: what may be said, and nothing of what is then done.

mod hints;
mod values;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind, parser::ValueSource};
use clap_complete::Shell;
use http::{HeaderName, HeaderValue};

use self::{
    hints::{with_hint, with_option},
    values::{admin, filter, path, url},
};
use crate::{
    config,
    explain::{Question, QuestionError},
    telemetry::log::Format,
    wrap::probe::Address,
};

/// The file read when none is named.
pub const DEFAULT_CONFIG: &str = "config.yaml";

/// The words that may come first.
const COMMANDS: [&str; 8] =
    ["check", "explain", "healthcheck", "purge", "top", "schema", "completions", "man"];

const EXAMPLES: &str = "\
Examples:
  sidecache                                  run with ./config.yaml
  sidecache --config /etc/sidecache.yaml -- python3 app.py
                                             run, and run the app as its child
  sidecache check config.yaml                is the file right, and how is it understood?
  sidecache healthcheck                      for a container's health check; needs no shell
  sidecache purge --url http://shop.example/products
                                             make every sidecar forget a page
  sidecache explain http://shop.example/products -H 'Cookie: session=1'
                                             why is it not a hit, and what to change?
  sidecache top                              watch a running sidecar

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
    /// Ask a running sidecar to purge: exit 0 when it is done, else 1.
    Purge(Purge),
    /// Show what a running sidecar does, until `q`.
    Top(Top),
    /// Ask a running sidecar, or the file, why a request is answered as it is: exit 0, or 1 if that cannot be asked.
    Explain(Explain),
    /// Print the JSON Schema of the file.
    Schema,
    /// Print the script by which a shell completes this command.
    Completions(Shell),
    /// Write the pages of the manual into this folder.
    Man(PathBuf),
}

/// What is no command line, or asks for help.
#[derive(Debug)]
pub struct UsageError {
    error: clap::Error,
    healthcheck: bool,
}

impl UsageError {
    /// Prints it, or the help, to where it belongs. The status to end with: 2 for an error, but 1 for
    /// a health check, which knows no other than 0 and 1.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // Nobody is left to be told that nobody reads.
        let _ = self.error.print();
        match self.error.exit_code() {
            0 => ExitCode::SUCCESS,
            _ if self.healthcheck => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    }
}

impl Cli {
    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    /// It is none, or asks for help or the version.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Action, UsageError> {
        let line: Vec<OsString> = line.into_iter().collect();
        let named = |command: &str| line.get(1).is_some_and(|word| word == command);
        let healthcheck = named("healthcheck");
        // What is wrong behind a command is nothing that was meant to be run.
        let hint = match COMMANDS.into_iter().find(|command| named(command)) {
            Some("purge") => with_option,
            Some(_) => std::convert::identity,
            None => with_hint,
        };
        Self::parse_from_line(line)
            .map(Self::action)
            .map_err(|error| UsageError { error: hint(error), healthcheck })
    }

    fn parse_from_line(line: Vec<OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(line)?;
        // A variable of the environment may name the listener for all commands: it is no contradiction.
        let both = matches.subcommand_matches("explain").is_some_and(|explain| {
            ["config", "admin"].iter().all(|id| explain.value_source(id) == Some(ValueSource::CommandLine))
        });
        if both {
            let told = "--config asks the file and --admin a running sidecar: leave one of them out";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, told));
        }
        Self::from_arg_matches(&matches)
    }

    /// The one action that the command line names.
    fn action(self) -> Action {
        match self.command {
            None => Action::Run(self.run),
            Some(Command::Check { file, config }) => Action::Check { config: config.unwrap_or(file) },
            Some(Command::Healthcheck(healthcheck)) => Action::Healthcheck(healthcheck),
            Some(Command::Purge(purge)) => Action::Purge(purge),
            Some(Command::Top(top)) => Action::Top(top),
            Some(Command::Explain(explain)) => Action::Explain(explain),
            Some(Command::Schema) => Action::Schema,
            Some(Command::Completions { shell }) => Action::Completions(shell),
            Some(Command::Man { folder }) => Action::Man(folder),
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
    #[arg(long, value_name = "FILTER", env = "SIDECACHE_LOG", default_value = "info", value_parser = filter)]
    pub log: String,

    /// The file with the bearer token of the admin listener; else SIDECACHE_ADMIN_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Accept once GET PATH on the app gives 2xx or 3xx, instead of once it takes a connection
    #[arg(long, value_name = "PATH", value_parser = path, requires = "command")]
    pub ready: Option<String>,

    /// How long the app may take to get ready
    #[arg(long, value_name = "DURATION", value_parser = config::duration, default_value = "60s")]
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
        file: PathBuf,
        /// The same, as when it runs
        #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Ask a running sidecar's /readyz: exit 0 when it is ready, else 1
    Healthcheck(Healthcheck),
    /// Make every sidecar forget what is stored: exit 0 when it is done, else 1
    Purge(Purge),
    /// Say why a request is a hit or not, and what to change: exit 0, or 1 if nobody can be asked
    #[command(override_usage = "sidecache explain [OPTIONS] [METHOD] URL")]
    Explain(Explain),
    /// Watch a running sidecar: requests, hits, latencies, and what is fetched most and why; q ends it
    Top(Top),
    /// Print the JSON Schema of the configuration, by which editors complete and check it
    Schema,
    /// Print what completes this command in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the pages of the manual into a folder
    #[command(hide = true)]
    Man {
        /// An existing folder
        folder: PathBuf,
    },
}

/// Whom to watch, and for how long.
#[derive(Args, Debug)]
pub struct Top {
    /// The admin listener of the sidecar: http://host:port or unix:/path [default: `admin:` of the file]
    #[arg(long, value_name = "URL", env = "SIDECACHE_ADMIN", value_parser = admin)]
    pub admin: Option<Address>,

    /// The file whose `admin:` names the listener [default: config.yaml, if it is there, else 127.0.0.1:9090]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The file with the bearer token of the admin listener; else SIDECACHE_ADMIN_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Print one page and end, as without a terminal
    #[arg(long)]
    pub once: bool,
}

/// Which sidecar to ask.
#[derive(Args, Debug)]
pub struct Healthcheck {
    /// The admin listener of the sidecar: http://host:port or unix:/path [default: `admin:` of the file]
    #[arg(long, value_name = "URL", env = "SIDECACHE_ADMIN", value_parser = admin)]
    pub admin: Option<Address>,

    /// The file whose `admin:` names the listener [default: config.yaml, if it is there, else 127.0.0.1:9090]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Ask /livez: whether it runs, be it ready or not
    #[arg(long)]
    pub live: bool,
}

/// What to purge, and whom to ask.
#[derive(Args, Debug)]
pub struct Purge {
    /// The admin listener of any sidecar of the fleet: http://host:port or unix:/path [default: `admin:` of the file]
    #[arg(long, value_name = "URL", env = "SIDECACHE_ADMIN", value_parser = admin)]
    pub admin: Option<Address>,

    /// The file whose `admin:` names the listener [default: config.yaml, if it is there, else 127.0.0.1:9090]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to purge.
    #[command(flatten)]
    pub what: What,

    /// Only mark it stale: where stale responses may be served, it still is, while it is fetched anew
    #[arg(long)]
    pub soft: bool,

    /// Do not wait until every sidecar has done it
    #[arg(long)]
    pub no_wait: bool,

    /// The file with the bearer token of the admin listener; else SIDECACHE_ADMIN_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What to purge: at least one of these, each as often as needed.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct What {
    /// A URL as clients ask for it, with its host, byte for byte: all its variants
    #[arg(long = "url", value_name = "URL", value_parser = url)]
    pub urls: Vec<String>,

    /// All that carries this tag
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,

    /// All that was stored under the rule of this name
    #[arg(long = "rule", value_name = "NAME")]
    pub rules: Vec<String>,

    /// Everything
    #[arg(long)]
    pub all: bool,
}

/// What to explain, and whom to ask.
#[derive(Args, Debug)]
pub struct Explain {
    /// The URL as clients ask for it, with its host; before it the method, if that is not GET
    #[arg(value_name = "URL", num_args = 1..=2, required = true)]
    words: Vec<String>,

    /// A field of the request, as often as needed
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,

    /// The admin listener of the sidecar: http://host:port or unix:/path [default: `admin:` of ./config.yaml]
    #[arg(long, value_name = "URL", env = "SIDECACHE_ADMIN", value_parser = admin)]
    pub admin: Option<Address>,

    /// Ask this file instead of a running sidecar: rule, key, and what the rule does with an answer
    #[arg(long, short, value_name = "FILE", conflicts_with = "ask_origin")]
    pub config: Option<PathBuf>,

    /// Have the sidecar ask the app too (by GET or HEAD), and say whether the answer would be stored
    #[arg(long)]
    pub ask_origin: bool,

    /// Print the explanation as JSON
    #[arg(long)]
    pub json: bool,

    /// The file with the bearer token of the admin listener; else SIDECACHE_ADMIN_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Explain {
    /// The method, in capitals as all that are known are written, and the URL.
    #[must_use]
    pub fn asked(&self) -> (String, &str) {
        match self.words.as_slice() {
            [method, url, ..] => (method.to_ascii_uppercase(), url),
            [url] => ("GET".to_owned(), url),
            [] => ("GET".to_owned(), ""),
        }
    }

    /// What is asked.
    ///
    /// # Errors
    /// No request that clients could send.
    pub fn question(&self) -> Result<Question, QuestionError> {
        let (method, url) = self.asked();
        if let [url, method] = self.words.as_slice()
            && url.contains("://")
        {
            return Err(QuestionError::Order(method.to_ascii_uppercase(), url.clone()));
        }
        Question::new(&method, url, &self.headers, self.ask_origin)
    }
}

/// A field, as curl takes it.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    if HeaderName::try_from(name).is_err() {
        return Err(format!("`{}` is no name of a field: write 'Name: value'", name.escape_debug()));
    }
    // A value may be a secret.
    HeaderValue::try_from(value).map_err(|_| "the value has a control byte: write 'Name: value'")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
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
        for line in ["sidecache check a.yaml", "sidecache check --config a.yaml", "sidecache check -c a.yaml"]
        {
            assert!(matches!(action(line), Action::Check { config } if config == *"a.yaml"), "{line}");
        }
        assert_eq!(refused("sidecache check a.yaml --config b.yaml"), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn asks_for_health() {
        let Action::Healthcheck(asked) = action("sidecache healthcheck --admin unix:/run/a.sock") else {
            panic!("not a health check")
        };
        assert_eq!(asked.admin.unwrap().to_string(), "unix:/run/a.sock");
    }

    fn purge(line: &str) -> Purge {
        match action(line) {
            Action::Purge(purge) => purge,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn purges_what_is_named() {
        let asked =
            purge("sidecache purge --url http://a/ --tag x --url http://b/?y --tag z --rule /c --soft");
        let What { urls, tags, rules, all } = asked.what;
        assert_eq!(
            (urls, tags),
            (vec!["http://a/".into(), "http://b/?y".into()], vec!["x".into(), "z".into()])
        );
        assert_eq!((rules, all, asked.soft, asked.no_wait), (vec!["/c".into()], false, true, false));
        assert!(asked.admin.is_none() && asked.config.is_none());
        assert!(purge("sidecache purge --all --no-wait").what.all);
        assert_eq!(refused("sidecache purge"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("sidecache purge --soft"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("sidecache purge --url /products"), ErrorKind::ValueValidation);
    }

    #[test]
    fn an_admin_listener_is_named_in_any_way_it_is_written_elsewhere() {
        for (text, expected) in [
            ("http://localhost:9091/", "localhost:9091"),
            ("127.0.0.1:9091", "127.0.0.1:9091"),
            ("http://[::1]:9091", "[::1]:9091"),
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("http://[::]:9090", "[::1]:9090"),
            ("unix:/run/admin.sock", "unix:/run/admin.sock"),
        ] {
            assert_eq!(admin(text).unwrap().to_string(), expected, "{text}");
        }
        assert!(admin("https://shop.example:9090").unwrap_err().contains("no TLS"));
        for text in ["", "http://", "ftp://a", "http://a/purge", "unix:admin.sock", "a b"] {
            let error = admin(text).unwrap_err();
            let told = error.contains("write http://127.0.0.1:9090") && error.contains("SIDECACHE_ADMIN");
            assert!(told, "{text}: {error}");
        }
    }

    #[test]
    fn a_question_that_is_written_wrong_is_told_how() {
        let error = |words: &[&str]| {
            let line = [&["sidecache", "explain"], words].concat();
            Cli::try_parse_from(line).unwrap_err().to_string()
        };
        let told = error(&["http://a/", "-H", "Bad Name: canary"]);
        assert!(told.contains("`Bad Name` is no name of a field: write 'Name: value'"), "{told}");
        let both = "sidecache explain http://a/ --config c.yaml --admin a:1";
        let refused = Cli::read(both.split(' ').map(OsString::from)).unwrap_err().error;
        assert_eq!(refused.kind(), ErrorKind::ArgumentConflict);
        let Action::Explain(asked) = action("sidecache explain get http://a/") else {
            panic!("not to explain")
        };
        assert_eq!(asked.asked(), ("GET".to_owned(), "http://a/"));
        let Action::Explain(asked) = action("sidecache explain http://a/ head") else {
            panic!("not to explain")
        };
        let told = asked.question().unwrap_err().to_string();
        assert!(told.contains("the method comes first: sidecache explain HEAD http://a/"), "{told}");
    }

    #[test]
    fn a_command_without_dashes_is_refused_not_guessed() {
        assert_eq!(refused("sidecache python3 app.py"), ErrorKind::UnknownArgument);
        assert_eq!(refused("sidecache --config x check"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn durations_are_those_of_the_file() {
        assert_eq!(run("sidecache --ready-timeout 1m30s -- app").ready_timeout, Duration::from_secs(90));
        for text in ["60", "-1s", "1.5s", "18446744073709551615s"] {
            let line = format!("sidecache --ready-timeout={text} -- app");
            assert_eq!(refused(&line), ErrorKind::ValueValidation, "{text}");
        }
    }

    #[test]
    fn a_word_in_the_wrong_place_is_told_where_it_belongs() {
        let hint = |line: &str| Cli::read(line.split(' ').map(OsString::from)).unwrap_err().error.to_string();
        assert!(hint("sidecache python3 app.py").contains("sidecache -- python3"));
        assert!(hint("sidecache --config x check").contains("sidecache check --config"));
        assert!(!hint("sidecache --confg x").contains("behind the sidecar"));
        assert!(hint("sidecache chek x.yaml").contains("did you mean: sidecache check"));
        assert!(hint("sidecache run").contains("sidecache --config FILE"));
        assert!(!hint("sidecache check a b").contains("behind the sidecar"));
        let told = hint("sidecache purge http://shop.example/a");
        assert!(told.contains("say what it is: sidecache purge --url http://shop.example/a"), "{told}");
    }

    #[test]
    fn a_level_that_is_none_does_not_silence_the_log() {
        for fine in ["info", "OFF", "info,access=off", "warn, sidecache::store=trace", "", "a[b{c=d,e}]=info"]
        {
            assert_eq!(filter(fine).as_deref(), Ok(fine));
        }
        for (text, told) in
            [("inof", "write info"), ("info,acces", "acces=info"), ("warn,debg", "write debug")]
        {
            let error = filter(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(refused("sidecache --log inof"), ErrorKind::ValueValidation);
    }

    #[test]
    fn the_version_is_the_package_s() {
        assert_eq!(refused("sidecache --version"), ErrorKind::DisplayVersion);
    }
}
