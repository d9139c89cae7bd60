//! Whether the login host knows the client id with its secret, and if not, which one does ([`credential_probe`]).

use procore_auth_host::{Diagnosis, Environment, Grant, Settings};

use super::check::Check;
use super::configuration::{Subject, failed};
use super::exits::exit_of;
use super::finding::{About, Finding};
use super::network::unreached;
use crate::cli::credential_probe::{self, Known, Stranger, Unclear};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::report;

const NAME: &str = "credentials";

/// Asks the connection's login host, and where that does not know the pair, the others.
pub(super) async fn check(subject: &Subject) -> Check {
    let settings = &subject.settings;
    let own = settings.environment;
    let check = Check::of(NAME);
    match credential_probe::ask(&subject.opener, settings).await {
        Ok(Known::Here) => check.seen(knows(own)),
        Ok(Known::HereWithoutCodes) => not_for_codes(settings, check.seen(knows(own))),
        Ok(Known::Unclear(why)) => unclear(settings, check, of_unclear(why)),
        Ok(Known::NotHere(stranger)) => {
            let check = stranger.evidence.iter().cloned().fold(check, Check::seen);
            check.found([of_stranger(own, &stranger)])
        }
        Err(error) => check.found([failed(About::Credentials, error.into())]),
    }
}

fn knows(environment: Environment) -> String {
    let name = environment.as_str();
    format!("the login host of {name} knows the client id and its secret")
}

/// The probe is the exchange of a code. A service account exchanges none.
fn not_for_codes(settings: &Settings, check: Check) -> Check {
    let fact = "it exchanges no codes for this app (unauthorized_client)";
    if settings.grant == Grant::ClientCredentials {
        return check.seen(fact).seen("a service account needs none");
    }
    let cause = "The app was made for a service account alone, or that was changed.";
    let finding = without_codes("unauthorized_client", cause, fact);
    check.seen(fact).found([finding])
}

/// What was answered stands in the way of every refresh, unless it is about codes alone.
fn unclear(settings: &Settings, check: Check, finding: Finding) -> Check {
    let is_about_codes = finding.explained.code == "unsupported_grant_type";
    let fact = "it exchanges no codes, which is the way to ask it (unsupported_grant_type)";
    match (is_about_codes, &settings.grant) {
        (true, Grant::ClientCredentials) => Check::prevented(NAME, fact),
        (true, _) => {
            let cause = "The login host takes no codes, from whomever.";
            let finding = without_codes("unsupported_grant_type", cause, fact);
            check.seen(fact).found([finding])
        }
        (false, _) => {
            let check = check.seen(finding.explained.summary.clone());
            check.found([finding])
        }
    }
}

fn without_codes(code: &str, cause: &str, fact: &str) -> Finding {
    let explained = Explained::new(
        Exit::Configuration,
        code,
        "The grant of this connection, authorization-code, is refused.",
        "Look in the developer portal which grants the app has: let it sign users in, or, if it has a service account, set \
         `grant = \"client-credentials\"`.",
    )
    .because(cause)
    .seen(fact);
    Finding::trouble(About::Credentials, explained)
}

fn of_stranger(own: Environment, stranger: &Stranger) -> Finding {
    let mut finding = match stranger.of {
        Some(other) => Finding::trouble(About::Credentials, wrong_environment(own, other)),
        None => Finding::diagnosed(About::Credentials, &stranger.refused),
    };
    finding.explained.evidence.clone_from(&stranger.evidence);
    finding
}

fn wrong_environment(own: Environment, other: Environment) -> Explained {
    let (own, other) = (own.as_str(), other.as_str());
    Explained::new(
        Exit::Configuration,
        "wrong-environment",
        format!("The credentials are of {other}, and the connection is configured for {own}."),
        format!(
            "Set `environment = \"{other}\"`, or take the client id and secret of {own} from the developer portal."
        ),
    )
    .because("Each environment has a credential pair of its own. Procore says \"unknown client\" to the pair of another one.")
}

fn of_unclear(why: Unclear) -> Finding {
    match why {
        Unclear::Unsendable => cannot_be_sent(),
        Unclear::Unanswered { host, failure } => unreached(&host, &failure),
        Unclear::Answered { host, said } if said.code == "ok" => accepted(&host, said),
        Unclear::Answered { said, .. } => refused(&said),
    }
}

/// What a refresh would be told too. Without an error of Procore's own it passes, as it does for the other verbs.
fn refused(said: &Diagnosis) -> Finding {
    let exit = match said.code.starts_with("http-") {
        true => Exit::Unavailable,
        false => exit_of(&said.code),
    };
    let about = match exit {
        Exit::Unavailable => About::Network,
        _ => About::Credentials,
    };
    Finding::trouble(about, report::explain(exit, said))
}

fn accepted(host: &str, said: Diagnosis) -> Finding {
    let mut explained = Explained::new(
        Exit::Unavailable,
        "unexpected-reply",
        format!("Something other than Procore answers for {host}: it takes a code that nobody was ever given."),
        "Open the address in a browser from this machine, and see who answers there; then have that gateway let the host through.",
    )
    .because("A captive portal, a firewall or a gateway answers in the server's place.");
    explained.evidence = said.evidence;
    Finding::trouble(About::Network, explained)
}

fn cannot_be_sent() -> Finding {
    let explained = Explained::new(
        Exit::Configuration,
        "config-invalid",
        "The client id or its secret is no text that can be sent.",
        "Copy both anew from the developer portal.",
    );
    Finding::trouble(About::Configuration, explained)
}
