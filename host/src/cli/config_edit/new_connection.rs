//! Adds a connection: a commented table at the end of the file, and a file of its own for the secret.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use procore_auth_host::{ConnectionName, Grant, Secret, Settings, internals};

use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::keyring;
use crate::cli::secret_reference::{KeyringEntry, SecretFile};

/// A connection that the configuration does not have yet.
pub(crate) struct NewConnection {
    /// The configuration file.
    config: PathBuf,
    name: ConnectionName,
    toml: String,
    secret: Secret,
    place: Place,
}

/// Where a new connection's secret is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretPlace {
    /// In a file `NAME.secret` next to the configuration.
    NextToIt,
    /// In the operating system's keyring.
    Keyring(KeyringEntry),
    /// It is there already; the text is the reference as the configuration has it.
    There(String),
}

/// Where the secret is written to.
enum Place {
    File(PathBuf),
    Keyring(KeyringEntry),
    Nowhere,
}

impl NewConnection {
    /// Words the table.
    pub(crate) fn new(config: &Config, settings: &Settings, secret: SecretPlace) -> Self {
        let (reference, place) = match secret {
            SecretPlace::NextToIt => {
                let secret_name = format!("{}.secret", settings.name);
                let folder = config.path().parent().unwrap_or(Path::new(""));
                let reference = format!("{{ file = {} }}", quoted(&secret_name));
                (reference, Place::File(folder.join(secret_name)))
            }
            SecretPlace::Keyring(entry) => {
                let reference = format!("{{ keyring = {} }}", quoted(entry.name()));
                (reference, Place::Keyring(entry))
            }
            SecretPlace::There(reference) => (reference, Place::Nowhere),
        };
        Self {
            config: config.path().to_owned(),
            name: settings.name.clone(),
            toml: table(settings, &reference),
            secret: settings.client_secret.clone(),
            place,
        }
    }

    /// Returns the table's text.
    pub(crate) fn toml(&self) -> &str {
        &self.toml
    }

    /// Checks what can be checked before tokens are taken over: the result is valid, and both files can be written.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.added_to(&super::now(&self.config)?)?;
        self.check_secret_file()?;
        self.create_folder()?;
        let target = self.config.canonicalize();
        let target = target.unwrap_or_else(|_| self.config.clone());
        let mut files = vec![&target];
        if let Place::File(path) = &self.place {
            files.push(path);
        }
        for file in files {
            let folder = file.parent().unwrap_or(Path::new("."));
            tempfile::NamedTempFile::new_in(folder)
                .map_err(|error| Failure::file("write", file, &error))?;
        }
        Ok(())
    }

    /// Returns the text of the configuration with the table, where that is valid and the connection is still a new one.
    fn added_to(&self, now: &Config) -> Result<String, Failure> {
        if now.get(&self.name).is_some() {
            return Err(self.added_meanwhile());
        }
        let text = joined(now.text(), &self.toml);
        Config::parse(&self.config, text.clone())?;
        Ok(text)
    }

    fn added_meanwhile(&self) -> Failure {
        let name = &self.name;
        Explained::new(
            Exit::Refused,
            "connection-exists",
            format!(
                "{} has a connection {name} now: it was added meanwhile, by something else.",
                self.config.display()
            ),
            format!("Run `procore-auth init --connection {name}` to go on with that one, or choose another name with --connection."),
        )
        .into()
    }

    fn create_folder(&self) -> Result<(), Failure> {
        let Some(folder) = self.config.parent() else {
            return Ok(());
        };
        internals::create_folder(folder).map_err(|error| Failure::file("create", folder, &error))
    }

    /// A file with this very secret is none of another connection's: a run that ended early has left it.
    fn check_secret_file(&self) -> Result<(), Failure> {
        let Place::File(path) = &self.place else {
            return Ok(());
        };
        if path.symlink_metadata().is_ok() && !self.is_written(path) {
            return Err(secret_file_exists(path));
        }
        Ok(())
    }

    fn is_written(&self, path: &Path) -> bool {
        let kept = SecretFile::new(path.to_owned(), "").read();
        kept.is_ok_and(|kept| kept == self.secret.expose())
    }

    /// Writes both files. The configuration changes last, whole or not at all, and only if the result is valid.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        self.create_folder()?;
        let add = |now: &Config| {
            let text = self.added_to(now)?;
            self.write_secret()?;
            Ok(text)
        };
        super::edit(&self.config, add).map(|_| ())
    }

    /// What is there is left alone: it may be another connection's.
    fn write_secret(&self) -> Result<(), Failure> {
        match &self.place {
            Place::Keyring(entry) => keyring::write(entry, &self.secret, false),
            Place::File(path) if self.is_written(path) => Ok(()),
            Place::File(path) => self.write_secret_file(path),
            Place::Nowhere => Ok(()),
        }
    }

    fn write_secret_file(&self, path: &Path) -> Result<(), Failure> {
        let mut file = match internals::create_new(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(secret_file_exists(path));
            }
            Err(error) => return Err(Failure::file("create", path, &error)),
        };
        writeln!(file, "{}", self.secret.expose())
            .and_then(|()| file.sync_all())
            .map_err(|error| Failure::file("write", path, &error))
    }
}

