//! `procore-auth parked`: the requests that wait to be sent.

use clap::Subcommand;
use procore_auth_host::{ParkedRequest, ParkedState, ReplayReport};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Open;
use super::{report, time};

/// What to do with them.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// List them in the order in which they were parked
    List,
    /// Send the queued ones in order, or the one that is named, whatever its state
    Replay {
        /// The request's id
        id: Option<String>,
    },
    /// Delete one without sending it
    Discard {
        /// The request's id
        id: String,
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
    parked_at: String,
    replays: u32,
    reason: &'a str,
    order_key: Option<&'a str>,
}

#[derive(Serialize)]
struct DiscardDocument<'a> {
    discarded: &'a str,
}

/// Lists, replays or discards.
pub(super) async fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Failure> {
    let open = context.open_one().await?;
    match verb {
        Verb::List => list(context, &open).await,
        Verb::Replay { id } => {
            let report = open.connection.replay(id.as_deref()).await?;
            replayed(context, &report)
        }
        Verb::Discard { id } => discard(context, &open, id).await,
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
    let state = match request.state {
        ParkedState::Queued => "queued",
        ParkedState::UnknownOutcome => "unknown outcome",
        ParkedState::DeadLetter => "dead letter",
        _ => "unknown state",
    };
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

fn replayed(context: &Context<'_>, report: &ReplayReport) -> Result<Exit, Failure> {
    if context.terminal.is_json() {
        context.terminal.json(report)?;
    } else {
        for replayed in &report.replayed {
            context
                .terminal
                .line(format_args!("{}  status {}", replayed.id, replayed.status))?;
        }
        context
            .terminal
            .note(format_args!("{} still wait", report.remaining));
        if let Some(stopped) = &report.stopped {
            context
                .terminal
                .note(format_args!("stopped: {}", report::diagnosis(stopped)));
        }
    }
    let refused = report
        .replayed
        .iter()
        .any(|replayed| replayed.status >= 400);
    Ok(match report.stopped {
        Some(_) => Exit::Parked,
        None if refused => Exit::ApiRefused,
        None => Exit::Done,
    })
}

async fn discard(context: &Context<'_>, open: &Open, id: &str) -> Result<Exit, Failure> {
    open.connection.discard(id).await?;
    if context.terminal.is_json() {
        context.terminal.json(&DiscardDocument { discarded: id })?;
    } else {
        context.terminal.line(format_args!("{id} is discarded"))?;
    }
    Ok(Exit::Done)
}

impl<'a> From<&'a ParkedRequest> for RequestDocument<'a> {
    fn from(request: &'a ParkedRequest) -> Self {
        Self {
            id: &request.id,
            state: request.state,
            method: &request.method,
            path: &request.path,
            size: request.size,
            parked_at: time::rfc3339(request.parked_at),
            replays: request.replays,
            reason: &request.reason,
            order_key: request.order_key.as_deref(),
        }
    }
}
