//! The visits of a keeper that stays: what is open, what was seen last, and what to do where a visit fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use procore_auth_host::{Connection, ConnectionName, Health, Keeper, Status, Visit, Visitor};

use super::super::config::Config;
use super::super::failure::{Explained, Failure};
use super::super::open::{Open, Opener};
use super::super::{status, time, trouble};
use super::pulse::Pulse;

/// How soon to try again to open a connection that cannot be opened.
const REOPEN: Duration = Duration::from_secs(60);

/// The pause after the first of several visits that fail. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How soon a connection is visited again where requests still wait at the end of a visit: as soon as the plugin comes back to
/// those that it could not send.
const REPLAY_AGAIN: Duration = Duration::from_secs(300);

/// The connections that are kept, and how.
pub(super) struct Visits {
    opener: Mutex<Opener>,
    named: Option<ConnectionName>,
    kept: Mutex<BTreeMap<ConnectionName, Kept>>,
    pulse: Pulse,
}

/// One connection.
#[derive(Clone)]
struct Kept {
    /// `None` where it cannot be opened.
    connection: Option<Connection>,
    /// Whether to open it anew: its settings, or the secret that they refer to, may have been mended.
    is_stale: bool,
    seen: Option<Seen>,
    /// How many requests waited at the end of the last visit; `None` while a visit is under way, and where none has ended well.
    left_waiting: Option<u32>,
    pause: Duration,
}

/// What others may change. What time alone changes is no reason for a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    issued_at: Option<u64>,
    needs_person: bool,
}

impl Visits {
    /// Keeps what was opened, and tells of what could not be.
    pub(super) fn new(
        opener: Opener,
        named: Option<&ConnectionName>,
        opened: Vec<(ConnectionName, Result<Open, Failure>)>,
        pulse: Pulse,
    ) -> Arc<Self> {
        let mut kept = BTreeMap::new();
        for (name, open) in opened {
            match open {
                Ok(open) => {
                    tracing::info!(connection = %name, "keeping alive");
                    kept.insert(name, Kept::new(Some(open.connection)));
                }
                Err(failure) => {
                    trouble::begin(&opener, &name, &failure.explained());
                    kept.insert(name, Kept::new(None));
                }
            }
        }
        Arc::new(Self {
            opener: Mutex::new(opener),
            named: named.cloned(),
            kept: Mutex::new(kept),
            pulse,
        })
    }

