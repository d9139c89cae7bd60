//! `procore-auth import`: takes over an existing script's `procore_token.json` and `procore.env`.
//!
//! Nothing is spent: the tokens are copied, and checked with a request that only reads.

use std::path::{Path, PathBuf};

use clap::Args;
use procore_auth_host::{
    ConnectionName, Diagnosis, Environment, Grant, Health, Identity, Policy, Redirect, Secret,
    Settings, Status,
};
use serde::Serialize;

use super::config::Config;
use super::context::Context;
use super::env_file::{self, EnvFile, Unknown};
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::import_config::{self, NewConnection, SecretPlace};
use super::open::{Open, Opener};
use super::{login, report, status, time};

/// What to take over.
#[derive(Args)]
pub(super) struct Arguments {
    /// The tokens as the script saved them
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The script's KEY=VALUE lines with PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET
    #[arg(long, value_name = "FILE")]
    env: PathBuf,
    /// The environment [default: what the URLs in the file say]
    #[arg(long, value_name = "NAME", value_parser = environment)]
    environment: Option<Environment>,
    /// The redirect URI as registered [default: what the file says]
    #[arg(long, value_name = "URI")]
    redirect_uri: Option<String>,
    /// Add the connection to the configuration file, and the secret to a file next to it
    #[arg(long)]
    write: bool,
    /// Replace tokens that the connection has already
    #[arg(long)]
    replace: bool,
}

/// What was found in the script's files, complete.
struct Found {
    settings: Settings,
    redirect: Option<Redirect>,
}

#[derive(Serialize)]
struct Document<'a> {
    connection: &'a str,
    environment: &'a str,
    identity: Option<&'a Identity>,
    expires_at: Option<String>,
    config: &'a Path,
    written: bool,
    add_to_config: Option<&'a str>,
}

/// Adopts the tokens, checks them, and says what belongs into the configuration.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let token = read(&arguments.token)?;
    let env = EnvFile::parse(&String::from_utf8_lossy(&read(&arguments.env)?))
        .map_err(|unknown| unknown_value(&arguments.env, &unknown))?;
    let opener = context.opener(context.config_for_writing()?)?;
    let name = name(context)?;
    let found = find(&opener, &name, arguments, env).await?;
    refuse_other(opener.config(), &name, &found.settings)?;
    let addition = addition(opener.config(), &name, &found.settings);
    let to_write = addition.as_ref().filter(|_| arguments.write);
    if let Some(addition) = to_write {
        addition.check(opener.config())?;
    }
    let open = opener.open_with(found.settings, found.redirect)?;
    let adopted = adopt(&open, token, arguments.replace).await?;
    let identity = verify_unspent(context, &open, &adopted).await;
    if let Some(addition) = to_write {
        addition.write(opener.config())?;
    }
    let written = to_write.is_some();
    tell(
        context,
        opener.config(),
        &open,
        &adopted,
        identity.as_ref(),
        addition.as_ref(),
        written,
    )?;
    warn(context, Some(&arguments.token), Some(&arguments.env));
    Ok(status::exit_of(&open.connection.status().await?))
}

/// Takes the tokens over, unless these very ones were taken over before: an import may be run again with `--write`.
pub(super) async fn adopt(open: &Open, token: Vec<u8>, replace: bool) -> Result<Status, Failure> {
    if !replace && let Some(status) = taken_over(open, &token).await {
        return Ok(status);
    }
    Ok(open.connection.adopt(token, replace).await?)
}

/// Returns the status where the connection has this very token. A token that is due is not asked for: that would spend it.
async fn taken_over(open: &Open, token: &[u8]) -> Option<Status> {
    let status = open.connection.status().await.ok()?;
    if !rests(&status) {
        return None;
    }
    let saved: serde_json::Value = serde_json::from_slice(token).ok()?;
    let stored = open.connection.access_token().await.ok()?;
    (saved.get("access_token")?.as_str()? == stored.bearer().expose()).then_some(status)
}

/// Whether the token is good for a while, so that asking for it sends nothing.
fn rests(status: &Status) -> bool {
    let soon = time::now().saturating_add(A_WHILE);
    status.health == Health::Healthy && status.token.is_some_and(|token| token.refresh_at > soon)
}

/// Longer than it takes to ask for a token, in milliseconds.
const A_WHILE: u64 = 60_000;

