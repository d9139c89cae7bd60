//! `GET /oauth/authorize`: the consent page, whose person answers at once, and the page that shows a code.

use serde_json::json;
use url::Url;

use crate::environment::Environment;
use crate::form::Form;
use crate::ledger::Grant;
use crate::oauth_error::OAuthError;
use crate::policy::{Consent, Pkce};
use crate::registry::{AppId, GrantType, OUT_OF_BAND};
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::Commit;
use crate::world::{Handled, World};

/// Answers a browser that asks for consent.
///
/// What is wrong with the client or the redirect URI is shown on a page; everything else is redirected.
pub(crate) fn authorize(world: &mut World, environment: Environment, request: &Request) -> Handled {
    let query = request.query_form();
    let (app, redirect_uri) = match client_and_redirect(world, environment, &query) {
        Ok(valid) => valid,
        Err(error) => return error.page(&world.policy).into(),
    };
    let state = query.get("state");
    match consent(world, environment, app, &query) {
        Ok(grant) => {
            let challenge = query.present("code_challenge");
            let now = world.now_ms();
            let code =
                world
                    .ledger
                    .issue_code(&mut world.mint, grant, &redirect_uri, challenge, now);
            Handled::committed(send_code(&redirect_uri, &code, state), Commit::Code)
        }
        Err(error) => send_error(world, &redirect_uri, error, state).into(),
    }
}

/// Answers a browser that was sent to see its code: `/oauth/authorize/native`.
pub(crate) fn native(request: &Request) -> Reply {
    let query = request.query_form();
    let Some(code) = query.present("code") else {
        return Reply::html(404, "<html><body>Not found</body></html>");
    };
    let shown: String = code
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter))
        .collect();
    Reply::html(
        200,
        &format!(
            r#"<html><body><h1>Authorization code:</h1><code id="authorization_code">{shown}</code></body></html>"#
        ),
    )
}

fn client_and_redirect(
    world: &World,
    environment: Environment,
    query: &Form,
) -> Result<(AppId, String), OAuthError> {
    let client_id = query
        .present("client_id")
        .ok_or(OAuthError::MissingParameter("client_id"))?;
    let app = world
        .registry
        .find(environment, client_id)
        .ok_or(OAuthError::InvalidClient)?;
    let redirect_uri = query.get("redirect_uri").unwrap_or_default();
    if world
        .registry
        .app(app)
        .redirect_uris
        .iter()
        .any(|registered| registered == redirect_uri)
    {
        Ok((app, redirect_uri.to_owned()))
    } else {
        Err(OAuthError::InvalidRedirectUri)
    }
}

fn consent(
    world: &World,
    environment: Environment,
    app: AppId,
    query: &Form,
) -> Result<Grant, OAuthError> {
    match query.present("response_type") {
        Some("code") => {}
        Some(_) => return Err(OAuthError::UnsupportedResponseType),
        None => return Err(OAuthError::MissingParameter("response_type")),
    }
    if !world.registry.app(app).allows(GrantType::AuthorizationCode) {
        return Err(OAuthError::UnauthorizedClient);
    }
    check_challenge(world.policy.pkce, query)?;
    let user = match world.policy.consent {
        Consent::GivenByFirstUser => world.registry.first_user(),
        Consent::GivenBy(id) => world.registry.user(id),
        Consent::Denied => None,
    };
    let user = user.ok_or(OAuthError::AccessDenied)?;
    Ok(Grant {
        environment,
        app,
        user: Some(user.id),
    })
}

fn check_challenge(pkce: Pkce, query: &Form) -> Result<(), OAuthError> {
    match pkce {
        Pkce::Ignored => Ok(()),
        Pkce::RequireS256 if query.present("code_challenge").is_none() => {
            Err(OAuthError::MissingParameter("code_challenge"))
        }
        Pkce::RequireS256 if query.get("code_challenge_method") != Some("S256") => {
            Err(OAuthError::InvalidCodeChallengeMethod)
        }
        Pkce::RequireS256 => Ok(()),
    }
}

fn send_code(redirect_uri: &str, code: &str, state: Option<&str>) -> Reply {
    if redirect_uri == OUT_OF_BAND {
        return Reply::redirect(302, &format!("/oauth/authorize/native?code={code}"));
    }
    let state = state.map(|state| ("state", state.to_owned()));
    redirect(
        redirect_uri,
        [("code", code.to_owned())].into_iter().chain(state),
    )
}

fn send_error(world: &World, redirect_uri: &str, error: OAuthError, state: Option<&str>) -> Reply {
    if redirect_uri == OUT_OF_BAND {
        return error.page(&world.policy);
    }
    let description = error.description(world.policy.dialect);
    let state = state.map(|state| ("state", state.to_owned()));
    redirect(
        redirect_uri,
        [
            ("error", error.code().to_owned()),
            ("error_description", description),
        ]
        .into_iter()
        .chain(state),
    )
}

fn redirect(uri: &str, parameters: impl Iterator<Item = (&'static str, String)>) -> Reply {
    match Url::parse(uri) {
        Ok(mut target) => {
            target.query_pairs_mut().extend_pairs(parameters);
            Reply::redirect(302, target.as_str())
        }
        // Registered URIs parse: the server refuses to start with others.
        Err(_) => Reply::json(500, &json!({"error": "server_error"})),
    }
}
