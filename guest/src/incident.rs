//! One outage, one alert, one recovery notice: the incident is part of the session, so every process knows what was told.

use crate::{
    diagnosis::Diagnosis,
    event::{Event, Severity},
    explain::TOKEN_REJECTED,
    moment,
    secret::Secret,
    session::{Incident, Session},
};

/// What a trouble is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Pass by itself. An outage that shows itself in several ways is one outage.
    Passing,
    /// Last until it is dealt with.
    Lasting,
}

/// Notes the trouble in the session. Returns the alert, unless this very trouble was told already. What was told while calls
/// worked is told once more when they do not.
pub fn raise(
    session: &mut Session,
    trouble: Trouble,
    diagnosis: &Diagnosis,
    now: u64,
) -> Option<Event> {
    if is_told(session, trouble, diagnosis, now) {
        return None;
    }
    let since = session
        .incident
        .as_ref()
        .map_or(now, |incident| incident.since);
    session.incident = Some(Incident {
        since,
        dark: session.live_tokens(now).is_none(),
        diagnosis: diagnosis.clone(),
    });
    let left = match session.live_tokens(now) {
        Some(tokens) => format!(
            "calls still work for {}",
            moment::span(tokens.times.expires_at - now)
        ),
        None => "calls do not work".to_owned(),
    };
    Some(
        Event::new(Severity::Alert, &diagnosis.code, &diagnosis.summary)
            .with("since", &moment::text(since))
            .with("state", &left)
            .explained(&diagnosis.cause, &diagnosis.remedy)
            .with("evidence", &diagnosis.evidence.join("; ")),
    )
}

/// Whether people were told of this trouble.
pub fn is_told(session: &Session, trouble: Trouble, diagnosis: &Diagnosis, now: u64) -> bool {
    session.incident.as_ref().is_some_and(|incident| {
        (trouble == Trouble::Passing || incident.diagnosis.code == diagnosis.code)
            && (incident.dark || session.live_tokens(now).is_some())
    })
}

/// Notes that the API accepts the token, if it is the current one. Returns the recovery notice where that ends a trouble.
pub fn prove(session: &mut Session, token: &Secret, now: u64) -> Option<Option<Event>> {
    let current = session.tokens.as_mut();
    let tokens = current.filter(|tokens| tokens.access_token == *token)?;
    tokens.unproven = false;
    session.last_evidence = Some(now);
    let ended = is_rejection(session);
    Some(if ended { clear(session, now) } else { None })
}

/// Ends the incident where new tokens do. That the API rejects renewed tokens is not cured by one more: a call must succeed.
pub fn clear_by_tokens(session: &mut Session, now: u64) -> Option<Event> {
    let unproven = session
        .tokens
        .as_ref()
        .is_some_and(|tokens| tokens.unproven);
    if unproven && is_rejection(session) {
        return None;
    }
    clear(session, now)
}

/// Whether the trouble is that the API rejects tokens.
fn is_rejection(session: &Session) -> bool {
    let incident = session.incident.as_ref();
    incident.is_some_and(|incident| incident.diagnosis.code == TOKEN_REJECTED)
}

/// Ends the incident, if there is one. Returns the recovery notice.
pub fn clear(session: &mut Session, now: u64) -> Option<Event> {
    let incident = session.incident.take()?;
    let lasted = moment::span(now.saturating_sub(incident.since));
    Some(
        Event::new(
            Severity::Info,
            "recovered",
            &format!("The connection is well again, after {lasted}."),
        )
        .with("was", &incident.diagnosis.code)
        .with("since", &moment::text(incident.since)),
    )
}
