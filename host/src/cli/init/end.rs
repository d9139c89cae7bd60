//! What `init` ends with: who, which company, and how the connection is kept alive.

use std::path::Path;

use procore_auth_host::Identity;
use serde::Serialize;

use super::super::companies::Company;
use super::super::context::Context;
use super::super::failure::Failure;
use super::super::login;
use super::super::open::{Open, Opener};
use super::commands::Commands;
use super::handover::Handover;

/// What came of it.
pub(super) struct End<'a> {
    pub(super) opener: &'a Opener,
    pub(super) open: &'a Open,
    /// `None` where taken-over tokens could not be tried.
    pub(super) identity: Option<&'a Identity>,
    pub(super) company: Option<&'a Company>,
    pub(super) companies: &'a [Company],
    pub(super) adopted: bool,
    pub(super) export: Option<&'a Handover>,
    pub(super) questions: u32,
}

/// As JSON. The fields are stable.
#[derive(Serialize)]
struct Document<'a> {
    event: &'static str,
    connection: &'a str,
    environment: &'static str,
    config: &'a Path,
    verified: bool,
    identity: Option<&'a Identity>,
    company: Option<&'a Company>,
    companies: &'a [Company],
    adopted: bool,
    export: Option<&'a Path>,
    /// Whether there was a token for it already.
    export_written: bool,
    questions: u32,
    keep_alive: [String; 2],
}

impl End<'_> {
    /// Tells it.
    pub(super) fn tell(&self, context: &Context<'_>) -> Result<(), Failure> {
        let environment = self.open.environment.as_str();
        let commands = Commands::on(self.opener.config());
        let keep_alive = [commands.run(), commands.cron()];
        if context.terminal.is_json() {
            return context.terminal.json(&Document {
                event: "ready",
                connection: self.open.name.as_str(),
                environment,
                config: self.opener.config().path(),
                verified: self.identity.is_some(),
                identity: self.identity,
                company: self.company,
                companies: self.companies,
                adopted: self.adopted,
                export: self.export.map(|export| &*export.file),
                export_written: self.export.is_some_and(|export| export.is_written),
                questions: self.questions,
                keep_alive,
            });
        }
        let name = &self.open.name;
        let who = self.identity.map_or_else(
            || "has the script's tokens".to_owned(),
            |who| format!("signed in to {environment} as {}", login::who(who)),
        );
        context
            .terminal
            .line(format_args!("\n{name}: {who}{}.", self.company_in_words()))?;
        if let Some(export) = self.export {
            context.terminal.line(in_words(export))?;
        }
        let [run, tick] = &keep_alive;
        context.terminal.line(format_args!(
            "\nKeep it alive, one of:\n  {run}\n      in the foreground; `packaging/` has units for systemd, launchd and Windows\n  {tick}\n      \
             a line of the crontab\n\nTry it: {}",
            commands.on_connection("call /rest/v1.0/me", name)
        ))
    }

    fn company_in_words(&self) -> String {
        match self.company {
            Some(company) => format!(", for {company}"),
            None => String::new(),
        }
    }
}

fn in_words(export: &Handover) -> String {
    let file = export.file.display();
    match export.is_written {
        true => format!("{file} is kept fresh for scripts, without a refresh token."),
        false => format!(
            "{file} is written for scripts at the next refresh, without a refresh token, and kept fresh from then on: there is no token \
             with enough time left now."
        ),
    }
}
