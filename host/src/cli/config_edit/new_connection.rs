//! Adds a connection to the configuration: a table at the end of the file, and a file of its own for the secret.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use procore_auth_host::{ConnectionName, Grant, Secret, Settings, internals};

use super::config::Config;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::secret_reference::{KeyringEntry, SecretFile};
use super::{keyring, replace_file, status};

/// A connection that the configuration does not have yet.
pub(super) struct NewConnection {
    toml: String,
    secret: Secret,
    place: Place,
}

/// Where a new connection's secret is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretPlace {
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
    pub(super) fn new(config: &Config, settings: &Settings, secret: SecretPlace) -> Self {
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
            toml: table(settings, &reference),
            secret: settings.client_secret.clone(),
            place,
        }
    }

    /// Returns the table's text.
    pub(super) fn toml(&self) -> &str {
        &self.toml
    }

    /// Checks what can be checked before tokens are taken over: the result is valid, and both files can be written.
    pub(super) fn check(&self, config: &Config) -> Result<(), Failure> {
        let path = config.path();
        Config::parse(path, joined(config.text(), &self.toml))?;
        self.check_secret_file()?;
        if let Some(folder) = path.parent() {
            internals::create_folder(folder)
                .map_err(|error| Failure::file("create", folder, &error))?;
        }
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
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
    pub(super) fn write(&self, config: &Config) -> Result<(), Failure> {
        let path = config.path();
        let text = joined(config.text(), &self.toml);
        Config::parse(path, text.clone())?;
        if let Some(folder) = path.parent() {
            internals::create_folder(folder)
                .map_err(|error| Failure::file("create", folder, &error))?;
        }
        self.write_secret()?;
        replace(path, &text).map_err(|error| Failure::file("write", path, &error))
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

/// Sets a key of a connection's table, and leaves every other byte of the file as it is.
pub(super) fn set(
    path: &Path,
    name: &ConnectionName,
    key: &str,
    value: impl Into<toml_edit::Value>,
    comment: &str,
) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read", path, &e))?;
    let edited = edited(&text, name, key, value.into(), comment);
    let text = edited.ok_or_else(|| uneditable(path, name, key))?;
    let config = Config::parse(path, text.clone())?;
    replace(path, &text).map_err(|error| Failure::file("write", path, &error))?;
    Ok(config)
}

/// Returns the text with the key, under its comment where the table has lines; `None` where there is no such table, or line ends are
/// mixed: the library that edits knows one kind.
fn edited(
    text: &str,
    name: &ConnectionName,
    key: &str,
    value: toml_edit::Value,
    comment: &str,
) -> Option<String> {
    let windows = text.matches("\r\n").count();
    if windows == 0 {
        return edited_lines(text, name, key, value, comment);
    }
    let edited = edited_lines(&text.replace("\r\n", "\n"), name, key, value, comment)?;
    (windows == text.matches('\n').count()).then(|| edited.replace('\n', "\r\n"))
}

fn edited_lines(
    text: &str,
    name: &ConnectionName,
    key: &str,
    value: toml_edit::Value,
    comment: &str,
) -> Option<String> {
    let mut document: toml_edit::DocumentMut = text.parse().ok()?;
    let connections = document.get_mut("connections")?.as_table_like_mut()?;
    let table = connections.get_mut(name.as_str())?;
    let is_inline = table.is_inline_table();
    let table = table.as_table_like_mut()?;
    if let Some(known) = table.get_mut(key) {
        let known = known.as_value_mut()?;
        let around = known.decor().clone();
        *known = value;
        *known.decor_mut() = around;
        return Some(document.to_string());
    }
    table.insert(key, toml_edit::value(value));
    // A comment within an inline table would take what follows with it.
    if !is_inline {
        let mut key = table.key_mut(key)?;
        key.leaf_decor_mut().set_prefix(format!("# {comment}\n"));
    }
    Some(document.to_string())
}

fn uneditable(path: &Path, name: &ConnectionName, key: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "config-not-edited",
        format!(
            "{} has no table of {name} that `{key}` could be added to.",
            path.display()
        ),
        format!("Add `{key}` to [connections.{name}] by hand."),
    )
    .into()
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
    let environment = status::environment(settings.environment);
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
pub(super) const COMPANY: &str = "The company that calls are for.";

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn joined(text: &str, table: &str) -> String {
    if text.trim().is_empty() {
        return table.to_owned();
    }
    format!("{}\n\n{table}", text.trim_end())
}

/// Replaces the file in one step. A link is followed, so that it stays one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let permissions = path.metadata().ok().map(|metadata| metadata.permissions());
    replace_file::replace(&path, text, permissions)
}

