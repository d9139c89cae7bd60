//! What a verb works with.

use procore_auth_host::{ConnectionName, Environment};

use super::Global;
use super::config::{self, Config};
use super::failure::Failure;
use super::heartbeat;
use super::open::{Open, Opener};
use super::opened::Opened;
use super::shutdown::Shutdown;
use super::terminal::Terminal;

/// What a verb works with: the global options, the terminal, and the wish to stop.
pub(crate) struct Context<'a> {
    pub(super) global: &'a Global,
    /// Where results and notes go.
    pub(crate) terminal: Terminal,
    /// Tells when to stop.
    pub(crate) shutdown: Shutdown,
    /// What was opened.
    pub(super) opened: Opened,
}

/// A connection of the configuration.
pub(crate) struct Found {
    /// Its name.
    pub(crate) name: ConnectionName,
    /// Its environment, as configured.
    pub(crate) environment: Environment,
    /// The connection, or why it cannot be opened.
    pub(crate) open: Result<Open, Failure>,
}

impl<'a> Context<'a> {
    pub(super) fn new(global: &'a Global, terminal: Terminal, shutdown: Shutdown) -> Self {
        Self {
            global,
            terminal,
            shutdown,
            opened: Opened::default(),
        }
    }

    /// Returns the connection that was named on the command line.
    pub(crate) fn named(&self) -> Option<&ConnectionName> {
        self.global.connection.as_ref()
    }

    /// Reads the configuration.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Config::load(&config::find(self.global.config.as_deref())?)
    }

    /// Reads the configuration that a new connection may be added to; it need not exist.
    pub(crate) fn config_for_writing(&self) -> Result<Config, Failure> {
        let path = config::for_writing(self.global.config.as_deref())?;
        if path.exists() {
            Config::load(&path)
        } else {
            Config::empty(&path)
        }
    }

    /// Prepares to open the connections of a configuration.
    pub(crate) fn opener(&self, config: Config) -> Result<Opener, Failure> {
        Opener::new(config, self.opened.clone())
    }

    /// Opens the one connection that the verb is for, and tells people where its keeper is missing.
    pub(crate) async fn open_one(&self) -> Result<Open, Failure> {
        let opener = self.opener(self.config()?)?;
        let (name, _) = opener.config().select(self.named())?;
        heartbeat::check(&opener, name);
        opener.open(name).await
    }

    /// Opens every connection, or the one that is named. What cannot be opened stands in its place. People are told of keepers
    /// that are missing.
    pub(crate) async fn open_all(&self) -> Result<Vec<Found>, Failure> {
        let opener = self.opener(self.config()?)?;
        let mut all = Vec::new();
        for (name, connection) in opener.config().select_all(self.named())? {
            heartbeat::check(&opener, name);
            all.push(Found {
                name: name.clone(),
                environment: connection.environment(),
                open: opener.open(name).await,
            });
        }
        Ok(all)
    }
}
