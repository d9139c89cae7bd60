//! `procore-auth init`: from nothing to signed in, by at most eight questions, each of which is a flag too.
//!
//! | step | what is written |
//! |---|---|
//! | the questions: a script's files, environment, grant, client id, where its secret is kept, the secret, redirect URI or company | nothing |
//! | the connection | its secret, then a commented table in the configuration, whole or not at all |
//! | the sign-in, or taking over the tokens of a script; who one is signed in as | the tokens |
//! | the company, asked for only where there are several | `company_id` in the table |
//!
//! The connection is the one that `--connection` names, or `default`. One that is in the configuration already is gone on with: nothing
//! is asked anew. Without a terminal nothing is asked at all, and a missing answer is a refusal that names its flag.

mod ask;
mod company;
mod end;
mod others;
mod questions;
mod scripts;
mod secret;

use std::path::PathBuf;

use clap::Args;
use procore_auth_host::{ConnectionName, Environment, Grant, Identity, Status};

use super::companies::Company;
use super::config::{Config, ConnectionConfig};
use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::import_config::{self, COMPANY, NewConnection};
use super::open::{Open, Opener};
use super::{import, login, status};
use ask::Asker;
use end::End;
use questions::{GrantKind, Questions};
use scripts::{Adoption, Scripts};
use secret::Keep;

/// The answers, as far as they are known. What is not given is asked for.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the data is: production, sandbox, monthly-sandbox or federal
    #[arg(long, value_name = "NAME", value_parser = import::environment)]
    environment: Option<Environment>,
    /// How the agent signs in
    #[arg(long, value_enum)]
    grant: Option<GrantKind>,
    /// The app's client id, of the pair that belongs to the environment
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Where the client secret is: env:NAME, file:PATH, keyring:NAME, or - for standard input; never the secret itself
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    client_secret: Option<String>,
    /// Where a secret that is typed or piped in is kept [default: asked for; piped in: file]
    #[arg(long, value_enum)]
    secret_in: Option<Keep>,
    /// The redirect URI as registered in the developer portal
    #[arg(long, value_name = "URI")]
    redirect_uri: Option<String>,
    /// The company that calls are for [default: looked up after the sign-in]
    #[arg(long, value_name = "ID")]
    company: Option<u64>,
    /// Take over the tokens that a script has saved
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Take over the settings of a script: its KEY=VALUE lines
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Leave a script's files alone
    #[arg(long, conflicts_with_all = ["token", "env"])]
    no_adopt: bool,
    /// Keep the access token in this file for old scripts. Where it is the --token, that is moved aside first
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Open the browser even where none seems to be at hand
    #[arg(long)]
    browser: bool,
    /// Print the link only; wait for the browser's answer even without a terminal
    #[arg(long, conflicts_with = "browser")]
    no_browser: bool,
    /// Paste the answer instead of waiting for it on this machine's port
    #[arg(long)]
    paste: bool,
    /// Read the pasted answer from a file or a pipe; - for standard input
    #[arg(long, value_name = "FILE")]
    code_from: Option<PathBuf>,
}

