//! Whether the login host knows the client id with its secret, and if not, which one does.
//!
//! The probe is the exchange of a code that nobody was ever given. A server looks at the client first: it says `invalid_client` where it does
//! not know the pair, and something else, `invalid_grant` mostly, where it does. Nothing is spent: no token and no code is in it.
//!
//! | answer | the pair | what is wrong |
//! |---|---|---|
//! | `invalid_grant` | known | nothing |
//! | `unauthorized_client` | known | a user's connection lives by codes, which the app may not exchange; to a service account it is all the same |
//! | `invalid_client` | unknown | the pair, or the environment |
//! | anything else | not known | what the answer says: no refresh gets a better one |
//!
//! The other environments' login hosts are asked where the connection's own does not know the pair, and only then: it shows them the secret.
//! They are Procore's, all of them.

use procore_auth_host::{Diagnosis, Endpoint, Environment, Error, Grant, Observation, Settings};

use super::check::Check;
use super::configuration::{Subject, failed};
use super::exits::exit_of;
use super::finding::{About, Finding};
use super::network::{LIMITS, unreached};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::{report, status};

const NAME: &str = "credentials";

const ENVIRONMENTS: [Environment; 4] = [
    Environment::Production,
    Environment::Sandbox,
    Environment::MonthlySandbox,
    Environment::Federal,
];

/// A code that no server ever gave.
const NO_CODE: &str = "procore-auth-doctor-probe";

/// What a service account, which has none, names as its redirect URI.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// What a login host says of the pair.
enum Known {
    Yes,
    /// It knows it, and the app may not exchange codes.
    NotForCodes,
    No(Diagnosis),
    /// It said nothing of the pair.
    Unclear(Box<Finding>),
}

/// Asks the connection's login host, and where that does not know the pair, the others.
pub(super) async fn check(subject: &Subject) -> Check {
    let own = subject.settings.environment;
    let check = Check::of(NAME);
    match probe(subject, own).await {
        Ok(Known::Yes) => check.seen(knows(own)),
        Ok(Known::NotForCodes) => not_for_codes(&subject.settings, check.seen(knows(own))),
        Ok(Known::Unclear(finding)) => unclear(&subject.settings, check, *finding),
        Ok(Known::No(refused)) => elsewhere(subject, check, &refused).await,
        Err(error) => check.found([failed(About::Credentials, error.into())]),
    }
}

fn knows(environment: Environment) -> String {
    let name = status::environment(environment);
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

/// Finds out whose pair it is.
async fn elsewhere(subject: &Subject, check: Check, refused: &Diagnosis) -> Check {
    let own = subject.settings.environment;
    let mut check = check.seen(format!(
        "the login host of {} does not know this client id with this secret",
        status::environment(own)
    ));
    for other in ENVIRONMENTS.into_iter().filter(|other| *other != own) {
        let name = status::environment(other);
        match probe(subject, other).await {
            Ok(Known::Yes | Known::NotForCodes) => {
                let check = check.seen(format!("the login host of {name} knows it"));
                let explained = wrong_environment(own, other, &check.evidence);
                return check.found([Finding::trouble(About::Credentials, explained)]);
            }
            Ok(Known::No(_)) => check = check.seen(format!("nor does that of {name}")),
            Ok(Known::Unclear(finding)) => {
                check = check.seen(format!("{name}: {}", finding.explained.summary));
            }
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

async fn probe(subject: &Subject, environment: Environment) -> Result<Known, Error> {
    let urls = subject.opener.advice().endpoints(environment).await?;
    let host = super::host(&urls.token_url);
    let Ok(request) = request(&urls.token_url, &subject.settings) else {
        return Ok(Known::Unclear(Box::new(cannot_be_sent())));
    };
    let response = match subject.opener.http().send(request, LIMITS).await {
        Ok(response) => response,
        Err(failure) => return Ok(Known::Unclear(Box::new(unreached(host, &failure)))),
    };
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let seen = Observation {
        environment,
        endpoint: Endpoint::Exchange,
        url: None,
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body,
    };
    let said = explain(subject, seen).await?;
    Ok(match said.code.as_str() {
        "invalid_grant" => Known::Yes,
        "unauthorized_client" => Known::NotForCodes,
        "invalid_client" => Known::No(said),
        "ok" => Known::Unclear(Box::new(accepted(host, said))),
        _ => Known::Unclear(Box::new(refused(&said))),
    })
}

/// Explains an answer to the probe. What was seen is the probe's, the exchange of a code. What is to be done about it is what the same
/// answer to the connection's own request would ask for: nobody repeats the probe.
async fn explain(subject: &Subject, seen: Observation) -> Result<Diagnosis, Error> {
    let advice = subject.opener.advice();
    let own = match subject.settings.grant {
        Grant::ClientCredentials => Endpoint::ClientCredentials,
        _ => Endpoint::Refresh,
    };
    let to_its_own = Observation {
        endpoint: own,
        ..seen.clone()
    };
    let mut said = advice.explain(seen).await?;
    said.remedy = advice.explain(to_its_own).await?.remedy;
    Ok(said)
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

fn request(url: &str, settings: &Settings) -> Result<http::Request<Vec<u8>>, http::Error> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", NO_CODE)
        .append_pair("client_id", &settings.client_id)
        .append_pair("client_secret", settings.client_secret.expose());
    // Without one the request is incomplete, which a server finds out before it looks at the client.
    let redirect_uri = match &settings.grant {
        Grant::AuthorizationCode { redirect_uri } => redirect_uri.as_str(),
        _ => OUT_OF_BAND,
    };
    form.append_pair("redirect_uri", redirect_uri);
    http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form.finish().into_bytes())
}
