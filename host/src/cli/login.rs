//! `procore-auth login`: a person signs in, once; afterwards the tool says who and where.
//!
//! | redirect URI | how the answer comes back |
//! |---|---|
//! | `http://localhost…` | to a callback server here; a person may also paste the address that the browser ended on |
//! | `https://…` | the person pastes the address |
//! | `urn:ietf:wg:oauth:2.0:oob` | the person pastes the code that Procore shows |
//!
//! Nothing waits for a person unless one sits there or a flag says so.

mod countdown;
mod over_ssh;
mod page;
mod qr;
mod refusal;
mod sources;
mod told;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use procore_auth_host::{Connection, Identity, Login, Redirect, Secret};

use self::sources::Sources;
use super::browser;
use super::companies::{self, Company};
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Open;
use super::terminal::is_attended;
use super::time;
use super::typed::{Input, Lines};

/// How long a person is waited for. Procore's code lives as long, but only from the moment at which it is issued; the link itself stays
/// good for an hour, in which `--finish` takes the answer.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// For how long the outcome's page stays, unless it is said.
pub(super) const PAGE_FOR: Duration = Duration::from_secs(2);

/// For how long the company's name is asked for; it is not worth a longer wait.
const NAME_PATIENCE: Duration = Duration::from_secs(5);

/// How to sign in.
#[derive(Args, Default)]
pub(super) struct Arguments {
    /// Open the browser even where none seems to be at hand
    #[arg(long)]
    pub(super) browser: bool,
    /// Print the link only; wait for the browser's answer even without a terminal
    #[arg(long, conflicts_with = "browser")]
    pub(super) no_browser: bool,
    /// Paste the answer instead of waiting for it on this machine's port
    #[arg(long)]
    pub(super) paste: bool,
    /// Read the pasted answer from a file or a pipe; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) code_from: Option<PathBuf>,
    /// Print the link and end; `--finish` takes the answer later
    #[arg(long, conflicts_with_all = ["finish", "paste", "code_from"])]
    pub(super) begin: bool,
    /// Finish the sign-in that `--begin` began: reads the answer from standard input or --code-from
    #[arg(long, conflicts_with_all = ["browser", "no_browser"])]
    pub(super) finish: bool,
    /// Print the link as a QR code too, for a phone [default: where no browser is at hand]
    #[arg(long, conflicts_with_all = ["no_qr", "finish"])]
    pub(super) qr: bool,
    /// Print no QR code
    #[arg(long)]
    pub(super) no_qr: bool,
    /// Keep the outcome's page there for the browser to reload for so long; Ctrl-C ends it
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = time::parse_span)]
    pub(super) page_for: Duration,
}

/// Who signed in, and for whom.
pub(super) struct SignedIn {
    pub(super) identity: Identity,
    company: Option<Company>,
}

/// Signs in, verifies, and says who and where.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    check_code_from(arguments)?;
    let open = context.open_one().await?;
    check_store(&open).await?;
    let signed_in = match &open.redirect {
        None if arguments.begin => return Err(refusal::nothing_to_begin(&open)),
        Some(_) if arguments.begin => return begin(context, &open, arguments).await,
        Some(redirect) if arguments.finish => finish(context, &open, redirect, arguments).await?,
        _ => sign_in(context, &open, arguments).await?,
    };
    told::signed_in(context, &open, &signed_in)?;
    Ok(Exit::Done)
}

/// Finds out before anybody signs in whether the answer's file can be read. A pipe is left alone: opening it takes its writer.
pub(super) fn check_code_from(arguments: &Arguments) -> Result<(), Failure> {
    let Some(Input::File(path)) = arguments.code_from.as_deref().map(Input::from_argument) else {
        return Ok(());
    };
    let checked = std::fs::metadata(&path).and_then(|metadata| {
        if metadata.is_file() {
            std::fs::File::open(&path)?;
        }
        Ok(())
    });
    checked.map_err(|error| Failure::file("read", &path, &error))
}

/// Signs in, and returns who as: what `init` shares.
pub(super) async fn sign_in(
    context: &Context<'_>,
    open: &Open,
    arguments: &Arguments,
) -> Result<SignedIn, Failure> {
    match &open.redirect {
        None => service_account(open).await,
        Some(redirect) => person(context, open, redirect, arguments).await,
    }
}

/// A store that cannot be read, such as with a wrong key, is told before a person signs in for nothing.
async fn check_store(open: &Open) -> Result<(), Failure> {
    match open.connection.status().await {
        Err(error) if error.is_storage() => Err(error.into()),
        _ => Ok(()),
    }
}