    /// Returns what the connections are opened with at present.
    pub(super) fn opener(&self) -> Opener {
        let opener = self.opener.lock();
        opener.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the connections that are kept.
    pub(super) fn names(&self) -> Vec<ConnectionName> {
        self.kept().keys().cloned().collect()
    }

    /// Returns the signs of life.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether somebody signed in, signed out or refreshed since the last visit.
    pub(super) async fn is_news(&self, name: &ConnectionName) -> bool {
        let known = self.kept().get(name).cloned();
        let Some(Kept {
            connection: Some(connection),
            seen: Some(seen),
            ..
        }) = known
        else {
            return false;
        };
        // Trouble with the store is the next visit's to tell.
        let now = connection.status().await;
        now.is_ok_and(|status| Seen::of(&status) != seen)
    }

    /// Whether requests were parked of which the last visit knows nothing.
    ///
    /// Where some waited at its end the next one comes by itself, and a visit that is under way looks at its own end. So neither
    /// the keeper's own writes nor an outage that lasts have it come again and again.
    pub(super) async fn has_newly_parked(&self, name: &ConnectionName) -> bool {
        let known = self.kept().get(name).cloned();
        let Some(Kept {
            connection: Some(connection),
            left_waiting: Some(0),
            ..
        }) = known
        else {
            return false;
        };
        let now = connection.status().await;
        now.is_ok_and(|status| status.parked > 0)
    }

    /// Goes on with the configuration file as it is now, where it was edited. See [`Visits::reload`].
    pub(super) fn reload_if_edited(&self, keeper: &Keeper) {
        let opener = self.opener();
        let is_edited = |text: String| text != opener.config().text();
        if std::fs::read_to_string(opener.config().path()).is_ok_and(is_edited) {
            self.reload(keeper);
        }
    }

    /// Goes on with the configuration file as it is now: connections come, go, and are opened anew at a visit at once. One with a
    /// mistake changes nothing.
    pub(super) fn reload(&self, keeper: &Keeper) {
        match self.read_again() {
            Ok(names) => {
                tracing::info!(
                    connections = names.len(),
                    "the configuration was read again"
                );
                self.keep_only(&names, keeper);
            }
            Err(failure) => {
                let explained = failure.explained();
                tracing::warn!(
                    code = explained.code,
                    "the configuration was not read again, and nothing changes: {}",
                    explained.summary
                );
            }
        }
    }

    fn read_again(&self) -> Result<Vec<ConnectionName>, Failure> {
        let opener = self.opener();
        let opener = opener.with_config(Config::load(opener.config().path())?)?;
        opener.load_trusted_roots()?;
        let selected = opener.config().select_all(self.named.as_ref())?;
        let names = selected.into_iter().map(|(name, _)| name.clone()).collect();
        *self.opener.lock().unwrap_or_else(PoisonError::into_inner) = opener;
        Ok(names)
    }

    fn keep_only(&self, names: &[ConnectionName], keeper: &Keeper) {
        let opener = self.opener();
        let mut kept = self.kept();
        kept.retain(|name, _| {
            let stays = names.contains(name);
            if !stays {
                tracing::info!(connection = %name, "no longer kept");
                keeper.remove(name);
                opener.board().forget(name);
            }
            stays
        });
        for name in names {
            let known = kept.entry(name.clone());
            known.or_insert_with(|| Kept::new(None)).is_stale = true;
            keeper.add(name);
        }
    }

    /// Returns the connection, opened anew where that is due, and whether its settings are those of the file.
    async fn open(&self, name: &ConnectionName, kept: &Kept) -> Option<(Connection, bool)> {
        let opener = self.opener();
        if let (Some(connection), false) = (&kept.connection, kept.is_stale) {
            return Some((connection.clone(), true));
        }
        match opener.open(name).await {
            Ok(open) => Some((open.connection, true)),
            Err(failure) => {
                trouble::begin(&opener, name, &failure.explained());
                kept.connection.clone().map(|old| (old, false))
            }
        }
    }

    fn begin(&self, name: &ConnectionName) {
        if let Some(kept) = self.kept().get_mut(name) {
            kept.left_waiting = None;
        }
    }

    fn log(&self, name: &ConnectionName, visit: &Visit) {
        tracing::info!(
            connection = %name,
            health = status::word(visit.status.health),
            refreshed = visit.refreshed,
            replayed = visit.replayed,
            come_back_at = time::rfc3339(visit.come_back_at),
            "visited"
        );
    }

    /// Keeps what a visit found, unless the connection was removed meanwhile. A wish to open it anew that came meanwhile stays.
    fn note(&self, name: &ConnectionName, was_stale: bool, after: Kept) {
        if let Some(kept) = self.kept().get_mut(name) {
            let came_meanwhile = kept.is_stale && !was_stale;
            *kept = Kept {
                is_stale: after.is_stale || came_meanwhile,
                ..after
            };
        } else {
            // It was opened with the configuration of before, and so expected, while that was read again.
            self.opener().board().forget(name);
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<ConnectionName, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Visitor for Visits {
    async fn visit(&self, name: &ConnectionName) -> u64 {
        let known = self.kept().get(name).cloned();
        let Some(kept) = known else {
            // Removed a moment ago; so the keeper does not come back either.
            return u64::MAX;
        };
        self.begin(name);
        let Some((connection, is_current)) = self.open(name, &kept).await else {
            return after(REOPEN);
        };
        let opener = self.opener();
        opener.board().begin(name);
        match connection.upkeep(None).await {
            Ok(mut visit) => {
                visit.come_back_at = come_back_at(&visit, time::now());
                opener.board().note(name, &visit);
                // A visit with settings that could not be read anew ends no trouble.
                if is_current {
                    trouble::end(&opener, name, &[]);
                }
                self.log(name, &visit);
                if let Some(export) = opener.export(name, &connection) {
                    export.keep().await;
                }
                let may_be_mended = visit.status.health == Health::Misconfigured;
                let after = Kept {
                    connection: Some(connection),
                    is_stale: !is_current || may_be_mended,
                    seen: Some(Seen::of(&visit.status)),
                    left_waiting: Some(visit.status.parked),
                    pause: FIRST_PAUSE,
                };
                self.note(name, kept.is_stale, after);
                visit.come_back_at
            }
            Err(error) => {
                let explained = Failure::from(error).explained();
                trouble::begin(&opener, name, &explained);
                let after = Kept {
                    connection: Some(connection),
                    is_stale: !is_current,
                    seen: kept.seen,
                    left_waiting: None,
                    pause: (kept.pause * 2).min(LONGEST_PAUSE),
                };
                self.note(name, kept.is_stale, after);
                retry_at(kept.pause, &explained)
            }
        }
    }

    fn panicked(&self, name: &ConnectionName) {
        trouble::begin(&self.opener(), name, &trouble::panicked());
    }

    fn pulse(&self) {
        self.pulse.beat();
    }
}

impl Kept {
    fn new(connection: Option<Connection>) -> Self {
        Self {
            connection,
            is_stale: false,
            seen: None,
            left_waiting: None,
            pause: FIRST_PAUSE,
        }
    }
}

impl Seen {
    fn of(status: &Status) -> Self {
        Self {
            issued_at: status.token.map(|token| token.issued_at),
            needs_person: status.health == Health::SignInRequired,
        }
    }
}

/// Returns when to come back: what still waits was parked while the visit ended, or could not be sent.
fn come_back_at(visit: &Visit, now: u64) -> u64 {
    match visit.status.parked {
        0 => visit.come_back_at,
        _ => visit.come_back_at.min(later(now, REPLAY_AGAIN)),
    }
}

fn after(pause: Duration) -> u64 {
    later(time::now(), pause)
}

fn later(moment: u64, span: Duration) -> u64 {
    moment.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn retry_at(pause: Duration, explained: &Explained) -> u64 {
    let soonest = after(pause);
    explained.retry_at.map_or(soonest, |at| at.max(soonest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use procore_auth_host::Health;
    use procore_auth_host::internals::made;

    use super::super::super::exit::Exit;
    use super::{Explained, REPLAY_AGAIN, come_back_at, later, retry_at, time};

    #[test]
    fn what_still_waits_at_the_end_of_a_visit_does_not_wait_for_the_next_refresh() {
        const NOW: u64 = 1_795_392_000_123;
        let mut status = made::status(Health::Healthy);
        let refresh_at = NOW + 72 * 60_000;
        let visit = made::visit(refresh_at, status.clone());
        assert_eq!(come_back_at(&visit, NOW), refresh_at);
        status.parked = 1;
        let visit = made::visit(refresh_at, status.clone());
        assert_eq!(come_back_at(&visit, NOW), later(NOW, REPLAY_AGAIN));
        let visit = made::visit(NOW + 1000, status);
        assert_eq!(come_back_at(&visit, NOW), NOW + 1000);
    }

    #[test]
    fn a_retry_is_never_sooner_than_the_pause() {
        let mut explained = Explained::new(Exit::Busy, "busy", "It is.", "Wait.");
        explained.retry_at = Some(0);
        let soon = retry_at(Duration::from_secs(5), &explained);
        assert!(soon >= time::now() + 4000);
        explained.retry_at = Some(u64::MAX);
        assert_eq!(retry_at(Duration::ZERO, &explained), u64::MAX);
    }
}