/// The tokens' connection is the one that is named, or `default`.
pub(super) fn name(context: &Context<'_>) -> Result<ConnectionName, Failure> {
    if let Some(name) = context.named() {
        return Ok(name.clone());
    }
    "default"
        .parse()
        .map_err(|error: procore_auth_host::InvalidConnectionName| {
            Explained::new(
                Exit::Internal,
                "name",
                error.to_string(),
                "Give --connection.",
            )
            .into()
        })
}

/// Puts the settings together. What the file lacks is asked for, by name.
async fn find(
    opener: &Opener,
    name: &ConnectionName,
    arguments: &Arguments,
    env: EnvFile,
) -> Result<Found, Failure> {
    let environment = agreed_environment(opener, arguments, &env).await?;
    let uri = arguments
        .redirect_uri
        .clone()
        .or(env.redirect_uri)
        .ok_or_else(|| {
            missing(
                arguments,
                "a redirect URI",
                "Give --redirect-uri exactly as it is registered in Procore's developer portal.",
            )
        })?;
    let redirect = match opener.advice().check_redirect_uri(&uri, None).await? {
        Ok(redirect) => redirect,
        Err(diagnosis) => return Err(refused(&diagnosis)),
    };
    let client_id = env.client_id.ok_or_else(|| {
        missing(
            arguments,
            "PROCORE_CLIENT_ID",
            "Add the line PROCORE_CLIENT_ID=… to it.",
        )
    })?;
    let client_secret: Secret = env.client_secret.ok_or_else(|| {
        missing(
            arguments,
            "PROCORE_CLIENT_SECRET",
            "Add the line PROCORE_CLIENT_SECRET=… to it.",
        )
    })?;
    Ok(Found {
        settings: Settings {
            name: name.clone(),
            environment,
            client_id,
            client_secret,
            grant: Grant::AuthorizationCode { redirect_uri: uri },
            company_id: env.company_id,
            policy: Policy::default(),
        },
        redirect: Some(redirect),
    })
}

/// Returns the environment that the option, the file's word and the file's URLs agree on.
async fn agreed_environment(
    opener: &Opener,
    arguments: &Arguments,
    env: &EnvFile,
) -> Result<Environment, Failure> {
    let said = arguments.environment.or(env.environment);
    if env.url_names.is_empty() {
        if let (None, Some(unknown)) = (said, &env.unknown_environment) {
            return Err(unknown_value(&arguments.env, unknown));
        }
        return said.ok_or_else(|| {
            missing(
                arguments,
                "the environment",
                "Give --environment: production, sandbox, monthly-sandbox or federal. The script's login URL tells: \
                 login-sandbox.procore.com is sandbox, login.procore.com production.",
            )
        });
    }
    let by_urls = match opener.advice().check_endpoints(env.urls.clone()).await? {
        Ok(environment) => environment,
        Err(diagnosis) => return Err(mixed(arguments, env, &diagnosis)),
    };
    match said {
        Some(said) if said != by_urls => Err(contradicted(arguments, env, said, by_urls)),
        _ => Ok(by_urls),
    }
}

/// Refuses to mix up two connections under one name.
fn refuse_other(
    config: &Config,
    name: &ConnectionName,
    settings: &Settings,
) -> Result<(), Failure> {
    let Some(existing) = config.get(name) else {
        return Ok(());
    };
    if existing.environment() == settings.environment && existing.client_id()? == settings.client_id
    {
        return Ok(());
    }
    Err(Explained::new(
        Exit::Refused,
        "connection-exists",
        format!(
            "{} has another connection {name}: its environment or client id differs.",
            config.path().display()
        ),
        "Choose another name with --connection.",
    )
    .into())
}

fn addition(config: &Config, name: &ConnectionName, settings: &Settings) -> Option<NewConnection> {
    match config.get(name) {
        Some(_) => None,
        None => Some(NewConnection::new(config, settings, SecretPlace::NextToIt)),
    }
}

