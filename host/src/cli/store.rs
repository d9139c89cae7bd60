//! `procore-auth store`: encrypts or decrypts what is stored, in one go.

use std::path::Path;

use clap::Subcommand;
use procore_auth_host::{ConnectionName, EncryptedStore, FileStore, Rewritten, StoreFailure};
use serde::Serialize;

use super::config::{Config, ConnectionConfig};
use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open;

/// What to do with the stores.
#[derive(Clone, Copy, Subcommand)]
pub(super) enum Verb {
    /// Encrypt everything with the configured key: what is plain, and what an old key encrypted
    Encrypt,
    /// Decrypt everything; then take `encryption` out of the configuration
    Decrypt,
}

/// What became of a store, as JSON. The fields are stable.
#[derive(Serialize)]
struct Document<'a> {
    connection: &'a str,
    encrypted: bool,
    entries: usize,
    files_replaced: usize,
    foreign_files: &'a [String],
}

/// Rewrites the stores of all connections, or of the one that is named.
pub(super) async fn run(context: &Context<'_>, verb: Verb) -> Result<Exit, Failure> {
    let config = context.config()?;
    for (name, connection) in config.select_all(context.named())? {
        let done = rewrite(&config, name, connection, verb).await?;
        tell(context, name, verb, &done)?;
    }
    if !context.terminal.is_json() {
        if context.named().is_none() {
            tell_of_others(context, &config);
        }
        context.terminal.note(match verb {
            Verb::Encrypt => {
                "Restart what still runs with an older configuration. Backups and free blocks of the disk may hold older copies: \
                 they are worthless once the tokens are refreshed and the old access token has expired, or after a new sign-in."
            }
            Verb::Decrypt => {
                "Now take `encryption` out of the configuration; until then, every verb refuses what is not encrypted."
            }
        });
    }
    Ok(Exit::Done)
}

/// Rewrites the store of a connection, and that of its fallback where there is one.
async fn rewrite(
    config: &Config,
    name: &ConnectionName,
    connection: &ConnectionConfig,
    verb: Verb,
) -> Result<Rewritten, Failure> {
    let mut done = rewrite_in(&config.state, config, name, connection, verb).await?;
    let fallback = open::fallback_root(&config.state, name);
    if fallback.is_dir() {
        let more = rewrite_in(&fallback, config, name, connection, verb).await?;
        done.entries += more.entries;
        done.files += more.files;
        done.foreign.extend(more.foreign);
    }
    Ok(done)
}

async fn rewrite_in(
    root: &Path,
    config: &Config,
    name: &ConnectionName,
    connection: &ConnectionConfig,
    verb: Verb,
) -> Result<Rewritten, Failure> {
    let Some(encryption) = config.encryption(name) else {
        return Err(no_key(config, name));
    };
    let keys = encryption.keys()?;
    let failed = |error: StoreFailure| open::unusable_store(config, &error);
    let files = FileStore::open(root, name).map_err(failed)?;
    let store = EncryptedStore::new(files, name, keys.key).old_keys(keys.old);
    let wait = connection.lock_wait();
    let done = match verb {
        Verb::Encrypt => store.encrypt_all(wait).await,
        Verb::Decrypt => store.decrypt_all(wait).await,
    };
    done.map_err(failed)?.ok_or_else(|| busy(name))
}

fn tell(
    context: &Context<'_>,
    name: &ConnectionName,
    verb: Verb,
    done: &Rewritten,
) -> Result<(), Failure> {
    let encrypted = matches!(verb, Verb::Encrypt);
    if context.terminal.is_json() {
        return context.terminal.json(&Document {
            connection: name.as_str(),
            encrypted,
            entries: done.entries,
            files_replaced: done.files,
            foreign_files: &done.foreign,
        });
    }
    let word = if encrypted { "encrypted" } else { "decrypted" };
    context.terminal.line(format_args!(
        "{name}: everything is {word} (entries: {}, files replaced: {}).",
        done.entries, done.files
    ))?;
    if !done.foreign.is_empty() {
        context.terminal.note(format_args!(
            "{name}: not the store's, and left as they are: {}. See whether they hold tokens.",
            done.foreign.join(", ")
        ));
    }
    Ok(())
}

/// Names the folders of connections that are configured no more: nothing was done about them.
fn tell_of_others(context: &Context<'_>, config: &Config) {
    let entries = std::fs::read_dir(&config.state).into_iter().flatten();
    let folders = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str());
        // `.alerts` and `.troubles` are no connections, and hold no secret.
        if name.is_some_and(|name| name.starts_with('.')) {
            continue;
        }
        let name = name.map(|name| name.strip_suffix(".fallback").unwrap_or(name));
        let name = name.and_then(|name| name.parse().ok());
        if name.is_none_or(|name| config.get(&name).is_none()) {
            context.terminal.note(format_args!(
                "{}: of no connection in the configuration, and left as it is. Delete it if nothing uses it.",
                folder.display()
            ));
        }
    }
}

fn no_key(config: &Config, name: &ConnectionName) -> Failure {
    Explained::new(
        Exit::Configuration,
        "key-unavailable",
        format!("{} names no key for {name}.", config.path().display()),
        "Make one with `procore-auth key generate --file PATH`, and add [encryption] with key = { file = \"PATH\" }.",
    )
    .into()
}

fn busy(name: &ConnectionName) -> Failure {
    Explained::new(
        Exit::Busy,
        "lock-wait",
        format!("Another process holds the lock of {name}."),
        "Try again. If it lasts, look for a stopped process that has the store open.",
    )
    .into()
}
