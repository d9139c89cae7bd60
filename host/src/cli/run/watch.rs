//! Notices what other processes change: the sessions in the store, and the configuration file.
//!
//! The system tells, where it can. Where it cannot (no such service, or no more watches for this user), the files are looked at
//! once a minute. On some network file systems the system tells of this machine's changes only; there, and wherever else a
//! change goes unnoticed, the next visit sees it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use procore_auth_host::ConnectionName;
use tokio::sync::Notify;

use super::super::config::Config;

/// The entry that holds a connection's tokens.
const SESSION: &str = "session";

/// What the entries of parked requests begin with. Other entries, such as their bodies, are no reason for a visit.
const PARKED: &str = "parked-";

/// How often the files are looked at where the system does not tell.
const LOOK: Duration = Duration::from_secs(60);

/// Whoever writes a file writes a second one soon after.
const GATHER: Duration = Duration::from_millis(200);

/// What was changed, by others or by this process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// The configuration file, perhaps.
    Configuration,
    /// Anything: the system had more to tell than it could.
    Unknown,
    /// The session of a connection.
    Session(ConnectionName),
    /// The parked requests of a connection.
    Parked(ConnectionName),
}

/// Notices changes for as long as it lives.
pub(super) struct Watch {
    seen: Arc<Seen>,
    _watcher: Option<Box<dyn Watcher + Send>>,
}

#[derive(Default)]
struct Seen {
    changes: Mutex<BTreeSet<Change>>,
    some: Notify,
}

impl Watch {
    /// Watches the store and the file of a configuration from now on.
    pub(super) fn start(config: &Config) -> Self {
        let seen = Arc::new(Seen::default());
        let places = Places::of(config);
        let watcher = told(&places, &seen).or_else(|error| {
            tracing::info!(
                "files are looked at once a minute, since they cannot be watched: {error}"
            );
            looked_at(&places, &seen)
        });
        let watcher = watcher.map_err(|error| {
            tracing::warn!("what others change is noticed at the next visit only: {error}");
        });
        Self {
            seen,
            _watcher: watcher.ok(),
        }
    }

    /// Waits for changes. May be cancelled.
    pub(super) async fn next(&mut self) -> BTreeSet<Change> {
        // Whoever was cancelled while gathering has used up the notification, and left the changes.
        while self.seen.changes().is_empty() {
            self.seen.some.notified().await;
        }
        tokio::time::sleep(GATHER).await;
        std::mem::take(&mut *self.seen.changes())
    }
}

impl Seen {
    fn changes(&self) -> std::sync::MutexGuard<'_, BTreeSet<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, change: Change) {
        self.changes().insert(change);
        self.some.notify_one();
    }
}

/// The folders that are watched, as the system names them.
#[derive(Debug, Clone)]
struct Places {
    state: PathBuf,
    configuration: PathBuf,
}

impl Places {
    fn of(config: &Config) -> Self {
        let folder = config.path().parent().unwrap_or(Path::new(""));
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Self {
            state: real(&config.state),
            configuration: real(folder),
        }
    }

    fn watch(&self, watcher: &mut dyn Watcher) -> notify::Result<()> {
        watcher.watch(&self.state, RecursiveMode::Recursive)?;
        if !self.configuration.starts_with(&self.state) {
            // The folder: editors put a new file in the old one's place.
            watcher.watch(&self.configuration, RecursiveMode::NonRecursive)?;
        }
        Ok(())
    }

    /// Says what a changed file is; `None` where it is nothing of interest.
    fn change(&self, path: &Path) -> Option<Change> {
        let (folder, entry) = (path.parent()?, path.file_name()?.to_str()?);
        let change: fn(ConnectionName) -> Change = match entry {
            SESSION => Change::Session,
            _ if entry.starts_with(PARKED) => Change::Parked,
            _ => return self.configuration_in(folder),
        };
        if folder.parent()? != self.state {
            return self.configuration_in(folder);
        }
        folder.file_name()?.to_str()?.parse().ok().map(change)
    }

    fn configuration_in(&self, folder: &Path) -> Option<Change> {
        (folder == self.configuration).then_some(Change::Configuration)
    }
}

fn told(places: &Places, seen: &Arc<Seen>) -> notify::Result<Box<dyn Watcher + Send>> {
    let mut watcher = RecommendedWatcher::new(handler(places, seen), notify::Config::default())?;
    places.watch(&mut watcher)?;
    Ok(Box::new(watcher))
}

fn looked_at(places: &Places, seen: &Arc<Seen>) -> notify::Result<Box<dyn Watcher + Send>> {
    let every = notify::Config::default().with_poll_interval(LOOK);
    let mut watcher = PollWatcher::new(handler(places, seen), every)?;
    places.watch(&mut watcher)?;
    Ok(Box::new(watcher))
}

fn handler(
    places: &Places,
    seen: &Arc<Seen>,
) -> impl FnMut(notify::Result<notify::Event>) + Send + 'static {
    let (places, seen) = (places.clone(), Arc::clone(seen));
    move |event| match event {
        // Reading is no change.
        Ok(event) if event.kind.is_access() => {}
        Ok(event) if event.need_rescan() => seen.add(Change::Unknown),
        Ok(event) => {
            let changes = event.paths.iter().filter_map(|path| places.change(path));
            changes.for_each(|change| seen.add(change));
        }
        Err(error) => tracing::warn!("changes by others may go unnoticed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::time::timeout;

    use super::{Change, GATHER, Places, Seen, Watch};

    #[tokio::test(start_paused = true)]
    async fn what_was_noticed_outlives_whoever_waited_for_it() {
        let seen = Arc::new(Seen::default());
        let mut watch = Watch {
            seen: Arc::clone(&seen),
            _watcher: None,
        };
        seen.add(Change::Configuration);
        let cancelled = timeout(GATHER / 2, watch.next()).await;
        cancelled.expect_err("it is gathering");
        let changes = timeout(GATHER * 2, watch.next()).await;
        assert_eq!(changes.expect("noticed"), [Change::Configuration].into());
        let nothing = timeout(GATHER * 10, watch.next()).await;
        nothing.expect_err("told once");
    }

    #[test]
    fn sessions_parked_requests_and_the_configuration_are_of_interest_and_nothing_else() {
        let places = Places {
            state: "/var/lib/procore-auth".into(),
            configuration: "/etc/procore-auth".into(),
        };
        let change = |path: &str| places.change(Path::new(path));
        let acme = Change::Session("acme".parse().expect("a name"));
        assert_eq!(change("/var/lib/procore-auth/acme/session"), Some(acme));
        let parked = Change::Parked("acme".parse().expect("a name"));
        assert_eq!(
            change("/var/lib/procore-auth/acme/parked-0000000042-0000001234"),
            Some(parked)
        );
        assert_eq!(
            change("/etc/procore-auth/config.toml"),
            Some(Change::Configuration)
        );
        for other in [
            "/var/lib/procore-auth/acme/session.previous",
            "/var/lib/procore-auth/acme/.session.7.abcdef",
            "/var/lib/procore-auth/acme/.parked-1.7.abcdef",
            "/var/lib/procore-auth/acme/body-1800000000000-9f86d081",
            "/var/lib/procore-auth/.keeper/run.json",
            "/var/lib/procore-auth/.alerts/session",
            "/var/lib/procore-auth/journal.jsonl",
            "/",
        ] {
            assert_eq!(change(other), None, "{other}");
        }
    }
}
