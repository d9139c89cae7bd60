//! `procore-auth doctor`: evidence before verdict.
//!
//! Looks at everything that a working connection rests on, says what it sees while it looks, and then what is wrong, the likeliest root
//! first.
//!
//! | check | looks at | sends |
//! |---|---|---|
//! | configuration | the file, the connection, the secret | |
//! | URLs | what follows from the environment; an old script's file in the working directory | |
//! | redirect URI | Procore's rules | |
//! | store | permissions, lock, who wrote it, what was kept aside | |
//! | login host, API host | DNS, TLS, proxy, who answers | one request each, without credentials |
//! | clock | the dates of those answers | |
//! | credentials | whether the login host knows the pair; if not, which one does | a code that nobody was ever given |
//! | page | what Procore's page said, where the person tells it (`--page`) | |
//! | tokens | what is stored, `token/info`, `/rest/v1.0/me` | the access token, while it lives |
//! | company | whether the account sees a project of it | the same |
//! | keeper, parked requests, alerts | signs of life, what waits | |
//!
//! Nothing is spent: no refresh, no code, no alert is sent. Nothing is changed but what every verb does when it opens a store: folders are
//! created where they are missing, and where the tokens are an older version or a copy, that is noted. A check that fails hides no other one,
//! unless that rests on it. What could not be looked at is a finding too: nobody is told that nothing is wrong by a look that was not taken.

mod check;
mod configuration;
mod credentials;
mod exits;
mod finding;
mod network;
mod procore_page;
mod store;
mod tokens;
mod upkeep;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::report::{self, FailureDocument};
use super::terminal::Terminal;
use check::{Check, Verdict};
use configuration::Subject;
use finding::{About, Finding, ranked};

/// How long all checks together may take.
const LONGEST: Duration = Duration::from_secs(60);

/// What the person knows.
#[derive(Args)]
pub(super) struct Arguments {
    /// What a page of Procore's said when signing in failed; it is explained along with the rest
    #[arg(long, value_name = "TEXT")]
    page: Option<String>,
}

/// What was found, as JSON. The fields are stable.
#[derive(Serialize)]
struct Document<'a> {
    connection: Option<&'a str>,
    checks: Vec<CheckDocument<'a>>,
    /// The likeliest root of the trouble first.
    findings: Vec<FailureDocument<'a>>,
}

#[derive(Serialize)]
struct CheckDocument<'a> {
    name: &'a str,
    verdict: Verdict,
    evidence: &'a [String],
}

/// How the checks ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Complete,
    Interrupted,
    OutOfTime,
}

/// The checks that were made so far, told as they are made.
struct Examination<'a> {
    terminal: &'a Terminal,
    unicode: bool,
    checks: Vec<Check>,
}

/// Looks, tells, and returns the exit code of the first finding.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let mut examination = Examination {
        terminal: &context.terminal,
        unicode: supports_unicode::supports_unicode(),
        checks: Vec::new(),
    };
    let (check, subject) = configuration::check(context);
    examination.add(check)?;
    let ending = match &subject {
        Some(subject) => tokio::select! {
            examined = examination.examine(subject, arguments.page.as_deref()) => examined.map(|()| Ending::Complete)?,
            () = context.shutdown.requested() => Ending::Interrupted,
            () = tokio::time::sleep(LONGEST) => Ending::OutOfTime,
        },
        None => Ending::Complete,
    };
    if let Some(why) = ending.why() {
        examination.add(Check::prevented("the rest", why))?;
    }
    let name = subject
        .as_ref()
        .map(|subject| subject.settings.name.as_str());
    let found = examination.conclude(name)?;
    Ok(match ending {
        Ending::Interrupted => Exit::Interrupted,
        Ending::Complete | Ending::OutOfTime => found,
    })
}

impl Ending {
    /// Says why the rest was not looked at.
    fn why(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Interrupted => Some("interrupted"),
            Self::OutOfTime => Some("the checks took longer than a minute"),
        }
    }
}

