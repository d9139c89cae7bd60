//! Secrets by reference: the configuration says where a secret is, never what it is.

mod keyring_entry;
mod secret_file;

use procore_auth_host::Secret;

pub(crate) use keyring_entry::KeyringEntry;
pub(crate) use secret_file::SecretFile;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretReference {
    /// In an environment variable of this process.
    Env(VariableName),
    /// In a file that only its owner can read: this account, or root.
    File(SecretFile),
    /// In the operating system's keyring, and where it cannot be had there, elsewhere.
    Keyring(KeyringEntry, Option<Box<SecretReference>>),
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
            Self::File(file) => file.read().map(Secret::new),
            Self::Keyring(entry, or) => match (entry.read(), or) {
                (Err(refused), Some(or)) => read_instead(&refused, or),
                (read, _) => read,
            },
        }
    }

    /// Names the place in a sentence. What may be the secret itself is not repeated.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Env(name) => name.named(),
            Self::File(file) => file.named(),
            Self::Keyring(entry, _) => format!("the keyring's entry {}", entry.name()),
        }
    }

    /// Whether both name the same place; fallbacks do not count.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Env(a), Self::Env(b)) => a == b,
            (Self::File(a), Self::File(b)) => a.is_at(b),
            (Self::Keyring(a, _), Self::Keyring(b, _)) => a == b,
            _ => false,
        }
    }

    /// Checks that the place is one which [`replace`](Self::replace) writes to.
    pub(crate) fn check_replaceable(&self) -> Result<(), Unreadable> {
        match self {
            Self::Env(name) => Err(Unreadable {
                message: format!(
                    "the secret is in {}, which cannot be set from here",
                    name.named()
                ),
                cure: "set it for everything that runs procore-auth".to_owned(),
            }),
            Self::File(file) => file.check_replaceable(),
            Self::Keyring(entry, _) => entry.exists().map(|_| ()),
        }
    }

    /// Writes the secret to the place, in place of the one that is there.
    pub(crate) fn replace(&self, secret: &Secret) -> Result<(), Unreadable> {
        self.check_replaceable()?;
        match self {
            Self::Env(_) => Ok(()),
            Self::File(file) => file.replace(secret),
            Self::Keyring(entry, _) => entry.write(secret),
        }
    }

    /// Returns the name of the environment variable that holds the secret.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Env(VariableName(name)) => Some(name),
            Self::File(_) => None,
            Self::Keyring(_, or) => or.as_ref()?.variable(),
        }
    }
}

/// Reads the fallback of a keyring's entry. Where it fails too, both are told.
fn read_instead(keyring: &Unreadable, or: &SecretReference) -> Result<Secret, Unreadable> {
    tracing::info!(why = keyring.message, "the keyring's fallback is used");
    or.read().map_err(|fallback| Unreadable {
        message: format!("{}; and {}", keyring.message, fallback.message),
        cure: fallback.cure,
    })
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
        match std::env::var(&self.0) {
            Ok(value) => content(value).ok_or_else(|| self.refuse("is empty")),
            Err(std::env::VarError::NotPresent) => Err(self.refuse("is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(self.refuse("is not valid UTF-8")),
        }
    }

    /// Names the variable only where its name is one by custom: any other may be the secret itself.
    fn refuse(&self, what: &str) -> Unreadable {
        let Self(name) = self;
        let message = format!("{} {what}", self.named());
        if self.is_customary() {
            return Unreadable {
                message,
                cure: format!(
                    "set {name} for this process (systemd: `EnvironmentFile=`), or refer to a file: `{{ file = \"/path\" }}`"
                ),
            };
        }
        Unreadable {
            message,
            cure: "give the variable's name, such as `env = \"PROCORE_CLIENT_SECRET\"`, not its value, and set it for this \
                   process (systemd: `EnvironmentFile=`)"
                .to_owned(),
        }
    }

    /// Names the variable in a sentence.
    fn named(&self) -> String {
        match self.is_customary() {
            true => format!("the environment variable {}", self.0),
            false => "the environment variable that is named here".to_owned(),
        }
    }

    /// Tells whether the name is in upper case and not long, as those of variables are.
    fn is_customary(&self) -> bool {
        const LONGEST: usize = 64;
        self.0.len() <= LONGEST && !self.0.bytes().any(|b| b.is_ascii_lowercase())
    }
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
    use super::{SecretReference, VariableName, content};

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
    fn a_secret_that_could_be_a_name_is_not_repeated_where_it_is_not_set() {
        let longest = "X".repeat(64);
        for (name, shown) in [
            ("Zk3QvPmX8sLw_none", false),
            ("lower_none", false),
            (&*format!("{longest}B"), false),
            (&*longest, true),
            ("_UPPER_NONE_2", true),
        ] {
            let parsed = VariableName::parse(name.to_owned()).expect("a name");
            let refused = parsed.read().expect_err("unset");
            let told = format!("{refused:?}");
            assert_eq!(told.contains(name), shown, "{told}");
            assert!(
                shown
                    || refused.message == "the environment variable that is named here is not set"
            );
        }
    }

    #[test]
    fn only_the_last_line_end_is_cut() {
        assert_eq!(content(" a \n\n".to_owned()).as_deref(), Some(" a \n"));
    }
}
