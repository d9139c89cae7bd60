//! `procore-auth tick`: one visit to each connection, for cron. What waits in the outbox of alerts is delivered too.

use std::time::Duration;

use clap::Args;
use procore_auth_host::{ConnectionName, Environment, KeeperKind};
use tokio::task::JoinSet;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::metrics;
use super::open::{Open, Opener};
use super::status::{self, Known};
use super::time;
use super::trouble;

/// A visit that comes later than announced by half of the time, or by this, is missing.
const LEAST_LATENESS: Duration = Duration::from_secs(300);

/// When the next visit comes.
#[derive(Args)]
pub(super) struct Arguments {
    /// How long until the next visit: what would fall due before then is done now
    #[arg(long, value_name = "TIME", default_value = "60m", value_parser = time::parse_span)]
    next_visit: Duration,
}

/// Visits every connection, or the one that is named, all at once: one that waits does not delay the others.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let mut visits = JoinSet::new();
    let opener = context.opener(context.config()?)?;
    beat(&opener, context.named(), arguments.next_visit);
    for (name, connection) in opener.config().select_all(context.named())? {
        let open = opener.open(name).await;
        let (name, environment) = (name.clone(), connection.environment());
        let visit = visit(
            opener.clone(),
            name,
            environment,
            open,
            arguments.next_visit,
        );
        visits.spawn(visit);
    }
    let mut all: Vec<Known> = visits.join_all().await;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    context.opened.deliver().await;
    metrics::write_once(&opener);
    status::print(context, &all)
}

/// Promises the clients of the store to come again.
fn beat(opener: &Opener, named: Option<&ConnectionName>, next_visit: Duration) {
    let heartbeat = opener.heartbeat();
    let promise = next_visit + (next_visit / 2).max(LEAST_LATENESS);
    // The store's own trouble is told by the visits.
    if let Err(failure) = heartbeat.beat(KeeperKind::Tick, named, time::now(), promise) {
        tracing::warn!(code = failure.code, "no sign of life: {}", failure.message);
    }
}

async fn visit(
    opener: Opener,
    name: ConnectionName,
    environment: Environment,
    open: Result<Open, Failure>,
    next: Duration,
) -> Known {
    let status = match open {
        Ok(open) => match open.connection.upkeep(Some(next)).await {
            Ok(visit) => {
                opener.board().note(&name, &visit);
                Ok(visit.status)
            }
            Err(error) => Err(Failure::from(error)),
        },
        Err(failure) => Err(failure),
    };
    let status = status.map_err(Failure::explained);
    // Nobody may read what a cron job prints.
    match &status {
        Ok(_) => trouble::end(&opener, &name),
        Err(explained) => trouble::begin(&opener, &name, explained),
    }
    Known {
        keeper: opener.heartbeat().of(&name, time::now()),
        name,
        environment,
        status,
    }
}
