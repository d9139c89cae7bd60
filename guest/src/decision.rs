//! What to do next about a connection's tokens: a pure function of the session, the settings and the time.

use crate::{
    diagnosis::{Diagnosis, Error, ErrorKind},
    explain::TOKEN_REJECTED,
    grant::Presented,
    secret::Secret,
    session::{About, Session, Tokens, Verdict},
    settings::{Grant, Settings},
};

/// For how long a token that replaced a rejected one is not replaced again, unless a call has succeeded with it.
const FORCED_INTERVAL: u64 = 15 * 60_000;

/// How often a service account that was refused is tried again: the cure may be a change in the developer portal.
const RECHECK_INTERVAL: u64 = 15 * 60_000;

/// What the token is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// A call now.
    Use,
    /// A call that was answered 401 with this token.
    Replace(&'a Secret),
    /// Calls until this moment, since nobody looks before.
    Until(u64),
}

impl Need<'_> {
    /// Returns the moment before which nobody may look again.
    pub fn looks_again(self, now: u64) -> u64 {
        match self {
            Need::Until(moment) => moment,
            Need::Use | Need::Replace(_) => now,
        }
    }
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The current tokens serve the need.
    Serve,
    /// A reply was received and waits to be read.
    Settle,
    /// Ask the token endpoint.
    Request(Presented),
    /// Ask again, but not before this moment.
    Wait {
        /// When.
        until: u64,
        /// What failed last.
        diagnosis: Diagnosis,
    },
    /// Nothing can be done before a person acts.
    Stop(Error),
}

/// Decides the next step.
pub fn next(session: Option<&Session>, settings: &Settings, now: u64, need: Need<'_>) -> Step {
    let Some(session) = session.filter(|session| session.belongs_to(settings)) else {
        return without_session(session, settings);
    };
    if session.reply.is_some() {
        return Step::Settle;
    }
    if serves(session, now, need) {
        return Step::Serve;
    }
    if let Some(error) = rejected_again(session, now, need) {
        return Step::Stop(error);
    }
    let verdict = session.standing_verdict(settings);
    if let Some(verdict) = verdict.filter(|verdict| !may_be_cured(verdict, settings, now)) {
        let kind = match verdict.about {
            About::RefreshToken(_) => ErrorKind::SignInRequired,
            About::Client(_) => ErrorKind::Configuration,
        };
        return Step::Stop(Error::new(kind, verdict.diagnosis.clone()));
    }
    if let Some(backoff) = session
        .backoff
        .as_ref()
        .filter(|backoff| now < backoff.not_before)
    {
        // A wait longer than any that is ever set comes from a clock that was set back since.
        if backoff.not_before - now <= 2 * crate::backoff::LONGEST_WAIT {
            return Step::Wait {
                until: backoff.not_before,
                diagnosis: backoff.diagnosis.clone(),
            };
        }
    }
    present(session, settings)
}

/// Whether a change at Procore may have voided the verdict. Asking costs a service account nothing; a user's refresh token is
/// not risked on it.
fn may_be_cured(verdict: &Verdict, settings: &Settings, now: u64) -> bool {
    settings.grant == Grant::ClientCredentials
        && now.saturating_sub(verdict.since) >= RECHECK_INTERVAL
}

/// Whether the current tokens can be handed out for the need, though a refresh would be better.
pub fn can_serve(session: &Session, now: u64, need: Need<'_>) -> bool {
    session.live_tokens(now).is_some_and(
        |tokens| !matches!(need, Need::Replace(rejected) if *rejected == tokens.access_token),
    )
}

fn serves(session: &Session, now: u64, need: Need<'_>) -> bool {
    let Some(tokens) = session.live_tokens(now) else {
        return false;
    };
    match need {
        Need::Use => !tokens.times.is_due(now),
        Need::Replace(rejected) => *rejected != tokens.access_token,
        Need::Until(moment) => !tokens.times.is_due(now) && tokens.times.expires_at > moment,
    }
}

/// Whether the tokens have just replaced rejected ones, and no call has succeeded with them yet: they are not replaced again.
pub fn renewed_just_now(tokens: &Tokens, now: u64) -> bool {
    tokens.unproven && now < tokens.times.issued_at.saturating_add(FORCED_INTERVAL)
}

