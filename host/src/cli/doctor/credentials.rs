//! Whether the login host knows the client id with its secret, and if not, which one does.

use procore_auth_host::Environment;

use super::check::Check;
use super::configuration::{Patient, failed};
use super::finding::{About, Finding};
use crate::cli::credential_probe::{self, Known, Stranger};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::status;

/// Asks the connection's login host, and where that does not know the pair, the others.
pub(super) async fn check(patient: &Patient) -> Check {
    let own = patient.settings.environment;
    let check = Check::of("credentials");
    match credential_probe::ask(&patient.opener, &patient.settings).await {
        Ok(Known::Here) => check.seen(format!(
            "the login host of {} knows the client id and its secret",
            status::environment(own)
        )),
        Ok(Known::Unclear(why)) => Check::skipped("credentials", why),
        Ok(Known::NotHere(stranger)) => {
            let check = stranger.evidence.iter().cloned().fold(check, Check::seen);
            check.found([finding(own, &stranger)])
        }
        Err(error) => check.found([failed(About::Credentials, error.into())]),
    }
}

fn finding(own: Environment, stranger: &Stranger) -> Finding {
    let mut finding = match stranger.of {
        Some(other) => Finding::trouble(About::Credentials, wrong_environment(own, other)),
        None => Finding::diagnosed(About::Credentials, &stranger.refused),
    };
    finding.explained.evidence.clone_from(&stranger.evidence);
    finding
}

fn wrong_environment(own: Environment, other: Environment) -> Explained {
    let (own, other) = (status::environment(own), status::environment(other));
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
