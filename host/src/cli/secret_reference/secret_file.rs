//! A file that holds a secret alone.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use procore_auth_host::{Secret, internals};

use super::{Unreadable, content};
use crate::cli::replace_file;

/// The most bytes of a secret file that are read: a larger one is not a client secret.
const LARGEST: u64 = 64 * 1024;

/// A file that nobody but this account or root may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    path: PathBuf,
    /// Whether what was written is a path for sure, and no secret put there by mistake.
    is_path: bool,
}

impl SecretFile {
    /// Refers to the file at `path`, for which the configuration has `written`.
    pub(crate) fn new(path: PathBuf, written: &str) -> Self {
        Self {
            path,
            is_path: is_path(written),
        }
    }

    /// Reads the file: one trailing line end is cut off, an empty one is refused.
    pub(crate) fn read(&self) -> Result<String, Unreadable> {
        // Type, owner and mode are asked of the open file, so that it cannot be exchanged in between.
        let file = internals::open_without_waiting(&self.path).map_err(|e| self.unreadable(&e))?;
        let metadata = file.metadata().map_err(|e| self.unreadable(&e))?;
        self.refuse_irregular(&metadata)?;
        self.refuse_foreign(&metadata)?;
        self.refuse_shared(&metadata)?;
        let mut text = String::new();
        file.take(LARGEST)
            .read_to_string(&mut text)
            .map_err(|e| self.unreadable(&e))?;
        content(text).ok_or_else(|| self.empty())
    }

    /// Whether both name the same file.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        match (
            std::path::absolute(&self.path),
            std::path::absolute(&other.path),
        ) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
    }

    /// Checks that the file is this account's own, and no link; or that there is none.
    pub(super) fn check_replaceable(&self) -> Result<(), Unreadable> {
        let metadata = match self.path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.unreadable(&error)),
        };
        if metadata.is_file() && is_ours(&metadata) {
            return Ok(());
        }
        Err(Unreadable {
            message: format!("{} is a link, or not this account's own", self.named()),
            cure: format!("put the secret into {}", self.argument()),
        })
    }

    /// Replaces the file by one with this secret.
    pub(super) fn replace(&self, secret: &Secret) -> Result<(), Unreadable> {
        let text = format!("{}\n", secret.expose());
        replace_file::replace(&self.path, &text, None).map_err(|error| Unreadable {
            message: format!("cannot write {}: {error}", self.named()),
            cure: format!("put the secret into {}", self.argument()),
        })
    }

    fn refuse_irregular(&self, metadata: &Metadata) -> Result<(), Unreadable> {
        if metadata.is_file() {
            return Ok(());
        }
        Err(Unreadable {
            message: format!("{} is not a regular file", self.named()),
            cure: "refer to a file that holds the secret alone".to_owned(),
        })
    }

    /// Refuses a file that another account than ours or root's owns: it can change the file at any time.
    #[cfg(unix)]
    fn refuse_foreign(&self, metadata: &Metadata) -> Result<(), Unreadable> {
        use std::os::unix::fs::MetadataExt as _;

        const ROOT: u32 = 0;
        let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner == us || owner == ROOT {
            return Ok(());
        }
        Err(Unreadable {
            message: format!(
                "{} belongs to the account with id {owner}, not to this one ({us}) or root",
                self.named()
            ),
            cure: format!("run: chown {us} {}", self.argument()),
        })
    }

    #[cfg(not(unix))]
    fn refuse_foreign(&self, _: &Metadata) -> Result<(), Unreadable> {
        Ok(())
    }

    #[cfg(unix)]
    fn refuse_shared(&self, metadata: &Metadata) -> Result<(), Unreadable> {
        use std::os::unix::fs::PermissionsExt as _;

        if !internals::lets_others_in(metadata) {
            return Ok(());
        }
        let mode = metadata.permissions().mode() & 0o777;
        Err(Unreadable {
            message: format!("others can read {} (mode {mode:o})", self.named()),
            cure: format!("run: chmod 600 {}", self.argument()),
        })
    }

    #[cfg(not(unix))]
    fn refuse_shared(&self, _: &Metadata) -> Result<(), Unreadable> {
        Ok(())
    }

    fn unreadable(&self, error: &io::Error) -> Unreadable {
        Unreadable {
            message: format!("cannot read {}: {error}", self.named()),
            cure: if self.is_path {
                format!(
                    "create {} with the secret alone in it, owned by the user that runs procore-auth, mode 600",
                    self.argument()
                )
            } else {
                "give the path of a file with the secret alone in it, such as `file = \"/path/to/secret\"`, not the secret"
                    .to_owned()
            },
        }
    }

    fn empty(&self) -> Unreadable {
        Unreadable {
            message: format!("{} is empty", self.named()),
            cure: format!("put the secret into {}", self.argument()),
        }
    }

    /// Names the file in a sentence.
    pub(super) fn named(&self) -> String {
        if self.is_path {
            format!("the secret file {}", self.path.display())
        } else {
            "the secret file that is named here".to_owned()
        }
    }

    /// Names the file in a command.
    fn argument(&self) -> String {
        if self.is_path {
            self.path.display().to_string()
        } else {
            "FILE (the one that is named here)".to_owned()
        }
    }
}

