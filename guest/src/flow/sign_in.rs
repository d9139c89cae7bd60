//! Signing in: begin, finish, or take over tokens from a script.

use super::{
    stored::{LockedSession, overwrite, read},
    token, upkeep, verify,
};
use crate::{
    capabilities::{Capabilities, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    grant::{Issued, Presented},
    incident,
    json::{self, Fields},
    lifetime::{Lifetime, Times},
    login::{PendingLogin, code_of, code_used, is_out_of_band, no_pending},
    moment,
    session::{Backoff, Intent, Session, Tokens, Verdict},
    settings::{Grant, Settings},
    status::Status,
};

const LOGIN: &str = "login";

/// Begins a sign-in; a later one replaces an earlier one.
pub fn begin(host: &dyn Capabilities) -> Result<PendingLogin> {
    let pending = PendingLogin::begin(&host.settings(), &host.random(64), host.now())?;
    overwrite(host, LOGIN, &pending)?;
    Ok(pending)
}

/// Begins a sign-in for an alert, or prolongs the one that is under way: its link stays good. `None` where the sign-in cannot be
/// finished from elsewhere, or cannot be noted: an alert never waits for its link.
pub(super) fn begin_for_alert(
    host: &dyn Capabilities,
    settings: &Settings,
) -> Option<PendingLogin> {
    if !matches!(&settings.grant, Grant::AuthorizationCode(uri) if is_out_of_band(uri)) {
        return None;
    }
    let now = host.now();
    let found = read::<PendingLogin>(host, LOGIN).ok()?;
    let revision = found.as_ref().map(|(_, revision)| *revision);
    let current = found.filter(|(pending, _)| {
        pending.is_current(settings, now) && is_out_of_band(&pending.redirect_uri)
    });
    let mut pending = match current {
        Some((pending, _)) => pending,
        None => PendingLogin::begin(settings, &host.random(64), now).ok()?,
    };
    pending.prolong(now);
    // A sign-in that somebody begins meanwhile is theirs.
    let written = host.put(LOGIN, &json::write(&pending), revision);
    matches!(written, Ok(Write::Stored(_))).then_some(pending)
}

/// Finishes the sign-in with what came back.
pub fn finish(host: &dyn Capabilities, callback: &str) -> Result<Status> {
    let settings = host.settings();
    // A wrong answer is refused at once, whoever holds the lock.
    if let Some((pending, _)) = under_way(host, &settings)? {
        pending.accept(callback)?;
    }
    let mut locked = LockedSession::require(host, &settings)?;
    let Some((pending, revision)) = under_way(host, &settings)? else {
        let used = code_of(callback).is_some_and(|code| Some(code.digest()) == locked.session.code);
        return Err(Error::new(
            ErrorKind::InvalidInput,
            if used { code_used() } else { no_pending() },
        ));
    };
    let presented = pending.accept(callback)?;
    token::settle(host, &mut locked, &settings)?;
    exchange(host, &mut locked, &settings, &presented)?;
    // The sign-in is done; a leftover costs the next one nothing, since its code is known to be used.
    if let Err(failure) = host.delete(LOGIN, revision) {
        host.record(&Event::new(
            Severity::Warning,
            "login-not-deleted",
            &failure.message,
        ));
    }
    drop(locked);
    upkeep::status(host)
}

/// Reads the sign-in that was begun and can still be finished.
fn under_way(host: &dyn Capabilities, settings: &Settings) -> Result<Option<(PendingLogin, u64)>> {
    let found = read::<PendingLogin>(host, LOGIN)?;
    Ok(found.filter(|(pending, _)| pending.is_current(settings, host.now())))
}

fn exchange(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    presented: &Presented,
) -> Result<()> {
    let is_used = |session: &Session| match presented {
        Presented::Code { code, .. } => session.code.as_ref() == Some(&code.digest()),
        _ => false,
    };
    if is_used(&locked.session) {
        return Err(Error::new(ErrorKind::InvalidInput, code_used()));
    }
    if locked.saved().is_some() && !locked.session.belongs_to(settings) {
        locked.set_aside(settings)?;
    }
    let before = Standing::make_way(&mut locked.session);
    let error = match token::request(host, locked, settings, presented) {
        Ok(true) => return Ok(()),
        Ok(false) => begin_again(failed_exchange(&locked.session)),
        Err(error) if is_refusal(&error) => error,
        Err(error) => return Err(begin_again(error)),
    };
    // What the exchange met says nothing about an earlier sign-in: it goes on as it was.
    before.restore(&mut locked.session);
    locked.save()?;
    Err(error)
}

/// Says what to do about a trouble that passes by itself: a refresh is tried again, a code is not.
fn begin_again(mut error: Error) -> Error {
    if error.kind == ErrorKind::Unavailable {
        "Look at the network between and at Procore's status page, then run `procore-auth login` again: a code is good for one try."
            .clone_into(&mut error.diagnosis.remedy);
    }
    error
}

/// How the tokens of an earlier sign-in stand.
struct Standing {
    intent: Option<Intent>,
    verdict: Option<Verdict>,
    backoff: Option<Backoff>,
}

impl Standing {
    /// The verdict stays: an exchange that is interrupted does not make a dead refresh token worth another try.
    fn make_way(session: &mut Session) -> Self {
        Self {
            intent: session.intent.take(),
            verdict: session.verdict.clone(),
            backoff: session.backoff.take(),
        }
    }

    fn restore(self, session: &mut Session) {
        session.intent = self.intent;
        session.verdict = self.verdict;
        session.backoff = self.backoff;
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::InvalidInput | ErrorKind::Configuration
    )
}

fn failed_exchange(session: &Session) -> Error {
    let diagnosis = session
        .backoff
        .as_ref()
        .map(|backoff| backoff.diagnosis.clone())
        .unwrap_or_else(|| {
            Diagnosis::new(
                "no-answer",
                "The token endpoint gave no usable answer.",
                "The network or the server is in trouble.",
                "Try again.",
            )
        });
    Error::new(ErrorKind::Unavailable, diagnosis)
}

/// Takes over tokens that a script saved. Asks `token/info` how long they live, which spends nothing.
pub fn adopt(host: &dyn Capabilities, reply: &[u8], replace: bool) -> Result<Status> {
    let settings = host.settings();
    let saved = SavedReply::parse(reply)?;
    if settings.grant == Grant::ClientCredentials {
        return Err(invalid(
            "nothing-to-adopt",
            "A service account needs no tokens from elsewhere: it gets its own.",
            "Ask for a token directly: `procore-auth token`.",
        ));
    }
    let mut locked = LockedSession::require(host, &settings)?;
    if locked
        .saved()
        .is_some_and(|session| session.tokens.is_some())
        && !replace
    {
        return Err(invalid(
            "already-signed-in",
            "The connection has tokens already; they are replaced only where that is asked for.",
            "Pass `--replace` where the new tokens shall take their place.",
        ));
    }
    token::settle(host, &mut locked, &settings)?;
    let now = host.now();
    let info = verify::token_info(
        host,
        &settings,
        settings.environment,
        &saved.issued.access_token,
    );
    if locked.saved().is_some() {
        locked.set_aside(&settings)?;
    }
    let confirmed = info.is_ok();
    let lifetime_left = info.ok().and_then(|info| info.expires_in);
    let times = saved.times(
        &settings,
        now,
        lifetime_left.map(|left| Lifetime::received(Some(left))),
        host.draw(),
    );
    let incident = locked.session.incident.take();
    locked.session = Session {
        incident,
        ..Session::new(&settings)
    };
    locked.session.last_evidence = confirmed.then_some(now);
    locked.session.tokens = Some(Tokens {
        access_token: saved.issued.access_token,
        refresh_token: saved.issued.refresh_token,
        times,
        unproven: false,
        rejected: false,
        confirmed,
    });
    let recovered = incident::clear(&mut locked.session, now).filter(|_| confirmed);
    locked.save()?;
    host.record(
        &Event::new(
            Severity::Info,
            "tokens-adopted",
            "Tokens were taken over from elsewhere.",
        )
        .with("expires-at", &moment::text(times.expires_at))
        .with("confirmed-by-the-server", &confirmed.to_string()),
    );
    recovered.iter().for_each(|event| host.record(event));
    drop(locked);
    upkeep::status(host)
}

/// A token endpoint's reply as a script saved it, with the moment that its lifetime counts from.
struct SavedReply {
    issued: Issued,
    issued_at: Option<u64>,
    expires_at: Option<u64>,
}

impl SavedReply {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let unusable = |evidence| {
            let cause = "It must be the JSON that the token endpoint sent, with `access_token` and `refresh_token`. One that was exported has \
                 no refresh token.";
            let summary = "The file holds no tokens that can be taken over.";
            let diagnosis =
                Diagnosis::new("not-a-token-reply", summary, cause, "Name the right file.")
                    .with_evidence(evidence);
            Error::new(ErrorKind::InvalidInput, diagnosis)
        };
        let issued = Issued::parse(bytes).map_err(|diagnosis| unusable(diagnosis.evidence))?;
        if issued.refresh_token.is_none() {
            return Err(unusable(vec!["there is no `refresh_token`".to_owned()]));
        }
        let fields = Fields::read(bytes);
        let moment = |name: &str| unix_milliseconds(fields.as_ref()?.number(name)?);
        Ok(Self {
            issued,
            issued_at: moment("created_at").or_else(|| moment("saved_at")),
            expires_at: moment("expires_at"),
        })
    }

    /// Returns the tokens' times: by what the server says is left, or else by what the file says; where neither tells, the
    /// token counts as expired, so that the next need refreshes it.
    fn times(&self, settings: &Settings, now: u64, left: Option<Lifetime>, draw: u64) -> Times {
        let lifetime = self.issued.lifetime;
        let length = lifetime.milliseconds();
        let (issued_at, lifetime) = match (left, self.issued_at, self.expires_at) {
            (Some(left), ..) => (now, left),
            (None, _, Some(expires_at)) => (expires_at.saturating_sub(length), lifetime),
            (None, Some(issued_at), None) => (issued_at, lifetime),
            (None, None, None) => (now.saturating_sub(length), lifetime),
        };
        let policy = &settings.policy;
        let (percent, jitter) = (policy.refresh_percent, policy.refresh_jitter);
        let times = Times::new(issued_at, lifetime, percent, jitter, draw);
        Times {
            issued_at: issued_at.min(now),
            ..times
        }
    }
}

