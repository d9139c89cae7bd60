//! Whether somebody keeps the connections alive: keepers leave a sign of life beside the store, and its clients look at it.
//!
//! ```text
//! FOLDER/                 0700
//!   run.json              0600, of a keeper that stays and keeps all connections
//!   tick.json             0600, of one that comes by
//!   acme.run.json, …      the same, of keepers of this connection alone
//! ```
//!
//! A file holds who was there, when, and by when the next sign comes at the latest. Nobody deletes it: that a keeper is missing can
//! only be told where there once was one. It is written rarely, and may be torn when the power fails: until the next sign mends
//! that, it is not known whether somebody is there, and said so.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ConnectionName, StoreFailure, alerts::whole_file, connection::default_actor, private_file,
    time::millis,
};

/// The folder in the folder of a store. It cannot be the name of a connection.
const FOLDER: &str = ".keeper";

/// How a keeper keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeeperKind {
    /// It stays: `procore-auth run`, or a [`crate::Keeper`].
    Run,
    /// It comes by: `procore-auth tick`, from cron.
    Tick,
}

impl KeeperKind {
    fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Tick => "tick",
        }
    }
}

/// A keeper's sign of life. Moments are in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Beat {
    /// How it keeps.
    pub kind: KeeperKind,
    /// The machine and the process, such as `agent-host/4121`.
    pub who: String,
    /// When it was there.
    pub at: u64,
    /// By when the next sign comes at the latest.
    pub next_by: u64,
    /// Whether it ended on purpose: then no further sign is to be expected.
    #[serde(default)]
    pub stopped: bool,
}

/// Whether somebody keeps a connection alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// No keeper was ever seen.
    Never,
    /// A keeper is there, or comes in time.
    Alive(Beat),
    /// The last keeper has not given the sign that it promised.
    Overdue(Beat),
    /// The last keeper ended on purpose.
    Stopped(Beat),
    /// A keeper has been there, and its sign cannot be read.
    Unknown {
        /// How it keeps.
        kind: KeeperKind,
        /// Why the sign cannot be read, for a person.
        why: String,
    },
}

/// The signs of life of all keepers of one folder of stores.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    folder: PathBuf,
}

impl Heartbeat {
    /// Finds the signs beside the stores of [`crate::FileStore::open`] with the same `root`. Reads nothing yet.
    pub fn beside(root: &Path) -> Self {
        Self {
            folder: root.join(FOLDER),
        }
    }

    /// Notes that a keeper of all connections, or of one, is there, and that its next sign comes within `next`.
    ///
    /// Blocks for a few file operations. Errors: as those of a [`crate::FileStore`]; a sign that could not be left is no reason not
    /// to keep the connections.
    pub fn beat(
        &self,
        kind: KeeperKind,
        of: Option<&ConnectionName>,
        now: u64,
        next: Duration,
    ) -> Result<(), StoreFailure> {
        let next_by = now.saturating_add(millis(next));
        self.write(of, &beat(kind, now, next_by))
    }

    /// Notes that a keeper ends on purpose. Blocks and fails as [`Heartbeat::beat`].
    pub fn stop(
        &self,
        kind: KeeperKind,
        of: Option<&ConnectionName>,
        now: u64,
    ) -> Result<(), StoreFailure> {
        let stopped = true;
        self.write(
            of,
            &Beat {
                stopped,
                ..beat(kind, now, now)
            },
        )
    }

    /// Tells whether somebody keeps this connection alive. Blocks for a few file operations.
    ///
    /// Of several keepers that stay one that is there is enough, and so it is of those that come by; where none is, the one counts that
    /// was seen last. One that comes by does not stand in for one that stays and is missing: it may have been a visit by hand.
    pub fn of(&self, name: &ConnectionName, now: u64) -> Keeping {
        let stays = self.of_kind(KeeperKind::Run, name, now);
        if matches!(stays, Keeping::Alive(_)) || stays.is_missing() {
            return stays;
        }
        let comes_by = self.of_kind(KeeperKind::Tick, name, now);
        stays.or(comes_by)
    }

    /// Looks at the keeper of all connections and at that of this one.
    fn of_kind(&self, kind: KeeperKind, name: &ConnectionName, now: u64) -> Keeping {
        self.read(kind, None, now)
            .or(self.read(kind, Some(name), now))
    }