fn secret_file_exists(path: &Path) -> Failure {
    Explained::new(
        Exit::Refused,
        "secret-file-exists",
        format!("{} exists already.", path.display()),
        "Move it away if nothing refers to it, or choose another name with --connection.",
    )
    .into()
}

/// Words the table, each key under a comment.
fn table(settings: &Settings, secret: &str) -> String {
    let environment = settings.environment.as_str();
    let mut lines = vec![
        format!("[connections.{}]", settings.name),
        "# production, sandbox, monthly-sandbox or federal. Every URL follows from it.".to_owned(),
        format!("environment = {}", quoted(environment)),
        "# From the app's page in Procore's developer portal, of the pair that belongs to the environment. No secret.".to_owned(),
        format!("client_id = {}", quoted(&settings.client_id)),
        "# Where the client secret is; never the secret itself.".to_owned(),
        format!("client_secret = {secret}"),
    ];
    match &settings.grant {
        Grant::AuthorizationCode { redirect_uri } => lines.extend([
            "# A person signs in once, in a browser.".to_owned(),
            "grant = \"authorization-code\"".to_owned(),
            "# Character for character as registered in the developer portal.".to_owned(),
            format!("redirect_uri = {}", quoted(redirect_uri)),
        ]),
        Grant::ClientCredentials => lines.extend([
            "# The app's service account: nobody signs in.".to_owned(),
            "grant = \"client-credentials\"".to_owned(),
        ]),
    }
    if let Some(company) = settings.company_id {
        lines.push(format!("# {COMPANY}"));
        lines.push(format!("company_id = {company}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What `company_id` is, for the file.
pub(crate) const COMPANY: &str = "The company that calls are for.";

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn joined(text: &str, table: &str) -> String {
    if text.trim().is_empty() {
        return table.to_owned();
    }
    format!("{}\n\n{table}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use procore_auth_host::{Environment, Grant, Secret, Settings};

    use super::{Config, NewConnection, SecretPlace, internals};

    fn settings() -> Settings {
        let mut settings = Settings::new(
            "acme".parse().expect("valid"),
            Environment::MonthlySandbox,
            "a\"b",
            Secret::new("hunter2"),
            Grant::AuthorizationCode {
                redirect_uri: "http://localhost:9876/callback".to_owned(),
            },
        );
        settings.company_id = Some(7);
        settings
    }

    fn add_to(path: &Path, text: &str) -> Config {
        let config = Config::parse(path, text.to_owned()).expect("valid");
        NewConnection::new(&config, &settings(), SecretPlace::NextToIt)
            .write()
            .expect("written");
        Config::load(path).expect("valid")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new/config.toml");
        let config = add_to(&path, "");
        let (name, connection) = config.select(None).expect("the only one");
        let read = connection.settings(name).expect("readable");
        assert_eq!(read.client_id, "a\"b");
        assert_eq!(read.client_secret.expose(), "hunter2");
        assert_eq!(read.environment, Environment::MonthlySandbox);
        assert_eq!(read.company_id, Some(7));
        assert!(!config.text().contains("hunter2"));
        for file in [&path, &folder.path().join("new/acme.secret")] {
            let metadata = file.metadata().expect("there");
            assert!(!internals::lets_others_in(&metadata));
        }
    }

    #[test]
    fn what_stands_in_the_file_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        let before = "# mine\nstate = \"/s\" # here\n";
        std::fs::write(&path, before).expect("written");
        let config = add_to(&path, before);
        assert!(
            config
                .text()
                .starts_with("# mine\nstate = \"/s\" # here\n\n[connections.acme]\n")
        );
    }

    #[test]
    fn an_existing_secret_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let secret = folder.path().join("acme.secret");
        std::fs::write(&secret, "other").expect("written");
        let path = folder.path().join("config.toml");
        let config = Config::parse(&path, String::new()).expect("valid");
        assert!(
            NewConnection::new(&config, &settings(), SecretPlace::NextToIt)
                .write()
                .is_err()
        );
        assert_eq!(std::fs::read_to_string(&secret).expect("there"), "other");
        assert!(!path.exists());
    }

    #[test]
    fn what_was_written_meanwhile_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "# before\n").expect("written");
        let config = Config::load(&path).expect("valid");
        let new = NewConnection::new(&config, &settings(), SecretPlace::NextToIt);
        std::fs::write(&path, "# meanwhile\n").expect("written");
        new.check().expect("fine");
        new.write().expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(
            text.starts_with("# meanwhile\n\n[connections.acme]\n"),
            "{text}"
        );
        // And what has come there under the same name is left as it is.
        let secret = folder.path().join("acme.secret");
        std::fs::remove_file(&secret).expect("there");
        for refused in [new.check(), new.write()] {
            let explained = refused.expect_err("there is one").explained();
            assert_eq!(explained.code, "connection-exists");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        assert!(!secret.exists());
    }

    #[test]
    fn a_secret_that_an_earlier_run_has_left_is_taken_as_written() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        let config = Config::parse(&path, String::new()).expect("valid");
        let new = NewConnection::new(&config, &settings(), SecretPlace::NextToIt);
        new.write_secret().expect("written");
        new.check().expect("the same secret");
        new.write().expect("written");
    }
}