/// Whether others than the owner can read the file.
pub(super) fn is_shared(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| internals::lets_others_in(&metadata))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use procore_auth_host::{Environment, Grant, Policy, Secret, Settings};

    use super::{Config, NewConnection, SecretPlace, edited, is_shared};

    fn settings() -> Settings {
        Settings {
            name: "acme".parse().expect("valid"),
            environment: Environment::MonthlySandbox,
            client_id: "a\"b".to_owned(),
            client_secret: Secret::new("hunter2"),
            grant: Grant::AuthorizationCode {
                redirect_uri: "http://localhost:9876/callback".to_owned(),
            },
            company_id: Some(7),
            policy: Policy::default(),
        }
    }

    fn add_to(path: &Path, text: &str) -> Config {
        let config = Config::parse(path, text.to_owned()).expect("valid");
        NewConnection::new(&config, &settings(), SecretPlace::NextToIt)
            .write(&config)
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
        assert!(!is_shared(&path) && !is_shared(&folder.path().join("new/acme.secret")));
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
                .write(&config)
                .is_err()
        );
        assert_eq!(std::fs::read_to_string(&secret).expect("there"), "other");
        assert!(!path.exists());
    }

    #[test]
    fn a_key_is_added_and_every_other_byte_stays() {
        let before = "# mine\nstate = '/s'   # here\n\n[connections.acme] # it\nclient_id = \"a\"\n\n[connections.acme.policy]\npkce=false\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        let added = "client_id = \"a\"\n# The company.\ncompany_id = 7\n";
        assert_eq!(after, before.replace("client_id = \"a\"\n", added));
        let again = edited(&after, &name, "company_id", 8.into(), "The company.").expect("edited");
        assert_eq!(again, after.replace("= 7", "= 8"));
        let noted = after.replace("= 7", "=  7   # ours");
        let again = edited(&noted, &name, "company_id", 8.into(), "").expect("edited");
        assert_eq!(again, noted.replace("7", "8"));
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let before = "# mine\r\n[connections.acme]\r\nclient_id = \"a\"\r\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        assert_eq!(
            after,
            format!("{before}# The company.\r\ncompany_id = 7\r\n")
        );
        let mixed = before.replacen("\r\n", "\n", 1);
        assert_eq!(edited(&mixed, &name, "company_id", 7.into(), ""), None);
    }

    #[test]
    fn a_key_is_added_to_an_inline_table_too() {
        let before = "[connections]\nacme = { client_id = \"a\" } # it\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        let parsed: toml::Table = after.parse().expect("valid");
        assert_eq!(
            parsed["connections"]["acme"]["company_id"].as_integer(),
            Some(7),
            "{after}"
        );
        let other = "other".parse().expect("valid");
        assert_eq!(edited(before, &other, "company_id", 7.into(), ""), None);
    }

    #[test]
    fn a_secret_that_an_earlier_run_has_left_is_taken_as_written() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        let config = Config::parse(&path, String::new()).expect("valid");
        let new = NewConnection::new(&config, &settings(), SecretPlace::NextToIt);
        new.write_secret().expect("written");
        new.check(&config).expect("the same secret");
        new.write(&config).expect("written");
    }
}
