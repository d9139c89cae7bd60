//! What the keeper tells other programs: metrics for Prometheus, in a file and on a port, and whether it is alive.
//!
//! All of it comes from the [`Board`], on which each visit leaves what it found: a scrape enters no plugin and opens no store. What
//! was found ages on the board: nothing is called healthy on the strength of evidence that is too old ([`board`]). No secret
//! ever gets there.

mod board;
mod file;
mod format;
mod probe;
mod server;

use std::time::Duration;

use super::open::Opener;
use super::shutdown::Shutdown;
use super::time;
pub(crate) use board::Board;

/// How often the file is written anew while nothing happens: what was found ages.
const PERIOD: Duration = Duration::from_secs(15);

/// The pause between two changes that are written: many connections may be visited at once.
const SETTLE: Duration = Duration::from_secs(1);

/// The pause before a busy port is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Tells until the wish to stop, where the configuration names a place. What goes wrong here is logged and tried again, and never
/// keeps a connection from being kept alive.
pub(crate) async fn tell(opener: &Opener, shutdown: &Shutdown) {
    tokio::join!(keep_file(opener, shutdown), keep_port(opener, shutdown));
}

/// Writes the file once, where one is configured: for a keeper that comes and goes.
pub(crate) fn write_once(opener: &Opener) {
    if let Some(path) = &opener.config().metrics.file {
        let text = format::exposition(opener, time::now());
        if let Err(error) = text.and_then(|text| file::write(path, &text)) {
            tracing::warn!(path = %path.display(), %error, "the metrics cannot be written");
        }
    }
}

/// Writes the file at every change, and removes it at the end: what nobody keeps up would soon be wrong.
async fn keep_file(opener: &Opener, shutdown: &Shutdown) {
    let Some(path) = &opener.config().metrics.file else {
        return;
    };
    let mut changes = opener.board().changes();
    while !shutdown.is_requested() {
        changes.mark_unchanged();
        write_once(opener);
        tokio::select! {
            () = shutdown.requested() => {}
            () = tokio::time::sleep(PERIOD) => {}
            _ = changes.changed() => tokio::time::sleep(SETTLE).await,
        }
    }
    file::remove(path);
}

async fn keep_port(opener: &Opener, shutdown: &Shutdown) {
    let Some(address) = opener.config().metrics.listen else {
        return;
    };
    while !shutdown.is_requested() {
        match server::listen(address).await {
            Ok(listener) => {
                tracing::info!(%address, "metrics are served");
                return server::serve(listener, opener, shutdown).await;
            }
            Err(error) => {
                tracing::error!(%address, %error, "metrics cannot be served; trying again");
                tokio::select! {
                    () = shutdown.requested() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}