fn rejected_again(session: &Session, now: u64, need: Need<'_>) -> Option<Error> {
    let (Need::Replace(rejected), Some(tokens)) = (need, session.live_tokens(now)) else {
        return None;
    };
    let again = *rejected == tokens.access_token && renewed_just_now(tokens, now);
    again.then(|| {
        let environment = session.environment;
        Error::new(
            ErrorKind::Configuration,
            Diagnosis::new(
                TOKEN_REJECTED,
                "The API rejects a token that was renewed just now.",
                "The login host accepts the credentials and the API does not: most likely the app is not installed for the company.",
                &format!(
                    "Check that the app is installed in the company and that calls go to {}; `procore-auth status` shows the connection.",
                    environment.api_base()
                ),
            ),
        )
    })
}

fn present(session: &Session, settings: &Settings) -> Step {
    match &settings.grant {
        Grant::ClientCredentials => Step::Request(Presented::ClientCredentials),
        Grant::AuthorizationCode(redirect_uri) => {
            match session.tokens.as_ref().map(|tokens| &tokens.refresh_token) {
                Some(Some(token)) => Step::Request(Presented::RefreshToken {
                    token: token.clone(),
                    redirect_uri: Some(redirect_uri.clone()),
                }),
                Some(None) => Step::Stop(Error::new(
                    ErrorKind::SignInRequired,
                    Diagnosis::new(
                        "no-refresh-token",
                        "The sign-in brought no refresh token, and its access token has run out.",
                        "The server issued an access token alone.",
                        &format!("Run `procore-auth login --connection {}`.", settings.name),
                    ),
                )),
                None => not_signed_in(settings),
            }
        }
    }
}

fn without_session(session: Option<&Session>, settings: &Settings) -> Step {
    match (&settings.grant, session) {
        (Grant::ClientCredentials, _) => Step::Request(Presented::ClientCredentials),
        (Grant::AuthorizationCode(_), None) => not_signed_in(settings),
        (Grant::AuthorizationCode(_), Some(session)) => Step::Stop(Error::new(
            ErrorKind::SignInRequired,
            Diagnosis::new(
                "connection-changed",
                "The stored sign-in is of another environment, app or grant than the configuration.",
                "The configuration was changed after the sign-in. Tokens of one environment or app are unknown in every other.",
                &format!("Restore the configuration, or sign in anew: `procore-auth login --connection {}`.", settings.name),
            )
            .with_evidence(vec![
                format!("stored: {}, client id {}", session.environment.name(), session.client_id),
                format!("configured: {}, client id {}", settings.environment.name(), settings.client_id),
            ]),
        )),
    }
}

