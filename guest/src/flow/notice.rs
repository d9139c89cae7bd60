//! What people were told of parked requests: one alert for each kind of trouble, not one for each request.
//!
//! What was told is kept in the store until the queue is empty, so that processes know of each other's alerts. An alert is told before
//! that is noted: a crash in between costs one alert more, and never the only one.

use miniserde::{Deserialize, Serialize};

use super::stored::{read, write};
use crate::{
    capabilities::Capabilities,
    event::{Event, Severity},
};

const KEY: &str = "queue-notices";

/// After how long a trouble that lasts is told again, in milliseconds.
const AGAIN: u64 = 24 * 3_600_000;

#[derive(Serialize, Deserialize)]
struct Notices {
    told: Vec<Told>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    code: String,
    at: u64,
}

/// Tells the event as an alert; where one of its code was told of late, as a warning.
pub(super) fn tell_once(host: &dyn Capabilities, mut event: Event) {
    let now = host.now();
    // Where it cannot be read what was told, it is told.
    let (mut notices, revision) = match read::<Notices>(host, KEY) {
        Ok(Some((notices, revision))) => (notices, Some(revision)),
        _ => (Notices { told: Vec::new() }, None),
    };
    let is_same = |told: &Told| told.code == event.code;
    if notices
        .told
        .iter()
        .any(|told| is_same(told) && now.abs_diff(told.at) < AGAIN)
    {
        event.severity = Severity::Warning;
        host.record(&event);
        return;
    }
    event.severity = Severity::Alert;
    host.record(&event);
    notices.told.retain(|told| !is_same(told));
    notices.told.push(Told {
        code: event.code,
        at: now,
    });
    let _ = write(host, KEY, &notices, revision);
}

/// Forgets what was told where the trouble is over: all but what a person must still decide about, or that too.
pub(super) fn forget(host: &dyn Capabilities, undecided_too: bool) {
    let Ok(Some((mut notices, revision))) = read::<Notices>(host, KEY) else {
        return;
    };
    let before = notices.told.len();
    notices
        .told
        .retain(|told| !undecided_too && told.code.starts_with(UNDECIDED));
    // Not to have forgotten costs one alert of the next trouble within a day.
    if notices.told.is_empty() {
        let _ = host.delete(KEY, revision);
    } else if notices.told.len() < before {
        let _ = write(host, KEY, &notices, Some(revision));
    }
}

/// What the codes of requests that a person must decide about begin with.
const UNDECIDED: &str = "request-";
