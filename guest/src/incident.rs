//! One outage, few alerts, one recovery notice: the incident is part of the session, so every process knows what was told.
//!
//! [`news`] is the whole policy. What is told changes the session; it is saved under the lock that it was read under.

use crate::{
    diagnosis::Diagnosis,
    event::{Event, Severity},
    explain::TOKEN_REJECTED,
    moment,
    secret::Secret,
    session::{Incident, Session, Stage, Tokens},
};

/// How long after it was told last a trouble that stays is told again, in milliseconds: a day. Whoever missed an alert on one
/// day finds it on the next, at the same hour.
pub const REMINDER: u64 = 24 * 3_600_000;

/// The most time left that is little, in milliseconds: a quarter of an hour. It is what a person needs to see an alert and sign
/// in, and it begins after the refresh at 80 % of 90 minutes, so that an outage of three minutes wakes nobody.
const LITTLE: u64 = 15 * 60_000;

/// What a trouble is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Pass by itself. An outage that shows itself in several ways is one outage.
    Passing,
    /// Last until it is dealt with.
    Lasting,
}

/// The moment at which somebody looks, and the one before which nobody may look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The moment.
    pub now: u64,
    /// When somebody looks next; a moment that is over where that is at any time.
    pub next: u64,
}

impl Outlook {
    /// Looks at a moment, and at any time again.
    pub fn at(now: u64) -> Self {
        Self { now, next: now }
    }
}

/// Why a trouble is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nobody was told of this trouble.
    New,
    /// It is worse than what was told.
    Escalated,
    /// It stays, and was told long ago.
    Reminder,
}

impl Told {
    fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Escalated => "escalated",
            Self::Reminder => "reminder",
        }
    }
}

/// Decides whether a trouble is told, and why. The first row that fits counts:
///
/// | incident | trouble | stage | told |
/// |---|---|---|---|
/// | none | passing | working | not: it may be over before anybody looks, and calls work |
/// | none | any | any | new |
/// | any | lasting, and not told in this incident | any | new: it has a cure of its own |
/// | any | any | worse than told | escalated |
/// | any | any | told [`REMINDER`] ago | reminder |
/// | any | any | any | not |
///
/// So within an incident each lasting trouble is new once, each stage is told once, and beyond that there is one alert a day. A
/// moment of telling that is a day ahead comes from a clock that was set back: it counts as long ago.
pub fn news(
    incident: Option<&Incident>,
    trouble: Trouble,
    diagnosis: &Diagnosis,
    stage: Stage,
    now: u64,
) -> Option<Told> {
    let lasting = trouble == Trouble::Lasting;
    let Some(incident) = incident else {
        return (lasting || stage > Stage::Working).then_some(Told::New);
    };
    if lasting && !incident.has_been(&diagnosis.code) {
        Some(Told::New)
    } else if stage > incident.stage() {
        Some(Told::Escalated)
    } else if now.abs_diff(incident.told_at()) >= REMINDER {
        Some(Told::Reminder)
    } else {
        None
    }
}

/// Returns how bad a trouble of the session is.
///
/// Urgent is what leaves less than a quarter of the token's lifetime or a quarter of an hour, whichever is less; and what will be dark
/// before somebody looks again, since it could not be told in time then.
pub fn stage(session: &Session, outlook: Outlook) -> Stage {
    match session.live_tokens(outlook.now) {
        None => Stage::Dark,
        Some(tokens)
            if outlook.now >= urgent_from(tokens) || outlook.next >= tokens.times.expires_at =>
        {
            Stage::Urgent
        }
        Some(_) => Stage::Working,
    }
}

/// Returns when little of the token's time is left.
fn urgent_from(tokens: &Tokens) -> u64 {
    let times = &tokens.times;
    let lifetime = times.expires_at.saturating_sub(times.issued_at);
    times.expires_at.saturating_sub(LITTLE.min(lifetime / 4))
}

/// Returns when calls stop working, or stopped, if nothing is done; `None` where no token says so.
pub fn dark_at(session: &Session) -> Option<u64> {
    let tokens = session.tokens.as_ref().filter(|tokens| !tokens.rejected)?;
    Some(tokens.times.expires_at)
}

/// Returns the next moment after `now` at which something of a trouble is to be told; `None` where there is no trouble.
pub fn next_news(session: &Session, now: u64) -> Option<u64> {
    let incident = session.incident.as_ref();
    if incident.is_none() && session.backoff.is_none() && session.verdict.is_none() {
        return None;
    }
    let tokens = session.live_tokens(now);
    [
        tokens.map(urgent_from),
        tokens.map(|tokens| tokens.times.expires_at),
        incident.map(|incident| incident.told_at().saturating_add(REMINDER)),
    ]
    .into_iter()
    .flatten()
    .filter(|moment| *moment > now)
    .min()
}

