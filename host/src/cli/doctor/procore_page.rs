//! What a page of Procore's said when a person tried to sign in: the one thing that only the person can know.

use procore_auth_host::{Endpoint, Environment, Error, Grant, Observation};

use super::check::Check;
use super::configuration::{Subject, failed};
use super::finding::{About, Finding};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;

const NAME: &str = "page";

/// No word of a sentence is longer; a code or a token is.
const LONGEST_WORD: usize = 32;

/// What the words become for the plugin. The person does not know the status, and the words decide without it.
const STATUS: u16 = 400;

/// Has the plugin explain the page's words. They are about the link that was opened: it need not be one of this connection's, and is not
/// where the login host knows the pair and the page did not.
pub(super) async fn check(subject: &Subject, text: &str, pair_is_known: bool) -> Check {
    match explain(subject, text, pair_is_known).await {
        Ok(check) => check,
        Err(error) => Check::of(NAME).found([failed(About::Configuration, error.into())]),
    }
}

async fn explain(subject: &Subject, text: &str, pair_is_known: bool) -> Result<Check, Error> {
    let seen = Observation {
        environment: subject.settings.environment,
        endpoint: Endpoint::Authorize,
        url: None,
        status: STATUS,
        headers: Vec::new(),
        body: words(text),
    };
    let said = subject.opener.advice().explain(seen).await?;
    let mut explained = match said.code.as_str() {
        "unexpected-html" => return Ok(unknown()),
        code if code.starts_with("http-") => return Ok(unknown()),
        "invalid_client" if pair_is_known => wrong_link(subject).await?,
        _ => Finding::diagnosed(about(&said.code), &said).explained,
    };
    let fact = format!("told with --page: {}", shortened(&error(text)));
    explained.evidence = vec![fact];
    let check = Check::of(NAME).seen(explained.summary.clone());
    Ok(check.found([Finding::trouble(about(&said.code), explained)]))
}

fn unknown() -> Check {
    Check::prevented(NAME, "these words of Procore's are not known")
}

/// The page does not know an app that its own login host knows.
async fn wrong_link(subject: &Subject) -> Result<Explained, Error> {
    let environment = subject.settings.environment;
    let urls = subject.opener.advice().endpoints(environment).await?;
    Ok(Explained::new(
        Exit::SignInRequired,
        "wrong-link",
        "The link that was opened is of another environment or another app than this connection.",
        cure(subject, &urls.authorize_url),
    )
    .because(format!(
        "The login host of {} knows this connection's client id and secret. Whoever does not know them was asked by another link.",
        named(environment)
    )))
}

fn cure(subject: &Subject, authorize_url: &str) -> String {
    if subject.settings.grant == Grant::ClientCredentials {
        return "Open none: a service account needs no sign-in.".to_owned();
    }
    let connection = &subject.settings.name;
    let client_id = &subject.settings.client_id;
    format!(
        "Open the one that `procore-auth login --connection {connection}` prints: it begins with {authorize_url}? and has client_id={client_id}."
    )
}

fn named(environment: Environment) -> &'static str {
    environment.as_str()
}

/// A pair that is not known is also found by asking, and then with the environment that knows it.
fn about(code: &str) -> About {
    match code {
        "invalid_redirect_uri" => About::Configuration,
        "invalid_client" => About::Credentials,
        _ => About::Tokens,
    }
}

/// Returns what is to be explained: the words, or the error in an address on which the browser ended.
fn words(text: &str) -> Vec<u8> {
    match error_of_address(text) {
        Some(code) => serde_json::json!({ "error": code })
            .to_string()
            .into_bytes(),
        None => text.as_bytes().to_vec(),
    }
}

fn error(text: &str) -> String {
    error_of_address(text).unwrap_or_else(|| text.to_owned())
}

fn error_of_address(text: &str) -> Option<String> {
    let address = url::Url::parse(text.trim()).ok()?;
    let (_, code) = address.query_pairs().find(|(name, _)| name == "error")?;
    Some(code.into_owned())
}

/// Repeats the beginning of what was told, without what may be secret.
fn shortened(text: &str) -> String {
    let words = text.split_whitespace().take(30);
    let words = words.map(|word| {
        if word.len() > LONGEST_WORD {
            "****"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{error, shortened, words};

    #[test]
    fn an_address_with_an_error_says_it() {
        let address = "http://localhost:9876/callback?error=access_denied&state=x";
        assert_eq!(words(address), br#"{"error":"access_denied"}"#);
        assert_eq!(words("unknown client"), b"unknown client");
    }

    #[test]
    fn what_is_repeated_holds_no_secret() {
        let address = "http://localhost:9876/callback?error=access_denied&state=secret";
        assert_eq!(shortened(&error(address)), "access_denied");
        let address = "unknown client http://localhost:9876/callback?code=0123456789abcdef";
        assert_eq!(shortened(&error(address)), "unknown client ****");
    }
}
