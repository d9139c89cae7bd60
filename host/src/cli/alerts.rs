//! `procore-auth alerts`: the sinks of alerts, and what waits for them.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use procore_auth_host::alerts::{Alert, Courier, Sink, SinkReport, Waiting};
use procore_auth_host::{Severity, StoreFailure};
use serde::Serialize;
use tokio::task::JoinSet;

use super::config::Config;
use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open::store_remedy;
use super::status::undelivered::{self, UnusableDocument};
use super::time;

/// How long a sink may take for a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do with them.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Send a test alert to every sink, and tell what each answered
    Test,
    /// List the alerts that wait to be delivered
    List,
    /// Delete one without delivering it
    Discard {
        /// The alert's id
        id: String,
    },
}

#[derive(Serialize)]
struct TestDocument {
    sinks: Vec<Tested>,
}

/// How a test went. The fields are stable.
#[derive(Serialize)]
struct Tested {
    sink: String,
    delivered: bool,
    answer: String,
}

#[derive(Serialize)]
struct ListDocument<'a> {
    alerts: Vec<WaitingDocument<'a>>,
    unreadable: Vec<UnusableDocument<'a>>,
}

/// An alert that waits as JSON. The fields are stable.
#[derive(Serialize)]
struct WaitingDocument<'a> {
    sink: &'a str,
    id: &'a str,
    at: String,
    connection: &'a str,
    severity: Severity,
    code: &'a str,
    message: &'a str,
    tries: u32,
}

#[derive(Serialize)]
struct DiscardDocument<'a> {
    discarded: &'a str,
}

/// Tests, lists or discards.
pub(super) async fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Failure> {
    let opener = context.opener(context.config()?)?;
    let courier = opener.courier();
    match verb {
        Verb::Test => test(context, opener.config(), courier).await,
        Verb::List => list(context, courier),
        Verb::Discard { id } => discard(context, courier, id),
    }
}

async fn test(context: &Context<'_>, config: &Config, courier: &Courier) -> Result<Exit, Failure> {
    if courier.sinks().is_empty() {
        return Err(no_sink(config));
    }
    let all = config.select_all(context.named())?;
    let Some((name, connection)) = all.first() else {
        return Ok(Exit::Done);
    };
    let alert = Alert::test(name.as_str(), Some(connection.environment()), time::now());
    let mut tests = JoinSet::new();
    for sink in courier.sinks() {
        tests.spawn(test_one(courier.clone(), Arc::clone(sink), alert.clone()));
    }
    let mut sinks: Vec<Tested> = tests.join_all().await;
    sinks.sort_by(|a, b| a.sink.cmp(&b.sink));
    let all_delivered = sinks.iter().all(|tested| tested.delivered);
    if context.terminal.is_json() {
        context.terminal.json(&TestDocument { sinks })?;
    } else {
        for Tested {
            sink,
            delivered,
            answer,
        } in &sinks
        {
            let word = if *delivered {
                "delivered"
            } else {
                "NOT delivered"
            };
            let line = format_args!("{sink}: {word}: {answer}");
            context.terminal.line(line)?;
        }
        // The sink works, and yet something does not get there.
        for sink in &courier.outbox().report().unwrap_or_default() {
            tell_unusable(context, sink);
        }
    }
    Ok(if all_delivered {
        Exit::Done
    } else {
        Exit::Undelivered
    })
}

async fn test_one(courier: Courier, sink: Arc<dyn Sink>, alert: Alert) -> Tested {
    let outcome = sink.deliver(&alert, PATIENCE).await;
    if outcome.is_ok() {
        courier.works_again(sink.name()).await;
    }
    Tested {
        sink: sink.name().to_string(),
        delivered: outcome.is_ok(),
        answer: outcome.unwrap_or_else(|undelivered| undelivered.message),
    }
}

fn list(context: &Context<'_>, courier: &Courier) -> Result<Exit, Failure> {
    let waiting = courier.outbox().waiting().map_err(|e| unreadable(&e))?;
    let sinks = courier.outbox().report().map_err(|e| unreadable(&e))?;
    let is_whole = sinks.iter().all(|sink| sink.unusable.is_empty());
    if context.terminal.is_json() {
        let alerts = waiting.iter().map(WaitingDocument::from).collect();
        let unreadable = sinks.iter().flat_map(UnusableDocument::all).collect();
        context
            .terminal
            .json(&ListDocument { alerts, unreadable })?;
    } else if waiting.is_empty() && is_whole {
        context.terminal.note("no alert waits");
    } else {
        let now = time::now();
        for Waiting {
            sink, alert, tries, ..
        } in &waiting
        {
            context.terminal.line(format_args!(
                "{}  for {sink}  {}  {}  {}  {tries} failed tries  {}",
                alert.id,
                time::relative(alert.at, now),
                alert.connection,
                alert.code,
                alert.message
            ))?;
        }
        for sink in &sinks {
            tell_unusable(context, sink);
        }
    }
    Ok(if is_whole {
        Exit::Done
    } else {
        Exit::Undelivered
    })
}

/// Tells what waits for a sink and cannot be read.
fn tell_unusable(context: &Context<'_>, sink: &SinkReport) {
    let text = undelivered::unusable(sink);
    if !text.is_empty() {
        context.terminal.note(text.trim_matches('\n'));
    }
}

fn discard(context: &Context<'_>, courier: &Courier, id: &str) -> Result<Exit, Failure> {
    let discarded = courier.outbox().discard(id).map_err(|e| unreadable(&e))?;
    if discarded == 0 {
        return Err(Explained::new(
            Exit::Refused,
            "no-such-alert",
            "No alert with this id waits.",
            "`procore-auth alerts list` shows the ids.",
        )
        .into());
    }
    if context.terminal.is_json() {
        context.terminal.json(&DiscardDocument { discarded: id })?;
    } else {
        context.terminal.line(format_args!("{id} is discarded"))?;
    }
    Ok(Exit::Done)
}

fn no_sink(config: &Config) -> Failure {
    Explained::new(
        Exit::Configuration,
        "config-no-sink",
        format!("{} has no sink for alerts.", config.path().display()),
        "Add a table [alerts.ops] with `webhook = { env = \"OPS_WEBHOOK\" }` or `command = [\"/path/to/program\"]`.",
    )
    .into()
}

fn unreadable(failure: &StoreFailure) -> Failure {
    Explained::new(
        Exit::Storage,
        failure.code,
        format!("The alerts that wait cannot be read: {}.", failure.message),
        store_remedy(failure.code),
    )
    .into()
}

impl<'a> From<&'a Waiting> for WaitingDocument<'a> {
    fn from(
        Waiting {
            sink, alert, tries, ..
        }: &'a Waiting,
    ) -> Self {
        Self {
            sink: sink.as_str(),
            id: &alert.id,
            at: time::rfc3339(alert.at),
            connection: &alert.connection,
            severity: alert.severity,
            code: &alert.code,
            message: &alert.message,
            tries: *tries,
        }
    }
}