/// Whether people are to be told of this trouble.
pub fn is_news(
    session: &Session,
    trouble: Trouble,
    diagnosis: &Diagnosis,
    outlook: Outlook,
) -> bool {
    let stage = stage(session, outlook);
    let incident = session.incident.as_ref();
    news(incident, trouble, diagnosis, stage, outlook.now).is_some()
}

/// Notes the trouble in the session where it is news. Returns the alert.
pub fn raise(
    session: &mut Session,
    trouble: Trouble,
    diagnosis: &Diagnosis,
    outlook: Outlook,
) -> Option<Event> {
    let (now, stage) = (outlook.now, stage(session, outlook));
    let told = news(session.incident.as_ref(), trouble, diagnosis, stage, now)?;
    let incident = match session.incident.take() {
        None => Incident::new(now, stage, diagnosis.clone()),
        Some(earlier) => earlier.told_again(now, stage, diagnosis.clone()),
    };
    let since = incident.since;
    session.incident = Some(incident);
    let state = match session.live_tokens(now) {
        Some(tokens) => format!(
            "calls still work for {}",
            moment::span(tokens.times.expires_at.saturating_sub(now))
        ),
        None => "calls do not work".to_owned(),
    };
    let mut event = Event::new(Severity::Alert, &diagnosis.code, &diagnosis.summary)
        .with("stage", stage.name())
        .with("told", told.name())
        .with("since", &moment::text(since))
        .with("state", &state);
    if let Some(dark_at) = dark_at(session) {
        event = event.with("dark-at", &moment::text(dark_at));
    }
    Some(
        event
            .explained(&diagnosis.cause, &diagnosis.remedy)
            .with("evidence", &diagnosis.evidence.join("; ")),
    )
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

/// Ends the incident where new tokens do. That the API rejects renewed tokens is not cured by one more: a call must succeed. What
/// was told of their predecessors' end is told of theirs again.
pub fn clear_by_tokens(session: &mut Session, now: u64) -> Option<Event> {
    let unproven = session
        .tokens
        .as_ref()
        .is_some_and(|tokens| tokens.unproven);
    if unproven && is_rejection(session) {
        if let Some(incident) = &mut session.incident {
            incident.ease();
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        decision::tests::settings,
        lifetime::{Lifetime, Times},
    };

    const NOW: u64 = 1_800_000_000_000;
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    fn diagnosis(code: &str) -> Diagnosis {
        Diagnosis::new(code, "summary", "cause", "remedy")
    }

    /// A session whose token lives for so long, in seconds, and was issued `NOW`.
    fn session(lifetime: f64) -> Session {
        let mut session = Session::new(&settings());
        session.tokens = Some(Tokens {
            access_token: Secret::new("a"),
            refresh_token: Some(Secret::new("r")),
            times: Times::new(NOW, Lifetime::received(Some(lifetime)), 80, 0, 0),
            unproven: false,
            rejected: false,
            confirmed: true,
        });
        session
    }

    fn field(event: &Event, name: &str) -> Option<String> {
        let found = event.fields.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }

    #[test]
    fn the_table() {
        use {Stage::*, Told::*, Trouble::*};
        let told = |stage, at| Incident::new(at, stage, diagnosis("a"));
        let recent = NOW - REMINDER + 1;
        for (incident, trouble, code, stage, expected) in [
            (None, Passing, "a", Working, None),
            (None, Passing, "a", Urgent, Some(New)),
            (None, Passing, "a", Dark, Some(New)),
            (None, Lasting, "a", Working, Some(New)),
            (Some(told(Working, recent)), Lasting, "a", Working, None),
            (Some(told(Working, recent)), Passing, "b", Working, None),
            (
                Some(told(Working, recent)),
                Lasting,
                "b",
                Working,
                Some(New),
            ),
            (
                Some(told(Working, recent)),
                Passing,
                "b",
                Urgent,
                Some(Escalated),
            ),
            (
                Some(told(Urgent, recent)),
                Lasting,
                "a",
                Dark,
                Some(Escalated),
            ),
            (Some(told(Dark, recent)), Lasting, "a", Urgent, None),
            (
                Some(told(Dark, NOW - REMINDER)),
                Lasting,
                "a",
                Dark,
                Some(Reminder),
            ),
            (
                Some(told(Dark, NOW - REMINDER)),
                Passing,
                "b",
                Working,
                Some(Reminder),
            ),
            (
                Some(told(Dark, NOW + REMINDER)),
                Passing,
                "a",
                Dark,
                Some(Reminder),
            ),
        ] {
            let found = news(incident.as_ref(), trouble, &diagnosis(code), stage, NOW);
            assert_eq!(found, expected, "{incident:?} {trouble:?} {code} {stage:?}");
        }
    }

    #[test]
    fn little_time_is_a_quarter_of_an_hour_or_of_the_lifetime() {
        let at = |lifetime, age| stage(&session(lifetime), Outlook::at(NOW + age));
        assert_eq!(at(5400.0, 75 * MINUTE - 1), Stage::Working);
        assert_eq!(at(5400.0, 75 * MINUTE), Stage::Urgent);
        assert_eq!(at(5400.0, 90 * MINUTE), Stage::Dark);
        assert_eq!(at(900.0, 675_000 - 1), Stage::Working);
        assert_eq!(at(900.0, 675_000), Stage::Urgent);
    }

    #[test]
    fn what_is_dark_before_somebody_looks_again_is_urgent() {
        let looks_again = |next| {
            let (now, next) = (NOW + 30 * MINUTE, NOW + next);
            stage(&session(5400.0), Outlook { now, next })
        };
        assert_eq!(looks_again(90 * MINUTE - 1), Stage::Working);
        assert_eq!(looks_again(90 * MINUTE), Stage::Urgent);
    }

    #[test]
    fn an_alert_says_when_calls_stop_and_why_it_comes() {
        let mut session = session(5400.0);
        let tell = |session: &mut Session, age| {
            let dead = diagnosis("invalid_grant");
            raise(session, Trouble::Lasting, &dead, Outlook::at(NOW + age))
        };
        let mut expected = vec![("working", "new"), ("urgent", "escalated")];
        expected.extend([("dark", "escalated"), ("dark", "reminder")]);
        let ages = [
            70 * MINUTE,
            75 * MINUTE,
            90 * MINUTE,
            90 * MINUTE + REMINDER,
        ];
        for (age, (stage, told)) in ages.into_iter().zip(expected) {
            assert_eq!(
                next_news(&session, NOW + age - 1).unwrap_or(NOW + age),
                NOW + age
            );
            let event = tell(&mut session, age).expect("news");
            assert_eq!(tell(&mut session, age), None);
            let is =
                |name: &str, value: &str| assert_eq!(field(&event, name).as_deref(), Some(value));
            is("stage", stage);
            is("told", told);
            is("since", &moment::text(NOW + 70 * MINUTE));
            is("dark-at", &moment::text(NOW + 90 * MINUTE));
        }
        session.tokens.as_mut().expect("tokens").rejected = true;
        assert_eq!(dark_at(&session), None);
        let end = clear(&mut session, NOW + 70 * MINUTE + 4 * HOUR).expect("a notice");
        assert!(end.message.contains("after 4 h"), "{}", end.message);
        assert_eq!(clear(&mut session, NOW), None);
    }

    proptest! {
        /// Visits at any pace, troubles of any kind, tokens now and then.
        #[test]
        fn each_stage_is_told_once_a_day_at_most_and_each_end_once(
            steps in proptest::collection::vec((0..3 * HOUR, 0..5u8, 0..2 * HOUR), 1..80)
        ) {
            let mut session = session(5400.0);
            let (mut now, mut told, mut stage) = (NOW, Vec::new(), None);
            for (pause, what, next) in steps {
                now += pause;
                if what == 4 {
                    let was = session.incident.is_some();
                    prop_assert_eq!(clear_by_tokens(&mut session, now).is_some(), was);
                    prop_assert_eq!(clear_by_tokens(&mut session, now), None);
                    session.tokens.as_mut().expect("tokens").times =
                        Times::new(now, Lifetime::received(Some(5400.0)), 80, 0, 0);
                    (told, stage) = (Vec::new(), None);
                    continue;
                }
                let trouble = if what < 2 { Trouble::Passing } else { Trouble::Lasting };
                let code = ["dns", "timeout", "invalid_grant", "invalid_client"][usize::from(what)];
                let outlook = Outlook { now, next: now + next };
                let alert = raise(&mut session, trouble, &diagnosis(code), outlook);
                let incident = session.incident.as_ref();
                prop_assert!(incident.is_some() || session.live_tokens(now).is_some());
                let worst = incident.map(Incident::stage);
                prop_assert!(worst >= stage, "{:?} after {:?}", worst, stage);
                stage = worst;
                let Some(alert) = alert else { continue };
                let reason = field(&alert, "told").expect("a reason");
                let key = match &*reason {
                    "new" => alert.code.clone(),
                    _ => field(&alert, "stage").expect("a stage"),
                };
                let again = |(earlier, at): &(String, u64)| *earlier == key && now - at < REMINDER;
                prop_assert!(!told.iter().any(again), "{} again, {}", key, reason);
                let begins = told.is_empty();
                prop_assert!(begins || reason != "new" || trouble == Trouble::Lasting);
                told.push((key, now));
            }
        }
    }
}