    fn read(&self, kind: KeeperKind, of: Option<&ConnectionName>, now: u64) -> Keeping {
        let path = self.path(kind, of);
        let unknown = |why| Keeping::Unknown { kind, why };
        match whole_file::read(&path) {
            Ok(None) => Keeping::Never,
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(beat) => judge(beat, now),
                Err(_) => unknown(format!("{} was cut short or changed", path.display())),
            },
            Err(failure) => unknown(failure.message),
        }
    }

    fn write(&self, of: Option<&ConnectionName>, beat: &Beat) -> Result<(), StoreFailure> {
        let path = self.path(beat.kind, of);
        let failed = |error: io::Error| private_file::failure(&error, &path);
        private_file::create_folder(&self.folder).map_err(failed)?;
        private_file::check_folder(&self.folder)?;
        serde_json::to_vec(beat)
            .map_err(io::Error::other)
            .and_then(|bytes| whole_file::replace(&self.folder, &path, &bytes))
            .map_err(failed)
    }

    fn path(&self, kind: KeeperKind, of: Option<&ConnectionName>) -> PathBuf {
        let word = kind.word();
        self.folder.join(match of {
            None => format!("{word}.json"),
            Some(name) => format!("{name}.{word}.json"),
        })
    }
}

impl Keeping {
    /// Returns the last sign of life, where there was one.
    pub fn beat(&self) -> Option<&Beat> {
        match self {
            Self::Never | Self::Unknown { .. } => None,
            Self::Alive(beat) | Self::Overdue(beat) | Self::Stopped(beat) => Some(beat),
        }
    }

    /// Whether a keeper should be there, and is not or may not be.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Overdue(_) | Self::Unknown { .. })
    }

    /// Returns the one that is there; otherwise the one that was seen last.
    fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Nobody knows when one was seen whose sign cannot be read: it may be the last.
    fn rank(&self) -> (bool, Option<u64>) {
        match self {
            Self::Unknown { .. } => (false, Some(u64::MAX)),
            _ => (
                matches!(self, Self::Alive(_)),
                self.beat().map(|beat| beat.at),
            ),
        }
    }
}

fn beat(kind: KeeperKind, at: u64, next_by: u64) -> Beat {
    Beat {
        kind,
        who: default_actor(),
        at,
        next_by,
        stopped: false,
    }
}

