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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::environment::Place;
    use crate::payload::Payload;
    use crate::token_endpoint::Issuing;

    fn ask(
        world: &mut World,
        environment: Environment,
        client_id: &str,
        redirect_uri: &str,
        more: &str,
    ) -> Reply {
        let redirect_uri: String =
            url::form_urlencoded::byte_serialize(redirect_uri.as_bytes()).collect();
        let path = format!(
            "/oauth/authorize?response_type=code&client_id={client_id}&redirect_uri={redirect_uri}{more}"
        );
        world
            .handle(
                &Request::to(Place::Login(environment), "GET", &path),
                Issuing::Honest,
            )
            .reply
    }

    fn sandbox(world: &mut World, redirect_uri: &str, more: &str) -> Reply {
        ask(
            world,
            Environment::Sandbox,
            "demo-client-sandbox",
            redirect_uri,
            more,
        )
    }

    fn text(reply: &Reply) -> String {
        match &reply.payload {
            Payload::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    #[test]
    fn redirects_with_code_and_state() {
        let mut world = World::demo(&VirtualClock::at(0));
        let reply = sandbox(&mut world, "http://localhost:9876/callback", "&state=a%26b");
        let location = Url::parse(reply.header_value("location").unwrap()).unwrap();
        assert_eq!(
            (reply.status, location.path(), location.port()),
            (302, "/callback", Some(9876))
        );
        let pairs: Vec<_> = location.query_pairs().collect();
        assert_eq!(pairs[0].0, "code");
        assert_eq!(pairs[1], ("state".into(), "a&b".into()));
    }

    #[test]
    fn refuses_every_redirect_uri_that_is_not_exactly_registered() {
        let mut world = World::demo(&VirtualClock::at(0));
        for near_miss in [
            "http://localhost:9876/callback/",
            "http://localhost:9877/callback",
            "http://localhost:9876/Callback",
            "http://LOCALHOST:9876/callback",
            "http://127.0.0.1:9876/callback",
            "https://localhost:9876/callback",
            "http://localhost/",
            "http://192.168.8.124:9876/callback",
            "",
        ] {
            let reply = sandbox(&mut world, near_miss, "");
            assert_eq!(
                (reply.status, reply.header_value("location")),
                (400, None),
                "{near_miss}"
            );
            assert!(text(&reply).contains(
                "The requested redirect uri is malformed or doesn't match client redirect URI."
            ));
        }
    }

    #[test]
    fn an_unknown_client_is_named_before_its_redirect_uri() {
        let mut world = World::demo(&VirtualClock::at(0));
        let reply = ask(
            &mut world,
            Environment::Production,
            "demo-client-sandbox",
            "http://elsewhere",
            "",
        );
        assert_eq!(reply.status, 401);
        assert!(text(&reply).contains("Client authentication failed due to unknown client"));
    }

    #[test]
    fn shows_the_code_to_a_headless_app() {
        let mut world = World::demo(&VirtualClock::at(0));
        let reply = sandbox(&mut world, OUT_OF_BAND, "");
        let location = reply.header_value("location").unwrap().to_owned();
        let code = location
            .strip_prefix("/oauth/authorize/native?code=")
            .unwrap()
            .to_owned();
        let page = world
            .handle(
                &Request::to(Place::Login(Environment::Sandbox), "GET", &location),
                Issuing::Honest,
            )
            .reply;
        assert!(text(&page).contains(&code));
    }

    #[test]
    fn tells_the_app_when_the_person_says_no() {
        let mut world = World::demo(&VirtualClock::at(0));
        world.policy.consent = Consent::Denied;
        let reply = sandbox(&mut world, "http://localhost", "&state=s");
        let location = reply.header_value("location").unwrap();
        assert!(
            location.contains("error=access_denied") && location.contains("state=s"),
            "{location}"
        );
    }

    #[test]
    fn demands_a_challenge_only_when_told_to() {
        let mut world = World::demo(&VirtualClock::at(0));
        world.policy.pkce = Pkce::RequireS256;
        let bare = sandbox(&mut world, "http://localhost", "");
        assert!(
            bare.header_value("location")
                .unwrap()
                .contains("error=invalid_request")
        );
        let plain = sandbox(
            &mut world,
            "http://localhost",
            "&code_challenge=x&code_challenge_method=plain",
        );
        assert!(
            plain
                .header_value("location")
                .unwrap()
                .contains("error=invalid_code_challenge_method")
        );
        let good = sandbox(
            &mut world,
            "http://localhost",
            "&code_challenge=x&code_challenge_method=S256",
        );
        assert!(good.header_value("location").unwrap().contains("code="));
    }
}
