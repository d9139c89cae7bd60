//! Ctrl-Z: whoever has hidden the cursor shows it again before the shell has the terminal.

#[cfg(unix)]
mod unix {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

    /// The wish to be suspended, as Ctrl-Z types it. While this is listened to, it suspends nothing by itself.
    pub(in crate::cli::status) struct Suspension(Option<Signals>);

    impl Suspension {
        /// Listens from now on. Where that is not possible, Ctrl-Z does what it did before.
        pub(in crate::cli::status) fn listen() -> Self {
            Self(signal(SignalKind::from_raw(Signal::TSTP.as_raw())).ok())
        }

        /// Waits for the wish. May be cancelled.
        pub(in crate::cli::status) async fn requested(&mut self) {
            match &mut self.0 {
                Some(signals) => _ = signals.recv().await,
                None => std::future::pending().await,
            }
        }

        /// Suspends this process, and returns when it goes on.
        pub(in crate::cli::status) fn take_place() {
            // Nothing keeps a process from stopping itself.
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    /// Nothing: there is no such wish here.
    pub(in crate::cli::status) struct Suspension;

    impl Suspension {
        /// Listens to nothing.
        pub(in crate::cli::status) fn listen() -> Self {
            Self
        }

        /// Never returns.
        pub(in crate::cli::status) async fn requested(&mut self) {
            std::future::pending().await
        }

        /// Is never called.
        pub(in crate::cli::status) fn take_place() {}
    }
}

#[cfg(not(unix))]
pub(super) use elsewhere::Suspension;
#[cfg(unix)]
pub(super) use unix::Suspension;
