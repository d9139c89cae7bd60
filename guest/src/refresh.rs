//! The steps of a rotation, as changes to the session: begin (intent), receive (raw reply), adopt (tokens), or how it failed.
//!
//! Each step is saved before the next one is taken. No step drops a refresh token because of an error.

use crate::{
    backoff,
    diagnosis::Diagnosis,
    event::Event,
    grant::{Issued, Presented},
    incident::{self, Outlook, Trouble},
    lifetime::Times,
    moment,
    session::{About, Backoff, Intent, RawReply, Session, Spends, Tokens, Verdict},
    settings::Settings,
    spent::{Spent, SpentTokens},
};

/// Writes down what is about to be spent.
pub fn begin(session: &mut Session, settings: &Settings, presented: &Presented, now: u64) {
    let spends = match presented {
        Presented::Code { code, .. } => Spends::Code(code.digest()),
        Presented::RefreshToken { token, .. } => Spends::RefreshToken(token.digest()),
        Presented::ClientCredentials => Spends::Nothing,
    };
    let earlier = session
        .intent
        .take()
        .filter(|intent| intent.spends == spends);
    let attempt = earlier.map_or(1, |intent| intent.attempt.saturating_add(1));
    session.intent = Some(Intent {
        spends,
        at: now,
        by: settings.actor.clone(),
        attempt,
    });
}

/// Keeps the reply as it came.
pub fn receive(session: &mut Session, body: &[u8], requested_at: u64) {
    session.reply = Some(RawReply::new(body, requested_at));
}

/// Turns the received reply into the current tokens. Returns the refresh token that was spent for it.
///
/// Where the reply has no refresh token, a refresh keeps the one it has (RFC 6749, section 6).
pub fn adopt(
    session: &mut Session,
    settings: &Settings,
    issued: Issued,
    requested_at: u64,
    draw: u64,
) -> Option<Spent> {
    let intent = session.intent.take();
    let old = session.tokens.take();
    let begins = matches!(
        intent.as_ref().map(|intent| &intent.spends),
        Some(Spends::Code(_))
    );
    let replaces_rejected = !begins && old.as_ref().is_some_and(|tokens| tokens.rejected);
    let old_refresh_token = old.and_then(|tokens| tokens.refresh_token);
    let spent = old_refresh_token
        .as_ref()
        .filter(|old| !begins && issued.refresh_token.as_ref().is_some_and(|new| new != *old));
    let spent = spent.map(|token| Spent {
        digest: token.digest(),
        at: requested_at,
        // Who asked, which need not be who reads the reply.
        by: intent
            .as_ref()
            .map_or_else(|| settings.actor.clone(), |intent| intent.by.clone()),
    });
    if let Some(Intent {
        spends: Spends::Code(code),
        ..
    }) = &intent
    {
        *session = Session {
            incident: session.incident.take(),
            code: Some(code.clone()),
            ..Session::new(settings)
        };
    } else {
        session.refreshes = session.refreshes.saturating_add(1);
    }
    let policy = &settings.policy;
    session.tokens = Some(Tokens {
        access_token: issued.access_token,
        refresh_token: issued
            .refresh_token
            .or(if begins { None } else { old_refresh_token }),
        times: Times::new(
            requested_at,
            issued.lifetime,
            policy.refresh_percent,
            policy.refresh_jitter,
            draw,
        ),
        unproven: replaces_rejected,
        rejected: false,
        confirmed: true,
    });
    session.reply = None;
    session.verdict = None;
    session.backoff = None;
    session.last_evidence = Some(requested_at);
    spent
}

/// Notes that the server refused the refresh token for good. Returns the alert.
pub fn refuse_grant(
    session: &mut Session,
    diagnosis: Diagnosis,
    spent: &SpentTokens,
    outlook: Outlook,
) -> Option<Event> {
    let tokens = session.tokens.as_ref()?;
    let digest = tokens.refresh_token.as_ref()?.digest();
    let mut diagnosis = diagnosis;
    if let Some(by) = spent.find(&digest) {
        diagnosis.cause = format!(
            "This token was spent on {} by {}: it did not expire. Another program raced with that refresh, or an older copy of the store is in use.",
            moment::text(by.at),
            by.by
        );
    } else if let Some(lost) = session.intent.as_ref().filter(|intent| intent.attempt > 1) {
        diagnosis.cause = "An earlier refresh with this token had no known outcome: the server had most likely accepted it, and its reply was lost."
            .to_owned();
        diagnosis.evidence.push(format!(
            "{} requests with this token, the last one by {}",
            lost.attempt, lost.by
        ));
    } else if !tokens.confirmed {
        diagnosis.cause = "This token was taken over from elsewhere or from a copy of the store, and never worked here: it may be of another environment or app, or another program spent it."
            .to_owned();
    }
    diagnosis.evidence.push(format!(
        "refresh token {}… got on {}",
        digest.short(),
        moment::text(tokens.times.issued_at)
    ));
    let alert = incident::raise(session, Trouble::Lasting, &diagnosis, outlook);
    session.intent = None;
    session.verdict = Some(Verdict {
        about: About::RefreshToken(digest),
        since: outlook.now,
        diagnosis,
    });
    alert
}

