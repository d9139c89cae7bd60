//! The configuration file: one TOML file, read once, every mistake shown with its place and its cure.

mod alerts;
mod encryption;
mod excerpt;
mod fallback;
mod locate;
mod message;
mod metrics;
mod plugin;
mod policy;
mod reference;
mod shape;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use procore_auth_host::internals;
use procore_auth_host::{ConnectionName, Environment, Grant, Policy, Secret, Settings};
use serde::Deserialize as _;
use toml::Spanned;

use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::secret_reference::{SecretReference, VariableName};
pub(crate) use alerts::{SinkConfig, SinkKind};
pub(crate) use encryption::Encryption;
use fallback::FallbackConfig;
pub(crate) use locate::{find, for_writing};
pub(crate) use metrics::Metrics;
pub(crate) use plugin::PluginConfig;
use shape::{ConnectionTable, File, GrantName, NetworkTable, Written};
use source::{Mistake, Source};

/// A configuration whose shape is right. Secrets are not read yet.
#[derive(Debug)]
pub(crate) struct Config {
    source: Arc<Source>,
    /// The folder of the stored tokens.
    pub(crate) state: PathBuf,
    /// The file of the events.
    pub(crate) journal: PathBuf,
    /// Which plugin is used.
    pub(crate) plugin: PluginConfig,
    /// How the network is reached.
    pub(crate) network: Network,
    encryption: Option<Encryption>,
    /// Where metrics go.
    pub(crate) metrics: Metrics,
    /// Where alerts go.
    pub(crate) alerts: Vec<SinkConfig>,
    default_connection: Option<ConnectionName>,
    connections: BTreeMap<ConnectionName, ConnectionConfig>,
}

/// How the network is reached, beyond the system's own settings.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// A PEM file of further certificate authorities.
    pub(crate) extra_ca: Option<PathBuf>,
    /// Hosts to reach elsewhere, each as `host:port=address:port`.
    pub(crate) connect_to: Vec<ConnectToLine>,
}

/// One entry of `connect_to`, with its place for an error.
#[derive(Debug)]
pub(crate) struct ConnectToLine {
    source: Arc<Source>,
    span: Range<usize>,
    /// The text as written.
    pub(crate) text: String,
}

/// One connection of the file.
#[derive(Debug)]
pub(crate) struct ConnectionConfig {
    source: Arc<Source>,
    environment: Environment,
    client_id: Spanned<Text>,
    client_secret: Spanned<SecretReference>,
    grant: Grant,
    redirect_span: Option<Range<usize>>,
    company_id: Option<u64>,
    export: Option<PathBuf>,
    policy: Policy,
    encryption: Option<Encryption>,
    fallback: Option<FallbackConfig>,
}

/// A value that is no secret: in the file, or in an environment variable.
#[derive(Debug)]
enum Text {
    Inline(String),
    Env(VariableName),
}

