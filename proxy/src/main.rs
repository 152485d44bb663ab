//! The `sidecache` command.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use sidecache::{
    cli::{Action, Cli},
    run,
};

/// Many small, short-lived allocations on several threads are what it is made for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().action() {
        Action::Run(options) => run::run(&options),
        Action::Check { config } => run::check(&config),
        Action::Healthcheck(options) => run::healthcheck(&options),
    }
    .unwrap_or_else(|error| {
        run::complain(&error);
        error.exit_code()
    })
}
