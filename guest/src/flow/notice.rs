//! What people were told beside the connection's own trouble: one alert a day for each kind, not one for each request or conflict.
//!
//! What was told is kept in the store, so that processes know of each other's alerts: a line of code and time each. What was told of the
//! queue is kept until it is over. An alert is told before that is noted: a crash in between costs one alert more, and never
//! the only one.

use super::queue::Parked;
use crate::{
    capabilities::Capabilities,
    event::{Event, Severity},
    parking::State,
};

const KEY: &str = "notices";

/// After how long a trouble that lasts is told again, in milliseconds.
const AGAIN: u64 = 24 * 3_600_000;

/// What the codes of requests that a person must decide about begin with.
const UNDECIDED: &str = "request-";

/// The code for requests that wait for what no other alert tells of.
pub(super) const REQUESTS_WAIT: &str = "requests-wait";

/// The code of a conflict between two that wrote the session at once. It has nothing to do with the queue.
pub(super) const WRITE_WITHOUT_LOCK: &str = "write-without-lock";

/// Tells the event as an alert; where one of its code was told of late, as a warning.
pub(super) fn tell_once(host: &dyn Capabilities, event: Event) {
    if let Some(told) = tell_where_due(host, event) {
        host.record(&Event {
            severity: Severity::Warning,
            ..told
        });
    }
}

/// Tells the event as an alert, and gives it back untold where one of its code was told of late.
pub(super) fn tell_where_due(host: &dyn Capabilities, event: Event) -> Option<Event> {
    let now = host.now();
    // Where it cannot be read what was told, it is told.
    let (mut notices, revision) = read(host);
    let mut own = notices.iter().filter(|notice| code(notice) == event.code);
    if own.any(|notice| now.abs_diff(told_at(notice)) < AGAIN) {
        return Some(event);
    }
    host.record(&event);
    notices.retain(|notice| code(notice) != event.code);
    notices.push(event.code + " " + &now.to_string());
    // Not to have noted it, or to have lost a race, costs one alert more.
    let _ = host.put(KEY, notices.join("\n").as_bytes(), revision);
    None
}

/// Forgets what was told of the queue and is over: of requests that wait, where none does; of those that a person must decide about,
/// where there is none; of all the rest, where nothing is parked.
pub(super) fn forget(host: &dyn Capabilities, parked: &[Parked]) {
    let (mut notices, Some(revision)) = read(host) else {
        return;
    };
    let is_waiting =
        |parked: &Parked| matches!(parked.state(), State::Queued | State::Sending { .. });
    let some_wait = parked.iter().any(is_waiting);
    let some_are_undecided = parked.iter().any(|parked| !is_waiting(parked));
    let before = notices.len();
    notices.retain(|notice| match code(notice) {
        WRITE_WITHOUT_LOCK => true,
        REQUESTS_WAIT => some_wait,
        code if code.starts_with(UNDECIDED) => some_are_undecided,
        _ => !parked.is_empty(),
    });
    // Not to have forgotten costs the alert of another trouble within a day.
    if notices.is_empty() {
        let _ = host.delete(KEY, revision);
    } else if notices.len() < before {
        let _ = host.put(KEY, notices.join("\n").as_bytes(), Some(revision));
    }
}

fn read(host: &dyn Capabilities) -> (Vec<String>, Option<u64>) {
    let Ok(Some(entry)) = host.get(KEY) else {
        return (Vec::new(), None);
    };
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    (
        text.lines().map(str::to_owned).collect(),
        Some(entry.revision),
    )
}

fn code(notice: &str) -> &str {
    notice.split(' ').next().unwrap_or_default()
}

fn told_at(notice: &str) -> u64 {
    let at = notice.split(' ').nth(1);
    at.and_then(|at| at.parse().ok()).unwrap_or(0)
}
