//! `procore-auth parked discard`: one, those of an order key, or all. The flag is the confirmation: nothing is asked.

use serde::Serialize;

use super::chosen::Chosen;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Open;

/// What was discarded as JSON. The fields are stable.
#[derive(Serialize)]
struct Document {
    discarded: Vec<String>,
}

/// Discards those that are meant. The last goes first, so that none of one order key gets its turn meanwhile. One of many that the
/// store does not let go of is an error when the others are gone.
pub(super) async fn run(
    context: &Context<'_>,
    open: &Open,
    chosen: &Chosen,
) -> Result<Exit, Failure> {
    let mut discarded = Vec::new();
    let mut unreadable = None;
    for id in ids(open, chosen).await?.into_iter().rev() {
        match open.connection.discard(&id).await {
            // Of many, one may have been carried out or discarded since it was listed.
            Err(error) if error.code() == "no-such-request" && chosen.id().is_none() => {}
            Err(error) if error.code() == "request-unreadable" => {
                unreadable.get_or_insert(error);
            }
            done => {
                done?;
                tell(context, &id)?;
                discarded.push(id);
            }
        }
    }
    if context.terminal.is_json() {
        context.terminal.json(&Document { discarded })?;
    } else if discarded.is_empty() && unreadable.is_none() {
        context.terminal.note("no such request is parked");
    }
    match unreadable {
        Some(error) => Err(error.into()),
        None => Ok(Exit::Done),
    }
}

/// A single one need not be listed.
async fn ids(open: &Open, chosen: &Chosen) -> Result<Vec<String>, Failure> {
    if let Some(id) = chosen.id() {
        return Ok(vec![id.to_owned()]);
    }
    let requests = chosen.list(open).await?;
    Ok(requests.into_iter().map(|request| request.id).collect())
}

fn tell(context: &Context<'_>, id: &str) -> Result<(), Failure> {
    if context.terminal.is_json() {
        return Ok(());
    }
    context.terminal.line(format_args!("{id} is discarded"))
}
