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
