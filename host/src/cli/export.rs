//! `procore-auth export`, and the file that it writes: an access token alone, for old scripts that read a token file.
//!
//! | who | does what |
//! |---|---|
//! | `export` | writes the file once, now |
//! | every process of the tool, where the configuration has `export = "PATH"` | replaces the file at its end, and `run` after each visit, where the token is not the one in it |
//! | `logout` | removes the file |
//!
//! The file is replaced in one step and has mode 600. It never has a refresh token: a script that reads it cannot spend one. The
//! token is read from the store under a lock of the export's own, so an older one never replaces a newer one. A file that holds
//! anything else than an exported token is left alone. Trouble with the file is told and harms nothing else.

mod document;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use procore_auth_host::{
    AccessToken, Connection, Event, Journal, Severity, StoreFailure, TokenTimes, internals,
};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::replace_file::replace;
use super::time;
use document::{Document, Standing};

/// Longer than it takes to ask for a token, in milliseconds: asking for one that is due would refresh it.
const A_MOMENT: u64 = 5_000;

/// Where to write.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file [default: `export` of the connection in the configuration]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written<'a> {
    connection: &'a str,
    file: &'a Path,
    expires_at: String,
    kept_fresh: bool,
}

/// A connection whose access token is kept in a file.
#[derive(Clone)]
pub(crate) struct Export {
    connection: Connection,
    file: PathBuf,
    /// The lock stands with the store: the file's folder belongs to others.
    lock: PathBuf,
    journal: Arc<dyn Journal>,
}

/// Writes the file once, and says how to have it kept.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let opener = context.opener(context.config()?)?;
    let (name, configured) = opener.config().select(context.named())?;
    let kept = configured.export().map(Path::to_owned);
    let file = arguments.to.clone().or_else(|| kept.clone());
    let file = file.ok_or_else(|| nowhere(opener.config().path(), name.as_str()))?;
    let open = opener.open(name).await?;
    // Refreshed first where that is due.
    let token = open.connection.access_token().await?;
    if token.acts_as_fallback() {
        return Err(not_the_user(name.as_str()));
    }
    let export = opener.export_of(&open.connection, file.clone());
    let written = export.write().await?.ok_or_else(gone)?;
    let is_kept = kept.as_ref() == Some(&file);
    let document = Written {
        connection: name.as_str(),
        file: &file,
        expires_at: time::rfc3339(written.expires_at()),
        kept_fresh: is_kept,
    };
    if context.terminal.is_json() {
        context.terminal.json(&document)?;
        return Ok(Exit::Done);
    }
    context.terminal.line(format_args!(
        "{name}: the access token is in {}, good {}. It has no refresh token.",
        file.display(),
        time::relative(written.expires_at(), time::now())
    ))?;
    if !is_kept {
        let absolute = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
        context.terminal.note(format_args!(
            "To have it kept fresh, add this line to [connections.{name}] in {}:\n\n  export = {}\n\nand let `procore-auth run` or `tick` keep the connection.",
            opener.config().path().display(),
            toml::Value::from(absolute.to_string_lossy().into_owned())
        ));
    }
    Ok(Exit::Done)
}

impl Export {
    /// Keeps the connection's token in `file`. The lock stands in `state`.
    pub(super) fn new(
        connection: Connection,
        file: PathBuf,
        state: &Path,
        journal: Arc<dyn Journal>,
    ) -> Self {
        // No connection can have this name: there is a dot in it.
        let lock = format!("{}.export.lock", connection.settings().name);
        Self {
            connection,
            file,
            lock: state.join(lock),
            journal,
        }
    }

    /// Returns the connection's name.
    pub(super) fn name(&self) -> &procore_auth_host::ConnectionName {
        &self.connection.settings().name
    }

    /// Replaces the file where the store has another token than it. Nothing is refreshed for this. Trouble goes to the journal.
    pub(super) async fn keep(&self) {
        let Some((token, _)) = self.stored().await else {
            return;
        };
        match Standing::read(&self.file) {
            Ok(Standing::Exported(bearer)) if bearer == *token.bearer() => return,
            _ => {}
        }
        if let Err(failure) = self.write().await {
            self.tell(&failure.explained());
        }
    }

