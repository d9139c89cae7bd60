//! `procore-auth login`: a person signs in, once; afterwards the tool says who and where.
//!
//! | redirect URI | how the answer comes back |
//! |---|---|
//! | `http://localhost…` | to a callback server here; a person may also paste the address that the browser ended on |
//! | `https://…` | the person pastes the address |
//! | `urn:ietf:wg:oauth:2.0:oob` | the person pastes the code that Procore shows |
//!
//! Nothing waits for a person unless one sits there or a flag says so.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::StatusCode;
use clap::Args;
use procore_auth_host::{Identity, Login, Redirect, RedirectKind, Secret};
use serde::Serialize;

use super::browser;
use super::callback::{Callback, CallbackServer};
use super::callback_page::Page;
use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::open::Open;
use super::status;
use super::terminal::is_attended;
use super::time;
use super::typed::{Input, Lines};

/// A code lives no longer; a link that is older is better made anew.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

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
}

/// Where the answer may come from. At least one of the two.
struct Sources {
    server: Option<CallbackServer>,
    lines: Option<Lines>,
}

/// What arrived first.
enum Arrival {
    Browser(Callback),
    Typed(Secret),
    EndOfInput,
    Mark,
    Stop,
}

/// One line of `--json`. The fields are stable.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Told<'a> {
    SignIn {
        connection: &'a str,
        authorize_url: &'a str,
        redirect_uri: &'a str,
        expires_at: String,
    },
    /// An answer that belongs to another sign-in; the wait goes on.
    Rejected { code: &'a str, summary: &'a str },
    SignedIn {
        connection: &'a str,
        environment: &'a str,
        identity: &'a Identity,
    },
}

