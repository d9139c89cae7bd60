//! Getting a token: serve the stored one, or rotate under the lock.

use super::{
    aside::{Aside, keep_and_tell},
    sign_in,
    stored::{LockedSession, read, read_session, write},
};
use crate::{
    backoff,
    capabilities::Capabilities,
    decision::{Need, Step, can_serve, next, renewed_just_now},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    grant::{Answer, Issued, Presented},
    http::{Body, Failure, Header, Request, Response},
    incident::{self, Outlook, Trouble},
    login, moment,
    refresh::{self, Outcome},
    retry,
    secret::Secret,
    session::{Session, Spends, Tokens},
    settings::Settings,
    spent::{Spent, SpentTokens},
};

const SPENT: &str = "spent";

/// Tokens, and whether this call brought them.
pub(super) struct Obtained {
    /// The tokens to use.
    pub tokens: Tokens,
    /// Whether a request to the token endpoint was made and succeeded.
    pub refreshed: bool,
    /// What kept a refresh that is due from being begun, where the old token serves meanwhile.
    pub hindered_by: Option<Error>,
}

impl Obtained {
    fn without_request(tokens: Tokens) -> Self {
        Self {
            tokens,
            refreshed: false,
            hindered_by: None,
        }
    }
}

/// Returns a token for a call now.
pub fn access_token(host: &dyn Capabilities) -> Result<Tokens> {
    obtain(host, &host.settings(), Need::Use).map(|obtained| obtained.tokens)
}

/// Returns a token to use instead of one that was answered 401.
pub fn renew_rejected(host: &dyn Capabilities, rejected: &Secret) -> Result<Tokens> {
    obtain(host, &host.settings(), Need::Replace(rejected)).map(|obtained| obtained.tokens)
}

/// Returns tokens that serve the need; where a refresh fails and the old token lives and can serve, that one.
pub(super) fn obtain(
    host: &dyn Capabilities,
    settings: &Settings,
    need: Need<'_>,
) -> Result<Obtained> {
    let session = read_session(host)?;
    let now = host.now();
    let step = next(session.as_ref(), settings, now, need);
    if let Some(result) = without_lock(session.as_ref(), settings, now, need, &step) {
        return result.map(Obtained::without_request);
    }
    let result = LockedSession::require(host, settings)
        .and_then(|mut locked| under_lock(host, &mut locked, settings, need));
    match result {
        Err(error) if matches!(error.kind, ErrorKind::Busy | ErrorKind::Storage) => {
            let own = session.filter(|session| session.belongs_to(settings));
            let live = own.filter(|session| can_serve(session, host.now(), need));
            match live.and_then(|session| session.tokens) {
                Some(tokens) => Ok(Obtained {
                    hindered_by: Some(error),
                    ..Obtained::without_request(tokens)
                }),
                None => Err(error),
            }
        }
        result => result,
    }
}

/// Answers what needs neither a request nor a note in the session.
fn without_lock(
    session: Option<&Session>,
    settings: &Settings,
    now: u64,
    need: Need<'_>,
    step: &Step,
) -> Option<Result<Tokens>> {
    let own = session.filter(|session| session.belongs_to(settings));
    match step {
        Step::Serve => own.and_then(|session| session.tokens.clone()).map(Ok),
        Step::Settle | Step::Request(_) => None,
        Step::Wait { .. } | Step::Stop(_) => {
            let error = halted(step)?;
            match own {
                // What is new is noted under the lock.
                Some(session) if is_news(session, need, &error, now) => None,
                Some(session) if can_serve(session, now, need) => session.tokens.clone().map(Ok),
                _ => Some(Err(error)),
            }
        }
    }
}

/// Whether people are to be told of the error, or the need tells that the current token was rejected.
fn is_news(session: &Session, need: Need<'_>, error: &Error, now: u64) -> bool {
    let next = need.looks_again(now);
    let outlook = Outlook { now, next };
    incident::is_news(session, trouble(error), &error.diagnosis, outlook)
        || rejects_current(session, need, now)
}

/// Whether the need tells that the current token is not accepted, and nobody has noted that. A token that has just replaced a
/// rejected one is left alone: the login host vouches for it, so it is the call that is at fault.
fn rejects_current(session: &Session, need: Need<'_>, now: u64) -> bool {
    let trusted = |tokens: &&Tokens| !tokens.rejected && !renewed_just_now(tokens, now);
    let current = session.tokens.as_ref().filter(trusted);
    matches!((need, current), (Need::Replace(rejected), Some(tokens)) if *rejected == tokens.access_token)
}

fn halted(step: &Step) -> Option<Error> {
    match step {
        Step::Wait { until, diagnosis } => {
            Some(Error::new(ErrorKind::Unavailable, diagnosis.clone()).retry_at(*until))
        }
        Step::Stop(error) => Some(error.clone()),
        Step::Serve | Step::Settle | Step::Request(_) => None,
    }
}

