//! `POST /oauth/token`: the three grants.
//!
//! The order of checks is Doorkeeper's, and it matters to clients: a refresh asks first whether the *token* is known
//! (`invalid_grant`), then the client (`invalid_client`), then whether the one belongs to the other (`invalid_grant`). A refresh that
//! is sent to the wrong environment is therefore told `invalid_grant`. A code exchange asks for the client first.

use serde_json::{Map, Value, json};

use crate::environment::Environment;
use crate::form::Form;
use crate::ledger::{Grant, RowId};
use crate::mint::s256;
use crate::oauth_error::OAuthError;
use crate::policy::{Dialect, Pkce, ReportedExpiry};
use crate::registry::{AppId, GrantType};
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::Commit;
use crate::world::{Handled, World};

/// What a successful request does to the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Issuing {
    /// As it should.
    #[default]
    Honest,
    /// The reply repeats the tokens that are there already; nothing is committed.
    Repeated,
    /// A refresh issues an access token only, and the refresh token stays live.
    AccessOnly,
}

/// Answers a request for tokens. The client's credentials are read from the body only.
pub(crate) fn token(
    world: &mut World,
    environment: Environment,
    request: &Request,
    issuing: Issuing,
) -> Handled {
    let form = request.form();
    let issued = match grant_type(&form) {
        Ok(GrantType::AuthorizationCode) => exchange_code(world, environment, &form),
        Ok(GrantType::RefreshToken) => refresh(world, environment, &form, issuing),
        Ok(GrantType::ClientCredentials) => client_credentials(world, environment, &form, issuing),
        Err(error) => Err(error),
    };
    match issued {
        Ok((row, commit)) => Handled {
            reply: success(world, row),
            commit,
        },
        Err(error) => error.reply(&world.policy).into(),
    }
}

type Issued = Result<(RowId, Option<Commit>), OAuthError>;

fn grant_type(form: &Form) -> Result<GrantType, OAuthError> {
    let name = form
        .present("grant_type")
        .ok_or(OAuthError::MissingParameter("grant_type"))?;
    GrantType::parse(name).ok_or(OAuthError::UnsupportedGrantType)
}

fn client(world: &World, environment: Environment, form: &Form) -> Result<AppId, OAuthError> {
    let (id, secret) = (
        form.get("client_id").unwrap_or_default(),
        form.get("client_secret").unwrap_or_default(),
    );
    world
        .registry
        .authenticate(environment, id, secret)
        .ok_or(OAuthError::InvalidClient)
}

fn exchange_code(world: &mut World, environment: Environment, form: &Form) -> Issued {
    let now = world.now_ms();
    let code = form
        .present("code")
        .ok_or(OAuthError::MissingParameter("code"))?;
    let redirect_uri = form
        .present("redirect_uri")
        .ok_or(OAuthError::MissingParameter("redirect_uri"))?;
    let app = client(world, environment, form)?;
    if !world.registry.app(app).allows(GrantType::AuthorizationCode) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let known = world
        .ledger
        .find_live_code(environment, code, now)
        .ok_or(OAuthError::InvalidGrant)?;
    if known.grant.app != app || known.redirect_uri != redirect_uri {
        return Err(OAuthError::InvalidGrant);
    }
    check_verifier(world.policy.pkce, known.challenge.as_deref(), form)?;
    let grant = known.grant;
    world.ledger.spend_code(code);
    let with_refresh = world.registry.app(app).refresh_allowed;
    let row = world
        .ledger
        .issue(&mut world.mint, &world.policy, grant, with_refresh, now);
    Ok((row, Some(Commit::Issue)))
}

fn check_verifier(pkce: Pkce, challenge: Option<&str>, form: &Form) -> Result<(), OAuthError> {
    if pkce == Pkce::Ignored {
        return Ok(());
    }
    let verifier = form
        .present("code_verifier")
        .ok_or(OAuthError::MissingParameter("code_verifier"))?;
    if challenge == Some(s256(verifier).as_str()) {
        Ok(())
    } else {
        Err(OAuthError::InvalidGrant)
    }
}

