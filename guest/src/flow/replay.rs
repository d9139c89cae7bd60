//! Parked requests in the store: kept, listed, replayed in order, discarded.

use super::{
    attempt::{CallRequest, attempt_until_done},
    stored::{read, storage},
};
use crate::{
    capabilities::{Capabilities, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    json,
    parking::{MOST_REPLAYS, PREFIX, ParkedRequest, State, Ticket, admit},
    settings::Settings,
};

/// A parked request under its id.
pub struct Parked {
    /// The id.
    pub id: String,
    /// The request.
    pub request: ParkedRequest,
}

/// One replay that was answered.
pub struct Replayed {
    /// The request's id.
    pub id: String,
    /// What the server answered.
    pub status: u16,
}

/// What a replay came to.
#[derive(Default)]
pub struct ReplayReport {
    /// What was answered, in order.
    pub replayed: Vec<Replayed>,
    /// How many still wait.
    pub remaining: u32,
    /// Why it stopped early.
    pub stopped: Option<Diagnosis>,
}

/// Parks a request. Where there is no room, people are told and the caller gets an error: nothing is dropped in silence.
pub(super) fn park(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    state: State,
    reason: &str,
) -> Result<Parked> {
    let mut parked = ParkedRequest::new(
        request.method.clone(),
        request.path.clone(),
        &request.headers,
        reason,
        state,
        host.now(),
    );
    parked = parked.with_body(&request.body);
    parked.company_id = request.company_id;
    parked.idempotent = request.idempotent;
    let bytes = json::write(&parked);
    // A race for a place is lost at most to each of the others once.
    for _ in 0..100 {
        let ticket = admit(&tickets(host)?, bytes.len() as u64, &settings.policy)
            .map_err(|diagnosis| overflow(host, diagnosis))?;
        let key = ticket.key();
        if let Write::Stored(_) = host
            .put(&key, &bytes, None)
            .map_err(|failure| storage(&failure))?
        {
            host.record(
                &Event::new(
                    Severity::Warning,
                    "request-parked",
                    &format!("{} {} waits.", request.method, path_of(&request.path)),
                )
                .with("id", &key)
                .with("why", reason),
            );
            return Ok(Parked {
                id: key,
                request: parked,
            });
        }
    }
    Err(Error::new(
        ErrorKind::Busy,
        Diagnosis::new(
            "parking-contended",
            "Too many requests are being parked at once.",
            "",
            "Try again.",
        ),
    ))
}

/// Returns the path without its query, which may hold what a log should not.
fn path_of(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn overflow(host: &dyn Capabilities, diagnosis: Diagnosis) -> Error {
    host.record(
        &Event::new(Severity::Alert, &diagnosis.code, &diagnosis.summary)
            .with("cause", &diagnosis.cause),
    );
    Error::new(ErrorKind::Unavailable, diagnosis)
}

fn keys(host: &dyn Capabilities) -> Result<Vec<String>> {
    let mut keys = host.list(PREFIX).map_err(|failure| storage(&failure))?;
    keys.retain(|key| Ticket::from_key(key).is_some());
    Ok(keys)
}

fn tickets(host: &dyn Capabilities) -> Result<Vec<Ticket>> {
    Ok(keys(host)?
        .iter()
        .filter_map(|key| Ticket::from_key(key))
        .collect())
}

/// Lists the parked requests in order, each in the state that time has brought it to.
pub fn list(host: &dyn Capabilities) -> Result<Vec<Parked>> {
    let settings = host.settings();
    let now = host.now();
    let mut found = vec![];
    for id in keys(host)? {
        if let Some((mut request, _)) = read::<ParkedRequest>(host, &id)? {
            request.state = request.aged(&settings.policy, now);
            found.push(Parked { id, request });
        }
    }
    Ok(found)
}

/// Deletes a parked request.
pub fn discard(host: &dyn Capabilities, id: &str) -> Result<()> {
    let (_, revision) = find(host, id)?;
    host.delete(id, revision)
        .map_err(|failure| storage(&failure))?;
    host.record(
        &Event::new(
            Severity::Info,
            "request-discarded",
            "A parked request was discarded.",
        )
        .with("id", id),
    );
    Ok(())
}

fn find(host: &dyn Capabilities, id: &str) -> Result<(ParkedRequest, u64)> {
    let found = if Ticket::from_key(id).is_some() {
        read(host, id)?
    } else {
        None
    };
    found.ok_or_else(|| {
        let diagnosis = Diagnosis::new(
            "no-such-request",
            "There is no parked request with this id.",
            "",
            "`procore-auth parked list` shows them.",
        );
        Error::new(ErrorKind::InvalidInput, diagnosis)
    })
}

/// Replays the queued requests in order, or the named one whatever its state.
pub fn replay(host: &dyn Capabilities, id: Option<&str>) -> Result<ReplayReport> {
    let settings = host.settings();
    let mut report = ReplayReport::default();
    match id {
        Some(id) => {
            find(host, id)?;
            replay_one(host, &settings, id, true, &mut report)?;
        }
        None => {
            for id in keys(host)? {
                if !replay_one(host, &settings, &id, false, &mut report)? {
                    break;
                }
            }
        }
    }
    report.remaining = u32::try_from(queued(host, &settings)?).unwrap_or(u32::MAX);
    Ok(report)
}

fn queued(host: &dyn Capabilities, settings: &Settings) -> Result<usize> {
    let now = host.now();
    let waits = |parked: &Parked| {
        matches!(
            parked.request.aged(&settings.policy, now),
            State::Queued | State::Sending { .. }
        )
    };
    Ok(list(host)?.iter().filter(|parked| waits(parked)).count())
}

/// Replays one request if it is its turn. Returns whether the next may follow.
fn replay_one(
    host: &dyn Capabilities,
    settings: &Settings,
    id: &str,
    named: bool,
    report: &mut ReplayReport,
) -> Result<bool> {
    let Some((mut parked, revision)) = read::<ParkedRequest>(host, id)? else {
        return Ok(true);
    };
    let now = host.now();
    let state = parked.aged(&settings.policy, now);
    match state {
        // Another process is at it: to go on would break the order.
        State::Sending { .. } => return Ok(false),
        State::UnknownOutcome | State::DeadLetter if !named => {
            if state != parked.state {
                set_state(host, id, &mut parked, revision, state)?;
            }
            return Ok(true);
        }
        _ => {}
    }
    // The claim is durable before anything is sent: whoever finds it later knows that the request may have been executed.
    let before = state;
    let until = now
        .saturating_add(settings.policy.call_timeout)
        .saturating_add(settings.policy.token_timeout + settings.policy.lock_wait);
    parked.replays = parked.replays.saturating_add(1);
    let Some(revision) = set_state(host, id, &mut parked, revision, State::Sending { until })?
    else {
        return Ok(false);
    };
    finish_replay(host, settings, id, parked, revision, before, report)
}

fn finish_replay(
    host: &dyn Capabilities,
    settings: &Settings,
    id: &str,
    mut parked: ParkedRequest,
    revision: u64,
    before: State,
    report: &mut ReplayReport,
) -> Result<bool> {
    let result = attempt_until_done(host, settings, &to_call(&parked));
    let (state, stopped) = match result {
        Ok(answered) if (200..400).contains(&answered.response.status) => {
            host.delete(id, revision)
                .map_err(|failure| storage(&failure))?;
            host.record(
                &Event::new(
                    Severity::Info,
                    "request-replayed",
                    "A parked request was carried out.",
                )
                .with("id", id),
            );
            report.replayed.push(Replayed {
                id: id.to_owned(),
                status: answered.response.status,
            });
            return Ok(true);
        }
        // A token that is rejected even when fresh stops the replay; the request itself is not at fault.
        Ok(answered) if answered.response.status == 401 => (before, answered.diagnosis),
        Ok(answered) => {
            parked.reason = format!("http-{}", answered.response.status);
            report.replayed.push(Replayed {
                id: id.to_owned(),
                status: answered.response.status,
            });
            (State::DeadLetter, None)
        }
        Err(unanswered) if unanswered.error.kind == ErrorKind::UnknownOutcome => {
            (State::UnknownOutcome, Some(unanswered.error.diagnosis))
        }
        Err(unanswered)
            if matches!(
                unanswered.error.kind,
                ErrorKind::InvalidInput | ErrorKind::Internal
            ) =>
        {
            (State::DeadLetter, None)
        }
        // No token or no connection says nothing about the request: it does not count as a try.
        Err(unanswered) if unanswered.last.is_none() => {
            parked.replays -= 1;
            (before, Some(unanswered.error.diagnosis))
        }
        Err(unanswered) => {
            let poison = parked.replays >= MOST_REPLAYS;
            (
                if poison { State::DeadLetter } else { before },
                Some(unanswered.error.diagnosis),
            )
        }
    };
    set_state(host, id, &mut parked, revision, state)?;
    let goes_on = stopped.is_none();
    report.stopped = stopped.or(report.stopped.take());
    Ok(goes_on)
}

/// Writes a new state; `None` where someone else changed the request.
fn set_state(
    host: &dyn Capabilities,
    id: &str,
    parked: &mut ParkedRequest,
    revision: u64,
    state: State,
) -> Result<Option<u64>> {
    if state != parked.state
        && let Some((code, message)) = undecided(state)
    {
        let event = Event::new(Severity::Alert, code, message).with("id", id);
        host.record(&event.with("reason", &parked.reason));
    }
    parked.state = state;
    match host
        .put(id, &json::write(parked), Some(revision))
        .map_err(|failure| storage(&failure))?
    {
        Write::Stored(revision) => Ok(Some(revision)),
        Write::Conflict(_) => Ok(None),
    }
}

/// What people are told of a request that they must decide about.
fn undecided(state: State) -> Option<(&'static str, &'static str)> {
    match state {
        State::UnknownOutcome => Some((
            "request-unknown-outcome",
            "A parked request was sent and not answered: a person must look whether it took effect.",
        )),
        State::DeadLetter => Some((
            "request-dead-letter",
            "A parked request was refused, tried too often or too old: a person must look at it.",
        )),
        State::Queued | State::Sending { .. } => None,
    }
}

fn to_call(parked: &ParkedRequest) -> CallRequest {
    CallRequest {
        method: parked.method.clone(),
        path: parked.path.clone(),
        headers: parked.headers.clone(),
        body: parked.body().unwrap_or_default(),
        company_id: parked.company_id,
        timeout: None,
        idempotent: parked.idempotent,
        park: false,
    }
}