fn trouble(error: &Error) -> Trouble {
    match error.kind {
        ErrorKind::Unavailable => Trouble::Passing,
        _ => Trouble::Lasting,
    }
}

fn under_lock(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    need: Need<'_>,
) -> Result<Obtained> {
    let mut refreshed = false;
    locked.looks_again = need.looks_again(0);
    // Each turn leaves the session in a state whose next step is another one; four are more than any way through takes.
    for _ in 0..4 {
        let now = host.now();
        match next(locked.saved(), settings, now, need) {
            Step::Serve => break,
            // What an earlier process received may have run out since.
            Step::Settle => refreshed = settle(host, locked, settings)?,
            Step::Request(presented) => {
                note_rejection(&mut locked.session, need, now);
                if request(host, locked, settings, &presented)? {
                    refreshed = true;
                    break;
                }
            }
            step @ (Step::Wait { .. } | Step::Stop(_)) => {
                return halt(host, locked, settings, need, now, halted(&step));
            }
        }
    }
    let tokens = locked
        .session
        .tokens
        .clone()
        .filter(|_| locked.session.belongs_to(settings));
    tokens
        .map(|tokens| Obtained {
            refreshed,
            ..Obtained::without_request(tokens)
        })
        .ok_or_else(no_progress)
}

/// Tells people what is news, and serves the old token where it can.
fn halt(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    need: Need<'_>,
    now: u64,
    error: Option<Error>,
) -> Result<Obtained> {
    let error = error.unwrap_or_else(no_progress);
    let own = locked.session.belongs_to(settings);
    if own && locked.saved().is_some() && is_news(&locked.session, need, &error, now) {
        note_trouble(host, locked, settings, need, &error)?;
    }
    let served = own && can_serve(&locked.session, now, need);
    let tokens = locked.session.tokens.clone().filter(|_| served);
    tokens.map(Obtained::without_request).ok_or(error)
}

fn note_trouble(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    need: Need<'_>,
    error: &Error,
) -> Result<()> {
    let outlook = locked.outlook();
    note_rejection(&mut locked.session, need, outlook.now);
    let alert = incident::raise(
        &mut locked.session,
        trouble(error),
        &error.diagnosis,
        outlook,
    );
    tell_error(host, locked, settings, error, alert)
}

/// Sees to it that nobody uses the current token again where the need tells that it is not accepted.
fn note_rejection(session: &mut Session, need: Need<'_>, now: u64) {
    let rejected = rejects_current(session, need, now);
    if let Some(tokens) = session.tokens.as_mut().filter(|_| rejected) {
        tokens.rejected = true;
    }
}

/// Tells people of an error that a visit met, where no token's own state could. Returns `false`, and tells nothing, where it is over
/// meanwhile: somebody signed in.
pub(super) fn tell_of(
    host: &dyn Capabilities,
    settings: &Settings,
    need: Need<'_>,
    error: &Error,
) -> Result<bool> {
    let mut locked = LockedSession::require(host, settings)?;
    if halted(&next(locked.saved(), settings, host.now(), need)).is_none() {
        return Ok(false);
    }
    // The tokens of another configuration say nothing about this one.
    let mut blank = Session::new(settings);
    blank.incident = locked.session.incident.take();
    let outlook = locked.outlook();
    let alert = incident::raise(&mut blank, trouble(error), &error.diagnosis, outlook);
    locked.session.incident = blank.incident;
    if alert.is_some() {
        tell_error(host, &mut locked, settings, error, alert)?;
    }
    Ok(true)
}

fn tell_error(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    error: &Error,
    alert: Option<Event>,
) -> Result<()> {
    match error.kind {
        ErrorKind::SignInRequired => ask_to_sign_in(host, locked, settings, alert),
        _ => tell_and_save(host, locked, alert),
    }
}

/// Tells that a person must sign in, and how. To sign in by the link of a configuration that was changed may not be what anybody wants:
/// none is given then.
fn ask_to_sign_in(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    alert: Option<Event>,
) -> Result<()> {
    let own = locked.session.belongs_to(settings);
    let alert = alert.map(|alert| {
        let pending = own.then(|| sign_in::begin_for_alert(host, settings));
        login::ask(alert, settings, pending.flatten().as_ref())
    });
    tell_and_save(host, locked, alert)
}

fn no_progress() -> Error {
    let diagnosis = Diagnosis::new(
        "no-progress",
        "No token could be had, and no reason was found.",
        "This is a defect.",
        "Report it.",
    );
    Error::new(ErrorKind::Internal, diagnosis)
}