impl Config {
    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = read(path).map_err(|error| unreadable(path, &error))?;
        Self::parse(path, text)
    }

    /// Parses the text of the file at `path`.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Self, Failure> {
        let source = Arc::new(Source::new(path, text));
        let parsed = toml::Deserializer::parse(source.text()).map_err(|e| source.syntax(&e))?;
        let file = File::deserialize(parsed).map_err(|e| source.shape(&e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let state = match file.state {
            Some(written) => state(&source, folder, &written)?,
            None => locate::default_state()?,
        };
        let connections = connections(&source, folder, file.connections)?;
        let default_connection = file
            .default_connection
            .map(|name| default_connection(&source, &name, &connections))
            .transpose()?;
        Ok(Self {
            journal: file.journal.map_or_else(
                || state.join("journal.jsonl"),
                |p| locate::resolve(folder, &p),
            ),
            plugin: plugin::read(&source, folder, file.plugin)?,
            network: network(&source, folder, file.network),
            encryption: encryption::read(&source, folder, file.encryption)?,
            metrics: metrics::read(&source, folder, file.metrics)?,
            alerts: alerts::read(&source, folder, file.alerts, &connections)?,
            state,
            default_connection,
            connections,
            source,
        })
    }

    /// Returns a configuration without a connection, for a machine that has no file yet.
    pub(crate) fn empty(path: &Path) -> Result<Self, Failure> {
        Self::parse(path, String::new())
    }

    /// Returns the file's path.
    pub(crate) fn path(&self) -> &Path {
        self.source.path()
    }

    /// Returns the file's text.
    pub(crate) fn text(&self) -> &str {
        self.source.text()
    }

    /// Returns every connection, or the one that is named.
    pub(crate) fn select_all(
        &self,
        named: Option<&ConnectionName>,
    ) -> Result<Vec<(&ConnectionName, &ConnectionConfig)>, Failure> {
        if named.is_some() {
            return Ok(vec![self.select(named)?]);
        }
        if self.connections.is_empty() {
            return Err(self.no_connection());
        }
        Ok(self.connections.iter().collect())
    }

    /// Returns the connection that is named, or else the default one, or else the only one.
    pub(crate) fn select(
        &self,
        named: Option<&ConnectionName>,
    ) -> Result<(&ConnectionName, &ConnectionConfig), Failure> {
        match (
            named.or(self.default_connection.as_ref()),
            self.connections.len(),
        ) {
            (Some(name), _) => self
                .connections
                .get_key_value(name)
                .ok_or_else(|| self.unknown_connection(name)),
            (None, 0) => Err(self.no_connection()),
            (None, 1) => self
                .connections
                .iter()
                .next()
                .ok_or_else(|| self.no_connection()),
            (None, _) => Err(self.ambiguous()),
        }
    }

    /// Returns how the store of a connection is encrypted, known here or not; `None` where it is not.
    pub(crate) fn encryption(&self, name: &ConnectionName) -> Option<&Encryption> {
        let own = self.get(name).and_then(|found| found.encryption.as_ref());
        own.or(self.encryption.as_ref())
    }

    /// Returns the named connection where there is one.
    pub(crate) fn get(&self, name: &ConnectionName) -> Option<&ConnectionConfig> {
        self.connections.get(name)
    }

    /// Returns every connection with its environment.
    pub(crate) fn environments(&self) -> impl Iterator<Item = (&ConnectionName, Environment)> {
        let connections = self.connections.iter();
        connections.map(|(name, connection)| (name, connection.environment))
    }

    /// Returns the environment variables that hold secrets.
    pub(crate) fn secret_variables(&self) -> Vec<String> {
        let connections = self.connections.values();
        let of_clients = connections
            .clone()
            .map(|connection| connection.client_secret.get_ref());
        let of_fallbacks = connections
            .clone()
            .filter_map(|connection| connection.fallback.as_ref()?.reference());
        let encryptions = connections.filter_map(|connection| connection.encryption.as_ref());
        let of_stores = encryptions
            .chain(&self.encryption)
            .flat_map(Encryption::references);
        let of_sinks = self.alerts.iter().filter_map(SinkConfig::reference);
        let all = of_clients
            .chain(of_fallbacks)
            .chain(of_stores)
            .chain(of_sinks);
        all.filter_map(SecretReference::variable)
            .map(str::to_owned)
            .collect()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self
            .connections
            .keys()
            .map(ConnectionName::as_str)
            .collect();
        names.join(", ")
    }

    fn unknown_connection(&self, name: &ConnectionName) -> Failure {
        Explained::new(
            Exit::Configuration,
            "config-unknown-connection",
            format!("{} has no connection {name}.", self.path().display()),
            format!("Name one of these with --connection: {}.", self.names()),
        )
        .into()
    }

    fn no_connection(&self) -> Failure {
        Explained::new(
            Exit::Configuration,
            "config-no-connection",
            format!("{} has no connection.", self.path().display()),
            "Run `procore-auth init`, which asks for what is needed, or add a table [connections.NAME].",
        )
        .into()
    }

    fn ambiguous(&self) -> Failure {
        let explained = Explained::new(
            Exit::Configuration,
            "config-ambiguous-connection",
            format!(
                "{} has several connections, and none is named.",
                self.path().display()
            ),
            "Name one with --connection, or set `default_connection` in the file.",
        );
        let names = self.connections.keys();
        let explained = names.fold(explained, |explained, name| {
            explained.seen(format!("connection {name}"))
        });
        explained.into()
    }
}

