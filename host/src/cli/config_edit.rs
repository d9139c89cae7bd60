//! Edits the configuration file: adds connections, and sets keys of their tables.
//!
//! | step | |
//! |---|---|
//! | lock | `.NAME.lock` beside the file, held until the end |
//! | read | the file as it is now, whatever was read of it before |
//! | edit | what is added or set; every other byte stays |
//! | check | the result is a valid configuration |
//! | replace | in one step |
//!
//! So two of these lose nothing of each other, and nothing of what an editor has saved before. An editor takes no lock: what it saves
//! between the reading and the replacing is lost; those are milliseconds.

mod key;
mod new_connection;

use std::io;
use std::path::{Path, PathBuf};

use procore_auth_host::StoreFailure;
use procore_auth_host::internals::{self, Held};

use super::config::Config;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::replace_file;
pub(super) use key::set;
pub(super) use new_connection::{COMPANY, NewConnection, SecretPlace};

/// An edit that was made.
#[derive(Debug)]
pub(super) struct Edit {
    path: PathBuf,
    before: String,
    after: String,
}

impl Edit {
    /// Takes it back. What somebody has edited since is left alone.
    pub(super) fn undo(self) -> Result<(), Failure> {
        let after = |now: &Config| match now.text() == self.after {
            true => Ok(self.before.clone()),
            false => Ok(now.text().to_owned()),
        };
        edit(&self.path, after).map(|_| ())
    }
}

/// Replaces the text of the file by what `change` makes of it. A missing file is an empty one.
fn edit(
    path: &Path,
    change: impl FnOnce(&Config) -> Result<String, Failure>,
) -> Result<Edit, Failure> {
    // A link is followed, so that it stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&target)?;
    let now = now(path)?;
    let after = change(&now)?;
    if after != now.text() {
        Config::parse(path, after.clone())?;
        let permissions = target.metadata().ok().map(|found| found.permissions());
        replace_file::replace(&target, &after, permissions)
            .map_err(|error| Failure::file("write", path, &error))?;
    }
    Ok(Edit {
        path: path.to_owned(),
        before: now.text().to_owned(),
        after,
    })
}

/// Reads the file as it is now.
fn now(path: &Path) -> Result<Config, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Config::parse(path, text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Config::empty(path),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

/// Locks the file against others that edit it like this; `None` where the file system has no locks.
fn lock(target: &Path) -> Result<Option<Held>, Failure> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    match internals::hold_briefly(&target.with_file_name(format!(".{name}.lock"))) {
        Ok(held) => Ok(Some(held)),
        Err(failure) if failure.code == "locks-unsupported" => Ok(None),
        Err(failure) => Err(unlockable(&failure)),
    }
}

fn unlockable(failure: &StoreFailure) -> Failure {
    let (exit, remedy) = match failure.code {
        "busy" => (
            Exit::Busy,
            "Look for a process that is stopped (`lsof` on the file tells which), then run it again.",
        ),
        _ => (
            Exit::Refused,
            "Run it as the user that owns the configuration, or make its folder writable for this one.",
        ),
    };
    let summary = format!("The configuration cannot be edited: {}.", failure.message);
    Explained::new(exit, failure.code, summary, remedy).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, edit};

    fn appended(path: &Path, line: &str) {
        let append = |now: &Config| Ok(format!("{}{line}\n", now.text()));
        edit(path, append).expect("edited");
    }

    #[test]
    fn edits_at_once_lose_nothing_of_each_other() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        std::thread::scope(|scope| {
            for writer in ["a", "b", "c"] {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..20 {
                        appended(path, &format!("# {writer}{number}"));
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 60, "{text}");
    }

    #[test]
    fn what_makes_the_file_invalid_is_not_written() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        appended(&path, "# mine");
        assert!(edit(&path, |_| Ok("state = ".to_owned())).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "# mine\n");
    }

    #[test]
    fn an_edit_is_taken_back_unless_somebody_went_on_from_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        let text = || std::fs::read_to_string(&path).expect("there");
        appended(&path, "# mine");
        let made = edit(&path, |_| Ok("# edited\n".to_owned())).expect("edited");
        made.undo().expect("undone");
        assert_eq!(text(), "# mine\n");
        let made = edit(&path, |_| Ok("# edited\n".to_owned())).expect("edited");
        appended(&path, "# theirs");
        made.undo().expect("left");
        assert_eq!(text(), "# edited\n# theirs\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().expect("folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        appended(&link, "# mine");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "# mine\n");
    }
}