/// Asks the token endpoint: intent, POST, reply, tokens, each saved before the next. Returns whether tokens came.
pub(super) fn request(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    presented: &Presented,
) -> Result<bool> {
    if locked.saved().is_some() && !locked.session.belongs_to(settings) {
        locked.set_aside(settings)?;
    }
    let spent = spent_tokens(host)?.map_or_else(SpentTokens::default, |(spent, _)| spent);
    if is_spent(presented, &spent) {
        return refuse_spent(host, locked, settings, &spent);
    }
    tell_of_interrupted(host, &locked.session);
    refresh::begin(&mut locked.session, settings, presented, host.now());
    locked.save()?;
    let requested_at = host.now();
    let sent = host.send(&mut token_request(settings, presented));
    match sent {
        Err(failure) => fail(host, locked, &failure).map(|()| false),
        Ok(response) => match Answer::read(settings.environment, presented.endpoint(), &response) {
            Answer::Success => {
                refresh::receive(&mut locked.session, &response.body, requested_at);
                locked.save_received();
                settle(host, locked, settings)
            }
            Answer::GrantRefused(diagnosis) if *presented != Presented::ClientCredentials => {
                refuse_grant(host, locked, settings, presented, diagnosis).map(|()| false)
            }
            // A person is at the sign-in and is told; what is known of an earlier sign-in stays.
            Answer::ClientRefused(diagnosis) if matches!(presented, Presented::Code { .. }) => {
                Err(Error::new(ErrorKind::Configuration, diagnosis))
            }
            Answer::GrantRefused(diagnosis) | Answer::ClientRefused(diagnosis) => {
                let outlook = locked.outlook();
                let alert =
                    refresh::refuse_client(&mut locked.session, settings, diagnosis, outlook);
                tell_and_save(host, locked, alert).map(|()| false)
            }
            Answer::Transient(diagnosis) => {
                fail_answered(host, locked, diagnosis, &response).map(|()| false)
            }
        },
    }
}

fn token_request(settings: &Settings, presented: &Presented) -> Request {
    Request {
        method: "POST".to_owned(),
        url: settings.environment.token_url(),
        headers: vec![Header::new("Accept", "application/json")],
        body: Body::Form(presented.form(&settings.client_id)),
        timeout: settings.policy.token_timeout,
    }
}

/// Turns a saved reply into tokens. A reply that cannot be read is kept aside, and its request counts as unanswered.
pub(super) fn settle(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
) -> Result<bool> {
    let Some(reply) = locked.session.reply.clone() else {
        return Ok(false);
    };
    let (body, now) = (reply.bytes(), host.now());
    match Issued::parse(&body) {
        Ok(issued) => {
            if !issued.lifetime.is_as_received() {
                host.record(&Event::new(
                    Severity::Warning,
                    "absurd-lifetime",
                    "The server gave no usable expires_in; a cautious value is used.",
                ));
            }
            let spent = refresh::adopt(
                &mut locked.session,
                settings,
                issued,
                reply.requested_at,
                host.draw(),
            );
            let recovered = incident::clear_by_tokens(&mut locked.session, now);
            locked.save_received();
            remember_spent(host, spent);
            host.record(&refreshed_event(&locked.session));
            recovered.iter().for_each(|event| host.record(event));
            Ok(true)
        }
        Err(diagnosis) => {
            keep_and_tell(host, Aside::Unread, &body)?;
            locked.session.reply = None;
            let outlook = locked.outlook();
            let alert = refresh::fail(
                &mut locked.session,
                diagnosis,
                Outcome::Unanswered,
                None,
                outlook,
                host.draw(),
            );
            tell_and_save(host, locked, alert).map(|()| false)
        }
    }
}

fn refreshed_event(session: &Session) -> Event {
    let event = Event::new(
        Severity::Info,
        "token-refreshed",
        "A new access token was received and saved.",
    );
    match &session.tokens {
        None => event,
        Some(tokens) => event
            .with("refresh-at", &moment::text(tokens.times.refresh_at))
            .with("expires-at", &moment::text(tokens.times.expires_at)),
    }
}

fn fail(host: &dyn Capabilities, locked: &mut LockedSession<'_>, failure: &Failure) -> Result<()> {
    let outcome = if failure.sent {
        Outcome::Unanswered
    } else {
        Outcome::NotSpent
    };
    let diagnosis =
        retry::unanswered(&failure.code, failure.sent).with_evidence(vec![failure.message.clone()]);
    warn(host, &diagnosis);
    let outlook = locked.outlook();
    let alert = refresh::fail(
        &mut locked.session,
        diagnosis,
        outcome,
        None,
        outlook,
        host.draw(),
    );
    tell_and_save(host, locked, alert)
}

fn fail_answered(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    diagnosis: Diagnosis,
    response: &Response,
) -> Result<()> {
    let outlook = locked.outlook();
    let outcome = if response.status == 429 {
        Outcome::NotSpent
    } else {
        Outcome::Answered
    };
    warn(host, &diagnosis);
    let wait = backoff::asked_wait(&response.headers, outlook.now);
    let alert = refresh::fail(
        &mut locked.session,
        diagnosis,
        outcome,
        wait,
        outlook,
        host.draw(),
    );
    tell_and_save(host, locked, alert)
}