/// A service account needs no sign-in: it gets a token, and asks who it is.
async fn service_account(open: &Open) -> Result<SignedIn, Failure> {
    open.connection.access_token().await?;
    verify(open).await
}

async fn begin(context: &Context<'_>, open: &Open, arguments: &Arguments) -> Result<Exit, Failure> {
    let login = open.connection.begin_login().await?;
    if context.terminal.is_json() {
        told::link(context, open, &login, login.expires_at)?;
    } else {
        context.terminal.line(&login.authorize_url)?;
        draw_qr(context, &login, arguments.qr);
        context.terminal.note(format_args!(
            "Sign in there {}, then run: procore-auth login --finish --connection {}",
            told::until(login.expires_at),
            open.name
        ));
    }
    Ok(Exit::Done)
}

async fn finish(
    context: &Context<'_>,
    open: &Open,
    redirect: &Redirect,
    arguments: &Arguments,
) -> Result<SignedIn, Failure> {
    let input = sources::input(arguments).unwrap_or(Input::Standard);
    told::prompt(context, redirect.kind);
    let answer = Lines::read(input).next().await;
    let answer = answer.ok_or_else(refusal::no_answer)?;
    take(open, answer).await
}

async fn person(
    context: &Context<'_>,
    open: &Open,
    redirect: &Redirect,
    arguments: &Arguments,
) -> Result<SignedIn, Failure> {
    let mut sources = Sources::open(context, redirect, arguments).await?;
    let login = open.connection.begin_login().await?;
    let deadline = login
        .expires_at
        .min(time::now().saturating_add(millis(LONGEST_WAIT)));
    told::link(context, open, &login, deadline)?;
    show_the_way(context, &login, &sources, arguments).await;
    let outcome = sources.wait(context, open, deadline).await;
    sources.end(context).await;
    outcome
}

/// Exchanges the code, and asks who signed in.
async fn take(open: &Open, answer: Secret) -> Result<SignedIn, Failure> {
    open.connection.finish_login(answer).await?;
    verify(open).await
}

async fn verify(open: &Open) -> Result<SignedIn, Failure> {
    Ok(SignedIn {
        identity: open.connection.verify().await?,
        company: company(&open.connection).await,
    })
}

/// Names the company that the connection is for; `None` where it is for none.
async fn company(connection: &Connection) -> Option<Company> {
    let id = connection.settings().company_id?;
    let list = companies::list(connection, Some(NAME_PATIENCE)).await;
    let list = list.unwrap_or_else(|why| {
        tracing::debug!("the company's name could not be asked for: {why}");
        Vec::new()
    });
    Some(Company::in_list(&list, id))
}

/// Brings the person to the link: opens a browser, or else tells how to reach one on another machine.
///
/// Where the answer would go to a port of this machine at which we do not listen, none is opened unless that is asked for: whoever does
/// listen would get the code and the state.
async fn show_the_way(
    context: &Context<'_>,
    login: &Login,
    sources: &Sources,
    arguments: &Arguments,
) {
    let seen = browser::is_at_hand() && is_attended();
    let wanted = seen && !arguments.no_browser && arguments.code_from.is_none();
    let unserved = sources.unserved().filter(|_| !arguments.browser);
    if let Some(port) = unserved.filter(|_| wanted) {
        context.terminal.note(told::no_browser(port));
    } else if arguments.browser || wanted {
        match browser::open(&login.authorize_url).await {
            Ok(()) => context.terminal.note("A browser opens. The link works on another machine too: paste the address that its browser ends on."),
            Err(error) => context.terminal.note(format_args!("The browser does not open ({error}): open the link yourself.")),
        }
    }
    if context.terminal.is_json() {
        return;
    }
    if let Some(advice) = sources.port().and_then(over_ssh::advice) {
        context.terminal.note(advice);
    }
    let from_afar = is_attended() && !seen && !arguments.browser;
    draw_qr(
        context,
        login,
        arguments.qr || (from_afar && !arguments.no_qr),
    );
}

fn draw_qr(context: &Context<'_>, login: &Login, wanted: bool) {
    if wanted {
        match qr::draw(&login.authorize_url, qr::Display::of_stderr()) {
            Ok(code) => context.terminal.draw(format_args!("{code}\n")),
            Err(omitted) => context.terminal.note(omitted),
        }
    }
}

/// Names the account as people do.
pub(super) fn who(identity: &Identity) -> String {
    let Identity {
        id, login, name, ..
    } = identity;
    if name.is_empty() {
        format!("{login} (user {id})")
    } else {
        format!("{name}, {login} (user {id})")
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
