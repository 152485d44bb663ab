//! Log lines: human on a terminal, JSON elsewhere; never a reason for a request to wait.
//!
//! They go to stderr in either format, because stdout is the wrapped app's own: whoever reads or
//! parses that must not find our lines between. Container runtimes collect both.

use std::{
    fmt::{Debug, Write as _},
    io::{self, BufWriter, IsTerminal},
};

use clap::ValueEnum;
use thiserror::Error;
use tracing::{Subscriber, field::Field};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::MakeExt,
    filter::ParseError,
    fmt::{
        self, MakeWriter,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use super::{
    harmless::{Escaping, Objects},
    metrics::Scrape,
};

/// Lines that wait for a sink that has stopped; further ones are dropped and counted. At some
/// 300 bytes a line this bounds what a blocked sink costs to a few megabytes.
const LINES_WAITING: usize = 8192;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people: coloured where stderr is a terminal.
    Human,
    /// For machines: one object a line.
    Json,
}

impl Format {
    fn resolved(self, terminal: bool) -> Self {
        match self {
            Self::Auto if terminal => Self::Human,
            Self::Auto => Self::Json,
            chosen => chosen,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("--log {filter:?}: {source}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Somebody else's subscriber is installed already.
    #[error(transparent)]
    Installed(#[from] TryInitError),
}

/// Logging, for as long as it is held: dropping it writes out what waits (within about a second,
/// however the sink does).
#[must_use = "lines are lost once this is dropped"]
pub struct Log {
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

impl Log {
    /// The count of lines that were dropped because the sink was too slow.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines(self.dropped.clone())
    }
}

/// How many lines were dropped so far.
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// Adds it to a scrape.
    pub fn write(&self, scrape: &mut Scrape<'_>) {
        let help = "Log lines dropped because whoever reads them was too slow";
        scrape.counter("sidecache_log_lines_dropped", help, self.count());
    }

    fn count(&self) -> u64 {
        u64::try_from(self.0.dropped_lines()).unwrap_or(u64::MAX)
    }
}

/// Installs the process's logger. `filter` is in the syntax of `RUST_LOG`.
///
/// # Errors
/// A filter that does not parse; a second call.
pub fn init(format: Format, filter: &str) -> Result<Log, LogError> {
    let terminal = io::stderr().is_terminal();
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("log")
        // The worker flushes whenever nothing waits, so buffering delays no line.
        .finish(BufWriter::new(io::stderr()));
    let log = Log { dropped: writer.error_counter(), _worker: worker };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(format.resolved(terminal), filter, colours, writer)?.try_init()?;
    Ok(log)
}

/// The subscriber that writes to `writer`; `Auto` counts as JSON.
fn subscriber<W>(
    format: Format,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    Ok(tracing_subscriber::registry().with(levels).with(lines(format, colours, writer)))
}

/// Times are UTC, RFC 3339.
fn lines<S, W>(format: Format, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(colours);
    match format {
        Format::Human => layer.with_writer(writer).fmt_fields(debug_fn(escaped_field).delimited(" ")).boxed(),
        Format::Auto | Format::Json => {
            let layer = layer.with_writer(Objects(writer)).json();
            layer.flatten_event(true).with_current_span(false).boxed()
        }
    }
}

/// A message is our own words, or an error in the operator's file shown over several lines.
fn escaped_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    if field.name() == "message" {
        return write!(Escaping { writer, several_lines: true }, "{value:?}");
    }
    write!(writer, "{}=", field.name())?;
    write!(Escaping { writer, several_lines: false }, "{value:?}")
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::telemetry) fn written(
        format: Format,
        filter: &str,
        colours: bool,
        log: impl FnOnce(),
    ) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, filter, colours, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn whatever_a_field_holds_stays_on_its_line() {
        let hostile = "/\x1b[2J\r\nINFO fake\n\u{9b}31m\u{202e}\x07";
        for format in [Format::Human, Format::Json] {
            let text = written(format, "info", false, || {
                tracing::info!(target: "access", rule = hostile);
                tracing::info!(path = hostile, shown = %hostile, "said");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
            assert_eq!(text.matches("INFO fake").count(), 3, "{text:?}");
        }
    }

    #[test]
    fn an_error_s_text_cannot_steer_the_terminal() {
        let text = written(Format::Human, "info", false, || {
            tracing::warn!(error = %"bad \x1b[2J\nvalue\u{9b}", "said \x1b]0;x\x07");
        });
        let (line, rest) = text.split_once('\n').unwrap();
        assert!(line.contains("value") && !line.contains(char::is_control), "{line:?}");
        assert!(rest.is_empty(), "{rest:?}");
    }

    #[test]
    fn a_message_may_have_several_lines() {
        let text = written(Format::Human, "info", false, || tracing::warn!("config.yaml:3\n  | x: y"));
        assert!(text.ends_with("config.yaml:3\n  | x: y\n"), "{text:?}");
    }

    #[test]
    fn a_filter_silences_the_access_log_alone() {
        let text = written(Format::Human, "info,access=off", false, || {
            tracing::info!(target: "access", path = "/products");
            tracing::info!("started");
        });
        assert!(text.contains("started") && !text.contains("products"), "{text}");
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = subscriber(Format::Json, "info,x=loud", false, io::sink).err().unwrap().to_string();
        assert!(error.contains("info,x=loud"), "{error}");
    }

    #[test]
    fn people_get_words_and_machines_objects() {
        assert_eq!(Format::Auto.resolved(true), Format::Human);
        assert_eq!(Format::Auto.resolved(false), Format::Json);
        assert_eq!(Format::Json.resolved(true), Format::Json);
        assert!(written(Format::Human, "info", true, || tracing::info!("x")).contains("\x1b["));
    }

    /// A sink that takes nothing until it is let go.
    struct Blocked(std::sync::mpsc::Receiver<()>);

    impl io::Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Ends once the sender is gone.
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_sink_costs_lines_never_time() {
        let (release, blocked) = std::sync::mpsc::channel();
        let (writer, worker) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(8).finish(Blocked(blocked));
        let log = Log { dropped: writer.error_counter(), _worker: worker };
        let dropped = log.dropped_lines();
        let subscriber = subscriber(Format::Json, "info", false, writer).unwrap();
        // Would never return if a line could wait.
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                tracing::info!(target: "access", status = 200);
            }
        });
        // One line is with the sink and eight wait.
        assert!((91..=92).contains(&dropped.count()), "{}", dropped.count());
        let mut metrics = Metrics::new(std::time::UNIX_EPOCH);
        let line = format!("sidecache_log_lines_dropped_total {}\n", dropped.count());
        metrics.register(move |scrape| dropped.write(scrape));
        assert!(metrics.render().unwrap().contains(&line));
        drop(release);
    }
}
