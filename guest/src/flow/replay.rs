//! Replaying parked requests: in order, at a pace that the rate limit allows, with the token of the moment.
//!
//! | what a request came to | the request | those of its order key | the others |
//! |---|---|---|---|
//! | 2xx, 3xx | done | go on | go on |
//! | refused (4xx), tried too often, too old | dead letter | wait for a person | go on |
//! | sent and not answered, not idempotent | unknown outcome | wait for a person | stop |
//! | the server fails at it | stays queued; may count as a try | wait | go on; at the second in a row, stop |
//! | no token, no connection, a rate limit, a rejected token | stays queued, not counted as a try | wait | stop |
//! | another process is at it | | | stop: that one does the rest |
//! | cannot be read | left as it is; people are told where that does not pass | wait | go on |
//!
//! Where the server fails, the request is to blame, or the server is. It counts as a try of the request where the server answered
//! another one in the same replay, or where the failure is the application's own, such as a 500 in JSON
//! ([`retry::is_outage`]); not where another one fails next, nor where the replay then has to stop. Tries count once in six hours
//! ([`ParkedRequest::count_try`]), so that an outage of less than a day never makes a dead letter, whatever it looks like.

use super::{
    attempt::{Answered, CallRequest, Unanswered, attempt_until_done},
    notice::{forget, tell_once, tell_where_due},
    queue::{Parked, find, list, passes, read_request, remove, remove_leftover_bodies, tickets},
    stored::storage,
};
use crate::{
    backoff::LONGEST_WAIT,
    capabilities::{Capabilities, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    json,
    pace::{self, Pace},
    parking::{Lane, ParkedRequest, State},
    retry::{self, GiveUp},
    settings::Settings,
};

/// How long a replay goes on before it begins no further request, in milliseconds: the host lets the whole call run for twice that, and
/// what is being sent then must not be cut short. The rest is for the next replay.
const LONGEST_REPLAY: u64 = 300_000;

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
    /// When the rate limit lets it go on.
    pub go_on_at: Option<u64>,
    /// Until when the caller's next request is to wait.
    pub pause_until: Option<u64>,
}

/// How a replay goes on after a request.
enum Next {
    /// With the next one.
    Go,
    /// Without those of its order key.
    Hold,
    /// As `Hold`; the server failed at this one.
    Failed(Box<Failure>),
    /// Not at all.
    Stop,
}

/// A request that this replay has claimed.
struct Claim {
    id: String,
    request: ParkedRequest,
    revision: u64,
}

/// A request that the server failed at, of which it is not known yet whether it is to blame.
struct Failure {
    claim: Claim,
    /// Whether everything may fail like this.
    is_outage: bool,
}

/// Replays the queued requests in order, or the named one whatever its state. `not_before` is until when the rate limit lets nothing
/// through, as the last reply told the caller.
pub fn replay(
    host: &dyn Capabilities,
    id: Option<&str>,
    not_before: Option<u64>,
) -> Result<ReplayReport> {
    let settings = host.settings();
    let mut report = ReplayReport {
        // One further away is not believed: the clock was set back since.
        go_on_at: not_before.filter(|at| at.saturating_sub(host.now()) <= LONGEST_WAIT),
        ..ReplayReport::default()
    };
    match id {
        Some(id) => {
            find(host, id)?;
            replay_one(host, &settings, id, true, &mut report)?;
        }
        None => replay_all(host, &settings, &mut report)?,
    }
    let parked = list(host)?;
    let waiting = |p: &&Parked| matches!(p.state(), State::Queued | State::Sending { .. });
    let remaining = parked.iter().filter(waiting).count();
    report.remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
    if id.is_none() {
        remove_leftover_bodies(host, &parked)?;
    }
    remind(host, &parked);
    forget(host, &parked);
    Ok(report)
}

fn replay_all(
    host: &dyn Capabilities,
    settings: &Settings,
    report: &mut ReplayReport,
) -> Result<()> {
    let end = host.elapsed().saturating_add(LONGEST_REPLAY);
    let mut held: Vec<Lane> = Vec::new();
    let mut failed: Option<Box<Failure>> = None;
    for (id, ticket) in tickets(host)? {
        if ticket.lane.is_some_and(|lane| held.contains(&lane)) {
            continue;
        }
        if !keep_pace(host, end, report) {
            break;
        }
        let answered = report.replayed.len();
        let next = replay_one(host, settings, &id, false, report)?;
        if report.replayed.len() > answered
            && let Some(failed) = failed.take()
        {
            count_try(host, failed.claim)?;
        }
        match next {
            Next::Go => {}
            Next::Hold => held.extend(ticket.lane),
            Next::Failed(failure) => {
                // Not the requests are to blame where two of them fail in a row.
                if failed.replace(failure).is_some() {
                    return Ok(());
                }
                held.extend(ticket.lane);
            }
            Next::Stop => return Ok(()),
        }
    }
    match failed {
        Some(last) if !last.is_outage || !report.replayed.is_empty() => count_try(host, last.claim),
        _ => Ok(()),
    }
}