/// Asks who the token acts as, while that needs no refresh: a refresh would spend the token that others may still hold.
pub(super) async fn verify_unspent(
    context: &Context<'_>,
    open: &Open,
    adopted: &Status,
) -> Option<Identity> {
    let fresh = adopted
        .token
        .is_some_and(|token| token.refresh_at > time::now());
    if !fresh {
        context.terminal.note(
            "The access token is due for a refresh, which spends the refresh token, so it was not tried. End the other \
             programs that use it, then run `procore-auth tick`.",
        );
        return None;
    }
    match open.connection.verify().await {
        Ok(identity) => Some(identity),
        Err(error) => {
            report::failure(&context.terminal, &error.into());
            None
        }
    }
}

fn tell(
    context: &Context<'_>,
    config: &Config,
    open: &Open,
    adopted: &Status,
    identity: Option<&Identity>,
    addition: Option<&NewConnection>,
    written: bool,
) -> Result<(), Failure> {
    let environment = status::environment(open.environment);
    let to_add = addition.filter(|_| !written).map(NewConnection::toml);
    if context.terminal.is_json() {
        return context.terminal.json(&Document {
            connection: open.name.as_str(),
            environment,
            identity,
            expires_at: adopted.token.map(|token| time::rfc3339(token.expires_at)),
            config: config.path(),
            written,
            add_to_config: to_add,
        });
    }
    let who = identity.map_or_else(String::new, |who| format!(" as {}", login::who(who)));
    context.terminal.line(format_args!(
        "{}: took over the tokens of {environment}{who}.",
        open.name
    ))?;
    let path = config.path().display();
    if let Some(to_add) = to_add {
        // What cannot be compared must be replaced by itself.
        let options = if rests(adopted) {
            "--write"
        } else {
            "--write --replace"
        };
        context.terminal.line(format_args!(
            "Add this to {path}, or run the same with {options}:\n\n{to_add}"
        ))?;
    } else if written {
        context
            .terminal
            .line(format_args!("{path} has the connection now."))?;
    }
    Ok(())
}

/// Warns of programs that still refresh the token, and of files that others can read.
pub(super) fn warn(context: &Context<'_>, token: Option<&Path>, env: Option<&Path>) {
    if let Some(token) = token {
        context.terminal.note(format_args!(
            "A refresh token works once. End every other program that refreshes this one (cron jobs, keepalive scripts, agents that \
             read {}): whichever refreshes first locks the others out. They can ask `procore-auth token` instead, or read a file \
             that is kept fresh and has no refresh token (`export` in the configuration).",
            token.display()
        ));
    }
    for path in [token, env].into_iter().flatten() {
        if import_config::is_shared(path) {
            context.terminal.note(format_args!(
                "Others can read {}: run chmod 600 on it, or delete it once nothing uses it.",
                path.display()
            ));
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

pub(super) fn environment(name: &str) -> Result<Environment, String> {
    env_file::environment(name).ok_or_else(|| env_file::ENVIRONMENTS.to_owned())
}

fn missing(arguments: &Arguments, what: &str, remedy: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "import-incomplete",
        format!("{} does not say {what}.", arguments.env.display()),
        remedy,
    )
    .into()
}

pub(super) fn unknown_value(path: &Path, unknown: &Unknown) -> Failure {
    let Unknown {
        line,
        name,
        value,
        expected,
    } = unknown;
    Explained::new(
        Exit::Refused,
        "import-invalid",
        format!(
            "{}:{line}: {name} is {value:?}, and not {expected}.",
            path.display()
        ),
        format!("Write {expected} there, or remove the line."),
    )
    .into()
}

fn refused(diagnosis: &Diagnosis) -> Failure {
    report::explain(Exit::Refused, diagnosis).into()
}

fn mixed(arguments: &Arguments, env: &EnvFile, diagnosis: &Diagnosis) -> Failure {
    report::explain(Exit::Refused, diagnosis)
        .seen(format!(
            "{}: {}",
            arguments.env.display(),
            env.url_names.join(", ")
        ))
        .into()
}

fn contradicted(
    arguments: &Arguments,
    env: &EnvFile,
    said: Environment,
    by_urls: Environment,
) -> Failure {
    Explained::new(
        Exit::Refused,
        "mixed-environments",
        format!(
            "The environment is said to be {}, and the URLs in {} are of {}.",
            status::environment(said),
            arguments.env.display(),
            status::environment(by_urls)
        ),
        "Tokens of one environment are unknown in every other: find out where the script signed in, and correct the one that is wrong.",
    )
    .seen(format!("URLs: {}", env.url_names.join(", ")))
    .into()
}
