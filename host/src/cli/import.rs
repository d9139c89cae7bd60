//! `procore-auth import`: takes over an existing script's `procore_token.json` and `procore.env`.
//!
//! Nothing is spent: the tokens are copied, and checked with a request that only reads.

use std::path::{Path, PathBuf};

use clap::Args;
use procore_auth_host::{
    ConnectionName, Diagnosis, Environment, Grant, Identity, Redirect, Secret, Settings, Status,
};
use serde::Serialize;

use super::config::Config;
use super::config_edit::{NewConnection, SecretPlace};
use super::context::Context;
use super::env_file::EnvFile;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open::{Open, Opener};
use super::{adoption, login, report, status, time};

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
    #[arg(long, value_name = "NAME", value_parser = adoption::environment)]
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
    let token = adoption::read(&arguments.token)?;
    let env = EnvFile::parse(&String::from_utf8_lossy(&adoption::read(&arguments.env)?))
        .map_err(|unknown| adoption::unknown_value(&arguments.env, &unknown))?;
    let opener = context.opener(context.config_for_writing()?)?;
    let name = adoption::name(context)?;
    let found = find(&opener, &name, arguments, env).await?;
    refuse_other(opener.config(), &name, &found.settings)?;
    let addition = addition(opener.config(), &name, &found.settings);
    let to_write = addition.as_ref().filter(|_| arguments.write);
    if let Some(addition) = to_write {
        addition.check()?;
    }
    let open = opener.open_with(found.settings, found.redirect)?;
    let adopted = adoption::adopt(&open, token, arguments.replace).await?;
    let identity = adoption::verify_unspent(context, &open, &adopted).await;
    if let Some(addition) = to_write {
        addition.write()?;
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
    adoption::warn(context, Some(&arguments.token), Some(&arguments.env));
    Ok(status::exit_of(&open.connection.status().await?))
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
    let grant = Grant::AuthorizationCode { redirect_uri: uri };
    let mut settings = Settings::new(name.clone(), environment, client_id, client_secret, grant);
    settings.company_id = env.company_id;
    Ok(Found {
        settings,
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
            return Err(adoption::unknown_value(&arguments.env, unknown));
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

fn tell(
    context: &Context<'_>,
    config: &Config,
    open: &Open,
    adopted: &Status,
    identity: Option<&Identity>,
    addition: Option<&NewConnection>,
    written: bool,
) -> Result<(), Failure> {
    let environment = open.environment.as_str();
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
        let options = if adoption::rests(adopted) {
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

fn missing(arguments: &Arguments, what: &str, remedy: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "import-incomplete",
        format!("{} does not say {what}.", arguments.env.display()),
        remedy,
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
            said.as_str(),
            arguments.env.display(),
            by_urls.as_str()
        ),
        "Tokens of one environment are unknown in every other: find out where the script signed in, and correct the one that is wrong.",
    )
    .seen(format!("URLs: {}", env.url_names.join(", ")))
    .into()
}
