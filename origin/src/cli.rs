//! The command line, the environment and the log.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// The most products that can be seeded. The list is built in memory for each request, at about
/// 250 bytes a product.
const MAX_PRODUCTS: i64 = 100_000;

/// A product service with a slow list: something worth a cache.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address and port to listen on; port 0 takes a free one, and the log says which
    #[arg(long, env = "ORIGIN_LISTEN", global = true, default_value = "127.0.0.1:8000", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// The SQLite file, created and seeded when absent [default: a temporary one, removed at the end]
    #[arg(long, env = "ORIGIN_DATABASE", value_name = "FILE")]
    pub database: Option<PathBuf>,

    /// How many products a new database is seeded with; one that exists is left as it is
    #[arg(
        long,
        env = "ORIGIN_PRODUCTS",
        default_value = "1000",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=MAX_PRODUCTS)
    )]
    pub products: u32,

    /// Artificial latency of each list query, such as 25ms or 2s
    #[arg(long, env = "ORIGIN_DELAY", default_value = "0ms", value_name = "DURATION", value_parser = duration)]
    pub delay: Duration,
}

/// What the program can do besides serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Ask the service at --listen for its health: exit 0 when it is well, 1 when not
    Healthcheck,
}

/// A whole number with its unit, `ms` or `s`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis),
        None => match text.strip_suffix('s') {
            Some(number) => (number, Duration::from_secs),
            None => return Err("a unit is missing: write 25ms or 2s".to_owned()),
        },
    };
    number.parse().map(unit).map_err(|_| "not a whole number of ms or s, such as 25ms or 2s".to_owned())
}

/// Starts the log, on standard error. `RUST_LOG` filters it; without, `info` and above are shown.
///
/// # Panics
///
/// When a log was started before.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (text, expected) in
            [("0ms", Duration::ZERO), ("25ms", Duration::from_millis(25)), ("2s", Duration::from_secs(2))]
        {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "25", "ms", "s", "-1s", "1.5s", "25 ms", "25m", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn products_are_bounded() {
        assert!(Cli::try_parse_from(["origin", "--products", "100000"]).is_ok());
        assert!(Cli::try_parse_from(["origin", "--products", "100001"]).is_err());
    }

    #[test]
    fn the_health_check_takes_the_address() {
        let cli = Cli::try_parse_from(["origin", "healthcheck", "--listen", "[::1]:81"]).unwrap();
        assert_eq!(cli.command, Some(Command::Healthcheck));
        assert_eq!(cli.listen, "[::1]:81".parse().unwrap());
    }
}
