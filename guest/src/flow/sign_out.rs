//! Signing out.

use super::{
    stored::{LockedSession, storage},
    token,
};
use crate::{
    capabilities::{Capabilities, Write},
    decision::{Need, Step, next},
    diagnosis::{Error, ErrorKind, Result},
    event::{Event, Severity},
    explain::{Endpoint, Observation, explain},
    grant::Presented,
    http::{Body, FieldValue, Request},
    retry,
    secret::Secret,
    settings::Settings,
};

/// Revokes the tokens at the server, then deletes them. Where the server cannot be reached they stay.
pub fn revoke(host: &dyn Capabilities) -> Result<()> {
    let settings = host.settings();
    let mut locked = LockedSession::require(host, &settings)?;
    token::settle(host, &mut locked, &settings)?;
    renew_expired(host, &mut locked, &settings)?;
    if let Some(tokens) = locked
        .saved()
        .filter(|session| session.belongs_to(&settings))
        .and_then(|session| session.tokens.clone())
    {
        // The refresh token takes the access token with it where the server knows the pair: so that one first.
        for token in tokens.refresh_token.iter().chain([&tokens.access_token]) {
            revoke_one(host, &settings, token)?;
        }
    }
    delete_all(host, &mut locked)?;
    host.record(&Event::new(
        Severity::Info,
        "signed-out",
        "The tokens were revoked and deleted.",
    ));
    Ok(())
}

/// Replaces an expired pair: the server says 200 to the revocation of an expired access token or of its refresh token, and the
/// refresh token goes on working. A pair that the server refuses is dead already.
fn renew_expired(
    host: &dyn Capabilities,
    locked: &mut LockedSession<'_>,
    settings: &Settings,
) -> Result<()> {
    let now = host.now();
    if locked.session.live_tokens(now).is_some() {
        return Ok(());
    }
    let Step::Request(presented @ Presented::RefreshToken { .. }) =
        next(locked.saved(), settings, now, Need::Use)
    else {
        return Ok(());
    };
    if token::request(host, locked, settings, &presented)?
        || locked.session.standing_verdict(settings).is_some()
    {
        return Ok(());
    }
    match &locked.session.backoff {
        None => Ok(()),
        Some(backoff) => Err(
            Error::new(ErrorKind::Unavailable, backoff.diagnosis.clone())
                .retry_at(backoff.not_before),
        ),
    }
}

/// Deletes the tokens without telling the server.
pub fn forget(host: &dyn Capabilities) -> Result<()> {
    let settings = host.settings();
    let mut locked = LockedSession::require(host, &settings)?;
    delete_all(host, &mut locked)?;
    host.record(&Event::new(
        Severity::Info,
        "forgotten",
        "The tokens were deleted here; the server was not told.",
    ));
    Ok(())
}

fn revoke_one(host: &dyn Capabilities, settings: &Settings, token: &Secret) -> Result<()> {
    let text = |value: &str| FieldValue::Text(Secret::new(value));
    let mut request = Request {
        method: "POST".to_owned(),
        url: settings.environment.revoke_url(),
        headers: vec![],
        body: Body::Form(vec![
            ("token", FieldValue::Text(token.clone())),
            ("client_id", text(&settings.client_id)),
            ("client_secret", FieldValue::ClientSecret),
        ]),
        timeout: settings.policy.token_timeout,
    };
    let response = host.send(&mut request).map_err(|failure| {
        Error::new(
            ErrorKind::Unavailable,
            retry::unanswered(&failure.code, failure.sent),
        )
    })?;
    if response.status < 300 {
        return Ok(());
    }
    let seen = Observation {
        environment: settings.environment,
        endpoint: Endpoint::Refresh,
        url: None,
        status: response.status,
        headers: &response.headers,
        body: &response.body,
    };
    let kind = if response.status < 500 {
        ErrorKind::Configuration
    } else {
        ErrorKind::Unavailable
    };
    Err(Error::new(kind, explain(&seen)))
}

/// Deletes the session and everything that may hold a token. Parked requests stay: they wait for the next sign-in.
fn delete_all(host: &dyn Capabilities, locked: &mut LockedSession<'_>) -> Result<()> {
    locked.delete()?;
    for prefix in ["login", "session-", "unread-"] {
        for key in host.list(prefix).map_err(|failure| storage(&failure))? {
            let Some(entry) = host.get(&key).map_err(|failure| storage(&failure))? else {
                continue;
            };
            match host
                .delete(&key, entry.revision)
                .map_err(|failure| storage(&failure))?
            {
                Write::Stored(_) | Write::Conflict(_) => {}
            }
        }
    }
    Ok(())
}
