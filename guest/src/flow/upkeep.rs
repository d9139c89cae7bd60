//! The keeper's visit, and the status.

use super::{
    queue,
    replay::{self, ReplayReport},
    stored::read_session,
    token::{Obtained, obtain, tell_of},
};
use crate::{
    backoff::LONGEST_WAIT,
    capabilities::Capabilities,
    decision::Need,
    diagnosis::{Error, ErrorKind, Result},
    event::{Event, Severity},
    incident,
    lifetime::Times,
    moment,
    parking::State,
    session::Session,
    settings::Settings,
    status::Status,
};

/// How soon to come back where a person must act, to notice that they did, in milliseconds.
const WATCH: u64 = 60_000;

/// How soon to come back where parked requests could not be replayed now, in milliseconds.
const REPLAY_AGAIN: u64 = 5 * 60_000;

/// The shortest time between two visits, in milliseconds.
const SHORTEST: u64 = 1_000;

/// What is added to the time until the next visit, so that one that comes a little late is in time, in milliseconds.
const LATENESS: u64 = 2 * 60_000;

/// What a visit found and did.
pub struct Visit {
    /// Whether it refreshed.
    pub refreshed: bool,
    /// How many parked requests it replayed.
    pub replayed: u32,
    /// When to come back.
    pub come_back_at: u64,
    /// Until when the caller's next request is to wait.
    pub pause_until: Option<u64>,
    /// The state afterwards.
    pub status: Status,
}

/// Tells how the connection is.
pub fn status(host: &dyn Capabilities) -> Result<Status> {
    status_of(host, &host.settings(), read_session(host)?.as_ref())
}

fn status_of(
    host: &dyn Capabilities,
    settings: &Settings,
    session: Option<&Session>,
) -> Result<Status> {
    let mut status = Status::of(session, settings, host.now());
    for parked in queue::list(host)? {
        match parked.state() {
            State::Queued | State::Sending { .. } => status.parked += 1,
            State::UnknownOutcome | State::DeadLetter => status.undecided += 1,
        }
    }
    Ok(status)
}

/// Makes one visit. `not_before` is until when the rate limit lets no replay through.
pub fn upkeep(
    host: &dyn Capabilities,
    next_visit: Option<u64>,
    not_before: Option<u64>,
) -> Result<Visit> {
    let settings = host.settings();
    let now = host.now();
    let need = next_visit.map_or(Need::Use, |wait| {
        Need::Until(now.saturating_add(wait).saturating_add(LATENESS))
    });
    let (refreshed, times, retry_at, report) = match obtain(host, &settings, need) {
        // Nothing can be noted in the session: whoever visits has to tell, while there is time.
        Ok(Obtained {
            tokens,
            hindered_by: Some(mut error),
            ..
        }) if error.kind == ErrorKind::Storage => {
            let left = tokens.times.expires_at.saturating_sub(host.now());
            let fact = format!("calls still work for {}", moment::span(left));
            error.diagnosis.evidence.push(fact);
            return Err(error);
        }
        Ok(Obtained {
            tokens, refreshed, ..
        }) => {
            let report = replay::replay(host, None, not_before)?;
            (refreshed, Some(tokens.times), None, report)
        }
        Err(error) if is_of_the_connection(&error) => {
            let stays = tell_of(host, &settings, need, &error)?;
            // What is over meanwhile is looked at again at once.
            let retry_at = if stays { error.retry_at } else { Some(now) };
            (false, None, retry_at, ReplayReport::default())
        }
        Err(error) => return Err(error),
    };
    let now = host.now();
    if let (Some(wait), Some(times)) = (next_visit, times) {
        warn_of_dark_window(host, now, wait, times);
    }
    let session = read_session(host)?;
    let moment = match times {
        Some(times) if !times.is_due(now) => Some(times.refresh_at),
        // The refresh failed, and the token lives: there is time, and many that failed together come back apart.
        Some(_) => {
            let apart = now + WATCH / 2 + host.draw() % WATCH;
            let backoff = session
                .as_ref()
                .and_then(|session| session.backoff.as_ref());
            let not_before = backoff.map_or(0, |backoff| backoff.not_before);
            Some(apart.max(not_before.min(now + LONGEST_WAIT)))
        }
        None => retry_at,
    };
    let replay_at = report.stopped.is_some().then(|| {
        let again = now + REPLAY_AGAIN;
        report.go_on_at.map_or(again, |at| at.clamp(now, again))
    });
    let moment = moment.map(|at| replay_at.map_or(at, |replay_at| at.min(replay_at)));
    let moment = moment.unwrap_or(now + WATCH);
    // What becomes worse, or is told once more, is told in time; many that became so together come apart.
    let news = session
        .as_ref()
        .and_then(|session| incident::next_news(session, now))
        .map_or(u64::MAX, |news| news.saturating_add(host.draw() % WATCH));
    Ok(Visit {
        refreshed,
        replayed: u32::try_from(report.replayed.len()).unwrap_or(u32::MAX),
        come_back_at: moment.min(news).max(now + SHORTEST),
        pause_until: report.pause_until,
        status: status_of(host, &settings, session.as_ref())?,
    })
}

/// Whether the error is a state of the connection, which the visit reports, rather than a failure of the visit.
fn is_of_the_connection(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::SignInRequired | ErrorKind::Configuration | ErrorKind::Unavailable
    )
}

/// Says that visits come too rarely for the lifetime that the server gives.
fn warn_of_dark_window(host: &dyn Capabilities, now: u64, wait: u64, times: Times) {
    if times.expires_at < now.saturating_add(wait) {
        let message = format!(
            "The next visit is {} away and the token lives {} more: until then every caller that needs a token refreshes it by itself.",
            moment::span(wait),
            moment::span(times.expires_at.saturating_sub(now))
        );
        host.record(
            &Event::new(Severity::Warning, "visits-too-rare", &message)
                .with("remedy", "Visit more often, or use `procore-auth run`."),
        );
    }
}