/// Notes that the server refused the client. The tokens are kept. Returns the alert.
pub fn refuse_client(
    session: &mut Session,
    settings: &Settings,
    diagnosis: Diagnosis,
    outlook: Outlook,
) -> Option<Event> {
    session.intent = None;
    let alert = incident::raise(session, Trouble::Lasting, &diagnosis, outlook);
    session.verdict = Some(Verdict {
        about: About::Client(settings.credentials()),
        since: outlook.now,
        diagnosis,
    });
    alert
}

/// How much is known about a request that brought no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was spent.
    NotSpent,
    /// The server answered with a passing error; it may have spent the token all the same.
    Answered,
    /// It was sent, and no answer came.
    Unanswered,
}

/// Notes a passing failure. Returns the alert where it is news; that the refresh token may be lost is a lasting trouble.
///
/// The intent stays unless nothing was spent: it says what is unknown, and the next attempt is a replay.
pub fn fail(
    session: &mut Session,
    diagnosis: Diagnosis,
    outcome: Outcome,
    wait: Option<u64>,
    outlook: Outlook,
    draw: u64,
) -> Option<Event> {
    let failures = session
        .backoff
        .as_ref()
        .map_or(0, |backoff| backoff.failures)
        .saturating_add(1);
    let delay = backoff::delay(failures, draw)
        .max(wait.unwrap_or(0))
        .min(backoff::LONGEST_WAIT);
    let spends_token = matches!(
        session.intent.as_ref().map(|intent| &intent.spends),
        Some(Spends::RefreshToken(_))
    );
    if outcome == Outcome::NotSpent {
        let intent = session.intent.take();
        // What an earlier attempt left unknown stays unknown.
        session.intent = intent
            .filter(|intent| intent.attempt > 1)
            .map(|intent| Intent {
                attempt: intent.attempt - 1,
                ..intent
            });
    }
    let (trouble, diagnosis) = if outcome == Outcome::Unanswered && spends_token {
        (Trouble::Lasting, at_risk(&diagnosis))
    } else {
        (Trouble::Passing, diagnosis)
    };
    let alert = incident::raise(session, trouble, &diagnosis, outlook);
    session.backoff = Some(Backoff {
        failures,
        not_before: outlook.now.saturating_add(delay),
        diagnosis,
    });
    alert
}

