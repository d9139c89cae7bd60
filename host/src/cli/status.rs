//! `procore-auth status`: how the connections are, with the evidence. Sends nothing.

mod bar;
mod columns;
mod details;
mod display;
mod document;
mod overwrite;
#[cfg(test)]
mod samples;
mod summary;
mod suspension;
mod table;
pub(super) mod undelivered;
mod watch;

use std::time::Duration;

use clap::Args;
use procore_auth_host::{ConnectionName, Environment, Health, Heartbeat, Keeping, Status};

use super::context::{Context, Found};
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::heartbeat;
use super::open::Open;
use super::terminal::harmless;
use super::time;
use display::Display;
use document::Document;
use undelivered::Undelivered;

/// How often to tell.
#[derive(Args)]
pub(super) struct Arguments {
    /// Tell again and again, on a terminal in place, until Ctrl-C; SECONDS apart [default: 2]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    watch: Option<u64>,
}

/// What is known of one connection.
pub(super) struct Known {
    /// Its name.
    pub(super) name: ConnectionName,
    /// Its environment, as configured.
    pub(super) environment: Environment,
    /// Whether somebody keeps it alive.
    pub(super) keeper: Keeping,
    /// Its status, or why there is none.
    pub(super) status: Result<Status, Box<Explained>>,
}

/// The connections, opened once.
struct Connections {
    all: Vec<(ConnectionName, Environment, Result<Open, Box<Explained>>)>,
    heartbeat: Heartbeat,
}

/// Prints the status of every connection, or of the one that is named.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    match arguments.watch {
        Some(seconds) => watch::run(context, Duration::from_secs(seconds)).await,
        None => {
            let connections = Connections::open(context).await?;
            print(context, &connections.look().await)
        }
    }
}

/// Prints what is known, of the connections and of their alerts, and returns the exit code of the worst.
pub(super) fn print(context: &Context<'_>, all: &[Known]) -> Result<Exit, Failure> {
    let alerts = Undelivered::look(&context.opened);
    let now = time::now();
    if context.terminal.is_json() {
        context.terminal.json(&Document::new(all, &alerts, now))?;
    } else {
        let text = text(all, &alerts, Display::of_stdout(), now);
        context.terminal.bytes(text.as_bytes())?;
    }
    let worst = all.iter().map(Known::exit).fold(Exit::Done, Exit::worst);
    Ok(worst.worst(alerts.exit()))
}

/// Renders the table, and below it what is not well.
fn text(all: &[Known], alerts: &Undelivered, display: Display, now: u64) -> String {
    let details: String = all.iter().map(|k| details::details(k, now)).collect();
    let below = heartbeat::text(all, now) + &details + &alerts.text(now);
    table::table(all, alerts, display, now) + &details::fit(&harmless(&below), display)
}

impl Connections {
    /// Opens every connection, or the one that is named. What cannot be opened is told as such.
    async fn open(context: &Context<'_>) -> Result<Self, Failure> {
        let heartbeat = Heartbeat::beside(&context.config()?.state);
        let all = context.open_all().await?.into_iter();
        let explain = |found: Found| {
            let open = found.open.map_err(Failure::explained);
            (found.name, found.environment, open)
        };
        Ok(Self {
            all: all.map(explain).collect(),
            heartbeat,
        })
    }

    /// Looks at each.
    async fn look(&self) -> Vec<Known> {
        let mut all = Vec::new();
        for (name, environment, open) in &self.all {
            let status = match open {
                Ok(open) => {
                    let status = open.connection.status().await;
                    status.map_err(|error| Failure::from(error).explained())
                }
                Err(explained) => Err(explained.clone()),
            };
            all.push(Known {
                name: name.clone(),
                environment: *environment,
                keeper: self.heartbeat.of(name, time::now()),
                status,
            });
        }
        all
    }
}

impl Known {
    fn exit(&self) -> Exit {
        let exit = match &self.status {
            Ok(status) => exit_of(status),
            Err(explained) => explained.exit,
        };
        exit.worst(heartbeat::exit_of(&self.keeper))
    }
}

/// Returns the exit code that stands for a status.
pub(super) fn exit_of(status: &Status) -> Exit {
    match status.health {
        Health::Healthy if status.parked + status.undecided > 0 => Exit::Parked,
        Health::Healthy => Exit::Done,
        Health::Unverified | Health::AtRisk => Exit::AtRisk,
        Health::Unavailable => Exit::Unavailable,
        Health::Misconfigured => Exit::Configuration,
        Health::SignInRequired => Exit::SignInRequired,
        _ => Exit::Internal,
    }
}

/// Returns the word for a health.
pub(super) fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unverified => "unverified",
        Health::AtRisk => "at risk",
        Health::Unavailable => "unavailable",
        Health::Misconfigured => "misconfigured",
        Health::SignInRequired => "sign-in required",
        _ => "unknown",
    }
}