#[cfg(unix)]
fn is_ours(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_ours(_: &Metadata) -> bool {
    true
}

/// Tells whether the text is a path: it has a separator, or an extension and no long run of a token's characters.
fn is_path(written: &str) -> bool {
    written.contains(std::path::is_separator) || has_extension(written) && !has_token(written)
}

fn has_extension(written: &str) -> bool {
    const LONGEST: usize = 10;
    Path::new(written)
        .extension()
        .is_some_and(|extension| extension.len() <= LONGEST)
}

/// Tells whether there are so many letters, digits, `_` and `-` in a row as in a secret.
fn has_token(written: &str) -> bool {
    const SHORTEST: usize = 20;
    written
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
        .any(|run| run.len() >= SHORTEST)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Secret, SecretFile};

    fn at(path: &Path) -> SecretFile {
        SecretFile::new(path.to_owned(), &path.to_string_lossy())
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let folder = tempfile::tempdir().expect("folder");
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        std::os::unix::fs::symlink(&pipe, &link).expect("linked");
        for path in [pipe, link] {
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || sender.send(at(&path).read()));
            let read = receiver
                .recv_timeout(std::time::Duration::from_secs(10))
                .expect("no waiting");
            let refused = read.expect_err("a pipe");
            assert!(
                refused.message.contains("is not a regular file"),
                "{refused:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_file_is_followed() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "hunter2", 0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("secret"), &link).expect("linked");
        assert_eq!(at(&link).read().expect("readable"), "hunter2");
    }

    #[cfg(unix)]
    fn write(folder: &Path, text: &str, mode: u32) -> SecretFile {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("secret");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        at(&path)
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().expect("folder");
        for text in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            let secret = write(folder.path(), text, 0o600).read().expect("readable");
            assert_eq!(secret, "hunter2");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().expect("folder");
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let refused = write(folder.path(), "hunter2", mode)
                .read()
                .expect_err("shared");
            assert!(refused.cure.starts_with("run: chmod 600 /"), "{refused:?}");
            assert!(!format!("{refused:?}").contains("hunter2"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_empty_or_missing_file_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        for text in ["", "\n", "  \n"] {
            assert!(write(folder.path(), text, 0o600).read().is_err());
        }
        let missing = at(&folder.path().join("none"));
        assert!(missing.read().is_err());
        assert!(at(folder.path()).read().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_account_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().expect("folder");
        let reference = write(folder.path(), "hunter2", 0o600);
        let path = folder.path().join("secret");
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            // Only root can give a file away.
            return;
        }
        let refused = reference.read().expect_err("another's");
        assert!(refused.message.contains("65534"), "{refused:?}");
        assert!(refused.cure.starts_with("run: chown "), "{refused:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_replaced_in_a_file_and_not_behind_a_link() {
        let folder = tempfile::tempdir().expect("folder");
        let file = write(folder.path(), "hunter2", 0o600);
        file.check_replaceable().expect("ours");
        file.replace(&Secret::new("hunter3")).expect("written");
        assert_eq!(file.read().expect("readable"), "hunter3");
        let missing = at(&folder.path().join("missing"));
        missing.check_replaceable().expect("nothing is there");
        missing.replace(&Secret::new("hunter3")).expect("written");
        assert_eq!(missing.read().expect("for us alone"), "hunter3");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("secret"), &link).expect("linked");
        assert!(at(&link).check_replaceable().is_err());
    }

    #[test]
    fn a_secret_in_place_of_a_path_is_not_repeated() {
        let folder = Path::new("/procore-auth-none");
        for (written, shown) in [
            ("hunter2", false),
            ("Zk3QvPmX8sLwZk3QvPmX8sLw", false),
            (
                "eyJhbGciOiJIUzI1NiIsInR5.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig",
                false,
            ),
            ("q7.Zk3QvPmX8sLw-none", false),
            ("acme.secret", true),
            ("secrets/acme", true),
            ("/run/secrets/client-secret-of-the-acme-sandbox", true),
        ] {
            let refused = SecretFile::new(folder.join(written), written)
                .read()
                .expect_err("missing");
            assert_eq!(
                format!("{refused:?}").contains(written),
                shown,
                "{refused:?}"
            );
        }
    }
}
