//! What a page of Procore's said when a person tried to sign in: the one thing that only the person can know.

use procore_auth_host::{Endpoint, Observation};

use super::check::Check;
use super::configuration::{Patient, failed};
use super::finding::{About, Finding};

/// Has the plugin explain the page's words.
pub(super) async fn check(patient: &Patient, text: &str) -> Check {
    let check = Check::of("page");
    let seen = Observation {
        environment: patient.settings.environment,
        endpoint: Endpoint::Authorize,
        url: None,
        status: 400,
        headers: Vec::new(),
        body: words(text),
    };
    match patient.opener.advice().explain(seen).await {
        Ok(said) if said.code.starts_with("http-") => {
            Check::skipped("page", "these words of Procore's are not known")
        }
        Ok(said) => check
            .seen(said.summary.clone())
            .found([Finding::diagnosed(about(&said.code), &said)]),
        Err(error) => check.found([failed(About::Configuration, error.into())]),
    }
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
    let address = url::Url::parse(text.trim()).ok();
    let error = address.and_then(|address| {
        let mut pairs = address.query_pairs();
        let (_, code) = pairs.find(|(name, _)| name == "error")?;
        Some(serde_json::json!({ "error": code }).to_string())
    });
    error.map_or_else(|| text.as_bytes().to_vec(), String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn an_address_with_an_error_says_it() {
        let address = "http://localhost:9876/callback?error=access_denied&state=x";
        assert_eq!(words(address), br#"{"error":"access_denied"}"#);
        assert_eq!(words("unknown client"), b"unknown client");
    }
}