    /// Writes the token that is in the store now, and returns it; `None` where there is none that lives.
    pub(super) async fn write(&self) -> Result<Option<AccessToken>, Failure> {
        let _lock = self.lock().await?;
        let Some((token, times)) = self.stored().await else {
            return Ok(None);
        };
        check_place(&self.file)?;
        let document = Document::new(&token, times, time::now());
        let text = serde_json::to_string_pretty(&document).map_err(|e| self.failed(&e.into()))?;
        if let Some(folder) = self.file.parent() {
            internals::create_folder(folder).map_err(|error| self.failed(&error))?;
        }
        replace(&self.file, &format!("{text}\n"), None).map_err(|error| self.failed(&error))?;
        Ok(Some(token))
    }

    /// Removes the file where it is an exported one. Trouble goes to the journal.
    pub(super) async fn remove(&self) {
        if let Err(failure) = self.removed().await {
            self.tell(&failure.explained());
        }
    }

    async fn removed(&self) -> Result<(), Failure> {
        let _lock = self.lock().await?;
        match Standing::read(&self.file).map_err(|error| self.failed(&error))? {
            Standing::Exported(_) => {
                std::fs::remove_file(&self.file).map_err(|error| self.failed(&error))
            }
            Standing::Missing | Standing::Other(_) => Ok(()),
        }
    }

    /// Returns the token in the store with its times. One that is due is passed over: asking for it would refresh it.
    async fn stored(&self) -> Option<(AccessToken, TokenTimes)> {
        let times = self.connection.status().await.ok()?.token?;
        if times.refresh_at <= time::now().saturating_add(A_MOMENT) {
            return None;
        }
        let token = self.connection.stored_access_token().await.ok()?;
        // A fallback acts as somebody else; and of a token that came in between, its own process writes the file.
        let is_it = !token.acts_as_fallback() && token.expires_at() == times.expires_at;
        is_it.then_some((token, times))
    }

    async fn lock(&self) -> Result<internals::Held, Failure> {
        let path = self.lock.clone();
        let held = tokio::task::spawn_blocking(move || internals::hold_briefly(&path)).await;
        let held = held.unwrap_or_else(|error| Err(StoreFailure::new("io", error.to_string())));
        held.map_err(|failure| self.failed(&std::io::Error::other(failure.message)))
    }

    fn tell(&self, explained: &Explained) {
        let (code, message) = (&explained.code, &explained.summary);
        let event = Event::new(time::now(), Severity::Warning, code, message)
            .with("file", self.file.display().to_string())
            .with("cause", &explained.cause)
            .with("remedy", &explained.remedy);
        self.journal.record(self.name().as_str(), &event);
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        failed(&self.file, error)
    }
}

/// Checks that nothing stands where the file goes but an exported one.
pub(super) fn check_place(file: &Path) -> Result<(), Failure> {
    match Standing::read(file).map_err(|error| failed(file, &error))? {
        Standing::Other(what) => Err(not_replaced(file, what)),
        Standing::Missing | Standing::Exported(_) => Ok(()),
    }
}

fn failed(file: &Path, error: &std::io::Error) -> Failure {
    Explained::new(
        Exit::Refused,
        "export-failed",
        format!("The access token cannot be written to {}: {error}.", file.display()),
        "Make the folder writable for this account, or name another file as `export` in the configuration. Scripts that read \
         the file go on with the old token until it expires.",
    )
    .into()
}

/// Refuses to replace what stands there, in words that follow the file's name.
pub(super) fn not_replaced(file: &Path, what: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "export-not-replaced",
        format!("{} {what}, and is left alone.", file.display()),
        "Move it away, or name another file. Before a token file with a refresh token goes, take it over: \
         `procore-auth init --token FILE`, or `import`.",
    )
    .into()
}

fn nowhere(config: &Path, name: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "export-nowhere",
        format!("{} names no file to export {name} to.", config.display()),
        format!("Give --to FILE, or set export = \"/path/to/procore_token.json\" in [connections.{name}]."),
    )
    .into()
}

fn not_the_user(name: &str) -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "export-fallback",
        format!("{name} acts as its service account now: the user must sign in, so there is no token of theirs to export."),
        format!("Run `procore-auth login --connection {name}`."),
    )
    .into()
}

/// For a token that went between two looks.
fn gone() -> Failure {
    Explained::new(
        Exit::Unavailable,
        "export-no-token",
        "The store has no access token with enough time left.",
        "Run it again; `procore-auth status` tells how the connection is.",
    )
    .into()
}
