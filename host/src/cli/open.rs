//! Opens configured connections: plugin, network, store and journal put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use procore_auth_host::alerts::Courier;
use procore_auth_host::{
    Advice, ComponentDigest, ConnectTo, Connection, ConnectionBuilder, ConnectionName,
    EncryptedStore, Environment, Fanout, FileStore, Heartbeat, HttpClient, HttpsClient,
    HttpsClientError, Journal, JsonLinesJournal, LoadError, PlainStore, Plugin, Redirect, Settings,
    Store, StoreFailure, TracingJournal,
    internals::{self, Troubles},
};

use super::config::{Config, ConnectionConfig, Encryption, Network};
use super::exit::Exit;
use super::export::Export;
use super::failure::{Explained, Failure};
use super::metrics::Board;
use super::opened::Opened;
use super::report;
use super::sinks;

/// What all connections of a configuration share.
#[derive(Clone)]
pub(crate) struct Opener {
    config: Arc<Config>,
    plugin: Plugin,
    http: HttpsClient,
    journal: Arc<dyn Journal>,
    courier: Courier,
    troubles: Arc<Troubles>,
    board: Arc<Board>,
    opened: Opened,
}

/// An open connection.
pub(crate) struct Open {
    /// Its name.
    pub(crate) name: ConnectionName,
    /// Its environment.
    pub(crate) environment: Environment,
    /// How the answer to a sign-in comes back; `None` where nobody signs in.
    pub(crate) redirect: Option<Redirect>,
    /// The connection.
    pub(crate) connection: Connection,
}

impl Opener {
    /// Loads the plugin and prepares what the connections are lent.
    pub(crate) fn new(config: Config, opened: Opened) -> Result<Self, Failure> {
        let plugin = plugin(&config)?;
        let http = https(&config.network)?;
        let lines = journal(&config)?;
        let courier = sinks::courier(&config, &http, Arc::clone(&lines));
        opened.add_courier(&courier);
        let outbox = Arc::clone(courier.outbox());
        Ok(Self {
            plugin,
            http,
            journal: Arc::new(Fanout(vec![lines, outbox])),
            courier,
            troubles: Arc::new(sinks::troubles(&config)),
            board: Arc::new(Board::new()),
            config: Arc::new(config),
            opened,
        })
    }

    /// Goes on with another configuration, and the same plugin and sinks.
    pub(crate) fn with_config(&self, config: Config) -> Result<Self, Failure> {
        let http = https(&config.network)?;
        for (name, environment) in config.environments() {
            self.courier.outbox().set_environment(name, environment);
        }
        Ok(Self {
            plugin: self.plugin.clone(),
            http,
            journal: Arc::clone(&self.journal),
            courier: self.courier.clone(),
            troubles: Arc::clone(&self.troubles),
            board: Arc::clone(&self.board),
            config: Arc::new(config),
            opened: self.opened.clone(),
        })
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how the network is reached.
    pub(crate) fn http(&self) -> &dyn HttpClient {
        &self.http
    }

    /// Reads the trusted roots now: whoever stays should not find out with the first refresh that no server can be verified.
    pub(crate) fn load_trusted_roots(&self) -> Result<(), Failure> {
        let loaded = self.http.load_trusted_roots();
        loaded.map_err(|error| unusable_network(&error))
    }

    /// Returns the journal.
    pub(crate) fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    /// Returns who takes alerts to people.
    pub(crate) fn courier(&self) -> &Courier {
        &self.courier
    }

    /// Returns what people know of visits that fail.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Returns what the visits of this process found.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Returns the signs of life of the connections' keepers.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        Heartbeat::beside(&self.config.state)
    }

    /// Returns the plugin's advice.
    pub(crate) fn advice(&self) -> Advice {
        self.plugin.advice()
    }

    /// Opens a connection of the configuration.
    pub(crate) async fn open(&self, name: &ConnectionName) -> Result<Open, Failure> {
        let (name, connection) = self.config.select(Some(name))?;
        self.board.expect(name, connection.environment());
        let redirect = self.redirect(connection).await?;
        self.open_with(connection.settings(name)?, redirect)
    }

    /// Opens a connection with settings from elsewhere, in the configuration's store.
    pub(crate) fn open_with(
        &self,
        settings: Settings,
        redirect: Option<Redirect>,
    ) -> Result<Open, Failure> {
        let (name, environment) = (settings.name.clone(), settings.environment);
        let fallback = self.fallback(&settings)?;
        let mut builder = self.builder(&self.config.state, settings)?;
        if let Some(fallback) = fallback {
            builder = builder
                .fallback(fallback)
                .map_err(|error| internal("fallback", &error))?;
        }
        let connection = self.built(builder)?;
        if let Some(export) = self.export(&name, &connection) {
            self.opened.add_export(export);
        }
        Ok(Open {
            name,
            environment,
            redirect,
            connection,
        })
    }

