//! How well a connection is: never `healthy` without evidence.

use crate::{
    environment::Environment,
    incident::{self, Outlook},
    lifetime::Times,
    session::{About, Identity, Incident, Session, Stage},
    settings::{Grant, Settings},
};

/// The verdict in one word, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// A live token, and the server accepted these credentials lately.
    Healthy,
    /// Nothing is known to be wrong, and there is no recent evidence.
    Unverified,
    /// The token lives, and the next refresh is in trouble.
    AtRisk,
    /// No live token; expected to pass by itself.
    Unavailable,
    /// The configuration does not work at the server.
    Misconfigured,
    /// A person must sign in.
    SignInRequired,
}

/// The state of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub health: Health,
    /// The access token's times.
    pub token: Option<Times>,
    /// When the server last accepted these credentials.
    pub last_evidence: Option<u64>,
    /// Who the tokens act as.
    pub identity: Option<Identity>,
    /// Where API calls go.
    pub api_origin: String,
    /// How many refreshes this sign-in has had.
    pub refreshes: u64,
    /// What people were told.
    pub incident: Option<Incident>,
    /// How bad a trouble is, or would be, now.
    pub stage: Stage,
    /// When calls stop working, or stopped, if nothing is done.
    pub dark_at: Option<u64>,
    /// How many requests wait to be replayed.
    pub parked: u32,
    /// How many requests a person must decide about.
    pub undecided: u32,
}

impl Status {
    /// Reads the status off a session.
    pub fn of(session: Option<&Session>, settings: &Settings, now: u64) -> Self {
        let session = session.filter(|session| session.belongs_to(settings));
        Self {
            health: health(session, settings, now),
            token: session
                .and_then(|session| session.tokens.as_ref())
                .map(|tokens| tokens.times),
            last_evidence: session.and_then(|session| session.last_evidence),
            identity: session.and_then(|session| session.identity.clone()),
            api_origin: api_origin(session, settings.environment),
            refreshes: session.map_or(0, |session| session.refreshes),
            incident: session.and_then(|session| session.incident.clone()),
            stage: session.map_or(Stage::Dark, |session| {
                incident::stage(session, Outlook::at(now))
            }),
            dark_at: session.and_then(incident::dark_at),
            parked: 0,
            undecided: 0,
        }
    }
}

/// Tells where a connection's API calls go: to the host that answered, or else to the environment's default.
pub fn api_origin(session: Option<&Session>, environment: Environment) -> String {
    let chosen = session.and_then(|session| session.api_host.as_deref());
    let known = chosen.filter(|host| environment.api_hosts().contains(host));
    format!("https://{}", known.unwrap_or(environment.api_host()))
}

/// From how long after its moment on a refresh is overdue, in milliseconds: by then whoever came for it is done or has failed.
const OVERDUE: u64 = 5 * 60_000;

fn health(session: Option<&Session>, settings: &Settings, now: u64) -> Health {
    let Some(session) = session else {
        return if settings.grant == Grant::ClientCredentials {
            Health::Unverified
        } else {
            Health::SignInRequired
        };
    };
    let live = session.live_tokens(now).is_some();
    match session
        .standing_verdict(settings)
        .map(|verdict| &verdict.about)
    {
        Some(_) if live => return Health::AtRisk,
        Some(About::RefreshToken(_)) => return Health::SignInRequired,
        Some(About::Client(_)) => return Health::Misconfigured,
        None => {}
    }
    let signed_in = session.tokens.is_some() || settings.grant == Grant::ClientCredentials;
    if signed_in && (session.backoff.is_some() || session.intent.is_some()) {
        return if live {
            Health::AtRisk
        } else {
            Health::Unavailable
        };
    }
    match &session.tokens {
        None if settings.grant == Grant::ClientCredentials => Health::Unverified,
        None => Health::SignInRequired,
        Some(tokens)
            if !live
                && tokens.refresh_token.is_none()
                && settings.grant != Grant::ClientCredentials =>
        {
            Health::SignInRequired
        }
        Some(tokens) if live && now >= tokens.times.refresh_at.saturating_add(OVERDUE) => {
            Health::AtRisk
        }
        Some(tokens)
            if live
                && session
                    .last_evidence
                    .is_some_and(|at| at >= tokens.times.issued_at)
                && !tokens.unproven =>
        {
            Health::Healthy
        }
        Some(_) => Health::Unverified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::tests::settings,
        diagnosis::Diagnosis,
        lifetime::Lifetime,
        secret::Secret,
        session::{Backoff, Tokens, Verdict},
    };

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn session(age: u64) -> Session {
        let mut session = Session::new(&settings());
        let times = Times::new(NOW - age, Lifetime::received(Some(5400.0)), 80, 0, 0);
        let access_token = Secret::new("a");
        session.tokens = Some(Tokens {
            access_token,
            refresh_token: Some(Secret::new("r")),
            times,
            unproven: false,
            rejected: false,
            confirmed: true,
        });
        session.last_evidence = Some(NOW - age);
        session
    }

    fn health(session: &Session) -> Health {
        Status::of(Some(session), &settings(), NOW).health
    }

    #[test]
    fn s40_healthy_needs_evidence() {
        assert_eq!(health(&session(0)), Health::Healthy);
        assert_eq!(health(&session(2 * HOUR)), Health::Unverified);
        let adopted = Session {
            last_evidence: None,
            ..session(0)
        };
        assert_eq!(health(&adopted), Health::Unverified);
        assert_eq!(
            Status::of(None, &settings(), NOW).health,
            Health::SignInRequired
        );
    }

    #[test]
    fn trouble_shows() {
        let diagnosis = || Diagnosis::new("x", "", "", "");
        let backoff = Some(Backoff {
            failures: 1,
            not_before: NOW,
            diagnosis: diagnosis(),
        });
        assert_eq!(
            health(&Session {
                backoff: backoff.clone(),
                ..session(0)
            }),
            Health::AtRisk
        );
        assert_eq!(
            health(&Session {
                backoff,
                ..session(2 * HOUR)
            }),
            Health::Unavailable
        );
        let dead = Some(Verdict {
            about: About::RefreshToken(Secret::new("r").digest()),
            since: NOW,
            diagnosis: diagnosis(),
        });
        assert_eq!(
            health(&Session {
                verdict: dead.clone(),
                ..session(0)
            }),
            Health::AtRisk
        );
        assert_eq!(
            health(&Session {
                verdict: dead,
                ..session(2 * HOUR)
            }),
            Health::SignInRequired
        );
        let client = Some(Verdict {
            about: About::Client(settings().credentials()),
            since: NOW,
            diagnosis: diagnosis(),
        });
        assert_eq!(
            health(&Session {
                verdict: client,
                ..session(2 * HOUR)
            }),
            Health::Misconfigured
        );
    }
}
