//! What `login` says: lines for people, one JSON document a line for programs.

use std::fmt;
use std::time::Duration;

use procore_auth_host::{Identity, Login, RedirectKind};
use serde::Serialize;

use super::{SignedIn, who};
use crate::cli::companies::Company;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::open::Open;
use crate::cli::terminal::is_attended;
use crate::cli::{report, time};

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
        /// Whom the connection is for; `null` where it is for no company.
        company: Option<&'a Company>,
    },
}

/// Gives the link.
pub(super) fn link(
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
        open.environment.as_str(),
        until(deadline),
        login.authorize_url
    ));
    Ok(())
}

/// Tells how long there is.
pub(super) fn until(deadline: u64) -> impl fmt::Display {
    let left = Duration::from_millis(deadline.saturating_sub(time::now()));
    format!("within {}", time::rough(left))
}

/// Asks for the answer where somebody sits there to be asked.
pub(super) fn prompt(context: &Context<'_>, kind: RedirectKind) {
    if is_attended() {
        context.terminal.prompt(match kind {
            RedirectKind::OutOfBand => "Paste the code that Procore shows: ",
            _ => "Paste the address that the browser ends on: ",
        });
    }
}

/// Says why no browser is opened.
pub(super) fn no_browser(port: u16) -> String {
    format!(
        "No browser is opened here: procore-auth does not listen at localhost:{port}, so the code would go to any program that does. \
         Open the link on another machine, or end that program and begin again. --browser opens it all the same."
    )
}

/// Says how many more answers were not ours than the first, which was explained.
pub(super) fn foreign(context: &Context<'_>, more: usize) {
    if more > 0 {
        context.terminal.note(format_args!(
            "The browser brought {more} more that did not belong to this sign-in."
        ));
    }
}

/// Explains an answer that was not ours.
pub(super) fn rejected(context: &Context<'_>, failure: &Failure) -> Result<(), Failure> {
    let Failure::Explained(explained) = failure else {
        return Ok(());
    };
    if context.terminal.is_json() {
        return context.terminal.json(&Told::Rejected {
            code: &explained.code,
            summary: &explained.summary,
        });
    }
    context.terminal.note(report::text(explained));
    context.terminal.note("Still waiting for the right answer.");
    Ok(())
}

/// Says who signed in, and where.
pub(super) fn signed_in(
    context: &Context<'_>,
    open: &Open,
    signed_in: &SignedIn,
) -> Result<(), Failure> {
    let environment = open.environment.as_str();
    let SignedIn { identity, company } = signed_in;
    if context.terminal.is_json() {
        return context.terminal.json(&Told::SignedIn {
            connection: open.name.as_str(),
            environment,
            identity,
            company: company.as_ref(),
        });
    }
    let company = company
        .as_ref()
        .map_or_else(String::new, |company| format!(", for {company}"));
    context.terminal.line(format_args!(
        "{}: signed in to {environment} as {}{company}.",
        open.name,
        who(identity)
    ))
}
