//! An entry of the operating system's keyring: the Secret Service on Linux (GNOME Keyring, KWallet, KeePassXC), the Keychain on
//! macOS, the Credential Manager on Windows.
//!
//! Nobody is asked anything: a locked keyring is a failure, with its cure. No answer within 5 seconds is one too. The keyring is
//! read when a connection is opened, and never after that.

use procore_auth_host::Secret;

use super::{Unreadable, content};

/// The name of an entry: 1 to 64 letters, digits, `.`, `_` and `-`, and nothing that looks like a secret put there by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyringEntry(String);

/// Why the keyring did not do as asked. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "keyring"),
    expect(dead_code, reason = "there is no keyring to say so")
)]
enum Refused {
    /// There is no such entry.
    Missing,
    /// Somebody has to unlock it.
    Locked,
    /// There is no keyring, or it failed.
    Unavailable(String),
}

impl KeyringEntry {
    /// Checks a name. The refusal does not repeat it: it may be the secret.
    pub(crate) fn parse(name: String) -> Result<Self, Unreadable> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let looks_secret = name.len() >= 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) && !looks_secret {
            return Ok(Self(name));
        }
        Err(Unreadable {
            message: "this is not the name of an entry in the keyring".to_owned(),
            cure: "give a name of letters, digits, `.`, `_` and `-`, such as `keyring = \"acme\"`, not the secret".to_owned(),
        })
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Reads the secret: one trailing line end is cut off, an empty one is refused.
    pub(crate) fn read(&self) -> Result<Secret, Unreadable> {
        let text = system::read(&self.0).map_err(|refused| self.explain(refused))?;
        content(text).map(Secret::new).ok_or_else(|| Unreadable {
            message: format!("the keyring's entry {} is empty", self.0),
            cure: self.how_to_set(),
        })
    }

    /// Tells whether there is an entry.
    pub(crate) fn exists(&self) -> Result<bool, Unreadable> {
        match system::read(&self.0) {
            Ok(_) => Ok(true),
            Err(Refused::Missing) => Ok(false),
            Err(refused) => Err(self.explain(refused)),
        }
    }

    /// Writes the secret, in place of the one that is there.
    pub(crate) fn write(&self, secret: &Secret) -> Result<(), Unreadable> {
        system::write(&self.0, secret).map_err(|refused| self.explain(refused))
    }

    fn explain(&self, refused: Refused) -> Unreadable {
        let Self(name) = self;
        match refused {
            Refused::Missing => Unreadable {
                message: format!("the keyring has no entry {name}"),
                cure: self.how_to_set(),
            },
            Refused::Locked => Unreadable {
                message: "the keyring is locked".to_owned(),
                cure: format!(
                    "unlock it by signing in to the desktop; for cron, ssh and containers add a fallback: {}",
                    self.fallback()
                ),
            },
            Refused::Unavailable(why) => Unreadable {
                message: format!("the keyring cannot be used: {why}"),
                cure: format!(
                    "run it in a desktop session; for cron, ssh and containers refer to a file, or add a fallback: {}",
                    self.fallback()
                ),
            },
        }
    }

    fn how_to_set(&self) -> String {
        format!(
            "run `procore-auth keyring set {}` with the secret piped in",
            self.0
        )
    }

    fn fallback(&self) -> String {
        format!(
            "{{ keyring = \"{}\", or = {{ file = \"/path/to/secret\" }} }}",
            self.0
        )
    }
}

/// A build without keyrings.
#[cfg(not(feature = "keyring"))]
mod system {
    use procore_auth_host::Secret;

    use super::Refused;

    pub(super) fn read(_: &str) -> Result<String, Refused> {
        Err(none())
    }

    pub(super) fn write(_: &str, _: &Secret) -> Result<(), Refused> {
        Err(none())
    }

    fn none() -> Refused {
        Refused::Unavailable("this program was built without the feature `keyring`".to_owned())
    }
}

/// The keyring of the system, asked on a thread of its own: the platforms' interfaces block, and some for ever.
#[cfg(feature = "keyring")]
mod system {
    use std::sync::{OnceLock, mpsc};
    use std::time::Duration;

    use keyring::{Entry, Error};
    use procore_auth_host::Secret;

    use super::Refused;

    /// The service that all entries belong to; the entry's name is the user name.
    const SERVICE: &str = "procore-auth";

    /// The longest wait for the keyring. It answers at once, or somebody has to do something first.
    const WAIT: Duration = Duration::from_secs(5);

    type Job = Box<dyn FnOnce() + Send>;

    pub(super) fn read(name: &str) -> Result<String, Refused> {
        let name = name.to_owned();
        within_the_wait(move || {
            unattended::check_entry(&name)?;
            let entry = Entry::new(SERVICE, &name).map_err(refused)?;
            entry.get_password().map_err(refused)
        })
    }

    pub(super) fn write(name: &str, secret: &Secret) -> Result<(), Refused> {
        let (name, secret) = (name.to_owned(), secret.clone());
        within_the_wait(move || {
            unattended::check_entry(&name)?;
            unattended::check_collection()?;
            let entry = Entry::new(SERVICE, &name).map_err(refused)?;
            entry.set_password(secret.expose()).map_err(refused)
        })
    }