impl ConnectionConfig {
    /// Reads what the connection refers to, and returns its settings.
    pub(crate) fn settings(&self, name: &ConnectionName) -> Result<Settings, Failure> {
        self.settings_with(name, self.client_secret()?)
    }

    /// Returns the settings with this client secret in place of the one that the connection refers to.
    pub(crate) fn settings_with(
        &self,
        name: &ConnectionName,
        client_secret: Secret,
    ) -> Result<Settings, Failure> {
        let mut settings = Settings::new(
            name.clone(),
            self.environment,
            self.client_id()?,
            client_secret,
            self.grant.clone(),
        );
        settings.company_id = self.company_id;
        settings.policy = self.policy.clone();
        Ok(settings)
    }

    /// Returns the environment.
    pub(crate) fn environment(&self) -> Environment {
        self.environment
    }

    /// Returns the company that calls are for.
    pub(crate) fn company_id(&self) -> Option<u64> {
        self.company_id
    }

    /// Returns the file that is kept fresh for programs which read a token file; `None` for none.
    pub(crate) fn export(&self) -> Option<&Path> {
        self.export.as_deref()
    }

    /// Returns how long to wait for the connection's lock.
    pub(crate) fn lock_wait(&self) -> Duration {
        self.policy.lock_wait
    }

    /// Returns the redirect URI; `None` where the grant needs none.
    pub(crate) fn redirect_uri(&self) -> Option<&str> {
        match &self.grant {
            Grant::AuthorizationCode { redirect_uri } => Some(redirect_uri),
            Grant::ClientCredentials => None,
        }
    }

    /// Shows a refusal of the redirect URI at its place in the file.
    pub(crate) fn refuse_redirect_uri(&self, explained: Explained) -> Failure {
        let span = self.redirect_span.clone().unwrap_or_default();
        self.source.locate(span, explained).into()
    }

    /// Reads the client id.
    pub(crate) fn client_id(&self) -> Result<String, Failure> {
        let span = self.client_id.span();
        self.client_id.get_ref().read(&self.source, span)
    }

    /// Returns where the client secret is.
    pub(crate) fn secret_reference(&self) -> &SecretReference {
        self.client_secret.get_ref()
    }

    /// Returns the settings of the service account that may stand in for the one with these; `None` where none may.
    pub(crate) fn fallback(&self, of: &Settings) -> Result<Option<Settings>, Failure> {
        let fallback = self.fallback.as_ref();
        fallback.map(|f| f.settings(&self.source, of)).transpose()
    }

    fn client_secret(&self) -> Result<Secret, Failure> {
        self.client_secret.get_ref().read().map_err(|e| {
            self.source
                .refuse(self.client_secret.span(), Mistake::from(e))
        })
    }
}

impl Text {
    /// Reads it; a failure is shown at its place.
    fn read(&self, source: &Source, span: Range<usize>) -> Result<String, Failure> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::Env(name) => name
                .read()
                .map_err(|e| source.refuse(span, Mistake::from(e))),
        }
    }
}

impl ConnectToLine {
    /// Refuses the entry, at its place.
    pub(crate) fn refuse(&self, reason: impl std::fmt::Display) -> Failure {
        self.source.refuse(
            self.span.clone(),
            Mistake {
                message: format!("this connect_to entry is not acceptable: {reason}"),
                cure: "write it as \"host:port=address:port\", such as \"login-sandbox.procore.com:443=127.0.0.1:8443\"".to_owned(),
            },
        )
    }
}

