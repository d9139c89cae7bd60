//! Whether the configuration can work: the file, the secret, the URLs, the redirect URI; and an old script's file beside it.

use std::path::Path;

use procore_auth_host::{Environment, Grant, Settings};

use super::check::Check;
use super::finding::{About, Finding};
use crate::cli::context::Context;
use crate::cli::env_file::EnvFile;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::open::Opener;
use crate::cli::opened::Opened;
use crate::cli::report;

/// Where scripts keep their variables, below the working directory.
const ENV_FILES: [&str; 2] = [".credentials/procore.env", "procore.env"];

/// The connection that is looked at.
pub(super) struct Subject {
    pub(super) opener: Opener,
    pub(super) settings: Settings,
}

/// Reads the configuration and what it refers to.
pub(super) fn check(context: &Context<'_>) -> (Check, Option<Subject>) {
    let check = Check::of("configuration");
    match read(context) {
        Ok(subject) => {
            let path = subject.opener.config().path().display().to_string();
            let check = check
                .seen(path)
                .seen(format!("connection {}", subject.settings.name))
                .seen("the client secret can be read");
            (check, Some(subject))
        }
        Err(failure) => {
            let explained = *failure.explained();
            let check = check.seen(explained.summary.clone());
            (
                check.found([Finding::trouble(About::Configuration, explained)]),
                None,
            )
        }
    }
}

fn read(context: &Context<'_>) -> Result<Subject, Failure> {
    // What it opens is nobody's else: the end of the process exports no token of it, and delivers no alert.
    let opener = Opener::new(context.config()?, Opened::default())?;
    opener.load_trusted_roots()?;
    let (name, connection) = opener.config().select(context.named())?;
    let settings = connection.settings(name)?;
    Ok(Subject { opener, settings })
}

/// Shows the URLs that follow from the environment, and looks for a script nearby whose URLs do not belong together.
pub(super) async fn urls(subject: &Subject) -> Check {
    let environment = subject.settings.environment;
    let check = Check::of("URLs");
    let check = match subject.opener.advice().endpoints(environment).await {
        Ok(urls) => check
            .seen(format!("authorize {}", urls.authorize_url))
            .seen(format!("token {}", urls.token_url))
            .seen(format!("API {}", urls.api_base))
            .seen(format!(
                "{} takes {}",
                environment.as_str(),
                urls.credentials
            )),
        Err(error) => return check.found([failed(About::Configuration, error.into())]),
    };
    for path in ENV_FILES.map(Path::new) {
        if let Some(finding) = script(subject, path).await {
            return check.found([finding]);
        }
    }
    check
}

/// Finds what is wrong with the URLs of a script's file; `None` where there is none, or nothing.
async fn script(subject: &Subject, path: &Path) -> Option<Finding> {
    let text = std::fs::read(path).ok()?;
    let file = EnvFile::parse(&String::from_utf8_lossy(&text)).ok()?;
    if file.url_names.is_empty() {
        return None;
    }
    let advice = subject.opener.advice();
    let explained = match advice.check_endpoints(file.urls.clone()).await.ok()? {
        Err(diagnosis) => report::explain(Exit::Configuration, &diagnosis),
        Ok(theirs) if theirs != subject.settings.environment => {
            other_environment(subject.settings.environment, theirs)
        }
        Ok(_) => return None,
    };
    let names = file.url_names.join(", ");
    let explained = explained.seen(format!("{}: {names}", path.display()));
    Some(Finding::hint(About::Configuration, explained))
}

fn other_environment(ours: Environment, theirs: Environment) -> Explained {
    let (ours, theirs) = (ours.as_str(), theirs.as_str());
    Explained::new(
        Exit::AtRisk,
        "mixed-environments",
        format!(
            "A script beside this connection works with {theirs}, and the connection with {ours}."
        ),
        "If both are meant, nothing is to be done. Otherwise correct the one that is wrong.",
    )
    .because("Tokens and credentials of one environment are unknown in every other.")
}

/// Checks the redirect URI by Procore's rules.
pub(super) async fn redirect_uri(subject: &Subject) -> Check {
    let Grant::AuthorizationCode { redirect_uri } = &subject.settings.grant else {
        return Check::of("redirect URI").seen("none: a service account needs no sign-in");
    };
    let check = Check::of("redirect URI");
    let advice = subject.opener.advice();
    match advice.check_redirect_uri(redirect_uri, None).await {
        Ok(Ok(redirect)) => check.seen(format!(
            "{} is to be registered like this, to the letter",
            redirect.register
        )),
        Ok(Err(diagnosis)) => {
            let check = check.seen(redirect_uri.clone());
            check.found([Finding::diagnosed(About::Configuration, &diagnosis)])
        }
        Err(error) => check.found([failed(About::Configuration, error.into())]),
    }
}

/// A check that failed in itself.
pub(super) fn failed(about: About, failure: Failure) -> Finding {
    Finding::trouble(about, *failure.explained())
}