/// Sets a connection up, signs in, and says who and which company.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let sign_in = arguments.sign_in();
    login::check_code_from(&sign_in)?;
    let opener = context.opener(context.config_for_writing()?)?;
    let name = import::name(context)?;
    let asker = Asker::new(context);
    let goes_on = opener.config().get(&name).is_some();
    let adoption = if goes_on {
        refuse_other(opener.config(), &name, arguments)?;
        context.terminal.note(format_args!(
            "{} has the connection {name} already: going on from there.",
            opener.config().path().display()
        ));
        adoption_of_known(&opener, &name, &asker, arguments).await?
    } else {
        let scripts = Scripts::find(arguments);
        let adoption = scripts.adoption(&asker, arguments).await?;
        add(context, &opener, &name, &asker, arguments, &adoption).await?;
        adoption
    };
    let opener = reopened(&opener)?;
    let open = opener.open(&name).await?;
    let signed_in = signed_in(context, &open, &sign_in, &adoption).await;
    let identity = signed_in.inspect_err(|failure| tell_kept(context, failure, &name))?;
    let (company, companies) = company(
        context,
        &opener,
        &open,
        &asker,
        arguments,
        identity.as_ref(),
    )
    .await?;
    let export = export(context, &opener, &open, &adoption).await?;
    let end = End {
        opener: &opener,
        open: &open,
        identity: identity.as_ref(),
        company: company.as_ref(),
        companies: &companies,
        adopted: adoption.token.is_some(),
        export: export.as_deref(),
        questions: asker.asked(),
    };
    end.tell(context)?;
    import::warn(context, adoption.token.as_deref(), adoption.env.as_deref());
    Ok(status::exit_of(&open.connection.status().await?))
}

impl Arguments {
    fn sign_in(&self) -> login::Arguments {
        login::Arguments {
            browser: self.browser,
            no_browser: self.no_browser,
            paste: self.paste,
            code_from: self.code_from.clone(),
            page_for: login::PAGE_FOR,
            ..login::Arguments::default()
        }
    }
}