/// Reads the file, unless everybody may write it: it names programs that are run, and where secrets go.
fn read(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    if internals::lets_all_write(&file.metadata()?) {
        let why = "everybody may write it: take that right away (chmod o-w)";
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Explained::new(
        Exit::Configuration,
        "config-unreadable",
        format!("Cannot read the configuration {}: {error}.", path.display()),
        "Check the path (--config, PROCORE_AUTH_CONFIG) and the file's owner and mode.",
    )
    .into()
}

fn state(source: &Source, folder: &Path, written: &Spanned<PathBuf>) -> Result<PathBuf, Failure> {
    let path = written.get_ref();
    if !path.to_string_lossy().trim().is_empty() {
        return Ok(locate::resolve(folder, path));
    }
    let mistake = Mistake {
        message: "the path of the state folder is empty".to_owned(),
        cure: "set state = \"/var/lib/procore-auth\", or remove the line for the default"
            .to_owned(),
    };
    Err(source.refuse(written.span(), mistake))
}

fn network(source: &Arc<Source>, folder: &Path, table: NetworkTable) -> Network {
    Network {
        extra_ca: table.extra_ca.map(|p| locate::resolve(folder, &p)),
        connect_to: table
            .connect_to
            .into_iter()
            .map(|entry| ConnectToLine {
                source: Arc::clone(source),
                span: entry.span(),
                text: entry.into_inner(),
            })
            .collect(),
    }
}

fn connections(
    source: &Arc<Source>,
    folder: &Path,
    tables: BTreeMap<Spanned<String>, ConnectionTable>,
) -> Result<BTreeMap<ConnectionName, ConnectionConfig>, Failure> {
    refuse_shared_exports(source, folder, &tables)?;
    tables
        .into_iter()
        .map(|(name, table)| {
            let parsed = connection_name(source, &name)?;
            Ok((parsed, connection(source, folder, table)?))
        })
        .collect()
}

fn connection_name(source: &Source, name: &Spanned<String>) -> Result<ConnectionName, Failure> {
    ConnectionName::from_str(name.get_ref()).map_err(|error| {
        let mistake = Mistake {
            message: error.to_string(),
            cure: "rename the connection, for example [connections.acme-sandbox]".to_owned(),
        };
        source.refuse(name.span(), mistake)
    })
}

fn default_connection(
    source: &Source,
    name: &Spanned<String>,
    connections: &BTreeMap<ConnectionName, ConnectionConfig>,
) -> Result<ConnectionName, Failure> {
    let parsed = connection_name(source, name)?;
    if connections.contains_key(&parsed) {
        return Ok(parsed);
    }
    let names: Vec<&str> = connections.keys().map(ConnectionName::as_str).collect();
    let mistake = Mistake {
        message: format!("there is no connection {parsed}"),
        cure: format!("name one of: {}", names.join(", ")),
    };
    Err(source.refuse(name.span(), mistake))
}

fn connection(
    source: &Arc<Source>,
    folder: &Path,
    table: ConnectionTable,
) -> Result<ConnectionConfig, Failure> {
    let grant = grant(source, &table.grant, table.redirect_uri.clone())?;
    let redirect_span = table.redirect_uri.as_ref().map(Spanned::span);
    Ok(ConnectionConfig {
        environment: table.environment,
        client_id: client_id(source, table.client_id)?,
        client_secret: reference::read(source, folder, table.client_secret, &INLINE_SECRET)?,
        fallback: fallback::read(source, folder, &grant, table.fallback)?,
        grant,
        redirect_span,
        company_id: table.company_id,
        export: export(source, folder, table.export)?,
        policy: policy::read(source, &table.policy)?,
        encryption: encryption::read(source, folder, table.encryption)?,
        source: Arc::clone(source),
    })
}

fn export(
    source: &Source,
    folder: &Path,
    written: Option<Spanned<PathBuf>>,
) -> Result<Option<PathBuf>, Failure> {
    let Some(written) = written else {
        return Ok(None);
    };
    if !written.get_ref().as_os_str().is_empty() {
        return Ok(Some(locate::resolve(folder, written.get_ref())));
    }
    let mistake = Mistake {
        message: "the path of the exported file is empty".to_owned(),
        cure: "set export = \"/path/to/procore_token.json\", or remove the line".to_owned(),
    };
    Err(source.refuse(written.span(), mistake))
}

/// Refuses one file for two tokens: each would replace the other for ever.
fn refuse_shared_exports(
    source: &Source,
    folder: &Path,
    tables: &BTreeMap<Spanned<String>, ConnectionTable>,
) -> Result<(), Failure> {
    let mut seen = BTreeMap::new();
    for (name, table) in tables {
        let Some(written) = &table.export else {
            continue;
        };
        let file = locate::resolve(folder, written.get_ref());
        if let Some(other) = seen.insert(file, name.get_ref()) {
            let mistake = Mistake {
                message: format!("the connection {other} is exported to this file already"),
                cure: "name a file of its own for each connection".to_owned(),
            };
            return Err(source.refuse(written.span(), mistake));
        }
    }
    Ok(())
}

fn client_id(source: &Source, written: Spanned<Written>) -> Result<Spanned<Text>, Failure> {
    let span = written.span();
    let refuse = |message: &str, cure: &str| {
        let mistake = Mistake {
            message: message.to_owned(),
            cure: cure.to_owned(),
        };
        Err(source.refuse(span.clone(), mistake))
    };
    let text = match written.into_inner() {
        Written::Inline(text) if text.expose().trim().is_empty() => {
            return refuse(
                "the client id is empty",
                "copy it from the app's page in Procore's developer portal",
            );
        }
        Written::Inline(text) => Text::Inline(text.expose().to_owned()),
        Written::Env(name) => Text::Env(
            VariableName::parse(name).map_err(|e| source.refuse(span.clone(), Mistake::from(e)))?,
        ),
        Written::File(_) | Written::Keyring(..) => {
            return refuse(
                "a client id is no secret and needs no place of its own",
                "write it as a string, or as { env = \"NAME\" }",
            );
        }
    };
    Ok(Spanned::new(span, text))
}

const INLINE_SECRET: reference::Inline = reference::Inline {
    message: "a client secret does not belong into this file: it gets copied, backed up and committed",
    cure: "write { env = \"PROCORE_CLIENT_SECRET\" } or { file = \"/path/to/secret\" } here, and put the secret there",
};

fn grant(
    source: &Source,
    name: &Spanned<GrantName>,
    redirect_uri: Option<Spanned<String>>,
) -> Result<Grant, Failure> {
    match (name.get_ref(), redirect_uri) {
        (GrantName::AuthorizationCode, Some(uri)) => Ok(Grant::AuthorizationCode {
            redirect_uri: uri.into_inner(),
        }),
        (GrantName::ClientCredentials, None) => Ok(Grant::ClientCredentials),
        (GrantName::AuthorizationCode, None) => {
            let mistake = Mistake {
                message: "the grant authorization-code needs a redirect_uri".to_owned(),
                cure: "add redirect_uri exactly as it is registered in Procore's developer portal, such as \"http://localhost:9876/callback\" or \"urn:ietf:wg:oauth:2.0:oob\"".to_owned(),
            };
            Err(source.refuse(name.span(), mistake))
        }
        (GrantName::ClientCredentials, Some(uri)) => {
            let mistake = Mistake {
                message: "the grant client-credentials has no redirect_uri: nobody signs in"
                    .to_owned(),
                cure: "remove this line, or set grant = \"authorization-code\"".to_owned(),
            };
            Err(source.refuse(uri.span(), mistake))
        }
    }
}

#[cfg(test)]
mod tests;
