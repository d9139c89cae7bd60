//! Whether the login host knows the client id with its secret, and if not, which one does.
//!
//! The probe is the exchange of a code that nobody was ever given. A server looks at the client first: it says `invalid_client` where it does
//! not know the pair, and something else, `invalid_grant` mostly, where it does. Nothing is spent: no token and no code is in it.
//!
//! The other environments' login hosts are asked where the connection's own does not know the pair, and only then: it shows them the secret.
//! They are Procore's, all of them.

use procore_auth_host::{Diagnosis, Endpoint, Environment, Error, Grant, Observation, Settings};

use super::check::Check;
use super::configuration::{Patient, failed};
use super::finding::{About, Finding};
use super::network::LIMITS;
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::status;

const ENVIRONMENTS: [Environment; 4] = [
    Environment::Production,
    Environment::Sandbox,
    Environment::MonthlySandbox,
    Environment::Federal,
];

/// A code that no server ever gave.
const NO_CODE: &str = "procore-auth-doctor-probe";

/// What a login host says of the pair.
enum Known {
    Yes,
    No(Diagnosis),
    /// It could not be asked, or said nothing of use.
    Unclear(String),
}

/// Asks the connection's login host, and where that does not know the pair, the others.
pub(super) async fn check(patient: &Patient) -> Check {
    let own = patient.settings.environment;
    let check = Check::of("credentials");
    match probe(patient, own).await {
        Ok(Known::Yes) => check.seen(format!(
            "the login host of {} knows the client id and its secret",
            status::environment(own)
        )),
        Ok(Known::Unclear(why)) => Check::skipped("credentials", why),
        Ok(Known::No(refused)) => elsewhere(patient, check, &refused).await,
        Err(error) => check.found([failed(About::Credentials, error.into())]),
    }
}

/// Finds out whose pair it is.
async fn elsewhere(patient: &Patient, check: Check, refused: &Diagnosis) -> Check {
    let own = patient.settings.environment;
    let mut check = check.seen(format!(
        "the login host of {} does not know this client id with this secret",
        status::environment(own)
    ));
    for other in ENVIRONMENTS.into_iter().filter(|other| *other != own) {
        let name = status::environment(other);
        match probe(patient, other).await {
            Ok(Known::Yes) => {
                let check = check.seen(format!("the login host of {name} knows it"));
                let explained = wrong_environment(own, other, &check.evidence);
                return check.found([Finding::trouble(About::Credentials, explained)]);
            }
            Ok(Known::No(_)) => check = check.seen(format!("nor does that of {name}")),
            Ok(Known::Unclear(why)) => check = check.seen(format!("{name}: {why}")),
            Err(error) => return check.found([failed(About::Credentials, error.into())]),
        }
    }
    let mut finding = Finding::diagnosed(About::Credentials, refused);
    finding.explained.evidence.clone_from(&check.evidence);
    check.found([finding])
}

fn wrong_environment(own: Environment, other: Environment, evidence: &[String]) -> Explained {
    let (own, other) = (status::environment(own), status::environment(other));
    let mut explained = Explained::new(
        Exit::Configuration,
        "wrong-environment",
        format!("The credentials are of {other}, and the connection is configured for {own}."),
        format!(
            "Set `environment = \"{other}\"`, or take the client id and secret of {own} from the developer portal."
        ),
    )
    .because("Each environment has a credential pair of its own. Procore says \"unknown client\" to the pair of another one.");
    explained.evidence = evidence.to_vec();
    explained
}

async fn probe(patient: &Patient, environment: Environment) -> Result<Known, Error> {
    let advice = patient.opener.advice();
    let urls = advice.endpoints(environment).await?;
    let request = request(&urls.token_url, &patient.settings);
    let Ok(request) = request else {
        return Ok(Known::Unclear(
            "the client id is no text that can be sent".to_owned(),
        ));
    };
    let response = match patient.opener.http().send(request, LIMITS).await {
        Ok(response) => response,
        Err(failure) => return Ok(Known::Unclear(failure.message)),
    };
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let seen = Observation {
        environment,
        // What it means for refreshes is asked, and not for the probe, which nobody repeats.
        endpoint: Endpoint::Refresh,
        url: None,
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body,
    };
    let said = advice.explain(seen).await?;
    Ok(match said.code.as_str() {
        "invalid_client" => Known::No(said),
        "invalid_grant" | "unauthorized_client" | "unsupported_grant_type" => Known::Yes,
        _ => Known::Unclear(format!(
            "the login host says nothing of it: {}",
            said.summary
        )),
    })
}

fn request(url: &str, settings: &Settings) -> Result<http::Request<Vec<u8>>, http::Error> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", NO_CODE)
        .append_pair("client_id", &settings.client_id)
        .append_pair("client_secret", settings.client_secret.expose());
    if let Grant::AuthorizationCode { redirect_uri } = &settings.grant {
        form.append_pair("redirect_uri", redirect_uri);
    }
    http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form.finish().into_bytes())
}