fn judge(beat: Beat, now: u64) -> Keeping {
    let promise = beat.next_by.saturating_sub(beat.at);
    // A sign from further ahead than its own promise is the mark of a clock that was set back.
    let is_from_ahead = beat.at > now.saturating_add(promise);
    if beat.stopped {
        Keeping::Stopped(beat)
    } else if now > beat.next_by || is_from_ahead {
        Keeping::Overdue(beat)
    } else {
        Keeping::Alive(beat)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Heartbeat, KeeperKind, Keeping};
    use crate::ConnectionName;

    const NOW: u64 = 1_795_392_000_123;
    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: u64 = 3_600_000;

    fn name(text: &str) -> ConnectionName {
        text.parse().expect("a name")
    }

    fn heartbeat() -> (tempfile::TempDir, Heartbeat) {
        let folder = tempfile::tempdir().expect("a folder");
        let heartbeat = Heartbeat::beside(folder.path());
        (folder, heartbeat)
    }

    #[test]
    fn s43_a_keeper_that_does_not_come_when_it_promised_is_overdue() {
        let (_folder, heartbeat) = heartbeat();
        assert_eq!(heartbeat.of(&name("acme"), NOW), Keeping::Never);
        let beaten = heartbeat.beat(KeeperKind::Tick, None, NOW, HOUR);
        beaten.expect("written");
        let at = |now| heartbeat.of(&name("acme"), now);
        assert!(matches!(at(NOW + HOUR_MS), Keeping::Alive(_)));
        let overdue = at(NOW + HOUR_MS + 1);
        assert!(matches!(overdue, Keeping::Overdue(_)));
        let beat = overdue.beat().expect("seen");
        assert_eq!((beat.kind, beat.at), (KeeperKind::Tick, NOW));
        assert!(beat.who.ends_with(&format!("/{}", std::process::id())));
    }

    #[test]
    fn s43_one_keeper_that_is_there_is_enough() {
        let (_folder, heartbeat) = heartbeat();
        let beat = |kind, of, now| heartbeat.beat(kind, of, now, HOUR).expect("written");
        beat(KeeperKind::Tick, None, NOW);
        let later = NOW + 5 * HOUR_MS;
        beat(KeeperKind::Run, Some(&name("acme")), later);
        assert!(matches!(
            heartbeat.of(&name("acme"), later),
            Keeping::Alive(_)
        ));
        assert!(matches!(
            heartbeat.of(&name("other"), later),
            Keeping::Overdue(_)
        ));
    }

    #[test]
    fn s43_a_keeper_that_was_stopped_on_purpose_is_not_missing() {
        let (_folder, heartbeat) = heartbeat();
        let beaten = heartbeat.beat(KeeperKind::Run, None, NOW, HOUR);
        beaten.expect("written");
        let stopped = heartbeat.stop(KeeperKind::Run, None, NOW + 1);
        stopped.expect("written");
        let much_later = NOW + 100 * HOUR_MS;
        let keeping = heartbeat.of(&name("acme"), much_later);
        assert!(matches!(keeping, Keeping::Stopped(_)), "{keeping:?}");
    }

    #[test]
    fn a_sign_from_far_ahead_does_not_count() {
        let (_folder, heartbeat) = heartbeat();
        let beaten = heartbeat.beat(KeeperKind::Run, None, NOW, HOUR);
        beaten.expect("written");
        let set_back = heartbeat.of(&name("acme"), NOW - 24 * HOUR_MS);
        assert!(matches!(set_back, Keeping::Overdue(_)));
    }

    #[test]
    fn s43_a_sign_that_cannot_be_read_is_not_taken_for_none() {
        let (folder, heartbeat) = heartbeat();
        let beaten = heartbeat.beat(KeeperKind::Run, None, NOW, HOUR);
        beaten.expect("written");
        for torn in ["", "{\"kind\":"] {
            fs::write(folder.path().join(".keeper/run.json"), torn).expect("torn");
            let keeping = heartbeat.of(&name("acme"), NOW);
            let Keeping::Unknown { kind, why } = &keeping else {
                panic!("{keeping:?}");
            };
            assert_eq!(*kind, KeeperKind::Run);
            assert!(why.contains("run.json was cut short"), "{why}");
        }
        let beaten = heartbeat.beat(KeeperKind::Run, Some(&name("acme")), NOW, HOUR);
        beaten.expect("written");
        let keeping = heartbeat.of(&name("acme"), NOW);
        assert!(matches!(keeping, Keeping::Alive(_)), "{keeping:?}");
    }

    #[test]
    fn s43_who_comes_by_does_not_stand_in_for_who_stays_and_is_missing() {
        let (_folder, heartbeat) = heartbeat();
        let acme = name("acme");
        let beat = |kind, now| heartbeat.beat(kind, None, now, HOUR).expect("written");
        beat(KeeperKind::Run, NOW);
        let later = NOW + 5 * HOUR_MS;
        beat(KeeperKind::Tick, later);
        let keeping = heartbeat.of(&acme, later);
        assert!(matches!(&keeping, Keeping::Overdue(beat) if beat.kind == KeeperKind::Run));
        // It said goodbye, and the other has taken over.
        let stopped = heartbeat.stop(KeeperKind::Run, None, NOW);
        stopped.expect("written");
        let keeping = heartbeat.of(&acme, later);
        assert!(matches!(&keeping, Keeping::Alive(beat) if beat.kind == KeeperKind::Tick));
    }

    #[cfg(unix)]
    #[test]
    fn the_signs_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, heartbeat) = heartbeat();
        let beaten = heartbeat.beat(KeeperKind::Run, Some(&name("acme")), NOW, HOUR);
        beaten.expect("written");
        let mode = |path: &str| {
            let metadata = fs::metadata(folder.path().join(path)).expect("there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(".keeper"), 0o700);
        assert_eq!(mode(".keeper/acme.run.json"), 0o600);
    }
}
