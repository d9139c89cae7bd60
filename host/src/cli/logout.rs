//! `procore-auth logout`: ends a sign-in.

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

/// How to sign out.
#[derive(Args)]
pub(super) struct Arguments {
    /// Delete the tokens on this machine only, without telling Procore: they stay valid there
    #[arg(long)]
    local: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    connection: &'a str,
    revoked: bool,
}

/// Revokes the tokens at Procore and deletes them, or only deletes them.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let open = context.open_one().await?;
    if arguments.local {
        open.connection.forget().await?;
    } else {
        open.connection.revoke().await?;
    }
    let name = open.name.as_str();
    if context.terminal.is_json() {
        context.terminal.json(&Document {
            connection: name,
            revoked: !arguments.local,
        })?;
    } else if arguments.local {
        context.terminal.line(format_args!(
            "{name}: the tokens are deleted here. At Procore they stay valid until they are revoked."
        ))?;
    } else {
        context.terminal.line(format_args!(
            "{name}: signed out; the tokens are revoked and deleted."
        ))?;
    }
    Ok(Exit::Done)
}
