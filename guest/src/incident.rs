//! One outage, one alert, one recovery notice: the incident is part of the session, so every process knows what was told.

use crate::{
    diagnosis::Diagnosis,
    event::{Event, Severity},
    moment,
    session::{Incident, Session},
};

/// Notes the trouble in the session. Returns the alert, unless this very trouble was told already.
pub fn raise(session: &mut Session, diagnosis: &Diagnosis, now: u64) -> Option<Event> {
    if is_told(session, diagnosis) {
        return None;
    }
    let since = session
        .incident
        .as_ref()
        .map_or(now, |incident| incident.since);
    session.incident = Some(Incident {
        since,
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
            .with("cause", &diagnosis.cause)
            .with("remedy", &diagnosis.remedy)
            .with("evidence", &diagnosis.evidence.join("; ")),
    )
}

/// Whether people were told of this trouble.
pub fn is_told(session: &Session, diagnosis: &Diagnosis) -> bool {
    session
        .incident
        .as_ref()
        .is_some_and(|incident| incident.diagnosis.code == diagnosis.code)
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
