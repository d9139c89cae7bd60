//! The connections that this process has opened, to wait for at its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procore_auth_host::Connection;

use super::exit::Exit;
use super::failure::{Explained, Failure};

/// How long the end of the process waits for tokens to be saved.
const PATIENCE: Duration = Duration::from_secs(600);

/// The connections that this process has opened. Clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Opened(Arc<Mutex<Vec<Connection>>>);

impl Opened {
    /// Adds a connection.
    pub(crate) fn add(&self, connection: &Connection) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.push(connection.clone());
    }

    /// Waits until all tokens that were received are saved. That takes time only where the store cannot be written, and an alert
    /// has told so.
    pub(crate) async fn saved(&self) -> Result<(), Failure> {
        let connections = {
            let connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            connections.clone()
        };
        let all = async {
            for connection in &connections {
                connection.saved().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| {
            Explained::new(
                Exit::Storage,
                "tokens-lost",
                format!(
                    "New tokens could not be saved within {} minutes, and end with this process.",
                    PATIENCE.as_secs() / 60
                ),
                "Make the store writable, then sign in again: `procore-auth login`.",
            )
            .into()
        })
    }
}
