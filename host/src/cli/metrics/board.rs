//! What the last visit to each connection found, and how far that can still be believed.
//!
//! | what was found | and now | told as |
//! |---|---|---|
//! | healthy | the token has expired, the evidence is older than the token's life, the visit failed, or the next one is overdue | unverified |
//! | at risk | the token has expired | unavailable |
//! | anything else | | as it was found |

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use procore_auth_host::{ConnectionName, Environment, Health, Limits, Status, Visit};
use tokio::sync::watch;

use crate::cli::failure::Explained;
use crate::cli::time;

/// How late a visit may come, in milliseconds: others may be before it, and where the kernel does not tell of a suspension the keeper
/// looks at the clock once a minute.
const GRACE: u64 = 120_000;

/// The longest pause of the keeper after a visit that failed, in milliseconds.
const AFTER_FAILURE: u64 = 300_000;

/// What the visits found. The keeper writes, and whoever tells of it reads.
pub(crate) struct Board {
    entries: Mutex<BTreeMap<ConnectionName, Entry>>,
    changed: watch::Sender<()>,
    since: u64,
}

struct Entry {
    environment: Environment,
    /// The status that a visit found, and when.
    found: Option<(u64, Status)>,
    /// Why the last visit failed; `None` where it did not.
    failing: Option<String>,
    /// When the next visit begins or, while one is under way, ends at the latest.
    due: u64,
}

/// What is known of one connection, as far as it can be believed at a moment.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The connection.
    pub(super) name: ConnectionName,
    /// Its environment.
    pub(super) environment: Environment,
    /// How well it is; `None` where no visit has told yet.
    pub(super) health: Option<Health>,
    /// What the last visit that did not fail found, and when.
    pub(super) found: Option<(u64, Status)>,
    /// Why the last visit failed.
    pub(super) failing: Option<String>,
    /// When the next visit is due.
    pub(super) due: u64,
    /// Whether it is so late that the keeper does not do its work.
    pub(super) overdue: bool,
}

impl Board {
    /// Makes a board that expects no connection yet.
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::default(),
            changed: watch::channel(()).0,
            since: time::now(),
        }
    }

    /// Expects a connection to be visited soon. What was found of one that is known stays.
    pub(crate) fn expect(&self, name: &ConnectionName, environment: Environment) {
        let mut entries = self.entries();
        let entry = entries.entry(name.clone()).or_insert(Entry {
            environment,
            found: None,
            failing: None,
            due: time::now(),
        });
        entry.environment = environment;
    }

    /// Forgets a connection that is kept no more: nobody waits for its next visit.
    pub(crate) fn forget(&self, name: &ConnectionName) {
        self.entries().remove(name);
        self.changed.send_replace(());
    }

    /// Notes that a visit begins. It may take long where many requests are replayed.
    pub(crate) fn begin(&self, name: &ConnectionName) {
        let longest = Limits::default().replay_deadline.as_millis();
        let end = time::now().saturating_add(u64::try_from(longest).unwrap_or(u64::MAX));
        self.update(name, |entry| entry.due = end);
    }

    /// Notes what a visit found.
    pub(crate) fn note(&self, name: &ConnectionName, visit: &Visit) {
        self.update(name, |entry| {
            entry.found = Some((time::now(), visit.status.clone()));
            entry.failing = None;
            entry.due = visit.come_back_at;
        });
    }

    /// Notes that a visit failed.
    pub(crate) fn failed(&self, name: &ConnectionName, explained: &Explained) {
        let soon = time::now().saturating_add(AFTER_FAILURE);
        self.update(name, |entry| {
            entry.failing = Some(explained.code.clone());
            entry.due = explained.retry_at.map_or(soon, |at| at.max(soon));
        });
    }

    /// Tells of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns when the keeper began, in Unix milliseconds.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// Tells what is known of every connection at a moment.
    pub(super) fn lines(&self, now: u64) -> Vec<Line> {
        let entries = self.entries();
        entries.iter().map(|(name, e)| e.line(name, now)).collect()
    }

    fn update(&self, name: &ConnectionName, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().get_mut(name) {
            change(entry);
        }
        self.changed.send_replace(());
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<ConnectionName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn line(&self, name: &ConnectionName, now: u64) -> Line {
        let overdue = now > self.due.saturating_add(GRACE);
        let is_doubtful = overdue || self.failing.is_some();
        let found = self.found.as_ref();
        Line {
            name: name.clone(),
            environment: self.environment,
            health: found.map(|(_, status)| aged(status, is_doubtful, now)),
            found: self.found.clone(),
            failing: self.failing.clone(),
            due: self.due,
            overdue,
        }
    }
}