fn not_signed_in(settings: &Settings) -> Step {
    Step::Stop(Error::new(
        ErrorKind::SignInRequired,
        Diagnosis::new(
            "not-signed-in",
            &format!("Nobody has signed in on the connection {}.", settings.name),
            "There are no tokens in its store.",
            &format!("Run `procore-auth login --connection {}`.", settings.name),
        ),
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        environment::Environment,
        lifetime::{Lifetime, Times},
        session::Backoff,
        settings::Policy,
    };

    const NOW: u64 = 1_800_000_000_000;

    pub(crate) fn settings() -> Settings {
        Settings {
            name: "acme".to_owned(),
            environment: Environment::Sandbox,
            client_id: "id".to_owned(),
            secret_fingerprint: Some("f1".to_owned()),
            grant: Grant::AuthorizationCode("http://localhost".to_owned()),
            company_id: None,
            actor: "test/1".to_owned(),
            policy: Policy {
                refresh_percent: 80,
                refresh_jitter: 0,
                token_timeout: 30_000,
                lock_wait: 45_000,
                call_timeout: 60_000,
                parked_count: 10,
                parked_bytes: 1000,
                parked_age: 1000,
                pkce: false,
            },
        }
    }

    fn session(age: u64) -> Session {
        let mut session = Session::new(&settings());
        session.tokens = Some(Tokens {
            access_token: Secret::new("a1"),
            refresh_token: Some(Secret::new("r1")),
            times: Times::new(NOW - age, Lifetime::received(Some(5400.0)), 80, 0, 0),
            unproven: false,
            rejected: false,
            confirmed: true,
        });
        session
    }

    fn step(session: &Session, need: Need<'_>) -> Step {
        next(Some(session), &settings(), NOW, need)
    }

    fn refresh() -> Step {
        Step::Request(Presented::RefreshToken {
            token: Secret::new("r1"),
            redirect_uri: Some("http://localhost".to_owned()),
        })
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_fresh_token_is_served_and_a_due_one_refreshed() {
        assert_eq!(step(&session(0), Need::Use), Step::Serve);
        assert_eq!(step(&session(71 * MINUTE), Need::Use), Step::Serve);
        assert_eq!(step(&session(72 * MINUTE), Need::Use), refresh());
        assert_eq!(step(&session(1000 * MINUTE), Need::Use), refresh());
    }

    #[test]
    fn s29_a_rejected_token_is_renewed_unless_a_newer_one_is_stored() {
        let (old, current) = (Secret::new("a0"), Secret::new("a1"));
        assert_eq!(step(&session(0), Need::Replace(&old)), Step::Serve);
        assert_eq!(step(&session(0), Need::Replace(&current)), refresh());
    }

    #[test]
    fn s30_a_renewed_token_that_is_rejected_stops() {
        let mut session = session(MINUTE);
        session.tokens.as_mut().expect("tokens").unproven = true;
        assert!(
            matches!(step(&session, Need::Replace(&Secret::new("a1"))), Step::Stop(error) if error.kind == ErrorKind::Configuration)
        );
    }

    #[test]
    fn s47_an_hourly_visit_refreshes_before_the_dark_window() {
        assert_eq!(step(&session(60 * MINUTE), Need::Use), Step::Serve);
        assert_eq!(
            step(&session(60 * MINUTE), Need::Until(NOW + 60 * MINUTE)),
            refresh()
        );
        assert_eq!(
            step(&session(MINUTE), Need::Until(NOW + 60 * MINUTE)),
            Step::Serve
        );
    }

    #[test]
    fn s35_a_verdict_stands_until_the_token_changes() {
        let mut session = session(80 * MINUTE);
        let about = About::RefreshToken(Secret::new("r1").digest());
        session.verdict = Some(Verdict {
            about,
            since: NOW,
            diagnosis: Diagnosis::new("invalid_grant", "", "", ""),
        });
        assert!(
            matches!(step(&session, Need::Use), Step::Stop(error) if error.kind == ErrorKind::SignInRequired)
        );
        assert!(can_serve(&session, NOW, Need::Use));
        session.tokens.as_mut().expect("tokens").refresh_token = Some(Secret::new("r2"));
        assert!(matches!(step(&session, Need::Use), Step::Request(_)));
    }

    #[test]
    fn s42_a_verdict_on_the_client_ends_with_its_secret() {
        let mut session = session(80 * MINUTE);
        let about = About::Client(settings().credentials());
        session.verdict = Some(Verdict {
            about,
            since: NOW,
            diagnosis: Diagnosis::new("invalid_client", "", "", ""),
        });
        assert!(
            matches!(step(&session, Need::Use), Step::Stop(error) if error.kind == ErrorKind::Configuration)
        );
        let fixed = Settings {
            secret_fingerprint: Some("f2".to_owned()),
            ..settings()
        };
        assert_eq!(next(Some(&session), &fixed, NOW, Need::Use), refresh());
    }

    #[test]
    fn a_refused_service_account_is_tried_again_now_and_then() {
        let service = Settings {
            grant: Grant::ClientCredentials,
            ..settings()
        };
        let mut session = Session::new(&service);
        session.verdict = Some(Verdict {
            about: About::Client(service.credentials()),
            since: NOW - 15 * MINUTE + 1,
            diagnosis: Diagnosis::new("unauthorized_client", "", "", ""),
        });
        let step = |now| next(Some(&session), &service, now, Need::Use);
        assert!(matches!(step(NOW), Step::Stop(_)));
        assert_eq!(step(NOW + 1), Step::Request(Presented::ClientCredentials));
    }

    #[test]
    fn a_wait_is_kept_unless_the_clock_makes_it_absurd() {
        let mut session = session(100 * MINUTE);
        session.backoff = Some(Backoff {
            failures: 1,
            not_before: NOW + MINUTE,
            diagnosis: Diagnosis::new("timeout", "", "", ""),
        });
        assert!(matches!(step(&session, Need::Use), Step::Wait { .. }));
        session.backoff.as_mut().expect("backoff").not_before = NOW + 1000 * MINUTE;
        assert_eq!(step(&session, Need::Use), refresh());
    }

    #[test]
    fn a_session_of_another_environment_is_not_used() {
        let other = Settings {
            environment: Environment::Production,
            ..settings()
        };
        let step = next(Some(&session(0)), &other, NOW, Need::Use);
        assert!(matches!(step, Step::Stop(error) if error.diagnosis.code == "connection-changed"));
        let service = Settings {
            grant: Grant::ClientCredentials,
            ..settings()
        };
        assert_eq!(
            next(Some(&session(0)), &service, NOW, Need::Use),
            Step::Request(Presented::ClientCredentials)
        );
    }
}
