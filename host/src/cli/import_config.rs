//! Adds a connection to the configuration: a table at the end of the file, and a file of its own for the secret.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use procore_auth_host::{Grant, Secret, Settings, internals};

use super::config::Config;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::{replace_file, status};

/// A connection that the configuration does not have yet.
pub(super) struct NewConnection {
    toml: String,
    secret: Secret,
    secret_file: PathBuf,
}

impl NewConnection {
    /// Words the table. The secret goes to `NAME.secret` next to the configuration.
    pub(super) fn new(config: &Config, settings: &Settings) -> Self {
        let secret_name = format!("{}.secret", settings.name);
        let folder = config.path().parent().unwrap_or(Path::new(""));
        Self {
            toml: table(settings, &secret_name),
            secret: settings.client_secret.clone(),
            secret_file: folder.join(secret_name),
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
        if self.secret_file.exists() {
            return Err(secret_file_exists(&self.secret_file));
        }
        if let Some(folder) = path.parent() {
            internals::create_folder(folder)
                .map_err(|error| Failure::file("create", folder, &error))?;
        }
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for file in [&self.secret_file, &target] {
            let folder = file.parent().unwrap_or(Path::new("."));
            tempfile::NamedTempFile::new_in(folder)
                .map_err(|error| Failure::file("write", file, &error))?;
        }
        Ok(())
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

    /// An existing file is left alone: it may hold another secret.
    fn write_secret(&self) -> Result<(), Failure> {
        let path = &self.secret_file;
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

fn table(settings: &Settings, secret_name: &str) -> String {
    let mut lines = vec![
        format!("[connections.{}]", settings.name),
        format!(
            "environment = {}",
            quoted(status::environment(settings.environment))
        ),
        format!("client_id = {}", quoted(&settings.client_id)),
        format!("client_secret = {{ file = {} }}", quoted(secret_name)),
    ];
    match &settings.grant {
        Grant::AuthorizationCode { redirect_uri } => {
            lines.push("grant = \"authorization-code\"".to_owned());
            lines.push(format!("redirect_uri = {}", quoted(redirect_uri)));
        }
        Grant::ClientCredentials => lines.push("grant = \"client-credentials\"".to_owned()),
    }
    if let Some(company) = settings.company_id {
        lines.push(format!("company_id = {company}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

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

    use super::{Config, NewConnection, is_shared};

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
        NewConnection::new(&config, &settings())
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
            NewConnection::new(&config, &settings())
                .write(&config)
                .is_err()
        );
        assert_eq!(std::fs::read_to_string(&secret).expect("there"), "other");
        assert!(!path.exists());
    }
}