fn refresh(world: &mut World, environment: Environment, form: &Form, issuing: Issuing) -> Issued {
    let now = world.now_ms();
    let token = form
        .present("refresh_token")
        .ok_or(OAuthError::MissingParameter("refresh_token"))?;
    let old = world
        .ledger
        .find_live_refresh(environment, token)
        .ok_or(OAuthError::InvalidGrant)?;
    let app = client(world, environment, form)?;
    let grant = world.ledger.row(old).grant;
    if grant.app != app {
        return Err(OAuthError::InvalidGrant);
    }
    if !world.registry.app(app).allows(GrantType::RefreshToken) {
        return Err(OAuthError::UnauthorizedClient);
    }
    Ok(match issuing {
        Issuing::Honest => (
            world
                .ledger
                .rotate(&mut world.mint, &world.policy, old, now),
            Some(Commit::Rotation),
        ),
        Issuing::Repeated => (old, None),
        Issuing::AccessOnly => (
            world
                .ledger
                .issue(&mut world.mint, &world.policy, grant, false, now),
            Some(Commit::Issue),
        ),
    })
}

fn client_credentials(
    world: &mut World,
    environment: Environment,
    form: &Form,
    issuing: Issuing,
) -> Issued {
    let now = world.now_ms();
    let app = client(world, environment, form)?;
    if !world.registry.app(app).allows(GrantType::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let grant = Grant {
        environment,
        app,
        user: None,
    };
    let repeated = world
        .ledger
        .newest_live(grant, now)
        .filter(|_| issuing == Issuing::Repeated);
    Ok(match repeated {
        Some(row) => (row, None),
        None => (
            world
                .ledger
                .issue(&mut world.mint, &world.policy, grant, false, now),
            Some(Commit::Issue),
        ),
    })
}

fn success(world: &World, id: RowId) -> Reply {
    let row = world.ledger.row(id);
    let mut fields = Map::new();
    fields.insert("access_token".into(), json!(row.access_token()));
    fields.insert(
        "token_type".into(),
        json!(if world.policy.dialect == Dialect::Old {
            "bearer"
        } else {
            "Bearer"
        }),
    );
    match &world.policy.reported_expiry {
        ReportedExpiry::Remaining => drop(fields.insert(
            "expires_in".into(),
            json!(row.remaining_seconds(world.now_ms())),
        )),
        ReportedExpiry::Missing => {}
        ReportedExpiry::Raw(value) => drop(fields.insert("expires_in".into(), value.clone())),
    }
    if let Some(token) = row.refresh_token() {
        fields.insert("refresh_token".into(), json!(token));
    }
    fields.insert("scope".into(), json!("public"));
    fields.insert("created_at".into(), json!(row.created_at_ms / 1000));
    Reply::json(200, &Value::Object(fields))
        .header("cache-control", "no-store")
        .header("pragma", "no-cache")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::environment::{CredentialPair, Place};
    use crate::policy::{Options, Rotation};
    use crate::registry::App;

    const START: u64 = 1_800_000_000_000;
    const REDIRECT: &str = "http://localhost:9876/callback";

    fn post(world: &mut World, environment: Environment, parameters: &[(&str, &str)]) -> Handled {
        let request =
            Request::to(Place::Login(environment), "POST", "/oauth/token").with_form(parameters);
        world.handle(&request, Issuing::Honest)
    }

    fn credentials(environment: Environment) -> [(&'static str, &'static str); 2] {
        let pair = environment.credential_pair();
        [
            ("client_id", Options::demo_client_id(pair)),
            ("client_secret", Options::demo_client_secret(pair)),
        ]
    }

    fn refresh_with(world: &mut World, environment: Environment, token: &str) -> Handled {
        let [id, secret] = credentials(environment);
        post(
            world,
            environment,
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                id,
                secret,
            ],
        )
    }

    fn exchange(world: &mut World, code: &str, redirect_uri: &str) -> Handled {
        let [id, secret] = credentials(Environment::Sandbox);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            id,
            secret,
        ];
        post(world, Environment::Sandbox, &form)
    }

    fn sign_in(world: &mut World, environment: Environment) -> (String, String) {
        let app = world
            .registry
            .find(
                environment,
                Options::demo_client_id(environment.credential_pair()),
            )
            .unwrap();
        let grant = Grant {
            environment,
            app,
            user: Some(Options::DEMO_USER),
        };
        let now = world.now_ms();
        let id = world
            .ledger
            .issue(&mut world.mint, &world.policy, grant, true, now);
        let row = world.ledger.row(id);
        (
            row.access_token().into(),
            row.refresh_token().unwrap().into(),
        )
    }

    fn code(world: &mut World) -> String {
        let environment = Environment::Sandbox;
        let app = world
            .registry
            .find(
                environment,
                Options::demo_client_id(CredentialPair::Sandbox),
            )
            .unwrap();
        let grant = Grant {
            environment,
            app,
            user: Some(Options::DEMO_USER),
        };
        let now = world.now_ms();
        world
            .ledger
            .issue_code(&mut world.mint, grant, REDIRECT, None, now)
    }

    fn call(world: &mut World, token: &str) -> Reply {
        let request = Request::to(Place::Api(Environment::Sandbox), "GET", "/rest/v1.0/me");
        world
            .handle(
                &request.with_header("authorization", &format!("Bearer {token}")),
                Issuing::Honest,
            )
            .reply
    }

    fn field(reply: &Reply, name: &str) -> String {
        reply.json_body().unwrap()[name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn error(handled: &Handled) -> String {
        assert_eq!(handled.commit, None);
        field(&handled.reply, "error")
    }

    #[test]
    fn strict_rotation_kills_the_old_pair_at_once() {
        let mut world = World::demo(&VirtualClock::at(START));
        let (access, refresh) = sign_in(&mut world, Environment::Sandbox);
        let first = refresh_with(&mut world, Environment::Sandbox, &refresh);
        assert_eq!(
            (first.reply.status, first.commit),
            (200, Some(Commit::Rotation))
        );
        assert_eq!(
            error(&refresh_with(&mut world, Environment::Sandbox, &refresh)),
            "invalid_grant"
        );
        assert_eq!(call(&mut world, &access).status, 401);
        assert_eq!(
            call(&mut world, &field(&first.reply, "access_token")).status,
            200
        );
    }

    #[test]
    fn grace_keeps_the_old_refresh_token_until_the_new_access_token_is_used() {
        let mut world = World::demo(&VirtualClock::at(START));
        world.policy.rotation = Rotation::Grace;
        let (access, refresh) = sign_in(&mut world, Environment::Sandbox);
        let lost = refresh_with(&mut world, Environment::Sandbox, &refresh);
        assert_eq!(lost.reply.status, 200);
        assert_eq!(call(&mut world, &access).status, 200);
        let replayed = refresh_with(&mut world, Environment::Sandbox, &refresh);
        assert_eq!(replayed.reply.status, 200);
        assert_eq!(
            call(&mut world, &field(&replayed.reply, "access_token")).status,
            200
        );
        assert_eq!(
            error(&refresh_with(&mut world, Environment::Sandbox, &refresh)),
            "invalid_grant"
        );
        assert_eq!(call(&mut world, &access).status, 401);
    }

    #[test]
    fn the_token_is_checked_before_the_client_and_then_whether_they_belong_together() {
        let mut world = World::demo(&VirtualClock::at(START));
        let stranger = App::new(CredentialPair::Sandbox, "stranger", "s");
        world = World::new(Options {
            apps: [Options::demo().apps, vec![stranger]].concat(),
            time: VirtualClock::at(START).time_source(),
            policy: world.policy,
            ..Options::demo()
        });
        let (_, refresh) = sign_in(&mut world, Environment::Sandbox);
        let mut ask = |token: &str, id: &str, secret: &str| {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", id),
                ("client_secret", secret),
            ];
            error(&post(&mut world, Environment::Sandbox, &form))
        };
        assert_eq!(ask("unknown", "nobody", "x"), "invalid_grant");
        assert_eq!(ask(&refresh, "nobody", "x"), "invalid_client");
        assert_eq!(
            ask(
                &refresh,
                Options::demo_client_id(CredentialPair::Sandbox),
                "wrong"
            ),
            "invalid_client"
        );
        assert_eq!(ask(&refresh, "stranger", "s"), "invalid_grant");
        assert_eq!(
            refresh_with(&mut world, Environment::Sandbox, &refresh)
                .reply
                .status,
            200
        );
    }

    #[test]
    fn a_refresh_in_the_wrong_environment_says_invalid_grant_and_spends_nothing() {
        let mut world = World::demo(&VirtualClock::at(START));
        let (_, refresh) = sign_in(&mut world, Environment::Production);
        for wrong in [
            Environment::Monthly,
            Environment::Sandbox,
            Environment::Federal,
        ] {
            assert_eq!(
                error(&refresh_with(&mut world, wrong, &refresh)),
                "invalid_grant"
            );
        }
        assert_eq!(
            refresh_with(&mut world, Environment::Production, &refresh)
                .reply
                .status,
            200
        );
    }

    #[test]
    fn a_code_exchange_in_the_wrong_environment_says_invalid_client() {
        let mut world = World::demo(&VirtualClock::at(START));
        let [id, secret] = credentials(Environment::Sandbox);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("redirect_uri", REDIRECT),
            id,
            secret,
        ];
        let refused = post(&mut world, Environment::Production, &form);
        assert_eq!(error(&refused), "invalid_client");
        assert!(
            field(&refused.reply, "error_description")
                .starts_with("Client authentication failed due to unknown client")
        );
        assert!(
            refused
                .reply
                .header_value("www-authenticate")
                .unwrap()
                .contains(r#"error="invalid_client""#)
        );
    }

    #[test]
    fn a_code_works_once_within_ten_minutes_with_the_same_redirect_uri() {
        let clock = VirtualClock::at(START);
        let mut world = World::demo(&clock);
        let good = code(&mut world);
        assert_eq!(
            error(&exchange(
                &mut world,
                &good,
                "http://localhost:9876/callback/"
            )),
            "invalid_grant"
        );
        assert_eq!(exchange(&mut world, &good, REDIRECT).reply.status, 200);
        assert_eq!(
            error(&exchange(&mut world, &good, REDIRECT)),
            "invalid_grant"
        );
        let late = code(&mut world);
        clock.advance_seconds(600);
        assert_eq!(
            error(&exchange(&mut world, &late, REDIRECT)),
            "invalid_grant"
        );
    }

    #[test]
    fn client_credentials_need_a_service_account_and_give_no_refresh_token() {
        let mut world = World::demo(&VirtualClock::at(START));
        let [id, secret] = credentials(Environment::Sandbox);
        let form = [("grant_type", "client_credentials"), id, secret];
        let issued = post(&mut world, Environment::Sandbox, &form);
        assert_eq!(issued.reply.status, 200);
        assert_eq!(field(&issued.reply, "refresh_token"), "");
        let app = world.registry.find(Environment::Sandbox, id.1).unwrap();
        world.registry.app_mut(app).service_account = None;
        assert_eq!(
            error(&post(&mut world, Environment::Sandbox, &form)),
            "unauthorized_client"
        );
    }

    #[test]
    fn credentials_count_in_the_form_only() {
        let mut world = World::demo(&VirtualClock::at(START));
        let request = Request::to(
            Place::Login(Environment::Sandbox),
            "POST",
            "/oauth/token?client_id=a&client_secret=b",
        )
        .with_header("authorization", "Basic YTpi")
        .with_form(&[("grant_type", "client_credentials")]);
        assert_eq!(
            error(&world.handle(&request, Issuing::Honest)),
            "invalid_client"
        );
    }

    #[test]
    fn reports_whatever_expiry_it_is_told_to() {
        let mut world = World::demo(&VirtualClock::at(START));
        let (_, mut refresh) = sign_in(&mut world, Environment::Sandbox);
        for raw in [json!(0), json!(-5), json!("5400"), json!(1e12), json!(null)] {
            world.policy.reported_expiry = ReportedExpiry::Raw(raw.clone());
            let reply = refresh_with(&mut world, Environment::Sandbox, &refresh).reply;
            assert_eq!(reply.json_body().unwrap()["expires_in"], raw);
            refresh = field(&reply, "refresh_token");
        }
        world.policy.reported_expiry = ReportedExpiry::Missing;
        let reply = refresh_with(&mut world, Environment::Sandbox, &refresh).reply;
        assert!(reply.json_body().unwrap().get("expires_in").is_none());
    }

    #[test]
    fn can_repeat_a_token_or_leave_out_the_refresh_token_without_rotation() {
        let mut world = World::demo(&VirtualClock::at(START));
        let (access, refresh) = sign_in(&mut world, Environment::Sandbox);
        let [id, secret] = credentials(Environment::Sandbox);
        let request = Request::to(Place::Login(Environment::Sandbox), "POST", "/oauth/token")
            .with_form(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", &refresh),
                id,
                secret,
            ]);
        let repeated = world.handle(&request, Issuing::Repeated);
        assert_eq!(
            (field(&repeated.reply, "access_token"), repeated.commit),
            (access.clone(), None)
        );
        let partial = world.handle(&request, Issuing::AccessOnly).reply;
        assert_eq!(field(&partial, "refresh_token"), "");
        assert_ne!(field(&partial, "access_token"), access);
        assert_eq!(
            world.handle(&request, Issuing::Honest).commit,
            Some(Commit::Rotation)
        );
    }

    #[test]
    fn both_dialects_keep_the_code_of_an_error() {
        let mut world = World::demo(&VirtualClock::at(START));
        let current = refresh_with(&mut world, Environment::Sandbox, "dead");
        world.policy.dialect = Dialect::Old;
        world.policy.invalid_grant_status = 401;
        let old = refresh_with(&mut world, Environment::Sandbox, "dead");
        assert_eq!((current.reply.status, old.reply.status), (400, 401));
        assert_eq!(error(&current), error(&old));
        assert_ne!(
            field(&current.reply, "error_description"),
            field(&old.reply, "error_description")
        );
    }
}
