//! What systemd is told, where it wants to know: `sd_notify(3)`. Elsewhere all of this does nothing.
//!
//! Ready is said once every connection was opened and the keeper begins, not after the first visits: with a server that does not
//! answer those may take minutes, and a service that is restarted meanwhile is no better off.

use std::time::Duration;

/// Says that the connections are kept.
pub(super) fn ready(connections: usize) {
    let status = match connections {
        1 => "keeping 1 connection alive".to_owned(),
        _ => format!("keeping {connections} connections alive"),
    };
    tell(&[State::Ready, State::Status(&status)]);
}

/// Says that the configuration is read again; [`ready`] says that this is done.
pub(super) fn reloading() {
    tell(&[State::Reloading]);
}

/// Says that the end has begun.
pub(super) fn stopping() {
    let status = "finishing what is under way";
    tell(&[State::Stopping, State::Status(status)]);
}

/// Says that the keeper's loop is alive.
pub(super) fn alive() {
    tell(&[State::Alive]);
}

enum State<'a> {
    Ready,
    Reloading,
    Stopping,
    Alive,
    Status(&'a str),
}

#[cfg(unix)]
fn tell(states: &[State<'_>]) {
    use sd_notify::NotifyState;
    let mut told = Vec::new();
    for state in states {
        match state {
            State::Ready => told.push(NotifyState::Ready),
            State::Reloading => {
                told.push(NotifyState::Reloading);
                // Needed for `Type=notify-reload`.
                told.extend(NotifyState::monotonic_usec_now());
            }
            State::Stopping => told.push(NotifyState::Stopping),
            State::Alive => told.push(NotifyState::Watchdog),
            State::Status(text) => told.push(NotifyState::Status(text)),
        }
    }
    if let Err(error) = sd_notify::notify(&told) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

/// Returns within which time systemd wants to hear that the loop is alive; `None` where it does not.
#[cfg(unix)]
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

#[cfg(not(unix))]
fn tell(_: &[State<'_>]) {}

#[cfg(not(unix))]
pub(super) fn watchdog() -> Option<Duration> {
    None
}