/// Signs in, verifies, and says who and where.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    check_code_from(arguments)?;
    let open = context.open_one().await?;
    check_store(&open).await?;
    let identity = match &open.redirect {
        None if arguments.begin => return Err(nothing_to_begin(&open)),
        Some(_) if arguments.begin => return begin(context, &open).await,
        Some(_) if arguments.finish => finish(context, &open, arguments).await?,
        _ => sign_in(context, &open, arguments).await?,
    };
    tell_signed_in(context, &open, &identity)?;
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
) -> Result<Identity, Failure> {
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
async fn service_account(open: &Open) -> Result<Identity, Failure> {
    open.connection.access_token().await?;
    Ok(open.connection.verify().await?)
}

async fn begin(context: &Context<'_>, open: &Open) -> Result<Exit, Failure> {
    let login = open.connection.begin_login().await?;
    if context.terminal.is_json() {
        tell_link(context, open, &login, login.expires_at)?;
    } else {
        context.terminal.line(&login.authorize_url)?;
        context.terminal.note(format_args!(
            "Sign in there {}, then run: procore-auth login --finish --connection {}",
            until(login.expires_at),
            open.name
        ));
    }
    Ok(Exit::Done)
}

async fn finish(
    context: &Context<'_>,
    open: &Open,
    arguments: &Arguments,
) -> Result<Identity, Failure> {
    let input = input(arguments).unwrap_or(Input::Standard);
    prompt(context);
    let answer = Lines::read(input).next().await.ok_or_else(no_answer)?;
    take(open, answer).await
}

async fn person(
    context: &Context<'_>,
    open: &Open,
    redirect: &Redirect,
    arguments: &Arguments,
) -> Result<Identity, Failure> {
    let mut sources = sources(context, redirect, arguments).await?;
    let login = open.connection.begin_login().await?;
    let deadline = login
        .expires_at
        .min(time::now().saturating_add(millis(LONGEST_WAIT)));
    tell_link(context, open, &login, deadline)?;
    open_browser(context, &login, arguments).await;
    if sources.lines.is_some() {
        prompt(context);
    }
    let outcome = sources.wait(context, open, deadline).await;
    if let Some(server) = sources.server {
        server.stop().await;
    }
    outcome
}

/// Asks for the answer where somebody sits there to be asked.
fn prompt(context: &Context<'_>) {
    if is_attended() {
        context.terminal.prompt(PROMPT);
    }
}

const PROMPT: &str = "Paste the address that the browser ends on, or the code that Procore shows: ";

/// Decides where the answer may come from. Refuses to wait for nobody.
async fn sources(
    context: &Context<'_>,
    redirect: &Redirect,
    arguments: &Arguments,
) -> Result<Sources, Failure> {
    let attended = is_attended();
    let asked = arguments.browser || arguments.no_browser;
    let lines = input(arguments).or_else(|| attended.then_some(Input::Standard));
    if lines.is_none() && !asked {
        return Err(unattended());
    }
    let server = match callback_port(redirect, arguments) {
        Some(port) => CallbackServer::start(&redirect.register, port, &redirect.path)
            .await
            .map(Some),
        None => Ok(None),
    };
    let server = match server {
        // Pasting serves as well.
        Err(failure) if lines.is_some() => {
            context
                .terminal
                .note(super::report::text(&failure.explained()));
            None
        }
        other => other?,
    };
    if server.is_none() && lines.is_none() {
        return Err(unattended());
    }
    Ok(Sources {
        server,
        lines: lines.map(Lines::read),
    })
}

/// Returns the port for a callback server, where one is of use.
fn callback_port(redirect: &Redirect, arguments: &Arguments) -> Option<u16> {
    let wanted = redirect.kind == RedirectKind::Localhost
        && !arguments.paste
        && arguments.code_from.is_none();
    wanted.then(|| redirect.port.unwrap_or(80))
}

fn input(arguments: &Arguments) -> Option<Input> {
    match &arguments.code_from {
        Some(path) => Some(Input::from_argument(path)),
        None => arguments.paste.then_some(Input::Standard),
    }
}

impl Sources {
    /// Takes answers until one signs in, or something ends the wait.
    async fn wait(
        &mut self,
        context: &Context<'_>,
        open: &Open,
        deadline: u64,
    ) -> Result<Identity, Failure> {
        loop {
            let left = deadline.saturating_sub(time::now());
            if left == 0 {
                return Err(timed_out());
            }
            match self.arrival(context, Duration::from_millis(left)).await {
                Arrival::Browser(callback) => {
                    if let Some(outcome) = by_browser(context, open, callback).await {
                        return outcome;
                    }
                }
                Arrival::Typed(answer) => match take(open, answer).await {
                    Err(failure) if is_not_ours(&failure) => {
                        tell_rejected(context, &failure)?;
                        prompt(context);
                    }
                    outcome => return outcome,
                },
                Arrival::EndOfInput if self.server.is_none() => return Err(no_answer()),
                Arrival::EndOfInput => self.lines = None,
                Arrival::Mark => context.terminal.note(format_args!(
                    "\n{} left.",
                    time::rough(Duration::from_millis(deadline.saturating_sub(time::now())))
                )),
                Arrival::Stop => return Err(interrupted()),
            }
        }
    }

    async fn arrival(&mut self, context: &Context<'_>, left: Duration) -> Arrival {
        let next_callback = async {
            match &mut self.server {
                Some(server) => server.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            callback = next_callback => callback.map_or(Arrival::Stop, Arrival::Browser),
            line = Lines::next_or_never(self.lines.as_mut()) => line.map_or(Arrival::EndOfInput, Arrival::Typed),
            () = tokio::time::sleep(to_next_mark(left)) => Arrival::Mark,
            () = context.shutdown.requested() => Arrival::Stop,
        }
    }
}

/// Returns how long until the time left is worth telling again: at 5 minutes, at 1, and at the end.
fn to_next_mark(left: Duration) -> Duration {
    [300, 60, 0]
        .map(Duration::from_secs)
        .into_iter()
        .find(|mark| *mark < left)
        .map_or(left, |mark| left - mark)
}

/// Finishes with the browser's answer and shows the outcome there too. `None` where it was not the answer to this sign-in.
async fn by_browser(
    context: &Context<'_>,
    open: &Open,
    callback: Callback,
) -> Option<Result<Identity, Failure>> {
    context.terminal.note("\nThe browser answered.");
    match take(open, callback.url.clone()).await {
        Ok(identity) => {
            callback.finish(signed_in_page(open, &identity));
            Some(Ok(identity))
        }
        Err(failure) if is_not_ours(&failure) => {
            callback.reject(failure_page(&failure));
            tell_rejected(context, &failure).err().map(Err)
        }
        Err(failure) => {
            callback.finish(failure_page(&failure));
            Some(Err(failure))
        }
    }
}

/// Exchanges the code, and asks who signed in.
async fn take(open: &Open, answer: Secret) -> Result<Identity, Failure> {
    open.connection.finish_login(answer).await?;
    Ok(open.connection.verify().await?)
}

/// Whether the answer belongs to another sign-in: an older tab, or a page that tries its luck. The right one may still come.
fn is_not_ours(failure: &Failure) -> bool {
    matches!(failure, Failure::Explained(explained)
        if ["state-mismatch", "state-missing", "no-code"].contains(&explained.code.as_str()))
}

fn signed_in_page(open: &Open, identity: &Identity) -> Page {
    Page::good(
        "Signed in to Procore",
        "procore-auth keeps this connection alive from now on. You can close this tab.",
    )
    .detail("Connection", open.name.as_str())
    .detail("Environment", status::environment(open.environment))
    .detail("Acts as", who(identity))
}

fn failure_page(failure: &Failure) -> Page {
    let title = "The sign-in did not work";
    match failure {
        Failure::Explained(explained) => {
            Page::bad(StatusCode::BAD_REQUEST, title, explained.summary.as_str())
                .detail("Why", explained.cause.as_str())
                .detail("What to do", explained.remedy.as_str())
                .detail("Code", explained.code.as_str())
        }
        Failure::BrokenPipe => Page::bad(StatusCode::INTERNAL_SERVER_ERROR, title, ""),
    }
}

fn tell_link(
    context: &Context<'_>,
    open: &Open,
    login: &Login,
    deadline: u64,
) -> Result<(), Failure> {
    if context.terminal.is_json() {
        return context.terminal.json(&Told::SignIn {
            connection: open.name.as_str(),
            authorize_url: &login.authorize_url,
            redirect_uri: &login.redirect_uri,
            expires_at: time::rfc3339(deadline),
        });
    }
    context.terminal.note(format_args!(
        "Sign in to Procore ({}) {}:\n\n  {}\n",
        status::environment(open.environment),
        until(deadline),
        login.authorize_url
    ));
    Ok(())
}

fn until(deadline: u64) -> String {
    let left = Duration::from_millis(deadline.saturating_sub(time::now()));
    format!("within {}", time::rough(left))
}

async fn open_browser(context: &Context<'_>, login: &Login, arguments: &Arguments) {
    let seen = browser::is_at_hand() && is_attended();
    if arguments.browser || (seen && !arguments.no_browser && arguments.code_from.is_none()) {
        match browser::open(&login.authorize_url).await {
            Ok(()) => context.terminal.note("A browser opens. The link works on another machine too: paste the address that its browser ends on."),
            Err(error) => context.terminal.note(format_args!("The browser does not open ({error}): open the link yourself.")),
        }
    }
}

fn tell_rejected(context: &Context<'_>, failure: &Failure) -> Result<(), Failure> {
    let Failure::Explained(explained) = failure else {
        return Ok(());
    };
    if context.terminal.is_json() {
        return context.terminal.json(&Told::Rejected {
            code: &explained.code,
            summary: &explained.summary,
        });
    }
    context.terminal.note(super::report::text(explained));
    context.terminal.note("Still waiting for the right answer.");
    Ok(())
}

fn tell_signed_in(context: &Context<'_>, open: &Open, identity: &Identity) -> Result<(), Failure> {
    let environment = status::environment(open.environment);
    if context.terminal.is_json() {
        return context.terminal.json(&Told::SignedIn {
            connection: open.name.as_str(),
            environment,
            identity,
        });
    }
    context.terminal.line(format_args!(
        "{}: signed in to {environment} as {}.",
        open.name,
        who(identity)
    ))
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

fn nothing_to_begin(open: &Open) -> Failure {
    Explained::new(
        Exit::Refused,
        "nothing-to-begin",
        format!(
            "{} is a service account: nobody signs in, so there is nothing to begin.",
            open.name
        ),
        format!(
            "Run `procore-auth login --connection {}` without --begin, or ask for a token directly: `procore-auth token`.",
            open.name
        ),
    )
    .into()
}

fn unattended() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "no-terminal",
        "Signing in needs a person, and there is no terminal.",
        "Run `procore-auth login` in a terminal. Without one: `--begin` prints the link and `--finish` takes the answer, \
         `--code-from -` reads the answer from a pipe, `--no-browser` waits for the callback.",
    )
    .into()
}

fn timed_out() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "login-timeout",
        "Nobody signed in in time.",
        "Run `procore-auth login` again: the old link does not work any more.",
    )
    .into()
}

fn no_answer() -> Failure {
    Explained::new(
        Exit::Refused,
        "no-answer",
        "The input ended without an answer.",
        "Give the address that the browser ended on, or the code that Procore showed, on a line of its own.",
    )
    .into()
}

fn interrupted() -> Failure {
    Explained::new(
        Exit::Interrupted,
        "interrupted",
        "Stopped before anybody signed in.",
        "Run `procore-auth login` again.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Exit, Explained, is_not_ours, to_next_mark};

    #[test]
    fn the_time_left_is_told_at_five_minutes_and_at_one() {
        for (left, mark) in [(600, 300), (300, 240), (61, 1), (60, 60), (10, 10)] {
            assert_eq!(
                to_next_mark(Duration::from_secs(left)),
                Duration::from_secs(mark),
                "{left}"
            );
        }
    }

    #[test]
    fn only_a_foreign_state_lets_the_wait_go_on() {
        for code in ["state-mismatch", "state-missing", "no-code"] {
            assert!(is_not_ours(
                &Explained::new(Exit::Refused, code, "", "").into()
            ));
        }
        let denied = Explained::new(Exit::Refused, "access_denied", "", "");
        assert!(!is_not_ours(&denied.into()));
    }
}
