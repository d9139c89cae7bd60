//! Secrets by reference: the configuration says where a secret is, never what it is.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use procore_auth_host::{Secret, internals};

/// The most bytes of a secret file that are read: a larger one is not a client secret.
const LARGEST: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretReference {
    /// In an environment variable of this process.
    Env(VariableName),
    /// In a file that only its owner can read: this account, or root.
    File(PathBuf),
}

/// The name of an environment variable: letters, digits and `_`, and nothing that looks like a secret put there by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableName(String);

/// A secret could not be read. Never holds any part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unreadable {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) cure: String,
}

impl SecretReference {
    /// Reads the secret: one trailing line end is cut off, an empty one is refused.
    pub(crate) fn read(&self) -> Result<Secret, Unreadable> {
        match self {
            Self::Env(name) => name.read().map(Secret::new),
            Self::File(path) => read_private(path).map(Secret::new),
        }
    }
}

impl VariableName {
    /// Checks a name. The refusal does not repeat it: it may be the secret.
    pub(crate) fn parse(name: String) -> Result<Self, Unreadable> {
        let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let named = name.bytes().all(letters)
            && name
                .bytes()
                .next()
                .is_some_and(|first| !first.is_ascii_digit());
        let looks_secret = name.len() >= 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
        if named && !looks_secret {
            return Ok(Self(name));
        }
        Err(Unreadable {
            message: "this is not the name of an environment variable".to_owned(),
            cure:
                "give the variable's name, such as `env = \"PROCORE_CLIENT_SECRET\"`, not its value"
                    .to_owned(),
        })
    }

    /// Reads the variable's value.
    pub(crate) fn read(&self) -> Result<String, Unreadable> {
        let Self(name) = self;
        let refuse = |what: &str| Unreadable {
            message: format!("the environment variable {name} {what}"),
            cure: format!(
                "set {name} for this process (systemd: `EnvironmentFile=`), or refer to a file: `{{ file = \"/path\" }}`"
            ),
        };
        match std::env::var(name) {
            Ok(value) => content(value).ok_or_else(|| refuse("is empty")),
            Err(std::env::VarError::NotPresent) => Err(refuse("is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(refuse("is not valid UTF-8")),
        }
    }
}

/// Reads a file that nobody but this account or root may read.
fn read_private(path: &Path) -> Result<String, Unreadable> {
    let shown = path.display();
    let unreadable = |error: &std::io::Error| Unreadable {
        message: format!("cannot read the secret file {shown}: {error}"),
        cure: format!(
            "create {shown} with the secret alone in it, owned by the user that runs procore-auth, mode 600"
        ),
    };
    // Permissions are asked of the open file, so that it cannot be exchanged in between.
    let file = std::fs::File::open(path).map_err(|e| unreadable(&e))?;
    let metadata = file.metadata().map_err(|e| unreadable(&e))?;
    if !metadata.is_file() {
        return Err(Unreadable {
            message: format!("{shown} is not a regular file"),
            cure: "refer to a file that holds the secret alone".to_owned(),
        });
    }
    refuse_foreign(path, &metadata)?;
    refuse_shared(path, &metadata)?;
    let mut text = String::new();
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(|e| unreadable(&e))?;
    content(text).ok_or_else(|| Unreadable {
        message: format!("the secret file {shown} is empty"),
        cure: format!("put the client secret into {shown}"),
    })
}

/// Refuses a file that another account than ours or root's owns: it can change the file at any time.
#[cfg(unix)]
fn refuse_foreign(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Unreadable> {
    use std::os::unix::fs::MetadataExt as _;

    const ROOT: u32 = 0;
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == us || owner == ROOT {
        return Ok(());
    }
    let shown = path.display();
    Err(Unreadable {
        message: format!(
            "the secret file {shown} belongs to the account with id {owner}, not to this one ({us}) or root"
        ),
        cure: format!("run: chown {us} {shown}"),
    })
}

#[cfg(not(unix))]
fn refuse_foreign(_: &Path, _: &std::fs::Metadata) -> Result<(), Unreadable> {
    Ok(())
}

#[cfg(unix)]
fn refuse_shared(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Unreadable> {
    use std::os::unix::fs::PermissionsExt as _;

    if !internals::lets_others_in(metadata) {
        return Ok(());
    }
    let mode = metadata.permissions().mode() & 0o777;
    let shown = path.display();
    Err(Unreadable {
        message: format!("others can read the secret file {shown} (mode {mode:o})"),
        cure: format!("run: chmod 600 {shown}"),
    })
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &std::fs::Metadata) -> Result<(), Unreadable> {
    Ok(())
}

/// Cuts off the line end that editors and `echo` leave; `None` where nothing remains.
fn content(mut text: String) -> Option<String> {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SecretReference, VariableName, content};

    #[cfg(unix)]
    fn write(folder: &Path, text: &str, mode: u32) -> SecretReference {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("secret");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        SecretReference::File(path)
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().expect("folder");
        for text in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            let secret = write(folder.path(), text, 0o600).read().expect("readable");
            assert_eq!(secret.expose(), "hunter2");
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
        let missing = SecretReference::File(folder.path().join("none"));
        assert!(missing.read().is_err());
        assert!(
            SecretReference::File(folder.path().to_owned())
                .read()
                .is_err()
        );
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

    #[test]
    fn a_variable_is_read() {
        let path = VariableName::parse("PATH".to_owned()).expect("a name");
        assert!(SecretReference::Env(path).read().is_ok());
        let unset = VariableName::parse("PROCORE_AUTH_UNSET".to_owned()).expect("a name");
        let refused = SecretReference::Env(unset).read().expect_err("unset");
        assert!(
            refused.message.contains("PROCORE_AUTH_UNSET is not set"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_secret_in_place_of_a_name_is_refused_and_not_repeated() {
        let secret = "abcdef0123456789abcdef0123456789abcdef0123456789";
        for bad in [secret, "", "1A", "A-B", "hunter 2"] {
            let refused = VariableName::parse(bad.to_owned()).expect_err("no name");
            assert!(
                bad.is_empty() || !format!("{refused:?}").contains(bad),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn only_the_last_line_end_is_cut() {
        assert_eq!(content(" a \n\n".to_owned()).as_deref(), Some(" a \n"));
    }
}
