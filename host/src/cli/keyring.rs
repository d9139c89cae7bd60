//! `procore-auth keyring`: secrets in the operating system's keyring.

use std::io::Read as _;

use clap::Subcommand;
use procore_auth_host::Secret;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::secret_reference::{KeyringEntry, Unreadable};
use super::terminal;

/// The most bytes of a secret that are read.
const LARGEST: u64 = 64 * 1024;

/// What to do with the keyring.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Put a secret that is piped in into the keyring, for `{ keyring = "NAME" }` in the configuration
    Set {
        /// The entry's name
        #[arg(value_parser = entry)]
        name: KeyringEntry,
        /// Replace the secret that the entry has
        #[arg(long)]
        replace: bool,
    },
}

/// Puts a secret into the keyring.
pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Failure> {
    let Verb::Set { name, replace } = verb;
    write(name, &piped()?, *replace)?;
    context
        .terminal
        .note(format_args!("{}: kept in the keyring.", name.name()));
    Ok(Exit::Done)
}

/// Reads an entry's name on the command line.
pub(super) fn entry(name: &str) -> Result<KeyringEntry, String> {
    KeyringEntry::parse(name.to_owned()).map_err(|e| format!("{}: {}", e.message, e.cure))
}

/// Writes an entry. What is there is replaced only where that is asked for.
pub(super) fn write(entry: &KeyringEntry, secret: &Secret, replace: bool) -> Result<(), Failure> {
    let is_kept = !replace && entry.exists().map_err(unusable)?;
    // As of one that was put there a moment ago, by a run that ended early.
    if is_kept && entry.read().is_ok_and(|kept| kept == *secret) {
        return Ok(());
    }
    if is_kept {
        return Err(Explained::new(
            Exit::Refused,
            "keyring-entry-exists",
            format!("The keyring has an entry {} already.", entry.name()),
            "Name another one, or, for `keyring set`, add --replace.",
        )
        .into());
    }
    entry.write(secret).map_err(unusable)
}

fn unusable(Unreadable { message, cure }: Unreadable) -> Failure {
    Explained::new(Exit::Refused, "keyring-unavailable", message, cure).into()
}

/// A secret that is typed would stand on the screen.
fn piped() -> Result<Secret, Failure> {
    let refuse = |summary: &str| {
        let remedy = "Pipe it in: `procore-auth keyring set NAME < FILE`.";
        Failure::from(Explained::new(Exit::Refused, "no-secret", summary, remedy))
    };
    if terminal::is_attended() {
        return Err(refuse(
            "The secret is read from standard input, which is a terminal.",
        ));
    }
    let mut text = String::new();
    let read = std::io::stdin().take(LARGEST).read_to_string(&mut text);
    let text = text.trim_end_matches(['\r', '\n']);
    if read.is_err() || text.trim().is_empty() {
        return Err(refuse("Standard input holds no secret."));
    }
    Ok(Secret::new(text))
}
