//! Looking for the cause of trouble. Asks `token/info` and `/rest/v1.0/me`, which spend nothing.

use super::{stored::read_session, verify};
use crate::{
    capabilities::Capabilities,
    decision::{Need, Step, next},
    diagnosis::{Diagnosis, Result},
    environment::Environment,
    login::redirect_uri,
    secret::Secret,
    session::Session,
    settings::{Grant, Settings},
    status::api_origin,
};

/// Returns what is wrong, most likely first.
pub fn diagnose(host: &dyn Capabilities) -> Result<Vec<Diagnosis>> {
    let settings = host.settings();
    let mut findings = vec![];
    if matches!(settings.grant, Grant::AuthorizationCode(_)) {
        findings.extend(redirect_uri(&settings).err().map(|error| error.diagnosis));
    }
    let session = read_session(host)?;
    let now = host.now();
    let tokens = session.as_ref().and_then(|session| session.tokens.as_ref());
    match tokens {
        Some(tokens) if tokens.times.is_live(now) => {
            findings.extend(probe(
                host,
                &settings,
                session.as_ref(),
                &tokens.access_token,
            ));
        }
        _ => {}
    }
    match next(session.as_ref(), &settings, now, Need::Use) {
        Step::Stop(error) => findings.push(error.diagnosis),
        Step::Wait { diagnosis, .. } => findings.push(diagnosis),
        Step::Serve | Step::Settle | Step::Request(_) => {}
    }
    Ok(findings)
}

/// Asks the login host about the token, then the API host; where the login host does not know it, the other login hosts.
fn probe(
    host: &dyn Capabilities,
    settings: &Settings,
    session: Option<&Session>,
    token: &Secret,
) -> Option<Diagnosis> {
    match verify::token_info(host, settings, settings.environment, token) {
        Ok(_) => {
            let origin = api_origin(session, settings.environment);
            let api_host = origin.strip_prefix("https://").unwrap_or(&origin);
            let refused = verify::me(host, settings, api_host, token).err()?.diagnosis;
            let fact = format!("{} knows the token", settings.environment.login_host());
            Some(refused.with_evidence(vec![fact]))
        }
        Err(unknown) if unknown.code.starts_with("invalid") || unknown.code == "http-401" => {
            let home = Environment::ALL
                .into_iter()
                .filter(|other| *other != settings.environment);
            let home = home
                .into_iter()
                .find(|other| verify::token_info(host, settings, *other, token).is_ok());
            Some(home.map_or_else(
                || dead_token(settings),
                |home| wrong_environment(settings, home),
            ))
        }
        Err(unreachable) => Some(unreachable),
    }
}

fn wrong_environment(settings: &Settings, home: Environment) -> Diagnosis {
    Diagnosis::new(
        "wrong-environment",
        &format!("The stored token is of {}, and the connection is configured for {}.", home.name(), settings.environment.name()),
        "The token was got from another login host. Every call and every refresh fails, with misleading messages.",
        &format!(
            "Set `environment = \"{}\"` (with {}), or sign in to {} anew. The refresh token was not spent.",
            home.name(),
            home.credentials(),
            settings.environment.name()
        ),
    )
    .with_evidence(vec![
        format!("{} does not know the token", settings.environment.login_host()),
        format!("{} knows it", home.login_host()),
    ])
}

fn dead_token(settings: &Settings) -> Diagnosis {
    Diagnosis::new(
        "token-unknown",
        "No login host knows the stored access token.",
        "It was revoked, or it expired earlier than its stated lifetime.",
        &format!(
            "Run `procore-auth tick --connection {}` to refresh it; if that fails, `procore-auth login`.",
            settings.name
        ),
    )
}
