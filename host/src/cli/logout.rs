//! `procore-auth logout`: ends a sign-in.

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Open;

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

/// What the sign-out came to.
#[derive(Clone, Copy)]
enum Ended {
    Revoked,
    Deleted,
    NobodyThere,
}

/// Revokes the tokens at Procore and deletes them, or only deletes them.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let open = context.open_one().await?;
    let exports = context.opened.exports();
    let signed_in = is_signed_in(&open).await;
    // Without a token too: a sign-in may be under way.
    if arguments.local {
        open.connection.forget().await?;
    } else {
        open.connection.revoke().await?;
    }
    for export in exports {
        export.remove().await;
    }
    let ended = match (signed_in, arguments.local) {
        (false, _) => Ended::NobodyThere,
        (true, true) => Ended::Deleted,
        (true, false) => Ended::Revoked,
    };
    tell(context, open.name.as_str(), ended)?;
    Ok(Exit::Done)
}

/// A store that cannot be read may have tokens.
async fn is_signed_in(open: &Open) -> bool {
    let status = open.connection.status().await;
    status.map_or(true, |status| status.token.is_some())
}

fn tell(context: &Context<'_>, connection: &str, ended: Ended) -> Result<(), Failure> {
    if context.terminal.is_json() {
        return context.terminal.json(&Document {
            connection,
            revoked: matches!(ended, Ended::Revoked),
        });
    }
    let told = match ended {
        Ended::Revoked => "signed out; the tokens are revoked and deleted.",
        Ended::Deleted => {
            "the tokens are deleted here. At Procore they stay valid until they are revoked."
        }
        Ended::NobodyThere => "nobody was signed in, so nothing was revoked.",
    };
    context.terminal.line(format_args!("{connection}: {told}"))
}