/// Refuses to go on with another connection of the same name.
fn refuse_other(
    config: &Config,
    name: &ConnectionName,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let Some(known) = config.get(name) else {
        return Ok(());
    };
    let other_environment = arguments
        .environment
        .is_some_and(|one| one != known.environment());
    let other_client = match &arguments.client_id {
        Some(id) => *id != known.client_id()?,
        None => false,
    };
    if !other_environment && !other_client {
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

/// A connection that is signed in has nothing to take over.
async fn adoption_of_known(
    opener: &Opener,
    name: &ConnectionName,
    asker: &Asker<'_>,
    arguments: &Arguments,
) -> Result<Adoption, Failure> {
    let open = opener.open(name).await?;
    let has_tokens = open.connection.status().await?.token.is_some();
    if has_tokens && arguments.token.is_some() {
        return Err(signed_in_already(name));
    }
    if has_tokens || open.redirect.is_none() {
        return Ok(Adoption::of_nothing(arguments));
    }
    Scripts::find(arguments).adoption(asker, arguments).await
}

/// Asks, and writes the connection.
async fn add(
    context: &Context<'_>,
    opener: &Opener,
    name: &ConnectionName,
    asker: &Asker<'_>,
    arguments: &Arguments,
    adoption: &Adoption,
) -> Result<(), Failure> {
    let questions = Questions {
        context,
        asker,
        advice: opener.advice(),
        arguments,
        script: &adoption.settings,
        adopts_tokens: adoption.token.is_some(),
    };
    let (settings, secret) = questions.answers(name).await?;
    if adoption.token.is_some() && settings.grant == Grant::ClientCredentials {
        return Err(nothing_to_adopt());
    }
    let new = NewConnection::new(opener.config(), &settings, secret);
    new.check(opener.config())?;
    new.write(opener.config())
}

/// Goes on with the configuration as it is now.
fn reopened(opener: &Opener) -> Result<Opener, Failure> {
    opener.with_config(Config::load(opener.config().path())?)
}

/// Signs in, unless somebody is or tokens are taken over. `None` where the tokens could not be tried without spending one.
async fn signed_in(
    context: &Context<'_>,
    open: &Open,
    sign_in: &login::Arguments,
    adoption: &Adoption,
) -> Result<Option<Identity>, Failure> {
    if let Some(token) = &adoption.token {
        let adopted = import::adopt(open, import::read(token)?, false).await?;
        return Ok(import::verify_unspent(context, open, &adopted).await);
    }
    let status = open.connection.status().await?;
    if is_signed_in(&status) {
        return Ok(Some(open.connection.verify().await?));
    }
    let signed_in = login::sign_in(context, open, sign_in).await?;
    Ok(Some(signed_in.identity))
}

fn is_signed_in(status: &Status) -> bool {
    use procore_auth_host::Health::{AtRisk, Healthy, Unverified};
    status.token.is_some() && matches!(status.health, Healthy | Unverified | AtRisk)
}

fn tell_kept(context: &Context<'_>, failure: &Failure, name: &ConnectionName) {
    if let Failure::Explained(_) = failure {
        context.terminal.note(format_args!(
            "The connection {name} is in the configuration: `procore-auth init --connection {name}` goes on from here."
        ));
    }
}

/// Finds the company and writes it down, unless the configuration has one.
async fn company(
    context: &Context<'_>,
    opener: &Opener,
    open: &Open,
    asker: &Asker<'_>,
    arguments: &Arguments,
    identity: Option<&Identity>,
) -> Result<(Option<Company>, Vec<Company>), Failure> {
    let known = opener
        .config()
        .get(&open.name)
        .and_then(ConnectionConfig::company_id);
    let wanted = arguments.company.or(known);
    // A service account's list is what the app may see; its company was asked for.
    let looks = identity.is_some() && (open.redirect.is_some() || known.is_none());
    let companies = if looks {
        company::list(context, open).await
    } else {
        Vec::new()
    };
    let company = match wanted {
        Some(id) => {
            if !companies.is_empty() && !companies.iter().any(|one| one.id == id) {
                context.terminal.note(format_args!(
                    "The account does not see the company {id}: calls for it will be refused."
                ));
            }
            Some(Company::in_list(&companies, id))
        }
        None => company::choose(context, asker, &companies).await?,
    };
    if let Some(chosen) = company.as_ref().filter(|chosen| Some(chosen.id) != known) {
        let id = i64::try_from(chosen.id).map_err(|_| no_company(chosen.id))?;
        let path = opener.config().path();
        import_config::set(path, &open.name, "company_id", id, COMPANY)?;
    }
    Ok((company, companies))
}

/// Has the access token kept in a file, where that was asked for. The file with the script's own tokens is moved aside for it.
async fn export(
    context: &Context<'_>,
    opener: &Opener,
    open: &Open,
    adoption: &Adoption,
) -> Result<Option<PathBuf>, Failure> {
    let Some(file) = &adoption.export else {
        return Ok(None);
    };
    let is_taken_over = adoption.token.as_deref().map(std::path::absolute);
    let is_taken_over = is_taken_over.and_then(Result::ok).as_ref() == Some(file);
    if is_taken_over && scripts::has_refresh_token(file) {
        let aside = scripts::set_aside(file)?;
        context.terminal.note(format_args!(
            "The script's tokens are in {} now; delete it once nothing needs it.",
            aside.display()
        ));
    }
    let written = file.to_string_lossy().into_owned();
    let comment = "Kept fresh for scripts that read it; it has no refresh token.";
    let path = opener.config().path();
    import_config::set(path, &open.name, "export", written, comment)?;
    opener
        .export_of(&open.connection, file.clone())
        .keep()
        .await;
    Ok(Some(file.clone()))
}

fn signed_in_already(name: &ConnectionName) -> Failure {
    Explained::new(
        Exit::Refused,
        "already-signed-in",
        format!("{name} has tokens already; they are not replaced by those of --token."),
        "Leave --token out, choose another name with --connection, or replace them with `procore-auth import --replace`.",
    )
    .into()
}

fn nothing_to_adopt() -> Failure {
    Explained::new(
        Exit::Refused,
        "nothing-to-adopt",
        "A service account needs no tokens from elsewhere: it gets its own.",
        "Leave --token out, or pass --grant authorization-code.",
    )
    .into()
}

fn no_company(id: u64) -> Failure {
    Explained::new(
        Exit::Refused,
        "no-such-company",
        format!("{id} is no company's number."),
        "Give the number that stands in the address of the company's pages with --company.",
    )
    .into()
}
