//! What keeps connections from being visited, and what of it people were told: once, by whichever process comes first.
//!
//! ```text
//! FOLDER/            0700
//!   acme.json        0600, what was told of the present trouble: each code, and when
//! ```
//!
//! A trouble may be that of the connection's own store; so this is kept apart from it. Where it cannot be written, each process
//! remembers for itself, and people may be told twice rather than never. A recovery is told once: by the process that takes
//! the file away, and not before that can be done.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::whole_file;
use crate::{ConnectionName, StoreFailure, private_file, time::millis};

/// After this time, a trouble that lasts is news again.
const REMINDER: Duration = Duration::from_secs(24 * 3600);

/// The troubles of all connections, as people know them.
#[derive(Debug)]
pub struct Troubles {
    folder: PathBuf,
    /// What could not be written.
    memory: Mutex<BTreeMap<ConnectionName, Told>>,
}

/// The codes that were told since visits last worked, and when, in Unix milliseconds.
type Told = BTreeMap<String, u64>;

impl Troubles {
    /// Keeps them in a folder, which need not exist.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            memory: Mutex::default(),
        }
    }

    /// Whether people were not told of this trouble yet, or were a day ago or more.
    pub fn is_news(&self, connection: &ConnectionName, code: &str, now: u64) -> bool {
        let told = self.told(connection);
        // A moment far ahead is the mark of a clock that was set back.
        told.get(code)
            .is_none_or(|at| now.abs_diff(*at) >= millis(REMINDER))
    }

    /// Notes that people were told of a trouble.
    pub fn note(&self, connection: &ConnectionName, code: &str, now: u64) {
        let mut told = self.told(connection);
        told.insert(code.to_owned(), now);
        self.keep(connection, told);
    }

    fn keep(&self, connection: &ConnectionName, told: Told) {
        let written = self.write(connection, &told);
        let mut memory = self.memory();
        match written {
            Ok(()) => memory.remove(connection),
            Err(_) => memory.insert(connection.clone(), told),
        };
    }

    /// Notes that a visit worked. Returns the codes of the trouble that this ends, where there was one that people know of. Those in
    /// `lasting` go on, and are still known.
    pub fn end(&self, connection: &ConnectionName, lasting: &[&str]) -> Option<String> {
        let taken = whole_file::take(&self.folder, &self.path(connection));
        let mut told = parse(taken.ok().flatten());
        told.extend(self.memory().remove(connection).unwrap_or_default());
        let lasts = |code: &str| lasting.contains(&code);
        let (lasting, ended): (Told, Told) = told.into_iter().partition(|(code, _)| lasts(code));
        if !lasting.is_empty() {
            self.keep(connection, lasting);
        }
        (!ended.is_empty()).then(|| ended.into_keys().collect::<Vec<_>>().join(", "))
    }

    /// What cannot be read was not told.
    fn told(&self, connection: &ConnectionName) -> Told {
        if let Some(told) = self.memory().get(connection) {
            return told.clone();
        }
        let read = whole_file::read(&self.path(connection));
        parse(read.ok().flatten())
    }

    fn write(&self, connection: &ConnectionName, told: &Told) -> Result<(), StoreFailure> {
        let path = self.path(connection);
        let failed = |error: io::Error| private_file::failure(&error, &path);
        private_file::create_folder(&self.folder).map_err(failed)?;
        private_file::check_folder(&self.folder)?;
        serde_json::to_vec(told)
            .map_err(io::Error::other)
            .and_then(|bytes| whole_file::replace(&self.folder, &path, &bytes))
            .map_err(failed)
    }

    fn path(&self, connection: &ConnectionName) -> PathBuf {
        self.folder.join(format!("{connection}.json"))
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<ConnectionName, Told>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(bytes: Option<Vec<u8>>) -> Told {
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Troubles;
    use crate::ConnectionName;

    const NOW: u64 = 1_795_392_000_123;
    const DAY: u64 = 86_400_000;

    fn acme() -> ConnectionName {
        "acme".parse().expect("a name")
    }

    /// Tells it where it is news, as a keeper does. Returns whether it was.
    fn tells(troubles: &Troubles, code: &str, now: u64) -> bool {
        let is_news = troubles.is_news(&acme(), code, now);
        if is_news {
            troubles.note(&acme(), code, now);
        }
        is_news
    }

    #[test]
    fn trouble_that_lasts_is_told_once_by_all_processes_and_so_is_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = || Troubles::in_folder(folder.path().join("troubles"));
        assert_eq!(process().end(&acme(), &[]), None);
        assert!(tells(&process(), "full", NOW));
        assert!(!tells(&process(), "full", NOW + 300_000));
        assert!(tells(&process(), "io", NOW + 600_000));
        assert!(
            !tells(&process(), "full", NOW + 900_000),
            "known, though another one came between"
        );
        assert_eq!(process().end(&acme(), &[]).as_deref(), Some("full, io"));
        assert_eq!(process().end(&acme(), &[]), None);
        assert!(tells(&process(), "io", NOW + 1_200_000));
    }

    #[test]
    fn what_lasts_is_not_ended_with_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let troubles = Troubles::in_folder(folder.path().join("troubles"));
        assert!(tells(&troubles, "full", NOW) && tells(&troubles, "missing", NOW));
        let ended = troubles.end(&acme(), &["missing"]);
        assert_eq!(ended.as_deref(), Some("full"));
        assert_eq!(troubles.end(&acme(), &["missing"]), None);
        assert!(!tells(&troubles, "missing", NOW + 1), "still known");
        assert!(tells(&troubles, "full", NOW + 1));
        let ended = troubles.end(&acme(), &[]);
        assert_eq!(ended.as_deref(), Some("full, missing"));
    }

    #[test]
    fn it_is_told_again_after_a_day_and_after_the_clock_was_set_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let troubles = Troubles::in_folder(folder.path().join("troubles"));
        assert!(tells(&troubles, "full", NOW));
        assert!(!tells(&troubles, "full", NOW + DAY - 1));
        assert!(tells(&troubles, "full", NOW + DAY));
        assert!(!tells(&troubles, "full", NOW + DAY + 1));
        assert!(tells(&troubles, "full", NOW - 7 * DAY));
    }

    #[test]
    fn each_connection_has_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let troubles = Troubles::in_folder(folder.path().join("troubles"));
        assert!(tells(&troubles, "full", NOW));
        let other = "other".parse().expect("a name");
        assert!(troubles.is_news(&other, "full", NOW));
        assert_eq!(troubles.end(&other, &[]), None);
        assert!(!tells(&troubles, "full", NOW));
    }

    #[test]
    fn what_cannot_be_noted_is_told_by_each_process_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("troubles");
        fs::write(&path, "a file in place of the folder").expect("written");
        for _ in 0..2 {
            let process = Troubles::in_folder(&path);
            assert!(tells(&process, "full", NOW));
            assert!(!tells(&process, "full", NOW + 300_000));
            assert_eq!(process.end(&acme(), &[]).as_deref(), Some("full"));
            assert_eq!(process.end(&acme(), &[]), None);
        }
    }

    #[test]
    fn a_damaged_note_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let troubles = Troubles::in_folder(folder.path().join("troubles"));
        assert!(tells(&troubles, "full", NOW));
        let note = folder.path().join("troubles/acme.json");
        fs::write(&note, "{\"full\":17").expect("torn");
        assert!(tells(&troubles, "full", NOW));
        assert!(!tells(&troubles, "full", NOW));
    }

    #[cfg(unix)]
    #[test]
    fn the_notes_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("troubles");
        assert!(tells(&Troubles::in_folder(&path), "full", NOW));
        let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(path.clone()), 0o700);
        assert_eq!(mode(path.join("acme.json")), 0o600);
    }
}
