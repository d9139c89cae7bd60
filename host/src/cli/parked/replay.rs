//! `procore-auth parked replay`: the queued ones, one, those of an order key, or all.

use procore_auth_host::{Diagnosis, ParkedRequest, ParkedState, ReplayReport, Replayed};
use serde::Serialize;

use super::chosen::Chosen;
use super::held::{self, Held};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Open;
use crate::cli::report;

/// What replays came to, as JSON. The fields are stable.
#[derive(Default, Serialize)]
struct Document {
    replayed: Vec<Replayed>,
    remaining: u32,
    stopped: Option<Diagnosis>,
    /// The requests that a person must decide about before those of their order key are sent.
    held: Vec<Held>,
}

/// Replays those that are meant; where nothing is said, the queued ones.
pub(super) async fn run(
    context: &Context<'_>,
    open: &Open,
    chosen: &Chosen,
) -> Result<Exit, Failure> {
    let mut document: Document = match chosen.id() {
        None if !chosen.is_nothing() => replay_each(open, chosen.list(open).await?).await?,
        id => open.connection.replay(id).await?.into(),
    };
    if document.remaining > 0 {
        document.held = held::find(&open.connection.parked().await?);
    }
    tell(context, &document)?;
    let mut answers = document.replayed.iter();
    Ok(match document.stopped {
        Some(_) => Exit::Parked,
        None if answers.any(is_refused) => Exit::ApiRefused,
        None if document.held.is_empty() => Exit::Done,
        None => Exit::Parked,
    })
}

/// Replays one after the other, whatever their state, until one must wait or cannot be read. After a refusal those of its order key
/// are passed over.
async fn replay_each(open: &Open, requests: Vec<ParkedRequest>) -> Result<Document, Failure> {
    let is_queued = |request: &&ParkedRequest| request.state == ParkedState::Queued;
    let queued = requests.iter().filter(is_queued).count();
    let mut whole = Document {
        remaining: u32::try_from(queued).unwrap_or(u32::MAX),
        ..Document::default()
    };
    let mut held: Vec<String> = Vec::new();
    for request in requests {
        let key = request.order_key;
        if key.as_ref().is_some_and(|key| held.contains(key)) {
            continue;
        }
        let report = match open.connection.replay(Some(&request.id)).await {
            // It was carried out or discarded since it was listed.
            Err(error) if error.code() == "no-such-request" => continue,
            // Whom it holds up is not known.
            Err(error) if error.code() == "request-unreadable" => {
                whole.stopped = Some(error.diagnosis().clone());
                break;
            }
            report => report?,
        };
        whole.remaining = report.remaining;
        if report.replayed.iter().any(is_refused) {
            held.extend(key);
        }
        whole.replayed.extend(report.replayed);
        if report.stopped.is_some() {
            whole.stopped = report.stopped;
            break;
        }
    }
    Ok(whole)
}

fn is_refused(replayed: &Replayed) -> bool {
    replayed.status >= 400
}

fn tell(context: &Context<'_>, document: &Document) -> Result<(), Failure> {
    let terminal = &context.terminal;
    if terminal.is_json() {
        return terminal.json(document);
    }
    for Replayed { id, status, .. } in &document.replayed {
        terminal.line(format_args!("{id}  status {status}"))?;
    }
    terminal.note(format_args!("{} still wait", document.remaining));
    for held in &document.held {
        terminal.note(held);
    }
    if let Some(stopped) = &document.stopped {
        terminal.note(format_args!("stopped: {}", report::diagnosis(stopped)));
    }
    Ok(())
}

impl From<ReplayReport> for Document {
    fn from(report: ReplayReport) -> Self {
        Self {
            replayed: report.replayed,
            remaining: report.remaining,
            stopped: report.stopped,
            held: Vec::new(),
        }
    }
}