fn warn(host: &dyn Capabilities, diagnosis: &Diagnosis) {
    let event = Event::new(Severity::Warning, "refresh-failed", &diagnosis.summary);
    host.record(
        &event
            .with("code", &diagnosis.code)
            .with("evidence", &diagnosis.evidence.join("; ")),
    );
}

/// Takes the server's word that the grant is dead, unless someone wrote a newer pair in the meantime: then that one counts.
fn refuse_grant(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    presented: &Presented,
    diagnosis: Diagnosis,
) -> Result<()> {
    if matches!(presented, Presented::Code { .. }) {
        return Err(Error::new(ErrorKind::InvalidInput, diagnosis));
    }
    if locked.reread()? && !presents_current(presented, &locked.session) {
        host.record(&Event::new(
            Severity::Warning,
            "refreshed-elsewhere",
            "The server refused the refresh token, and another program had saved a newer one: that one is used.",
        ));
        return Ok(());
    }
    // Whoever spent it may have noted that since.
    let spent = spent_tokens(host).unwrap_or_default();
    let spent = spent.map_or_else(SpentTokens::default, |(spent, _)| spent);
    let outlook = locked.outlook();
    let alert = refresh::refuse_grant(&mut locked.session, diagnosis, &spent, outlook);
    ask_to_sign_in(host, locked, settings, alert)
}

/// Whether the session's refresh token is the one that was presented, and nothing newer waits to be read.
fn presents_current(presented: &Presented, session: &Session) -> bool {
    let tokens = session.tokens.as_ref();
    let current = tokens.and_then(|tokens| tokens.refresh_token.as_ref());
    matches!(presented, Presented::RefreshToken { token, .. } if current == Some(token))
        && session.reply.is_none()
}

fn tell_and_save(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    alert: Option<Event>,
) -> Result<()> {
    if let Some(event) = alert {
        host.record(&event);
    }
    locked.save()
}

/// Says that an earlier process ended between its request and the reply.
fn tell_of_interrupted(host: &dyn Capabilities, session: &Session) {
    let interrupted = session
        .intent
        .as_ref()
        .filter(|_| session.backoff.is_none());
    if let Some(intent) =
        interrupted.filter(|intent| matches!(intent.spends, Spends::RefreshToken(_)))
    {
        let message = "An earlier refresh was interrupted before its reply was saved. It is tried once more with the same token.";
        host.record(
            &Event::new(Severity::Warning, "interrupted-refresh", message)
                .with("at", &moment::text(intent.at))
                .with("by", &intent.by),
        );
    }
}

/// Reads the ledger and its revision. One that is damaged is as good as empty; one that cannot be read for another reason may hold
/// the very token that is about to be sent.
fn spent_tokens(host: &dyn Capabilities) -> Result<Option<(SpentTokens, u64)>> {
    match read(host, SPENT) {
        Err(error) if matches!(&*error.diagnosis.code, "corrupt" | "session-unreadable") => {
            let message = "It cannot be told which refresh tokens were spent: a restored backup would not be noticed.";
            let event = Event::new(Severity::Warning, "spent-not-read", message);
            host.record(&event.with("why", &error.diagnosis.cause));
            Ok(None)
        }
        found => found,
    }
}

fn is_spent(presented: &Presented, spent: &SpentTokens) -> bool {
    matches!(presented, Presented::RefreshToken { token, .. } if spent.find(&token.digest()).is_some())
}

/// Refuses to send a token that this store knows to be spent: an old copy was put over a newer one.
fn refuse_spent(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
    spent: &SpentTokens,
) -> Result<bool> {
    let diagnosis = Diagnosis::new(
        "restored-backup",
        "The stored refresh token was spent before: an older copy of the store is in use. It was not sent.",
        "",
        "Put the newest copy back; if there is none, run `procore-auth login`.",
    );
    let outlook = locked.outlook();
    let alert = refresh::refuse_grant(&mut locked.session, diagnosis, spent, outlook);
    ask_to_sign_in(host, locked, settings, alert).map(|()| false)
}

fn remember_spent(host: &dyn Capabilities, newly: Option<Spent>) {
    let Some(newly) = newly else { return };
    let noted = spent_tokens(host).and_then(|found| {
        let (mut spent, revision) = found.map_or_else(Default::default, |(spent, revision)| {
            (spent, Some(revision))
        });
        spent.add(&newly);
        write(host, SPENT, &spent, revision)
    });
    if let Err(error) = noted {
        host.record(&Event::new(
            Severity::Warning,
            "spent-not-noted",
            &error.diagnosis.cause,
        ));
    }
}
