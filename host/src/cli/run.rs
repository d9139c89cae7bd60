//! `procore-auth run`: keeps connections alive in the foreground, for systemd or a container.
//!
//! One task a connection: a visit, then a wait until the moment that the visit named. The wait is measured on the wall clock and
//! looked at anew at least once a minute, because a machine may sleep and clocks are set; a glance at the status between visits
//! notices what others did (a sign-in, a refresh by another program). A connection in trouble never stops the others. Alerts that
//! wait, its own and those of other processes, are delivered meanwhile.

use std::time::Duration;

use procore_auth_host::{ConnectionName, Health, Status, Visit};
use tokio::task::JoinSet;

use super::config::Config;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::open::{Open, Opener};
use super::shutdown::Shutdown;
use super::{metrics, status, time, trouble};

/// The longest sleep between two looks at the wall clock.
const LOOK: Duration = Duration::from_secs(60);

/// The pause after the first of several visits that fail. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Keeps every connection alive, or the one that is named, until told to stop.
pub(super) async fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    let opener = context.opener(context.config()?)?;
    let names: Vec<ConnectionName> = opener
        .config()
        .select_all(context.named())?
        .into_iter()
        .map(|(name, _)| name.clone())
        .collect();
    let mut opened = Vec::new();
    for name in names {
        let open = opener.open(&name).await;
        opened.push((name, open));
    }
    if opened.iter().all(|(_, open)| open.is_err()) {
        // Nothing to keep alive: a mistake that whoever starts it should see at once.
        return opened
            .into_iter()
            .find_map(|(_, open)| open.err())
            .map_or(Ok(Exit::Done), Err);
    }
    let mut keepers = JoinSet::new();
    for (name, open) in opened {
        keepers.spawn(keep(opener.clone(), name, open, context.shutdown.clone()));
    }
    let delivering = opener.courier().run(context.shutdown.requested());
    let telling = metrics::tell(&opener, &context.shutdown);
    tokio::join!(keepers.join_all(), delivering, telling);
    Ok(Exit::Done)
}

/// Keeps one connection alive, as soon as it can be opened.
async fn keep(
    opener: Opener,
    name: ConnectionName,
    open: Result<Open, Failure>,
    shutdown: Shutdown,
) {
    let open = match open {
        Ok(open) => Some(open),
        Err(failure) => {
            trouble::begin(&opener, &name, &failure.explained());
            open_at_last(&opener, &name, &shutdown).await
        }
    };
    if let Some(open) = open {
        tracing::info!(connection = %name, "keeping alive");
        keep_alive(opener, open, shutdown).await;
    }
}

/// Tries once a minute until the connection can be opened; `None` where told to stop before.
async fn open_at_last(opener: &Opener, name: &ConnectionName, shutdown: &Shutdown) -> Option<Open> {
    loop {
        pause(LOOK, shutdown).await;
        if shutdown.is_requested() {
            return None;
        }
        match open_anew(opener, name).await {
            Ok(open) => return Some(open),
            Err(failure) => trouble::begin(opener, name, &failure.explained()),
        }
    }
}

/// Visits one connection again and again.
async fn keep_alive(opener: Opener, mut open: Open, shutdown: Shutdown) {
    let mut pause = FIRST_PAUSE;
    let mut is_current = true;
    while !shutdown.is_requested() {
        opener.board().begin(&open.name);
        match open.connection.upkeep(None).await {
            Ok(visit) => {
                opener.board().note(&open.name, &visit);
                pause = FIRST_PAUSE;
                // A visit with settings that could not be read anew ends no trouble.
                if is_current {
                    trouble::end(&opener, &open.name);
                }
                log(&open.name, &visit);
                wait(&open, &visit, &shutdown).await;
                if !is_current || visit.status.health == Health::Misconfigured {
                    is_current = reopen(&opener, &mut open).await;
                }
            }
            Err(error) => {
                let explained = Failure::from(error).explained();
                trouble::begin(&opener, &open.name, &explained);
                let until = deadline(pause, explained.retry_at);
                sleep_until(until, &shutdown).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Opens the connection anew from the file: its settings, or the secret that they refer to, may have been mended. Returns whether
/// that worked.
async fn reopen(opener: &Opener, open: &mut Open) -> bool {
    match open_anew(opener, &open.name).await {
        Ok(anew) => {
            *open = anew;
            true
        }
        Err(failure) => {
            trouble::begin(opener, &open.name, &failure.explained());
            false
        }
    }
}

async fn open_anew(opener: &Opener, name: &ConnectionName) -> Result<Open, Failure> {
    let config = Config::load(opener.config().path())?;
    opener.with_config(config)?.open(name).await
}

/// Waits for the moment that the visit named, for a change that others made, or for the wish to stop.
async fn wait(open: &Open, visit: &Visit, shutdown: &Shutdown) {
    while !shutdown.is_requested() && time::now() < visit.come_back_at {
        let left = Duration::from_millis(visit.come_back_at.saturating_sub(time::now()));
        pause(left.min(LOOK), shutdown).await;
        match open.connection.status().await {
            Ok(now) if differs(&visit.status, &now) => return,
            // Trouble with the store is the next visit's to tell.
            _ => {}
        }
    }
}

/// Whether somebody else signed in, signed out or refreshed. What time alone changes is no reason for a visit.
fn differs(then: &Status, now: &Status) -> bool {
    then.token.map(|token| token.issued_at) != now.token.map(|token| token.issued_at)
        || (then.health == Health::SignInRequired) != (now.health == Health::SignInRequired)
}

fn deadline(pause: Duration, retry_at: Option<u64>) -> u64 {
    let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let soonest = time::now().saturating_add(pause);
    retry_at.map_or(soonest, |at| at.max(soonest))
}

async fn sleep_until(moment: u64, shutdown: &Shutdown) {
    while !shutdown.is_requested() && time::now() < moment {
        let left = Duration::from_millis(moment.saturating_sub(time::now()));
        pause(left.min(LOOK), shutdown).await;
    }
}

async fn pause(span: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(span) => {}
        () = shutdown.requested() => {}
    }
}

fn log(name: &ConnectionName, visit: &Visit) {
    tracing::info!(
        connection = %name,
        health = status::word(visit.status.health),
        refreshed = visit.refreshed,
        replayed = visit.replayed,
        come_back_at = time::rfc3339(visit.come_back_at),
        "visited"
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::{Shutdown, deadline, sleep_until, time};

    #[tokio::test]
    async fn a_wish_to_stop_ends_a_wait() {
        let (sender, receiver) = watch::channel(false);
        let shutdown = Shutdown::by(receiver);
        let waiting = tokio::spawn(async move { sleep_until(u64::MAX, &shutdown).await });
        sender.send(true).expect("listened to");
        tokio::time::timeout(Duration::from_secs(5), waiting)
            .await
            .expect("ends at once")
            .expect("no panic");
    }

    #[test]
    fn a_retry_is_never_sooner_than_the_pause() {
        let soon = deadline(Duration::from_secs(5), Some(0));
        assert!(soon >= time::now() + 4000);
        assert_eq!(deadline(Duration::ZERO, Some(u64::MAX)), u64::MAX);
    }
}
