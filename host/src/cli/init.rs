//! `procore-auth init`: from nothing to signed in, by at most eight questions, each of which is a flag too.
//!
//! | step | what is written |
//! |---|---|
//! | the questions: a script's files, environment, grant, client id, where its secret is kept, the secret, redirect URI or company | nothing |
//! | the login host is asked whether it knows the client id with the secret; where it does not, these are asked for again | nothing |
//! | the connection | its secret, then a commented table in the configuration, whole or not at all |
//! | the sign-in, or taking over the tokens of a script; who one is signed in as | the tokens |
//! | the company, asked for only where there are several | `company_id` in the table |
//! | the file that is kept fresh for scripts, where one is asked for | `export` in the table, the file |
//!
//! The connection is the one that `--connection` names, or `default`. One that is in the configuration already is gone on with: nothing
//! is asked anew, and a flag that says something else is applied or refused. Without a terminal nothing is asked at all, and a missing answer is a refusal that names its flag.

mod ask;
mod commands;
mod company;
mod end;
mod handover;
mod known;
mod line;
mod others;
mod pair;
mod questions;
mod scripts;
mod secret;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use procore_auth_host::{ConnectionName, Environment, Identity, Status};

use super::companies::Company;
use super::config::{Config, ConnectionConfig};
use super::config_edit::{self, COMPANY, NewConnection};
use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open::{Open, Opener};
use super::{adoption, login, status};
use ask::Asker;
use commands::Commands;
use end::End;
use questions::{GrantKind, Questions};
use scripts::{Adoption, Scripts};
use secret::Keep;

/// The ids that a company can have: what TOML can hold, and not 0.
const COMPANIES: RangeInclusive<u64> = 1..=i64::MAX.unsigned_abs();

/// The answers, as far as they are known. What is not given is asked for.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the data is: production, sandbox, monthly-sandbox or federal
    #[arg(long, value_name = "NAME", value_parser = adoption::environment)]
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
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(COMPANIES))]
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
    arguments.check()?;
    let sign_in = arguments.sign_in();
    login::check_code_from(&sign_in)?;
    let opener = context.opener(context.config_for_writing()?)?;
    let name = adoption::name(context)?;
    let asker = Asker::new(context);
    let adoption = if known::take(context, &opener, &name, arguments).await? {
        let opener = reopened(&opener)?;
        let adoption = adoption_of_known(&opener, &name, &asker, arguments).await?;
        handover::check(&adoption)?;
        adoption
    } else {
        let scripts = Scripts::find(arguments);
        let adoption = scripts.adoption(&asker, arguments).await?;
        handover::check(&adoption)?;
        add(context, &opener, &name, &asker, arguments, &adoption).await?;
        adoption
    };
    let opener = reopened(&opener)?;
    let open = opener.open(&name).await?;
    let signed_in = signed_in(context, &open, &sign_in, &adoption).await;
    let identity = signed_in.inspect_err(|failure| tell_kept(context, &opener, failure, &name))?;
    let (company, companies) = company(
        context,
        &opener,
        &open,
        &asker,
        arguments,
        identity.as_ref(),
    )
    .await?;
    let export = handover::carry_out(context, &opener, &open, &adoption).await?;
    let end = End {
        opener: &opener,
        open: &open,
        identity: identity.as_ref(),
        company: company.as_ref(),
        companies: &companies,
        adopted: adoption.token.is_some(),
        export: export.as_ref(),
        questions: asker.asked(),
    };
    end.tell(context)?;
    adoption::warn(context, adoption.token.as_deref(), adoption.env.as_deref());
    Ok(status::exit_of(&open.connection.status().await?))
}

impl Arguments {
    /// Refuses flags that cannot both be meant.
    fn check(&self) -> Result<(), Failure> {
        let is_elsewhere = self
            .client_secret
            .as_deref()
            .is_some_and(|place| place != "-");
        if is_elsewhere && self.secret_in.is_some() {
            return Err(contradiction(
                "--secret-in says where a secret is put that is typed or piped in, and --client-secret says that it is there already.",
                "Leave --secret-in out, or pipe the secret in with `--client-secret -`.",
            ));
        }
        if self.grant != Some(GrantKind::ClientCredentials) {
            return Ok(());
        }
        if self.token.is_some() {
            return Err(nothing_to_adopt());
        }
        if self.redirect_uri.is_some() {
            return Err(contradiction(
                "A service account signs in without a browser, and has no redirect URI.",
                "Leave --redirect-uri out, or pass --grant authorization-code.",
            ));
        }
        Ok(())
    }

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
    let answers = questions.answers(name).await?;
    let (settings, secret) = pair::agreed(&questions, opener, answers).await?;
    let new = NewConnection::new(opener.config(), &settings, secret);
    new.check()?;
    new.write()
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
        let adopted = adoption::adopt(open, adoption::read(token)?, false).await?;
        return Ok(adoption::verify_unspent(context, open, &adopted).await);
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

/// Says what is there, and how to go on from it.
fn tell_kept(context: &Context<'_>, opener: &Opener, failure: &Failure, name: &ConnectionName) {
    let config = opener.config();
    let (Failure::Explained(_), Some(known)) = (failure, config.get(name)) else {
        return;
    };
    let commands = Commands::on(config);
    context.terminal.note(format_args!(
        "The connection {name} is in {}, its secret in {}.\n  {}\n      goes on from here\n  {}\n      looks for what is wrong",
        config.path().display(),
        known.secret_reference().place(),
        commands.on_connection("init", name),
        commands.on_connection("doctor", name),
    ));
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
        config_edit::set(path, &open.name, "company_id", id, COMPANY)?;
    }
    Ok((company, companies))
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

fn contradiction(summary: &str, remedy: &str) -> Failure {
    Explained::new(Exit::Refused, "init-contradiction", summary, remedy).into()
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