impl Examination<'_> {
    /// Makes every check that can be made.
    async fn examine(&mut self, subject: &Subject, page: Option<&str>) -> Result<(), Failure> {
        self.add(configuration::urls(subject).await)?;
        self.add(configuration::redirect_uri(subject).await)?;
        let is_stored = self.add(store::check(subject).await)?;
        let (login_answers, api_answers) = self.reach(subject).await?;
        let pair_is_known = self.add(match login_answers {
            true => credentials::check(subject).await,
            false => Check::skipped("credentials", "the login host cannot be asked"),
        })?;
        if let Some(page) = page {
            self.add(procore_page::check(subject, page, pair_is_known).await)?;
        }
        match (is_stored, login_answers && api_answers) {
            (true, true) => self.tokens(subject).await?,
            (false, _) => self.skip_tokens("the store cannot be used")?,
            (true, false) => self.skip_tokens("Procore cannot be asked")?,
        }
        self.add(upkeep::keeper(subject))?;
        self.add(upkeep::alerts(subject))?;
        Ok(())
    }

    /// Asks both hosts, and compares the clocks. Returns which of them can be asked.
    async fn reach(&mut self, subject: &Subject) -> Result<(bool, bool), Failure> {
        let environment = subject.settings.environment;
        let urls = subject.opener.advice().endpoints(environment).await?;
        let (login, api) = (host(&urls.token_info_url), host(&urls.api_base));
        let http = subject.opener.http();
        let (login, api) = tokio::join!(
            network::ask(http, login, "/oauth/token/info"),
            network::ask(http, api, "/rest/v1.0/me"),
        );
        let login_answers = self.add(network::judge("login host", &login))?;
        let api_answers = self.add(network::judge("API host", &api))?;
        let answers: Vec<_> = [&login, &api].into_iter().flatten().collect();
        self.add(network::clock(&answers))?;
        Ok((login_answers, api_answers))
    }

    async fn tokens(&mut self, subject: &Subject) -> Result<(), Failure> {
        let open = match subject.opener.open_with(subject.settings.clone(), None) {
            Ok(open) => open,
            Err(failure) => {
                let finding = configuration::failed(About::Store, failure);
                self.add(Check::of("tokens").found([finding]))?;
                return Ok(());
            }
        };
        let (check, status) = tokens::check(&open.connection).await;
        let are_sound = self.add(check)?;
        let Some(status) = status else {
            return Ok(());
        };
        self.add(match are_sound {
            true => tokens::company(subject, &open.connection, &status).await,
            false => Check::skipped("company", "the tokens do not work"),
        })?;
        self.add(upkeep::parked(&status))?;
        Ok(())
    }

    fn skip_tokens(&mut self, why: &str) -> Result<(), Failure> {
        for name in ["tokens", "company", "parked requests"] {
            self.add(Check::skipped(name, why))?;
        }
        Ok(())
    }

    /// Tells a check, and returns whether what rests on it can be looked at.
    fn add(&mut self, check: Check) -> Result<bool, Failure> {
        if !self.terminal.is_json() {
            let mark = mark(check.verdict(), self.unicode);
            let mut evidence = check.evidence.iter();
            let first = evidence.next().map_or("", String::as_str);
            self.terminal
                .line(format_args!("{mark} {:<15} {first}", check.name))?;
            for fact in evidence {
                self.terminal.line(format_args!("  {:<15} {fact}", ""))?;
            }
        }
        let is_sound = check.is_sound();
        self.checks.push(check);
        Ok(is_sound)
    }

    /// Says what is wrong, the likeliest root first.
    fn conclude(self, connection: Option<&str>) -> Result<Exit, Failure> {
        let found = self.checks.iter().flat_map(Check::findings).cloned();
        let findings = ranked(found.chain(unseen(&self.checks)).collect());
        if self.terminal.is_json() {
            let explained = findings.iter().map(|finding| &finding.explained);
            self.terminal.json(&Document {
                connection,
                checks: self.checks.iter().map(CheckDocument::from).collect(),
                findings: explained.map(FailureDocument::from).collect(),
            })?;
        } else {
            tell(self.terminal, &findings)?;
        }
        let first = findings.first();
        Ok(first.map_or(Exit::Done, |first| first.explained.exit))
    }
}

/// What could not be looked at, though it was to be.
fn unseen(checks: &[Check]) -> Option<Finding> {
    let prevented = checks.iter().filter(|check| check.is_prevented());
    let facts = prevented.map(|check| format!("{}: {}", check.name, check.evidence.join("; ")));
    let explained = Explained::new(
        Exit::Unavailable,
        "not-checked",
        "Not everything could be looked at.",
        "Mend what else is found, if anything, and run `procore-auth doctor` again.",
    )
    .because("A check was not made; what it would have found is not known.");
    let explained = facts.fold(explained, Explained::seen);
    (!explained.evidence.is_empty()).then(|| Finding::hint(About::Unseen, explained))
}

fn tell(terminal: &Terminal, findings: &[Finding]) -> Result<(), Failure> {
    if findings.is_empty() {
        return terminal.line("\nNothing is wrong as far as can be seen.");
    }
    terminal.line("\nWhat is wrong, the likeliest root first:")?;
    for (index, finding) in findings.iter().enumerate() {
        terminal.line(format_args!(
            "\n{}. {}",
            index + 1,
            report::text(&finding.explained)
        ))?;
    }
    Ok(())
}

fn mark(verdict: Verdict, unicode: bool) -> char {
    match (verdict, unicode) {
        (Verdict::Fine, true) => '✓',
        (Verdict::Fine, false) => '+',
        (Verdict::Doubtful, _) => '!',
        (Verdict::Wrong, true) => '✗',
        (Verdict::Wrong, false) => 'x',
        (Verdict::NotChecked, _) => '-',
    }
}

/// Returns the host of one of the plugin's own URLs.
fn host(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    rest.split('/').next().unwrap_or(rest)
}

impl<'a> From<&'a Check> for CheckDocument<'a> {
    fn from(check: &'a Check) -> Self {
        Self {
            name: check.name,
            verdict: check.verdict(),
            evidence: &check.evidence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Exit, Verdict, host, mark, unseen};

    #[test]
    fn hosts_are_taken_from_the_plugins_urls() {
        assert_eq!(host("https://api.procore.com"), "api.procore.com");
        let login = "https://login.procore.com/oauth/token/info";
        assert_eq!(host(login), "login.procore.com");
    }

    #[test]
    fn marks_are_ascii_where_the_terminal_shows_no_more() {
        for verdict in [
            Verdict::Fine,
            Verdict::Doubtful,
            Verdict::Wrong,
            Verdict::NotChecked,
        ] {
            assert!(mark(verdict, false).is_ascii());
        }
    }

    #[test]
    fn what_could_not_be_looked_at_is_a_finding() {
        let skipped = Check::skipped("company", "the token is due");
        assert!(unseen(&[Check::of("store"), skipped.clone()]).is_none());
        let prevented = Check::prevented("clock", "no server told the time");
        let finding = unseen(&[skipped, prevented]).expect("one was to be made");
        assert_eq!(finding.explained.exit, Exit::Unavailable);
        assert_eq!(
            finding.explained.evidence,
            ["clock: no server told the time"]
        );
    }
}