    /// Returns the file that the connection's token is kept in; `None` where the configuration names none.
    pub(crate) fn export(&self, name: &ConnectionName, connection: &Connection) -> Option<Export> {
        let file = self.config.get(name)?.export()?;
        Some(self.export_of(connection, file.to_owned()))
    }

    /// Keeps the connection's token in a file.
    pub(crate) fn export_of(&self, connection: &Connection, file: PathBuf) -> Export {
        let journal = Arc::clone(&self.journal);
        Export::new(connection.clone(), file, &self.config.state, journal)
    }

    /// Opens the service account that may stand in, with a store of its own; `None` where none may.
    fn fallback(&self, of: &Settings) -> Result<Option<Connection>, Failure> {
        let configured = self.config.get(&of.name);
        let settings = configured.map(|found| found.fallback(of)).transpose()?;
        let Some(settings) = settings.flatten() else {
            return Ok(None);
        };
        let root = fallback_root(&self.config.state, &of.name);
        let builder = self.builder(&root, settings)?;
        Ok(Some(self.built(builder)?))
    }

    fn builder(&self, root: &Path, settings: Settings) -> Result<ConnectionBuilder, Failure> {
        let store = self.store(root, &settings.name)?;
        Ok(Connection::builder(&self.plugin, settings)
            .http(Arc::new(self.http.clone()))
            .store(store)
            .journal(Arc::clone(&self.journal)))
    }

    fn built(&self, builder: ConnectionBuilder) -> Result<Connection, Failure> {
        let connection = builder
            .build()
            .map_err(|error| internal("connection", &error))?;
        self.opened.add(&connection);
        Ok(connection)
    }

    /// Opens the connection's store, encrypted where a key is configured. The key is read now, and not again.
    fn store(&self, root: &Path, name: &ConnectionName) -> Result<Arc<dyn Store>, Failure> {
        let keys = self.config.encryption(name).map(Encryption::keys);
        let files =
            FileStore::open(root, name).map_err(|error| unusable_store(&self.config, &error))?;
        Ok(match keys.transpose()? {
            Some(keys) => Arc::new(EncryptedStore::new(files, name, keys.key).old_keys(keys.old)),
            None => Arc::new(PlainStore::new(files)),
        })
    }

    /// Checks the redirect URI by Procore's rules. A refusal is shown at its place in the file.
    async fn redirect(&self, connection: &ConnectionConfig) -> Result<Option<Redirect>, Failure> {
        let Some(uri) = connection.redirect_uri() else {
            return Ok(None);
        };
        match self.advice().check_redirect_uri(uri, None).await? {
            Ok(redirect) => Ok(Some(redirect)),
            Err(diagnosis) => {
                Err(connection
                    .refuse_redirect_uri(report::explain(Exit::Configuration, &diagnosis)))
            }
        }
    }
}

/// Returns the folder of a fallback's store. No connection can have its name: there is a dot in it.
pub(super) fn fallback_root(state: &Path, name: &ConnectionName) -> PathBuf {
    state.join(format!("{name}.fallback"))
}

fn plugin(config: &Config) -> Result<Plugin, Failure> {
    config.plugin.load().map_err(|error| match error {
        LoadError::Pin { pinned, found } => not_the_pinned_plugin(config, pinned, found),
        error => unusable_plugin(config, &error),
    })
}

fn not_the_pinned_plugin(
    config: &Config,
    pinned: ComponentDigest,
    found: ComponentDigest,
) -> Failure {
    let file = config.path().display();
    let (what, cause, back) = match &config.plugin.path {
        Some(path) => (
            format!("The plugin {}", path.display()),
            "The file was replaced or changed after it was pinned, or the digest of another one was copied.",
            "put the pinned file back",
        ),
        None => (
            "The plugin inside this program".to_owned(),
            "procore-auth was updated or replaced after its plugin was pinned, or the digest of another one was copied.",
            "put the version back that it was taken from",
        ),
    };
    Explained::new(
        Exit::Configuration,
        "plugin-not-pinned",
        format!("{what} has the SHA-256 {found}, and {file} pins {pinned}. It was not loaded."),
        format!(
            "Find out who changed it. If you did, set `sha256` of `plugin` to {found}; if not, {back}."
        ),
    )
    .because(cause)
    .into()
}

