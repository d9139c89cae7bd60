//! `procore-auth tick`: one visit to each connection, for cron. What waits in the outbox of alerts is delivered too.

use std::time::Duration;

use clap::Args;
use procore_auth_host::{ConnectionName, Environment, KeeperKind, Status};
use tokio::task::JoinSet;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::heartbeat;
use super::metrics;
use super::open::Opener;
use super::status::{self, Known};
use super::time;
use super::trouble;

/// A visit that comes later than announced by half of the time, or by this, is missing.
const LEAST_LATENESS: Duration = Duration::from_secs(300);

/// How many visits run at once, as those of a keeper that stays.
const AT_ONCE: usize = 32;

/// When the next visit comes.
#[derive(Args)]
pub(super) struct Arguments {
    /// How long until the next visit: what would fall due before then is done now
    #[arg(long, value_name = "TIME", default_value = "62m", value_parser = time::parse_span)]
    next_visit: Duration,
}

/// Visits every connection, or the one that is named, a few at once: one that waits does not delay the others, and one that fails
/// by a defect takes no report or alert from them.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let opener = context.opener(context.config()?)?;
    opener.load_trusted_roots()?;
    beat(&opener, context.named(), arguments.next_visit);
    let selected = opener.config().select_all(context.named())?;
    let visits = selected.into_iter().map(|(name, connection)| {
        let (opener, name, environment) = (opener.clone(), name.clone(), connection.environment());
        visit(opener, name, environment, arguments.next_visit)
    });
    let mut all = a_few_at_once(visits).await;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    context.opened.deliver().await;
    metrics::write_once(&opener);
    status::print(context, &all)
}

/// Returns what each comes to, in any order. At most [`AT_ONCE`] run at any moment.
async fn a_few_at_once<T: Send + 'static>(
    visits: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let (mut running, mut all) = (JoinSet::new(), Vec::new());
    for visit in visits {
        if running.len() >= AT_ONCE {
            all.extend(running.join_next().await.and_then(Result::ok));
        }
        running.spawn(visit);
    }
    while let Some(ended) = running.join_next().await {
        all.extend(ended);
    }
    all
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

/// Makes one visit. It does not panic where the visit does.
async fn visit(
    opener: Opener,
    name: ConnectionName,
    environment: Environment,
    next: Duration,
) -> Known {
    let made = tokio::spawn(upkeep(opener.clone(), name.clone(), next)).await;
    let status = made.unwrap_or_else(|error| {
        tracing::error!(connection = %name, "a visit did not end as it should: {error}");
        Err(Box::new(trouble::panicked()))
    });
    let keeper = opener.heartbeat().of(&name, time::now());
    // Nobody may read what a cron job prints.
    match &status {
        Ok(_) => trouble::end(&opener, &name, heartbeat::lasting(&keeper)),
        Err(explained) => trouble::begin(&opener, &name, explained),
    }
    Known {
        keeper,
        name,
        environment,
        status,
    }
}

async fn upkeep(
    opener: Opener,
    name: ConnectionName,
    next: Duration,
) -> Result<Status, Box<Explained>> {
    let open = opener.open(&name).await.map_err(Failure::explained)?;
    let visit = open.connection.upkeep(Some(next)).await;
    let visit = visit.map_err(|error| Failure::from(error).explained())?;
    opener.board().note(&name, &visit);
    Ok(visit.status)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{AT_ONCE, a_few_at_once};

    #[tokio::test(start_paused = true)]
    async fn s48_a_thousand_are_visited_a_few_at_once_and_each_is_told_of() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let visits = (0..1000).map(|number| {
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            async move {
                let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                number
            }
        });
        let mut all = a_few_at_once(visits).await;
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn one_that_panics_takes_nothing_from_the_others() {
        let visits = (0..100).map(|number| async move {
            assert!(number != 7, "as wished");
            number
        });
        assert_eq!(a_few_at_once(visits).await.len(), 99);
    }
}
