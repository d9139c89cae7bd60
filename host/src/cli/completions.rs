//! `procore-auth completions`: completions for a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

/// Which shell.
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub(super) fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "procore-auth",
        &mut script,
    );
    context.terminal.bytes(&script)?;
    Ok(Exit::Done)
}
