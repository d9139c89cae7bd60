//! `procore-auth parked`: the requests that wait to be sent.

mod chosen;
mod discard;
mod held;
mod replay;

use clap::{ArgGroup, Subcommand};
use procore_auth_host::{ParkedRequest, ParkedState};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Open;
use super::time;
use chosen::Chosen;

/// What to do with them.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// List them in the order in which they were parked
    List,
    /// Send the queued ones in order, or those that are named, whatever their state
    ///
    /// Of one order key, the first that is refused keeps those behind it from being sent.
    Replay {
        /// Which
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Delete some without sending them
    #[command(group(ArgGroup::new("some").required(true).args(["id", "order_key", "all"])))]
    Discard {
        /// Which
        #[command(flatten)]
        chosen: Chosen,
    },
}

#[derive(Serialize)]
struct ListDocument<'a> {
    parked: Vec<RequestDocument<'a>>,
}

/// A request as JSON. The fields are stable.
#[derive(Serialize)]
struct RequestDocument<'a> {
    id: &'a str,
    state: ParkedState,
    method: &'a str,
    path: &'a str,
    size: u64,
    parked_at: Option<String>,
    replays: u32,
    reason: &'a str,
    order_key: Option<&'a str>,
}

/// Lists, replays or discards.
pub(super) async fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Failure> {
    let open = context.open_one().await?;
    match verb {
        Verb::List => list(context, &open).await,
        Verb::Replay { chosen } => replay::run(context, &open, chosen).await,
        Verb::Discard { chosen } => discard::run(context, &open, chosen).await,
    }
}

async fn list(context: &Context<'_>, open: &Open) -> Result<Exit, Failure> {
    let requests = open.connection.parked().await?;
    if context.terminal.is_json() {
        let parked = requests.iter().map(RequestDocument::from).collect();
        context.terminal.json(&ListDocument { parked })?;
    } else if requests.is_empty() {
        context.terminal.note("no request is parked");
    } else {
        let now = time::now();
        for request in &requests {
            context.terminal.line(line(request, now))?;
        }
    }
    Ok(Exit::Done)
}

fn line(request: &ParkedRequest, now: u64) -> String {
    let state = word(request.state);
    if request.method.is_empty() {
        return format!(
            "{}  {state}  cannot be read  {} bytes  {}",
            request.id, request.size, request.reason
        );
    }
    let order = match &request.order_key {
        Some(key) => format!("  in order of {key}"),
        None => String::new(),
    };
    format!(
        "{}  {state}  {} {}  {} bytes  parked {}  {} replays  {}{order}",
        request.id,
        request.method,
        request.path,
        request.size,
        time::relative(request.parked_at, now),
        request.replays,
        request.reason
    )
}

fn word(state: ParkedState) -> &'static str {
    match state {
        ParkedState::Queued => "queued",
        ParkedState::UnknownOutcome => "unknown outcome",
        ParkedState::DeadLetter => "dead letter",
        _ => "unknown state",
    }
}

impl<'a> From<&'a ParkedRequest> for RequestDocument<'a> {
    fn from(request: &'a ParkedRequest) -> Self {
        Self {
            id: &request.id,
            state: request.state,
            method: &request.method,
            path: &request.path,
            size: request.size,
            parked_at: (request.parked_at > 0).then(|| time::rfc3339(request.parked_at)),
            replays: request.replays,
            reason: &request.reason,
            order_key: request.order_key.as_deref(),
        }
    }
}
