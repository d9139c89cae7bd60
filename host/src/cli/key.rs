//! `procore-auth key`: the keys that stores are encrypted with.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use procore_auth_host::{EncryptionKey, SystemRandom, internals};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::keyring;
use super::secret_reference::KeyringEntry;

/// What to do with keys.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a new key, and put it where nothing is yet
    Generate(Place),
}

/// Where a new key goes.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Place {
    /// A new file, for this account alone; its folder must exist
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// A new entry in the operating system's keyring
    #[arg(long, value_name = "NAME", value_parser = keyring::entry)]
    keyring: Option<KeyringEntry>,
    /// Standard output, for a secret manager; do not run it where output is recorded
    #[arg(long)]
    print: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// Makes a key.
pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Failure> {
    let Verb::Generate(place) = verb;
    let key = EncryptionKey::generate(&SystemRandom);
    let kept = match (&place.file, &place.keyring) {
        (Some(path), _) => {
            write_file(path, &key)?;
            format!("{{ file = {} }}", quoted(path))
        }
        (None, Some(entry)) => {
            keyring::write(entry, &key.to_text(), false)?;
            format!("{{ keyring = \"{}\" }}", entry.name())
        }
        (None, None) => {
            print(context, &key)?;
            "{ env = \"NAME\" }".to_owned()
        }
    };
    tell(context, place, &key, &kept)?;
    Ok(Exit::Done)
}

fn print(context: &Context<'_>, key: &EncryptionKey) -> Result<(), Failure> {
    let text = key.to_text();
    if context.terminal.is_json() {
        context.terminal.json(&Document {
            key_id: key.id().to_string(),
            key: Some(text.expose()),
        })
    } else {
        context.terminal.line(text.expose())
    }
}

fn tell(
    context: &Context<'_>,
    place: &Place,
    key: &EncryptionKey,
    kept: &str,
) -> Result<(), Failure> {
    if context.terminal.is_json() {
        if place.print {
            return Ok(());
        }
        return context.terminal.json(&Document {
            key_id: key.id().to_string(),
            key: None,
        });
    }
    context.terminal.note(format_args!(
        "The key {} is made. Keep a copy of it apart from the backups of the store: without it, the store is lost.\n\
         Write this into the configuration, then run `procore-auth store encrypt`:\n\n    [encryption]\n    key = {kept}\n",
        key.id()
    ));
    Ok(())
}

/// Born with mode 600. An existing file is left alone: it may hold the only key of something.
fn write_file(path: &Path, key: &EncryptionKey) -> Result<(), Failure> {
    let mut file = match internals::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
        Err(error) => return Err(Failure::file("create", path, &error)),
    };
    writeln!(file, "{}", key.to_text().expose())
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::file("write", path, &error))
}

fn exists(path: &Path) -> Failure {
    Explained::new(
        Exit::Refused,
        "key-exists",
        format!("{} exists already.", path.display()),
        "Name another file. Where it holds a key that is to be replaced, name the old one among `old_keys`.",
    )
    .into()
}

fn quoted(path: &Path) -> toml::Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    toml::Value::from(path.to_string_lossy().into_owned())
}