/// Reads a moment as scripts write it: Unix seconds with or without a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and absurd moments are filtered"
)]
fn unix_milliseconds(seconds: f64) -> Option<u64> {
    // Milliseconds where the number is too large for seconds of this century.
    let milliseconds = if seconds > 1e11 {
        seconds
    } else {
        seconds * 1000.0
    };
    (1e12..1e13)
        .contains(&milliseconds)
        .then_some(milliseconds as u64)
}

fn invalid(code: &str, summary: &str, remedy: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        Diagnosis::new(code, summary, "", remedy),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, secret::Secret};

    const NOW: u64 = 1_800_000_000_000;

    fn expires_at(extra: &str) -> u64 {
        let text =
            format!(r#"{{"access_token":"a","refresh_token":"r","expires_in":5400{extra}}}"#);
        SavedReply::parse(text.as_bytes())
            .expect("valid")
            .times(&settings(), NOW, None, 0)
            .expires_at
    }

    #[test]
    fn the_shapes_that_scripts_save() {
        assert_eq!(
            expires_at(r#","created_at":1799999000"#),
            1_799_999_000_000 + 5_400_000
        );
        assert_eq!(
            expires_at(r#","saved_at":1799999000.5"#),
            1_799_999_000_500 + 5_400_000
        );
        assert_eq!(expires_at(r#","expires_at":1800000100"#), 1_800_000_100_000);
        assert_eq!(
            expires_at(r#","expires_at":1800000100000"#),
            1_800_000_100_000
        );
        assert_eq!(expires_at(""), NOW, "unknown counts as expired");
        assert_eq!(expires_at(r#","created_at":"soon""#), NOW);
    }

    #[test]
    fn what_holds_no_refresh_token_is_not_taken_over() {
        for reply in [
            r#"{"access_token":"a","expires_in":5400}"#,
            r#"{"access_token":"a","refresh_token":""}"#,
            r#"{"refresh_token":"r"}"#,
            r#"{"error":"invalid_grant"}"#,
        ] {
            let refused = SavedReply::parse(reply.as_bytes()).err();
            let code = refused.map(|error| error.diagnosis.code);
            assert_eq!(code.as_deref(), Some("not-a-token-reply"), "{reply}");
        }
    }

    #[test]
    fn what_the_server_says_is_left_counts_most() {
        let reply = br#"{"access_token":"a","refresh_token":"r","expires_at":1}"#;
        let saved = SavedReply::parse(reply).expect("valid");
        let left = Lifetime::received(Some(100.0));
        assert_eq!(
            saved.times(&settings(), NOW, Some(left), 0).expires_at,
            NOW + 100_000
        );
        assert_eq!(saved.issued.access_token, Secret::new("a"));
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"[]", b"{}", b"PROCORE_CLIENT_ID=x", b"\xff\xfe"] {
            assert!(SavedReply::parse(bytes).is_err());
        }
    }
}
