//! The wish to read the configuration again: SIGHUP, as `systemctl reload` sends it.

/// Tells when to read the configuration again.
pub(super) struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Hangup {
    /// Listens from now on; not on a terminal, where the signal says that the terminal is gone, and the process should be too.
    pub(super) fn listen() -> Self {
        use std::io::IsTerminal as _;
        use tokio::signal::unix::{SignalKind, signal};
        let is_service = !std::io::stdin().is_terminal();
        let signal = is_service.then(|| signal(SignalKind::hangup()));
        Self {
            signal: signal.and_then(Result::ok),
        }
    }

    /// Waits for the signal. May be cancelled.
    pub(super) async fn next(&mut self) {
        let hangup = match &mut self.signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if hangup.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
impl Hangup {
    /// There is no such signal here.
    pub(super) fn listen() -> Self {
        Self {}
    }

    /// Never ends.
    pub(super) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}
