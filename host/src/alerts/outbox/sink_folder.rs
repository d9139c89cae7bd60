//! The files of what waits for one sink.
//!
//! ```text
//! OUTBOX/SINK/                              0700
//!   00000001795392000123-0011….json         0600, one file an alert; the names sort in the order of recording
//!   damaged-…                               what could not be read
//!   .attempts.json                          failed tries and when the next is due
//!   .lock                                   held by the one process that delivers
//! ```

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    LockGuard, StoreFailure,
    alerts::{
        SinkName,
        attempts::Attempts,
        pending::{self, Pending},
        whole_file,
    },
    file_lock::FileLock,
    private_file,
};

/// How long a file that was never finished is left alone: its writer may be alive.
const UNFINISHED: Duration = Duration::from_secs(3600);

const DAMAGED_PREFIX: &str = "damaged-";
const ATTEMPTS: &str = ".attempts.json";
const LOCK: &str = ".lock";

/// The folder of one sink in the outbox. It need not exist.
pub(super) struct SinkFolder {
    outbox: PathBuf,
    path: PathBuf,
}

/// Why there is no alert in a file that has its name.
pub(super) enum Unreadable {
    /// It holds something else, or a part.
    Damaged,
    /// It cannot be opened or read.
    Failed(StoreFailure),
}

impl SinkFolder {
    pub(super) fn of(outbox: &Path, sink: &SinkName) -> Self {
        Self {
            outbox: outbox.to_owned(),
            path: outbox.join(sink.as_str()),
        }
    }

    /// Returns the names of the alerts' files, the oldest first.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let mut names = names(&self.path)?;
        names.retain(|name| pending::number(name).is_some());
        names.sort_unstable();
        Ok(names)
    }

    /// Reads an alert; `None` where the file is gone, or is none of an alert.
    pub(super) fn read(&self, name: &str) -> Result<Option<Pending>, Unreadable> {
        let Some(number) = pending::number(name) else {
            return Ok(None);
        };
        let read = whole_file::read(&self.path.join(name)).map_err(Unreadable::Failed)?;
        let Some(bytes) = read else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(|alert| Some(Pending { number, alert }))
            .map_err(|_| Unreadable::Damaged)
    }

    /// Writes an alert durably, after all that are there.
    pub(super) fn append(&self, pending: &mut Pending) -> Result<(), StoreFailure> {
        self.prepare()?;
        let last = self.names()?.pop();
        let last = last.and_then(|name| pending::number(&name));
        pending.move_after(last.unwrap_or(0));
        self.write(pending)
    }

    /// Writes an alert durably, in the place that its number has.
    pub(super) fn write(&self, pending: &Pending) -> Result<(), StoreFailure> {
        self.prepare()?;
        let path = self.path.join(pending.file_name());
        serde_json::to_vec(&pending.alert)
            .map_err(io::Error::other)
            .and_then(|bytes| whole_file::write_durably(&self.path, &path, &bytes))
            .map_err(|error| private_file::failure(&error, &path))
    }

    /// Deletes an alert. A crash may bring it back: then it is delivered once more.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))?;
        let _ = private_file::sync_folder(&self.path);
        Ok(())
    }

    /// Deletes an alert that cannot be read.
    pub(super) fn discard(&self, name: &str) -> Result<(), StoreFailure> {
        self.remove(name)
            .map_err(|error| private_file::failure(&error, &self.path.join(name)))
    }

    /// Gives a damaged file another name. Returns where it is now; `None` where that failed, or another process was faster.
    pub(super) fn set_aside(&self, name: &str) -> Option<PathBuf> {
        let aside = self.path.join(format!("{DAMAGED_PREFIX}{name}"));
        fs::rename(self.path.join(name), &aside).ok()?;
        Some(aside)
    }

    /// Returns what is known of the tries. What cannot be read is as if there had been none.
    pub(super) fn attempts(&self) -> Attempts {
        let read = whole_file::read(&self.path.join(ATTEMPTS));
        let text = read.ok().flatten().unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps what is known of the tries.
    pub(super) fn keep_attempts(&self, attempts: &Attempts) -> io::Result<()> {
        let bytes = serde_json::to_vec(attempts).map_err(io::Error::other)?;
        whole_file::replace(&self.path, &self.path.join(ATTEMPTS), &bytes)
    }

    /// Takes the right to deliver to the sink; `None` where another process kept it for as long as `wait`.
    pub(super) async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.prepare()?;
        let folder = fs::canonicalize(&self.path)
            .map_err(|error| private_file::failure(&error, &self.path))?;
        FileLock::of(folder.join(LOCK)).lock(wait).await
    }

    /// Removes what writers that died have left.
    pub(super) fn tidy(&self) {
        for name in names(&self.path).unwrap_or_default() {
            let path = self.path.join(&name);
            if name.starts_with(whole_file::UNFINISHED_PREFIX) && is_older(&path, UNFINISHED) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Makes the folder, and checks that it is for this account alone.
    fn prepare(&self) -> Result<(), StoreFailure> {
        for path in [&self.outbox, &self.path] {
            private_file::create_folder(path)
                .map_err(|error| private_file::failure(&error, path))?;
            private_file::check_folder(path)?;
        }
        Ok(())
    }
}

/// Returns the sinks that have a folder in the outbox.
pub(super) fn sinks(outbox: &Path) -> Result<Vec<SinkName>, StoreFailure> {
    let names = names(outbox)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Returns the names in a folder; none where there is no folder. Those that are no Unicode are none of ours.
fn names(folder: &Path) -> Result<Vec<String>, StoreFailure> {
    let at = |error: &io::Error| private_file::failure(error, folder);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| at(&error))?,
    };
    let mut names = Vec::new();
    for entry in listed {
        names.extend(entry.map_err(|error| at(&error))?.file_name().into_string());
    }
    Ok(names)
}

fn is_older(path: &Path, than: Duration) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age > than)
}
