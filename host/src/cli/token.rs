//! `procore-auth token`: prints an access token, for a program that calls Procore by itself.

use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::{report, time};

#[derive(Serialize)]
struct Document<'a> {
    token: &'a str,
    refresh_at: String,
    expires_at: String,
    fallback: bool,
}

/// Prints the token alone, or with its times as JSON.
pub(super) async fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    let open = context.open_one().await?;
    let token = open.connection.access_token().await?;
    let bearer = token.bearer().expose();
    if context.terminal.is_json() {
        context.terminal.json(&Document {
            token: bearer,
            refresh_at: time::rfc3339(token.refresh_at()),
            expires_at: time::rfc3339(token.expires_at()),
            fallback: token.acts_as_fallback(),
        })?;
    } else {
        if token.acts_as_fallback() {
            context.terminal.note(report::FALLBACK);
        }
        context.terminal.line(bearer)?;
    }
    Ok(Exit::Done)
}