/// Waits as the last reply asks; returns whether there is time for that, and for another request.
fn keep_pace(host: &dyn Capabilities, end: u64, report: &mut ReplayReport) -> bool {
    if host.elapsed() >= end {
        report.stopped = Some(to_be_continued());
        report.go_on_at = report.go_on_at.or(Some(host.now()));
        return false;
    }
    let Some(until) = report.go_on_at else {
        return true;
    };
    let wait = until.saturating_sub(host.now());
    if wait > end.saturating_sub(host.elapsed()) {
        report.stopped = Some(pace::held_back());
        return false;
    }
    host.sleep(wait);
    report.go_on_at = None;
    true
}

fn to_be_continued() -> Diagnosis {
    Diagnosis::new(
        "replay-unfinished",
        "There is more to replay than fits into one visit.",
        "",
        "Nothing to do: the next one goes on.",
    )
}

fn replayed_elsewhere() -> Diagnosis {
    Diagnosis::new(
        "replayed-elsewhere",
        "Another process is sending a parked request, or ended while it did.",
        "",
        "Nothing to do: it is looked at again when that one must be done.",
    )
}

/// Counts the failure as a try, which may be the last.
fn count_try(host: &dyn Capabilities, mut claim: Claim) -> Result<()> {
    let mut tried = claim.request.clone();
    if !tried.count_try(host.now()) {
        return Ok(());
    }
    let state = tried.state;
    tried.state = claim.request.state;
    claim.request = tried;
    set_state(host, &mut claim, state).map(drop)
}

/// Replays one request if it is its turn.
fn replay_one(
    host: &dyn Capabilities,
    settings: &Settings,
    id: &str,
    named: bool,
    report: &mut ReplayReport,
) -> Result<Next> {
    let (request, revision) = match read_request(host, id) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Next::Go),
        Err(error) => {
            pass_over(host, id, &error, report);
            return Ok(Next::Hold);
        }
    };
    let mut claim = Claim {
        id: id.to_owned(),
        request,
        revision,
    };
    let now = host.now();
    let state = claim.request.aged(&settings.policy, now);
    match state {
        // To go on would break the order.
        State::Sending { until } => {
            report.stopped = Some(replayed_elsewhere());
            report.go_on_at = report.go_on_at.max(Some(until));
            return Ok(Next::Stop);
        }
        State::UnknownOutcome | State::DeadLetter if !named => {
            if state != claim.request.state {
                if state == State::DeadLetter {
                    "too-old".clone_into(&mut claim.request.reason);
                }
                set_state(host, &mut claim, state)?;
            }
            return Ok(Next::Hold);
        }
        _ => {}
    }
    let Some(call) = to_call(&claim.request, report.go_on_at) else {
        "unreadable".clone_into(&mut claim.request.reason);
        set_state(host, &mut claim, State::DeadLetter)?;
        return Ok(Next::Hold);
    };
    // The claim is durable before anything is sent: whoever finds it later knows that the request may have been executed.
    let until = now.saturating_add(settings.policy.longest_replay());
    if !set_state(host, &mut claim, State::Sending { until })? {
        report.stopped = Some(replayed_elsewhere());
        return Ok(Next::Stop);
    }
    finish_replay(host, settings, call, claim, state, report)
}

/// Leaves a request as it is that cannot be read.
fn pass_over(host: &dyn Capabilities, id: &str, error: &Error, report: &mut ReplayReport) {
    let diagnosis = &error.diagnosis;
    if passes(error) {
        report.stopped = Some(diagnosis.clone());
        return;
    }
    let event = Event::new(Severity::Alert, &diagnosis.code, &diagnosis.summary);
    let event = event.with("id", id);
    tell_once(host, event.explained(&diagnosis.cause, &diagnosis.remedy));
}

