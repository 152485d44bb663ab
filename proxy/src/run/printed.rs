//! What the command says of itself, for editors, shells and packages.

use std::{path::Path, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{RunError, print};
use crate::{cli::Cli, config};

/// `sidecache schema`: prints by what editors complete and check a file.
///
/// # Errors
/// It cannot be printed.
pub fn schema() -> Result<ExitCode, RunError> {
    print(format_args!("{:#}\n", config::schema()))
}

/// `sidecache completions`: prints what completes this command in a shell.
///
/// # Errors
/// It cannot be printed.
pub fn completions(shell: Shell) -> Result<ExitCode, RunError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sidecache", &mut script);
    print(format_args!("{}", String::from_utf8_lossy(&script)))
}

/// `sidecache man`: writes a page for the command and one for each of its commands.
///
/// # Errors
/// The folder is not there, or cannot be written to.
pub fn man(folder: &Path) -> Result<ExitCode, RunError> {
    // The synopsis names what stands behind `--` without it.
    let command = Cli::command().mut_arg("command", |app| app.value_name("-- COMMAND"));
    clap_mangen::generate_to(command, folder)?;
    Ok(ExitCode::SUCCESS)
}
