//! What `init` and `import` have in common: taking over the tokens and settings of a script, without spending anything.

use std::path::Path;

use procore_auth_host::{ConnectionName, Environment, Health, Identity, Status, internals};

use super::context::Context;
use super::env_file::{self, Unknown};
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open::Open;
use super::{report, time};

/// Takes the tokens over, unless these very ones were taken over before: an import may be run again with `--write`.
pub(super) async fn adopt(open: &Open, token: Vec<u8>, replace: bool) -> Result<Status, Failure> {
    if !replace && let Some(status) = taken_over(open, &token).await {
        return Ok(status);
    }
    Ok(open.connection.adopt(token, replace).await?)
}

/// Returns the status where the connection has this very token. A token that is due is not asked for: that would spend it.
async fn taken_over(open: &Open, token: &[u8]) -> Option<Status> {
    let status = open.connection.status().await.ok()?;
    if !rests(&status) {
        return None;
    }
    let saved: serde_json::Value = serde_json::from_slice(token).ok()?;
    let stored = open.connection.access_token().await.ok()?;
    (saved.get("access_token")?.as_str()? == stored.bearer().expose()).then_some(status)
}

/// Whether the token is good for a while, so that asking for it sends nothing.
pub(super) fn rests(status: &Status) -> bool {
    let soon = time::now().saturating_add(A_WHILE);
    status.health == Health::Healthy && status.token.is_some_and(|token| token.refresh_at > soon)
}

/// Longer than it takes to ask for a token, in milliseconds.
const A_WHILE: u64 = 60_000;

/// Asks who the token acts as, while that needs no refresh: a refresh would spend the token that others may still hold.
pub(super) async fn verify_unspent(
    context: &Context<'_>,
    open: &Open,
    adopted: &Status,
) -> Option<Identity> {
    let fresh = adopted
        .token
        .is_some_and(|token| token.refresh_at > time::now());
    if !fresh {
        context.terminal.note(
            "The access token is due for a refresh, which spends the refresh token, so it was not tried. End the other \
             programs that use it, then run `procore-auth tick`.",
        );
        return None;
    }
    match open.connection.verify().await {
        Ok(identity) => Some(identity),
        Err(error) => {
            report::failure(&context.terminal, &error.into());
            None
        }
    }
}

/// Warns of programs that still refresh the token, and of files that others can read.
pub(super) fn warn(context: &Context<'_>, token: Option<&Path>, env: Option<&Path>) {
    if let Some(token) = token {
        context.terminal.note(format_args!(
            "A refresh token works once. End every other program that refreshes this one (cron jobs, keepalive scripts, agents that \
             read {}): whichever refreshes first locks the others out. They can ask `procore-auth token` instead, or read a file \
             that is kept fresh and has no refresh token (`export` in the configuration).",
            token.display()
        ));
    }
    for path in [token, env].into_iter().flatten() {
        if is_shared(path) {
            context.terminal.note(format_args!(
                "Others can read {}: run chmod 600 on it, or delete it once nothing uses it.",
                path.display()
            ));
        }
    }
}

/// Whether others than the owner can read the file.
fn is_shared(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| internals::lets_others_in(&metadata))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

/// The tokens' connection is the one that is named, or `default`.
pub(super) fn name(context: &Context<'_>) -> Result<ConnectionName, Failure> {
    if let Some(name) = context.named() {
        return Ok(name.clone());
    }
    "default"
        .parse()
        .map_err(|error: procore_auth_host::InvalidConnectionName| {
            Explained::new(
                Exit::Internal,
                "name",
                error.to_string(),
                "Give --connection.",
            )
            .into()
        })
}

/// Reads an environment's name on the command line.
pub(super) fn environment(name: &str) -> Result<Environment, String> {
    env_file::environment(name).ok_or_else(|| env_file::ENVIRONMENTS.to_owned())
}

/// Refuses a value of a script's settings, at its line.
pub(super) fn unknown_value(path: &Path, unknown: &Unknown) -> Failure {
    let Unknown {
        line,
        name,
        value,
        expected,
    } = unknown;
    Explained::new(
        Exit::Refused,
        "import-invalid",
        format!(
            "{}:{line}: {name} is {value:?}, and not {expected}.",
            path.display()
        ),
        format!("Write {expected} there, or remove the line."),
    )
    .into()
}
