//! Visits that fail: people are told when that begins and when it ends, not at every visit between.
//!
//! `run` and `tick` share what was told: see [`Troubles`](procore_auth_host::internals::Troubles).

use procore_auth_host::{ConnectionName, Event, Severity};

use super::exit::Exit;
use super::failure::Explained;
use super::open::Opener;
use super::time;

/// Tells people of a trouble that keeps a connection from being visited, unless they know.
pub(super) fn begin(opener: &Opener, name: &ConnectionName, explained: &Explained) {
    opener.board().failed(name, explained);
    let (troubles, now) = (opener.troubles(), time::now());
    if !troubles.is_news(name, &explained.code, now) {
        tracing::debug!(connection = %name, code = explained.code, "still failing");
        return;
    }
    record(opener, name, &alert(explained, now));
    // Only now: better told twice than never.
    troubles.note(name, &explained.code, now);
}

/// Tells people that a connection can be visited again, where they know that it could not. The codes in `lasting` go on.
pub(super) fn end(opener: &Opener, name: &ConnectionName, lasting: &[&str]) {
    if let Some(was) = opener.troubles().end(name, lasting) {
        record(opener, name, &recovery(was, time::now()));
    }
}

/// Explains a visit that panicked.
pub(super) fn panicked() -> Explained {
    Explained::new(
        Exit::Internal,
        "visit-panicked",
        "The visit to this connection failed by a defect of procore-auth.",
        "Report this as a defect, with the log of this moment. The connection is visited again meanwhile.",
    )
}

fn record(opener: &Opener, name: &ConnectionName, event: &Event) {
    opener.journal().record(name.as_str(), event);
}

fn alert(explained: &Explained, now: u64) -> Event {
    Event::new(now, Severity::Alert, &explained.code, &explained.summary)
        .with("cause", &explained.cause)
        .with("remedy", &explained.remedy)
}

fn recovery(was: String, now: u64) -> Event {
    Event::new(
        now,
        Severity::Info,
        "visits-recovered",
        "Visits work again.",
    )
    .with("was", was)
}