fn unusable_plugin(config: &Config, error: &LoadError) -> Failure {
    let (exit, remedy) = match &config.plugin.path {
        Some(path) => (
            Exit::Configuration,
            format!(
                "Point `plugin` in {} at a component of this contract version (now {}), or remove it to use the bundled one.",
                config.path().display(),
                path.display()
            ),
        ),
        None => (Exit::Internal, "Reinstall procore-auth.".to_owned()),
    };
    Explained::new(
        exit,
        "plugin",
        format!("The plugin cannot be loaded: {error}."),
        remedy,
    )
    .into()
}

fn https(network: &Network) -> Result<HttpsClient, Failure> {
    let mut client = HttpsClient::builder();
    for line in &network.connect_to {
        let connect_to: ConnectTo = line.text.parse().map_err(|error| line.refuse(error))?;
        client = client.connect_to([connect_to]);
    }
    if let Some(path) = &network.extra_ca {
        client = client.extra_ca_file(path);
    }
    client.build().map_err(|error| unusable_network(&error))
}

/// Explains why there is no HTTP client.
pub(crate) fn unusable_network(error: &HttpsClientError) -> Failure {
    Explained::new(
        Exit::Configuration,
        "network",
        format!("The network cannot be set up: {error}."),
        "Check [network] in the configuration, and the proxy variables of the environment.",
    )
    .into()
}

fn journal(config: &Config) -> Result<Arc<dyn Journal>, Failure> {
    let path = &config.journal;
    if let Some(folder) = path.parent() {
        internals::create_folder(folder)
            .map_err(|error| Failure::file("create", folder, &error))?;
    }
    let file = JsonLinesJournal::open(path)
        .map_err(|error| Failure::file("open the journal", path, &error))?;
    Ok(Arc::new(Fanout(vec![
        Arc::new(TracingJournal),
        Arc::new(file),
    ])))
}

pub(super) fn unusable_store(config: &Config, error: &StoreFailure) -> Failure {
    let exit = match error.code {
        "busy" => Exit::Busy,
        _ => Exit::Storage,
    };
    Explained::new(
        exit,
        error.code,
        format!(
            "The store {} cannot be used: {}.",
            config.state.display(),
            error.message
        ),
        store_remedy(error.code),
    )
    .into()
}

/// Returns what to do about a failure with this code, of the store or of what else is kept in `state`.
pub(super) fn store_remedy(code: &str) -> &'static str {
    match code {
        "insecure-permissions" => {
            "Make `state` a folder that belongs to this user alone (folders mode 700, files mode 600), not a link."
        }
        "locks-unsupported" => "Make `state` a folder on a local disk.",
        "busy" => {
            "Look for a process that is stopped (`lsof` on the file tells which), or a disk that does not answer."
        }
        "permission-denied" => {
            "Run as the user that owns the store, or make `state` a folder of this user."
        }
        "read-only" => "Mount the file system writable, or make `state` a folder on another one.",
        "wrong-key" => {
            "Name the key that it was encrypted with as `key` in [encryption], or among `old_keys`. Nothing was overwritten."
        }
        "key-unavailable" => {
            "Name its key in the configuration, as [encryption] with key = { file = \"PATH\" }, and restart what runs with an older one."
        }
        "not-encrypted" => {
            "Run `procore-auth store encrypt` once, or take `encryption` out of the configuration."
        }
        "corrupt" => {
            "Restore the file from a backup, or move the connection's folder away and sign in anew with `procore-auth login`."
        }
        "newer-format" => "Use the version of procore-auth that wrote it.",
        "full" => "Make room on the disk, or raise this user's quota.",
        _ => {
            "Check that `state` names a folder, and look for errors of the disk in the system's log."
        }
    }
}

fn internal(code: &str, error: &dyn std::error::Error) -> Failure {
    Explained::new(
        Exit::Internal,
        code,
        format!("{error}."),
        "Report this as a defect.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::store_remedy;

    #[test]
    fn the_remedy_fits_the_failure() {
        for (code, word) in [
            ("insecure-permissions", "mode 700"),
            ("locks-unsupported", "local disk"),
            ("busy", "stopped"),
            ("permission-denied", "user"),
            ("read-only", "writable"),
            ("full", "room"),
            ("wrong-key", "old_keys"),
            ("key-unavailable", "[encryption]"),
            ("not-encrypted", "store encrypt"),
            ("io", "log"),
        ] {
            assert!(store_remedy(code).contains(word), "{code}");
        }
    }
}
