//! What this process has opened, and does not end without: tokens that are saved, alerts that were handed over, pages that the
//! browser has got.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use procore_auth_host::alerts::{Courier, SinkReport, Waiting};
use procore_auth_host::{Connection, StoreFailure};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::exit::Exit;
use super::export::Export;
use super::failure::{Explained, Failure};

/// How long the end of the process waits for tokens to be saved.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long the end of a verb tries to deliver alerts. The rest is for the keeper, or the next visit.
const DELIVERY: Duration = Duration::from_secs(8);

/// What this process has opened. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Opened(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    connections: Vec<Connection>,
    exports: Vec<Export>,
    courier: Option<Courier>,
    /// How many of the recorded alerts were tried to be delivered.
    handed_over: u64,
    /// A server that ends by itself soon.
    lingering: Option<JoinHandle<()>>,
}

impl Opened {
    /// Adds a connection. One of the same name that was opened before is let go, unless it has something to save.
    pub(crate) fn add(&self, connection: &Connection) {
        let name = &connection.settings().name;
        let known = &mut self.list().connections;
        known.retain(|known| known.settings().name != *name || !known.is_saved());
        known.push(connection.clone());
    }

    /// Adds a file that a token is kept in, in place of the one of the same connection.
    pub(crate) fn add_export(&self, export: Export) {
        let exports = &mut self.list().exports;
        exports.retain(|known| known.name() != export.name());
        exports.push(export);
    }

    /// Returns the files that tokens are kept in.
    pub(crate) fn exports(&self) -> Vec<Export> {
        self.list().exports.clone()
    }

    /// Adds who delivers alerts.
    pub(crate) fn add_courier(&self, courier: &Courier) {
        self.list().courier = Some(courier.clone());
    }

    /// Adds a server that shows the outcome of a sign-in for a moment longer, and ends by itself.
    pub(crate) fn add_lingering(&self, server: JoinHandle<()>) {
        self.list().lingering = Some(server);
    }

    /// Tells what waits to be delivered; nothing where nothing was opened.
    pub(crate) fn undelivered(&self) -> Result<Vec<SinkReport>, StoreFailure> {
        let courier = self.list().courier.clone();
        courier.map_or(Ok(Vec::new()), |courier| courier.outbox().report())
    }

    /// Lists the alerts that wait; none where nothing was opened.
    pub(crate) fn waiting(&self) -> Result<Vec<Waiting>, StoreFailure> {
        let courier = self.list().courier.clone();
        courier.map_or(Ok(Vec::new()), |courier| courier.outbox().waiting())
    }

    /// Tries once to deliver all alerts that wait.
    pub(crate) async fn deliver(&self) {
        let Some(courier) = self.list().courier.clone() else {
            return;
        };
        let recorded = *courier.outbox().recorded().borrow();
        self.list().handed_over = recorded;
        courier.drain(DELIVERY).await;
    }

    /// Waits until all tokens that were received are saved, keeps the exported ones in their files, tries to deliver the alerts that this
    /// process has recorded, and lets the browser get its page.
    pub(crate) async fn end(&self) -> Result<(), Failure> {
        self.hand_over().await;
        let saved = self.save_and_deliver().await;
        self.export().await;
        self.hand_over().await;
        let lingering = self.list().lingering.take();
        if let Some(server) = lingering {
            // It ended, or it panicked and said so.
            let _ = server.await;
        }
        saved
    }

    async fn export(&self) {
        for export in self.exports() {
            export.keep().await;
        }
    }

    async fn hand_over(&self) {
        let is_news = {
            let list = self.list();
            let courier = list.courier.as_ref();
            courier.is_some_and(|c| *c.outbox().recorded().borrow() > list.handed_over)
        };
        if is_news {
            self.deliver().await;
        }
    }

    /// Saving takes long where the store cannot be written: an alert has told so, and is to arrive meanwhile.
    async fn save_and_deliver(&self) -> Result<(), Failure> {
        let recorded = {
            let list = self.list();
            let told = list.handed_over > 0;
            list.courier.clone().filter(|_| told)
        };
        let Some(courier) = recorded else {
            return self.saved().await;
        };
        let mut saved = std::pin::pin!(self.saved());
        tokio::select! {
            biased;
            at_once = &mut saved => return at_once,
            () = std::future::ready(()) => {}
        }
        let (saving, ended) = oneshot::channel::<()>();
        let save = async {
            let saved = saved.await;
            drop(saving);
            saved
        };
        let deliver = courier.run(async { _ = ended.await });
        tokio::join!(save, deliver).0
    }

    /// Waits until all tokens that were received are saved. That takes time only where the store cannot be written, and an alert
    /// has told so.
    async fn saved(&self) -> Result<(), Failure> {
        let connections = self.list().connections.clone();
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

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