/// Returns what is left of a health that was found a while ago: see the table above.
fn aged(status: &Status, is_doubtful: bool, now: u64) -> Health {
    let lives = status.token.is_some_and(|token| now < token.expires_at);
    let is_recent = status
        .token
        .zip(status.last_evidence)
        .is_some_and(|(token, seen)| {
            now.saturating_sub(seen) <= token.expires_at.saturating_sub(token.issued_at)
        });
    match status.health {
        Health::Healthy if is_doubtful || !lives || !is_recent => Health::Unverified,
        Health::AtRisk if !lives => Health::Unavailable,
        health => health,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use procore_auth_host::internals::made;
    use procore_auth_host::{Environment, Health, Status};

    use super::{AFTER_FAILURE, Board, GRACE, Line};
    use crate::cli::exit::Exit;
    use crate::cli::failure::Explained;
    use crate::cli::time;

    const LIFE: u64 = 5_400_000;

    /// A board with one healthy connection, its token issued now.
    pub(in crate::cli::metrics) fn healthy() -> (Board, u64) {
        let now = time::now();
        let mut status = made::status(Health::Healthy);
        status.token = Some(made::token_times(now, now + LIFE * 8 / 10, now + LIFE));
        status.last_evidence = Some(now);
        (board(status, now + LIFE * 8 / 10), now)
    }

    pub(in crate::cli::metrics) fn board(status: Status, come_back_at: u64) -> Board {
        let board = Board::new();
        let name = "acme".parse().expect("valid");
        board.expect(&name, Environment::Sandbox);
        board.note(&name, &made::visit(come_back_at, status));
        board
    }

    pub(in crate::cli::metrics) fn line(board: &Board, now: u64) -> Line {
        board.lines(now).pop().expect("a connection")
    }

    fn failure() -> Explained {
        Explained::new(Exit::Storage, "full", "The disk is full.", "Make room.")
    }

    #[test]
    fn s40_what_was_healthy_is_not_called_so_on_old_evidence() {
        let (board, now) = healthy();
        assert_eq!(line(&board, now).health, Some(Health::Healthy));
        let due = line(&board, now).due;
        let late = line(&board, due + GRACE + 1);
        assert!(late.overdue);
        assert_eq!(late.health, Some(Health::Unverified));
        let expired = line(&board, now + LIFE);
        assert_eq!(expired.health, Some(Health::Unverified));

        let mut status = line(&board, now).found.expect("visited").1;
        status.last_evidence = Some(now - LIFE - 1);
        let stale = self::board(status.clone(), due);
        assert_eq!(line(&stale, now).health, Some(Health::Unverified));
        status.last_evidence = None;
        let never = self::board(status, due);
        assert_eq!(line(&never, now).health, Some(Health::Unverified));
    }

    #[test]
    fn what_was_at_risk_is_dark_once_the_token_has_expired() {
        let (board, now) = healthy();
        let mut status = line(&board, now).found.expect("visited").1;
        status.health = Health::AtRisk;
        let board = self::board(status, now + 2 * LIFE);
        assert_eq!(line(&board, now).health, Some(Health::AtRisk));
        assert_eq!(line(&board, now + LIFE).health, Some(Health::Unavailable));
    }

    #[test]
    fn a_visit_that_fails_leaves_nothing_healthy_and_is_waited_for() {
        let (board, now) = healthy();
        let name = "acme".parse().expect("valid");
        board.failed(&name, &failure());
        let failing = line(&board, now);
        assert_eq!(failing.health, Some(Health::Unverified));
        assert_eq!(failing.failing.as_deref(), Some("full"));
        assert!(!line(&board, now + AFTER_FAILURE + GRACE - 1000).overdue);
        assert!(line(&board, time::now() + AFTER_FAILURE + GRACE + 1000).overdue);
        let mut later = failure();
        later.retry_at = Some(now + LIFE);
        board.failed(&name, &later);
        assert!(!line(&board, now + LIFE).overdue);
    }

    #[test]
    fn a_connection_that_was_never_visited_is_not_healthy() {
        let board = Board::new();
        board.expect(&"acme".parse().expect("valid"), Environment::Sandbox);
        let new = line(&board, time::now());
        assert_eq!((new.health, new.overdue), (None, false));
        assert!(line(&board, time::now() + GRACE + 1000).overdue);
    }

    #[test]
    fn a_connection_that_is_kept_no_more_is_missed_by_nobody() {
        let (board, now) = healthy();
        let name = "acme".parse().expect("valid");
        board.forget(&name);
        // A visit that was under way ends later.
        board.begin(&name);
        board.failed(&name, &failure());
        assert!(board.lines(now + 2 * LIFE).is_empty());
    }

    #[test]
    fn a_connection_that_is_expected_again_has_its_environment_of_now() {
        let (board, now) = healthy();
        board.expect(&"acme".parse().expect("valid"), Environment::Production);
        let line = line(&board, now);
        assert_eq!(line.environment, Environment::Production);
        assert_eq!(line.health, Some(Health::Healthy), "what was found stays");
    }

    #[test]
    fn a_long_visit_is_no_overdue_one() {
        let (board, now) = healthy();
        board.begin(&"acme".parse().expect("valid"));
        assert!(!line(&board, now + 600_000).overdue);
        assert!(line(&board, time::now() + 600_000 + GRACE + 1000).overdue);
    }
}