    /// Does the work on the one thread for it: where that is stuck, no more threads get stuck.
    fn within_the_wait<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = mpsc::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may have gone.
            let _ = answer.send(work());
        });
        let sent = worker().is_some_and(|worker| worker.send(job).is_ok());
        let unanswered = if sent {
            "it does not answer"
        } else {
            "no thread"
        };
        let unavailable = || Err(Refused::Unavailable(unanswered.to_owned()));
        answered
            .recv_timeout(WAIT)
            .unwrap_or_else(|_| unavailable())
    }

    fn worker() -> Option<&'static mpsc::Sender<Job>> {
        static WORKER: OnceLock<Option<mpsc::Sender<Job>>> = OnceLock::new();
        let start = || {
            let (sender, jobs) = mpsc::channel::<Job>();
            let run = move || jobs.into_iter().for_each(|job| job());
            let thread = std::thread::Builder::new().name("keyring".to_owned());
            thread.spawn(run).ok().map(|_| sender)
        };
        WORKER.get_or_init(start).as_ref()
    }

    /// Tells what the platform said. Never with `Debug`: some errors hold what was read.
    fn refused(error: Error) -> Refused {
        match error {
            Error::NoEntry => Refused::Missing,
            Error::NoStorageAccess(_) => Refused::Locked,
            Error::BadEncoding(_) | Error::BadDataFormat(..) => {
                Refused::Unavailable("the entry is no text".to_owned())
            }
            Error::Ambiguous(_) => {
                Refused::Unavailable("several entries have this name".to_owned())
            }
            Error::NoDefaultStore => Refused::Unavailable("there is none".to_owned()),
            other => Refused::Unavailable(other.to_string()),
        }
    }

    /// The Secret Service unlocks what it is asked for by asking a person. So it is asked first whether it is locked.
    #[cfg(all(unix, not(target_os = "macos")))]
    mod unattended {
        use std::collections::HashMap;

        use secret_service::blocking::SecretService;
        use secret_service::{EncryptionType, Error};

        use super::{Refused, SERVICE};

        pub(super) fn check_entry(name: &str) -> Result<(), Refused> {
            let service = connect()?;
            let attributes = HashMap::from([("service", SERVICE), ("username", name)]);
            let found = service.search_items(attributes).map_err(refused)?;
            if found.locked.is_empty() {
                Ok(())
            } else {
                Err(Refused::Locked)
            }
        }

        /// A new entry goes to the default collection; where there is none, a person would be asked for its password.
        pub(super) fn check_collection() -> Result<(), Refused> {
            let service = connect()?;
            let collection = match service.get_default_collection() {
                Err(Error::NoResult) => {
                    let none = "it has no default collection; create one in the desktop's settings";
                    return Err(Refused::Unavailable(none.to_owned()));
                }
                found => found.map_err(refused)?,
            };
            match collection.is_locked() {
                Ok(false) => Ok(()),
                Ok(true) => Err(Refused::Locked),
                Err(error) => Err(refused(error)),
            }
        }

        /// Nothing secret is read through this connection.
        fn connect() -> Result<SecretService<'static>, Refused> {
            SecretService::connect(EncryptionType::Plain).map_err(refused)
        }

        fn refused(error: Error) -> Refused {
            match error {
                Error::Locked | Error::Prompt => Refused::Locked,
                Error::Unavailable => {
                    Refused::Unavailable("no Secret Service is running for this account".to_owned())
                }
                other => Refused::Unavailable(other.to_string()),
            }
        }
    }

    /// Elsewhere the platform's own store does not ask a process without a session, and the wait is bounded.
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    mod unattended {
        use super::Refused;

        pub(super) fn check_entry(_: &str) -> Result<(), Refused> {
            Ok(())
        }

        pub(super) fn check_collection() -> Result<(), Refused> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyringEntry, Refused};

    #[test]
    fn a_secret_in_place_of_a_name_is_refused_and_not_repeated() {
        let secret = "abcdef0123456789abcdef0123456789abcdef0123456789";
        for bad in [secret, "", "a b", "a/b", &"x".repeat(65)] {
            let refused = KeyringEntry::parse(bad.to_owned()).expect_err("no name");
            assert!(bad.is_empty() || !format!("{refused:?}").contains(bad));
        }
    }

    #[test]
    fn every_refusal_has_a_cure() {
        let entry = KeyringEntry::parse("acme".to_owned()).expect("a name");
        for (refused, cure) in [
            (Refused::Missing, "procore-auth keyring set acme"),
            (Refused::Locked, "{ keyring = \"acme\", or = { file = "),
            (
                Refused::Unavailable("no bus".to_owned()),
                "{ keyring = \"acme\", or = { file = ",
            ),
        ] {
            let told = entry.explain(refused);
            assert!(told.cure.contains(cure), "{told:?}");
        }
    }
}
