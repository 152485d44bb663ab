//! The `sidecache` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use sidecache::{
    cli::{Action, Cli},
    run,
};

/// Many small, short-lived allocations on several threads are what it is made for. It asks for no huge pages: a
/// sidecar shares its machine with the app, and a hit is no cheaper with them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let done = match Cli::read(std::env::args_os()) {
        Err(usage) => return usage.print(),
        Ok(Action::Run(options)) => run::run(&options),
        Ok(Action::Check { config }) => run::check(&config),
        Ok(Action::Healthcheck(options)) => return run::healthcheck(&options),
        Ok(Action::Purge(options)) => run::purge(&options),
        Ok(Action::Top(options)) => run::top(&options),
        Ok(Action::Explain(options)) => run::explain(&options),
        Ok(Action::Schema) => run::schema(),
        Ok(Action::Completions(shell)) => run::completions(shell),
        Ok(Action::Man(folder)) => run::man(&folder),
    };
    done.unwrap_or_else(|error| {
        run::complain(&error);
        error.exit_code()
    })
}
