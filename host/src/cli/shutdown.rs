//! The wish to stop: Ctrl-C and SIGTERM.
//!
//! A refresh is never cut in half: on the first signal what is under way goes on to its end, and only those who wait for a
//! person or for time to pass stop waiting. The second signal ends the process at once.

use std::io;

use tokio::sync::watch;

use super::exit::Exit;
use super::failure::{Explained, Failure};

/// Tells when to stop.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens for signals from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::new().map_err(|error| {
            Explained::new(
                Exit::Internal,
                "signals",
                format!("Cannot listen for signals: {error}."),
                "Check the limits on open files.",
            )
        })?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            tracing::info!(
                "stopping; what is under way is finished first (the same signal again ends at once)"
            );
            // Nobody waits: the verb runs to its end.
            let _ = sender.send(true);
            signals.next().await;
            std::process::exit(Exit::Interrupted.describe().0.into());
        });
        Ok(Self(receiver))
    }

    /// Waits for the wish to stop. May be cancelled.
    pub(crate) async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            // The listener is gone with the runtime: nobody will ever ask.
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether to stop.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Stops when `sender` says so.
    #[cfg(test)]
    pub(crate) fn by(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