fn at_risk(failure: &Diagnosis) -> Diagnosis {
    Diagnosis::new(
        "refresh-outcome-unknown",
        "A refresh was sent and no answer came: the refresh token may be spent.",
        &failure.summary,
        "Nothing to do yet: it is tried again with the same token. If that is refused: `procore-auth login`.",
    )
    .with_evidence(failure.evidence.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, grant::Issued, lifetime::Lifetime, secret::Secret};

    const NOW: u64 = 1_800_000_000_000;

    fn issued(access: &str, refresh: Option<&str>) -> Issued {
        Issued {
            access_token: Secret::new(access),
            refresh_token: refresh.map(Secret::new),
            lifetime: Lifetime::received(Some(5400.0)),
        }
    }

    fn signed_in() -> Session {
        let mut session = Session::new(&settings());
        let code = Presented::Code {
            code: Secret::new("c"),
            redirect_uri: "http://localhost".to_owned(),
            verifier: None,
        };
        begin(&mut session, &settings(), &code, NOW);
        assert_eq!(
            adopt(&mut session, &settings(), issued("a1", Some("r1")), NOW, 0),
            None
        );
        session
    }

    fn refreshing(session: &mut Session) {
        let token = session
            .tokens
            .as_ref()
            .and_then(|tokens| tokens.refresh_token.clone())
            .expect("signed in");
        begin(
            session,
            &settings(),
            &Presented::RefreshToken {
                token,
                redirect_uri: None,
            },
            NOW,
        );
    }

    fn refresh_token(session: &Session) -> Option<&str> {
        session
            .tokens
            .as_ref()?
            .refresh_token
            .as_ref()
            .map(Secret::expose)
    }

    #[test]
    fn a_rotation_replaces_the_pair_and_remembers_the_spent_one() {
        let mut session = signed_in();
        refreshing(&mut session);
        let spent =
            adopt(&mut session, &settings(), issued("a2", Some("r2")), NOW, 0).expect("spent");
        assert_eq!(
            (spent.digest, refresh_token(&session), session.refreshes),
            (Secret::new("r1").digest(), Some("r2"), 1)
        );
        assert_eq!((session.intent, session.reply), (None, None));
    }

    #[test]
    fn a_rejected_token_is_not_served_on_when_its_refresh_fails() {
        let mut session = signed_in();
        let token = Secret::new("r1");
        let presented = Presented::RefreshToken {
            token,
            redirect_uri: None,
        };
        session.tokens.as_mut().expect("tokens").rejected = true;
        begin(&mut session, &settings(), &presented, NOW);
        let refused = Diagnosis::new("invalid_grant", "", "", "");
        let alert = refuse_grant(
            &mut session,
            refused,
            &SpentTokens::default(),
            Outlook::at(NOW),
        );
        assert!(session.live_tokens(NOW).is_none());
        let state = ("state", "calls do not work".to_owned());
        assert!(alert.expect("an alert").fields.contains(&state));
    }

    #[test]
    fn s25_a_reply_without_refresh_token_keeps_the_old_one() {
        let mut session = signed_in();
        refreshing(&mut session);
        assert_eq!(
            adopt(&mut session, &settings(), issued("a2", None), NOW, 0),
            None
        );
        assert_eq!(refresh_token(&session), Some("r1"));
    }

    #[test]
    fn a_new_sign_in_inherits_no_refresh_token() {
        let mut session = signed_in();
        let code = Presented::Code {
            code: Secret::new("d"),
            redirect_uri: "http://localhost".to_owned(),
            verifier: None,
        };
        begin(&mut session, &settings(), &code, NOW);
        adopt(&mut session, &settings(), issued("a9", None), NOW, 0);
        assert_eq!((refresh_token(&session), session.refreshes), (None, 0));
    }

    #[test]
    fn no_failure_drops_a_token() {
        let refused = || Diagnosis::new("invalid_grant", "", "", "");
        let mut sessions = vec![];
        for outcome in [Outcome::NotSpent, Outcome::Answered, Outcome::Unanswered] {
            let mut session = signed_in();
            refreshing(&mut session);
            fail(&mut session, refused(), outcome, None, Outlook::at(NOW), 0);
            sessions.push(session);
        }
        let mut session = signed_in();
        refuse_grant(
            &mut session,
            refused(),
            &SpentTokens::default(),
            Outlook::at(NOW),
        );
        sessions.push(session);
        let mut session = signed_in();
        refuse_client(&mut session, &settings(), refused(), Outlook::at(NOW));
        sessions.push(session);
        for session in sessions {
            assert_eq!(refresh_token(&session), Some("r1"));
        }
    }

    #[test]
    fn s16_s17_the_intent_stays_unless_nothing_was_spent() {
        for (outcome, stays, alert) in [
            (Outcome::NotSpent, false, false),
            (Outcome::Answered, true, false),
            (Outcome::Unanswered, true, true),
        ] {
            let mut session = signed_in();
            refreshing(&mut session);
            let told = fail(
                &mut session,
                Diagnosis::new("x", "", "", ""),
                outcome,
                None,
                Outlook::at(NOW),
                0,
            );
            assert_eq!(
                (session.intent.is_some(), told.is_some()),
                (stays, alert),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn s15_a_refusal_after_an_unknown_outcome_says_so() {
        let mut session = signed_in();
        refreshing(&mut session);
        fail(
            &mut session,
            Diagnosis::new("timeout", "", "", ""),
            Outcome::Unanswered,
            None,
            Outlook::at(NOW),
            0,
        );
        refreshing(&mut session);
        refuse_grant(
            &mut session,
            Diagnosis::new("invalid_grant", "", "", ""),
            &SpentTokens::default(),
            Outlook::at(NOW),
        )
        .expect("alert");
        let verdict = session.verdict.expect("latched");
        assert_eq!(verdict.diagnosis.code, "invalid_grant");
        assert!(
            verdict.diagnosis.cause.contains("no known outcome"),
            "{}",
            verdict.diagnosis.cause
        );
    }

    #[test]
    fn s39_one_outage_one_alert() {
        let mut session = signed_in();
        let told: Vec<bool> = (0..5)
            .map(|_| {
                refreshing(&mut session);
                fail(
                    &mut session,
                    Diagnosis::new("timeout", "", "", ""),
                    Outcome::Unanswered,
                    None,
                    Outlook::at(NOW),
                    0,
                )
                .is_some()
            })
            .collect();
        assert_eq!(told, [true, false, false, false, false]);
        assert!(
            incident::clear(&mut session, NOW).is_some()
                && incident::clear(&mut session, NOW).is_none()
        );
    }
}
