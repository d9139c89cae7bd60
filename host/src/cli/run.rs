//! `procore-auth run`: keeps connections alive in the foreground, for systemd or a container.
//!
//! A [`Keeper`] visits each connection when it is due, and nothing runs in between. What others do meanwhile (a sign-in, a refresh by
//! another program, an edit of the configuration) is noticed by watching the files. A connection in trouble never stops the
//! others. Alerts that wait, its own and those of other processes, are delivered meanwhile.

mod pulse;
mod reload;
mod service;
mod visits;
mod watch;

use std::sync::Arc;

use procore_auth_host::{ConnectionName, Keeper, SystemClock};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::metrics;
use super::open::{Open, Opener};
use pulse::Pulse;
use reload::Hangup;
use visits::Visits;
use watch::{Change, Watch};

/// Keeps every connection alive, or the one that is named, until told to stop.
pub(super) async fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    let opener = context.opener(context.config()?)?;
    opener.load_trusted_roots()?;
    let opened = open_all(&opener, context.named()).await?;
    if opened.iter().all(|(_, open)| open.is_err()) {
        // Nothing to keep alive: a mistake that whoever starts it should see at once.
        return opened
            .into_iter()
            .find_map(|(_, open)| open.err())
            .map_or(Ok(Exit::Done), Err);
    }
    let pulse = Pulse::new(&opener, context.named());
    let keeper = Keeper::new(Arc::new(SystemClock::new()), Some(pulse.period()));
    let courier = opener.courier().clone();
    let names: Vec<_> = opened.iter().map(|(name, _)| name.clone()).collect();
    let telling = metrics::tell(&opener, &context.shutdown);
    let visits = Visits::new(opener.clone(), context.named(), opened, pulse);
    let watch = Watch::start(visits.opener().config());
    for name in &names {
        keeper.add(name);
    }
    service::ready(names.len());
    let stop = async {
        context.shutdown.requested().await;
        service::stopping();
    };
    let keeping = async {
        tokio::select! {
            () = keeper.run(Arc::clone(&visits) as _, stop) => {}
            () = notice(&keeper, &visits, watch) => {}
        }
    };
    let delivering = courier.run(context.shutdown.requested());
    tokio::join!(keeping, delivering, telling);
    visits.pulse().stop().await;
    Ok(Exit::Done)
}

async fn open_all(
    opener: &Opener,
    named: Option<&ConnectionName>,
) -> Result<Vec<(ConnectionName, Result<Open, Failure>)>, Failure> {
    let mut opened = Vec::new();
    for (name, _) in opener.config().select_all(named)? {
        opened.push((name.clone(), opener.open(name).await));
    }
    Ok(opened)
}

/// Has the keeper visit those whom others changed. Never ends.
async fn notice(keeper: &Keeper, visits: &Visits, mut watch: Watch) {
    let mut hangup = Hangup::listen();
    loop {
        tokio::select! {
            changes = watch.next() => {
                for change in changes {
                    match change {
                        Change::Session(name) => look(keeper, visits, &name).await,
                        Change::Parked(name) => look_for_parked(keeper, visits, &name).await,
                        Change::Configuration => visits.reload_if_edited(keeper),
                        Change::Unknown => {
                            visits.reload_if_edited(keeper);
                            for name in visits.names() {
                                look(keeper, visits, &name).await;
                                look_for_parked(keeper, visits, &name).await;
                            }
                        }
                    }
                }
            }
            () = hangup.next() => {
                service::reloading();
                visits.reload(keeper);
                service::ready(visits.names().len());
            }
        }
    }
}

async fn look(keeper: &Keeper, visits: &Visits, name: &ConnectionName) {
    if visits.is_news(name).await {
        keeper.visit_now(name);
    }
}

async fn look_for_parked(keeper: &Keeper, visits: &Visits, name: &ConnectionName) {
    if visits.has_newly_parked(name).await {
        keeper.visit_now(name);
    }
}