fn finish_replay(
    host: &dyn Capabilities,
    settings: &Settings,
    mut call: CallRequest,
    mut claim: Claim,
    before: State,
    report: &mut ReplayReport,
) -> Result<Next> {
    let result = attempt_until_done(host, settings, &mut call);
    let answer = match &result {
        Ok(answered) => Some(answered),
        Err(unanswered) => unanswered.last.as_deref(),
    };
    report.pause_until = answer
        .and_then(|answered| answered.pause_until)
        .max(report.pause_until);
    report.go_on_at = answer.and_then(|Answered { response, .. }| {
        pace::pause_until(response.status, &response.headers, host.now(), Pace::Replay)
    });
    match result {
        Ok(answered) => note_answer(host, claim, before, answered, report),
        Err(Unanswered {
            error,
            gave_up,
            last,
        }) => {
            report.go_on_at = error.retry_at.max(report.go_on_at);
            match (error.kind, gave_up) {
                (ErrorKind::UnknownOutcome, _) => {
                    set_state(host, &mut claim, State::UnknownOutcome)?;
                    report.stopped = Some(error.diagnosis);
                    Ok(Next::Stop)
                }
                (ErrorKind::InvalidInput | ErrorKind::Internal, _) => {
                    claim.request.reason = error.diagnosis.code;
                    set_state(host, &mut claim, State::DeadLetter)?;
                    Ok(Next::Hold)
                }
                (_, Some(GiveUp::Failing)) => {
                    report.stopped = Some(error.diagnosis);
                    set_state(host, &mut claim, before)?;
                    let response = last.as_ref().map(|last| &last.response);
                    let is_outage = response
                        .is_none_or(|response| retry::is_outage(response.status, &response.body));
                    Ok(Next::Failed(Box::new(Failure { claim, is_outage })))
                }
                // That says nothing about the request: it does not count as a try.
                _ => {
                    set_state(host, &mut claim, before)?;
                    report.stopped = Some(error.diagnosis);
                    Ok(Next::Stop)
                }
            }
        }
    }
}

fn note_answer(
    host: &dyn Capabilities,
    mut claim: Claim,
    before: State,
    answered: Answered,
    report: &mut ReplayReport,
) -> Result<Next> {
    let status = answered.response.status;
    // A token that is rejected even when fresh stops the replay; the request itself is not at fault.
    if status == 401 {
        set_state(host, &mut claim, before)?;
        report.stopped = answered.diagnosis;
        return Ok(Next::Stop);
    }
    let id = claim.id.clone();
    report.replayed.push(Replayed {
        id: id.clone(),
        status,
    });
    if !(200..400).contains(&status) {
        claim.request.reason = format!("http-{status}");
        set_state(host, &mut claim, State::DeadLetter)?;
        return Ok(Next::Hold);
    }
    let body = claim.request.stored_body.as_ref();
    // Where somebody changed it meanwhile, it is theirs to decide about: the event says that it was carried out.
    remove(host, &id, body, claim.revision)?;
    let event = Event::new(
        Severity::Info,
        "request-replayed",
        "A parked request was carried out.",
    );
    host.record(&event.with("id", &id));
    Ok(Next::Go)
}

/// Writes a new state; returns `false` where someone else changed the request.
fn set_state(host: &dyn Capabilities, claim: &mut Claim, state: State) -> Result<bool> {
    if state != claim.request.state
        && let Some(event) = undecided(state)
    {
        let reason = &claim.request.reason;
        tell_once(host, event.with("id", &claim.id).with("reason", reason));
    }
    claim.request.state = state;
    match host
        .put(
            &claim.id,
            &json::write(&claim.request),
            Some(claim.revision),
        )
        .map_err(|failure| storage(&failure))?
    {
        Write::Stored(revision) => {
            claim.revision = revision;
            Ok(true)
        }
        Write::Conflict(_) => Ok(false),
    }
}

/// Tells once a day that there are requests that people must decide about, as long as there are.
fn remind(host: &dyn Capabilities, parked: &[Parked]) {
    for state in [State::UnknownOutcome, State::DeadLetter] {
        let of_state = |parked: &&Parked| parked.content.is_ok() && parked.state() == state;
        if let Some(first) = parked.iter().find(of_state)
            && let Some(event) = undecided(state)
        {
            tell_where_due(host, event.with("id", &first.id));
        }
    }
}

/// What people are told of a request that they must decide about.
fn undecided(state: State) -> Option<Event> {
    let (code, message) = match state {
        State::UnknownOutcome => (
            "request-unknown-outcome",
            "A parked request was sent and not answered: a person must look whether it took effect.",
        ),
        State::DeadLetter => (
            "request-dead-letter",
            "A parked request was refused, tried too often or too old: a person must look at it.",
        ),
        State::Queued | State::Sending { .. } => return None,
    };
    let event = Event::new(Severity::Alert, code, message);
    Some(event.with(
        "remedy",
        "`procore-auth parked list` shows them all; replay or discard each.",
    ))
}

/// Makes the call of a parked request; `None` where its body cannot be read.
fn to_call(parked: &ParkedRequest, not_before: Option<u64>) -> Option<CallRequest> {
    Some(CallRequest {
        method: parked.method.clone(),
        path: parked.path.clone(),
        headers: parked.headers.clone(),
        body: parked.body()?,
        company_id: parked.company_id,
        timeout: None,
        idempotent: parked.idempotent,
        park: false,
        order_key: None,
        not_before,
    })
}
