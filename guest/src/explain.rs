//! What Procore's answers mean: from status, headers and body to cause and cure.
//!
//! Answers are classified by their `error` code, never by status or wording: servers of different versions give the same
//! code with 400 or 401 and in two wordings. The table is that of `docs/procore-oauth.md`.

use fluent_uri::Uri;

use crate::{
    diagnosis::{Diagnosis, PATIENCE},
    environment::Environment,
    http::{Header, find_header},
    json::Fields,
    search,
};

/// The code that says that the API does not accept an access token.
pub const TOKEN_REJECTED: &str = "token-rejected";

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The authorize page.
    Authorize,
    /// The token endpoint, on a code exchange.
    Exchange,
    /// The token endpoint, on a refresh.
    Refresh,
    /// The token endpoint, with client credentials.
    ClientCredentials,
    /// The REST API.
    Api,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Self::Authorize => "the authorize page",
            Self::Exchange => "the token endpoint (code exchange)",
            Self::Refresh => "the token endpoint (refresh)",
            Self::ClientCredentials => "the token endpoint (client credentials)",
            Self::Api => "the API",
        }
    }
}

/// What a server said.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The environment that was meant.
    pub environment: Environment,
    /// Where it came from.
    pub endpoint: Endpoint,
    /// The URL that was called, where it may differ from the environment's own.
    pub url: Option<&'a str>,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a [Header],
    /// The body, or its beginning.
    pub body: &'a [u8],
}

/// The machine-readable part of an OAuth error (RFC 6749, section 5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OAuthError {
    /// The code; empty where the answer names none.
    pub code: String,
    /// The server's words.
    pub description: String,
}

impl OAuthError {
    /// Reads the error of a JSON body, or else of a `WWW-Authenticate: Bearer` header (RFC 6750, section 3).
    pub fn read(headers: &[Header], body: &[u8]) -> Self {
        Self::from_body(body)
            .or_else(|| Self::from_header(find_header(headers, "www-authenticate")?))
            .unwrap_or_default()
    }

    /// Reads the error of a JSON body.
    pub fn from_body(body: &[u8]) -> Option<Self> {
        let fields = Fields::read(body)?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let code = text("error");
        is_code(code).then(|| Self {
            code: code.to_owned(),
            description: shortened(text("error_description")),
        })
    }

    fn from_header(challenge: &str) -> Option<Self> {
        let parameter = |name: &str| {
            let opening = format!("{name}=\"");
            let begin = search::find(challenge, &opening)? + opening.len();
            let (value, _) = challenge.get(begin..)?.split_once('"')?;
            Some(value)
        };
        let code = parameter("error").filter(|code| is_code(code))?;
        Some(Self {
            code: code.to_owned(),
            description: shortened(parameter("error_description").unwrap_or_default()),
        })
    }
}

/// Whether the text is an error code and not a sentence: what is repeated to people must not be a token that a server echoed.
fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Whether the text has the form of a UUID and can be no token.
fn is_request_id(text: &str) -> bool {
    (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Returns the beginning of a server's words, without what looks like a token: no word of a sentence is that long.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for word in text.split_ascii_whitespace() {
        let word = if word.len() > 32 { "****" } else { word };
        if short.len() + word.len() >= 300 {
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        // What is told goes to terminals, which take such characters for commands.
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        short.extend(word.chars().map(shown));
    }
    short
}

/// Explains an answer. For a status below 400 without an `error` the code is `ok`.
pub fn explain(seen: &Observation<'_>) -> Diagnosis {
    let error = OAuthError::read(seen.headers, seen.body);
    let diagnosis = match wrong_url(seen) {
        Some(diagnosis) if seen.status >= 400 => diagnosis,
        // The authorize page says what is wrong in HTML, and with 200.
        _ if seen.status < 400 && error.code.is_empty() && seen.endpoint != Endpoint::Authorize => {
            if seen.status < 300 || seen.endpoint == Endpoint::Api {
                return accepted();
            }
            answered_by_another("redirected", "A redirect", seen.endpoint)
        }
        _ if seen.endpoint == Endpoint::Api => explain_api(seen),
        _ => explain_login(seen, &error),
    };
    diagnosis.with_evidence(facts(seen, &error))
}

fn accepted() -> Diagnosis {
    Diagnosis::new(
        "ok",
        "The server accepted the request.",
        "Nothing is the matter.",
        "Nothing to do.",
    )
}

fn facts(seen: &Observation<'_>, error: &OAuthError) -> Vec<String> {
    let mut facts = vec![format!(
        "{} of {} answered {}",
        seen.endpoint.name(),
        seen.environment.name(),
        seen.status
    )];
    if !error.code.is_empty() {
        facts.push(format!("error: {}", error.code));
    }
    if !error.description.is_empty() {
        facts.push(format!("the server's words: {}", error.description));
    }
    if let Some(id) = find_header(seen.headers, "x-request-id").filter(|id| is_request_id(id)) {
        facts.push(format!("x-request-id: {id}"));
    }
    facts
}

/// The longest name that DNS knows (RFC 1035, section 2.3.4), with its dots. What is longer is not told.
const LONGEST_HOST: usize = 253;

/// Names the host where the URL that was called is not of the environment that was meant.
fn wrong_url(seen: &Observation<'_>) -> Option<Diagnosis> {
    let called = Uri::parse(seen.url?).ok()?;
    let host = called.authority()?.host().to_ascii_lowercase();
    if host.len() > LONGEST_HOST {
        return None;
    }
    let (right, role): (&[&str], _) = match seen.endpoint {
        Endpoint::Api => (seen.environment.api_hosts(), "API"),
        _ => (&[seen.environment.login_host()], "login"),
    };
    if right.contains(&host.as_str()) {
        return None;
    }
    let environment = seen.environment.name();
    Some(Diagnosis::new(
        "wrong-host",
        &format!("The {role} call went to {host}, which is not the {role} host of {environment}."),
        &format!(
            "Tokens and credentials of {environment} are unknown on {host}; the server's own words mislead here."
        ),
        &format!("Call https://{} instead.", right[0]),
    ))
}

/// Explains a refusal of the login host.
fn explain_login(seen: &Observation<'_>, error: &OAuthError) -> Diagnosis {
    let environment = seen.environment;
    let login_host = environment.login_host();
    match error.code.as_str() {
        "invalid_client" => Diagnosis::new(
            "invalid_client",
            &format!("{login_host} does not know this client id with this secret."),
            "The client id and secret belong to another environment, the id is mistyped, or the secret was reset. Tokens are not dead: \
             they are kept.",
            &format!(
                "Use {}, as the developer portal shows them now; or change `environment` to the one they belong to. {}",
                environment.credentials(),
                match seen.endpoint {
                    Endpoint::Authorize | Endpoint::Exchange =>
                        "Then run `procore-auth login` again.",
                    _ => "No new sign-in is needed after that.",
                }
            ),
        ),
        "invalid_grant" => explain_invalid_grant(seen.endpoint, login_host),
        "invalid_request" if seen.endpoint == Endpoint::Authorize => redirect_mismatch(),
        "invalid_request" => Diagnosis::new(
            "invalid_request",
            "The token endpoint found the request incomplete.",
            "A parameter is missing or malformed. This is a defect of procore-auth, or a change at Procore.",
            "Report it with the evidence; the tokens are kept.",
        ),
        "unauthorized_client" | "unsupported_grant_type" => Diagnosis::new(
            &error.code,
            "The app may not use this grant.",
            "The app has no Developer Managed Service Account component (for client credentials), or it was not installed in the company.",
            "Add the service account component to the app's manifest in the developer portal and install the new version, or set \
             `grant = \"authorization-code\"`.",
        ),
        "invalid_scope" => Diagnosis::new(
            "invalid_scope",
            "The server does not grant the requested scope.",
            "The app's configuration in the developer portal changed.",
            "Check the app in the developer portal.",
        ),
        "invalid_redirect_uri" => redirect_mismatch(),
        "access_denied" => Diagnosis::new(
            "access_denied",
            "The sign-in was declined.",
            "The person chose not to allow the app, or an admin's rule forbids it.",
            "Sign in again and choose Allow; if that is not offered, ask the company's Procore admin.",
        ),
        _ => explain_by_body(seen, &error.code),
    }
}

fn redirect_mismatch() -> Diagnosis {
    Diagnosis::new(
        "invalid_redirect_uri",
        "The redirect URI is not one that is registered for the app.",
        "The server compares every character with the developer portal: scheme, host, port, path and trailing slash.",
        "Copy the `redirect_uri` of the configuration into the app's redirect URIs in the developer portal, unchanged.",
    )
}

fn explain_invalid_grant(endpoint: Endpoint, login_host: &str) -> Diagnosis {
    match endpoint {
        Endpoint::Exchange => Diagnosis::new(
            "invalid_grant",
            "The authorization code was not accepted.",
            "The code was used before, is older than 10 minutes, or is of another app, environment or redirect URI.",
            "Run `procore-auth login` again and finish within 10 minutes.",
        ),
        _ => Diagnosis::new(
            "invalid_grant",
            &format!("{login_host} does not accept this refresh token any more."),
            "It was spent by another program, the grant was revoked, or it belongs to another environment or app.",
            "Run `procore-auth login`. Make sure that no other program refreshes the same token.",
        ),
    }
}

/// Explains an answer that names no OAuth error.
fn explain_by_body(seen: &Observation<'_>, code: &str) -> Diagnosis {
    let text =
        String::from_utf8_lossy(&seen.body[..seen.body.len().min(64 * 1024)]).to_ascii_lowercase();
    if seen.endpoint == Endpoint::Authorize {
        if search::contains(&text, "redirect uri") {
            return redirect_mismatch();
        }
        if search::contains(&text, "unknown client")
            || search::contains(&text, "client authentication failed")
        {
            return explain_login(
                seen,
                &OAuthError {
                    code: "invalid_client".to_owned(),
                    description: String::new(),
                },
            );
        }
    }
    if seen.endpoint == Endpoint::Authorize && seen.status < 400 {
        return accepted();
    }
    if text.trim_start().starts_with('<') {
        return answered_by_another("unexpected-html", "A web page", seen.endpoint);
    }
    Diagnosis {
        code: if code.is_empty() {
            format!("http-{}", seen.status)
        } else {
            code.to_owned()
        },
        ..transient(seen.status, seen.endpoint.name())
    }
}

fn answered_by_another(code: &str, what: &str, endpoint: Endpoint) -> Diagnosis {
    Diagnosis::new(
        code,
        &format!("{what} came back instead of {}'s reply.", endpoint.name()),
        "A gateway, a firewall or a captive portal answered in the server's place.",
        PATIENCE,
    )
}

fn transient(status: u16, what: &str) -> Diagnosis {
    Diagnosis::new(
        &format!("http-{status}"),
        &format!(
            "{what} answered {status} without a usable reply.",
            what = capitalized(what)
        ),
        "The server, or something in front of it, is in trouble.",
        PATIENCE,
    )
}

fn capitalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Explains a refusal of the API.
fn explain_api(seen: &Observation<'_>) -> Diagnosis {
    let text =
        String::from_utf8_lossy(&seen.body[..seen.body.len().min(16 * 1024)]).to_ascii_lowercase();
    if search::contains(&text, "procore-company-id") {
        return Diagnosis::new(
            "company-id-missing",
            "The call needs a company id.",
            "Every call but a few names its company in the header Procore-Company-Id.",
            "Set `company_id` in the connection's configuration, or pass `--company ID`.",
        );
    }
    match seen.status {
        401 => rejected_token(seen),
        403 if search::contains(&text, "not connected") => Diagnosis::new(
            "app-not-connected",
            "The app is not connected to this company.",
            "A company admin disconnected the app, or it was never installed there. The token is fine: signing in again does not help.",
            "Ask the company's Procore admin to install or connect the app (Company Admin, App Management), or correct the company id.",
        ),
        403 => Diagnosis::new(
            "forbidden",
            "The account may not do this.",
            "The user or service account lacks the permission, or the project is not permitted for the app. The token is fine.",
            "Ask the company's Procore admin; for a service account, check its permitted projects (again after each reinstall).",
        ),
        404 => Diagnosis::new(
            "not-found",
            "Procore found nothing there, or does not show it to this account.",
            "The id or path is wrong, the company id is missing or another one, or the account may not see it.",
            "Check the path and the ids, then the account's permissions in that project.",
        ),
        429 => Diagnosis::new(
            "rate-limited",
            "The rate limit is reached.",
            "The app made too many calls within the hour or within ten seconds; failed calls count too.",
            "Nothing to do: calls go on when the window resets. If it is frequent, call less often.",
        ),
        500..=599 | 408
            if text.trim_start().starts_with('<') || seen.status >= 500 || seen.status == 408 =>
        {
            transient(seen.status, "the API")
        }
        status => Diagnosis::new(
            &format!("http-{status}"),
            &format!("The API refused the request with {status}."),
            "The request itself is not acceptable to Procore.",
            "Read the reply's body; it names the field.",
        ),
    }
}

fn rejected_token(seen: &Observation<'_>) -> Diagnosis {
    let description = OAuthError::read(seen.headers, seen.body)
        .description
        .to_ascii_lowercase();
    let environment = seen.environment;
    let cause = if search::contains(&description, "expired") {
        "The access token has expired at the server: this machine's clock may be wrong, or the token was kept for too long."
    } else if search::contains(&description, "revoked") {
        "The access token was revoked: by a sign-out, the user (My Connected Apps), a reset of the secret, or a refresh elsewhere."
    } else {
        "The token is not one of this API host's environment, has expired or was revoked, or the app is not installed for the company."
    };
    Diagnosis::new(
        TOKEN_REJECTED,
        "The API does not accept the access token.",
        cause,
        &format!(
            "It is renewed once by itself. If it is rejected again, check that the token is of {}: its API is {}.",
            environment.name(),
            environment.api_base()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(endpoint: Endpoint, status: u16, body: &str) -> Diagnosis {
        seen_at(endpoint, None, status, body)
    }

    fn seen_at(endpoint: Endpoint, url: Option<&str>, status: u16, body: &str) -> Diagnosis {
        let environment = Environment::Sandbox;
        explain(&Observation {
            environment,
            endpoint,
            url,
            status,
            headers: &[],
            body: body.as_bytes(),
        })
    }

    #[test]
    fn the_code_decides_and_neither_status_nor_wording() {
        for status in [400, 401] {
            for words in [
                "The provided authorization grant is invalid, expired, revoked, …",
                "The provided authorization grant or refresh token is invalid",
            ] {
                let body =
                    serde_json::json!({"error": "invalid_grant", "error_description": words})
                        .to_string();
                assert_eq!(seen(Endpoint::Refresh, status, &body).code, "invalid_grant");
            }
        }
        assert_eq!(
            seen(Endpoint::Refresh, 401, r#"{"error":"invalid_client"}"#).code,
            "invalid_client"
        );
    }

    #[test]
    fn the_rows_of_the_error_tables() {
        for (endpoint, status, body, code) in [
            (
                Endpoint::Exchange,
                401,
                r#"{"error":"invalid_client","error_description":"Client authentication failed due to unknown client"}"#,
                "invalid_client",
            ),
            (
                Endpoint::Exchange,
                400,
                r#"{"error":"invalid_grant"}"#,
                "invalid_grant",
            ),
            (
                Endpoint::Exchange,
                400,
                r#"{"error":"invalid_request"}"#,
                "invalid_request",
            ),
            (
                Endpoint::ClientCredentials,
                400,
                r#"{"error":"unauthorized_client"}"#,
                "unauthorized_client",
            ),
            (
                Endpoint::ClientCredentials,
                400,
                r#"{"error":"unsupported_grant_type"}"#,
                "unsupported_grant_type",
            ),
            (
                Endpoint::Authorize,
                400,
                "<p>The requested redirect uri is malformed or doesn't match client redirect URI.</p>",
                "invalid_redirect_uri",
            ),
            (
                Endpoint::Authorize,
                200,
                "<p>The requested redirect uri is malformed or doesn't match client redirect URI.</p>",
                "invalid_redirect_uri",
            ),
            (Endpoint::Authorize, 200, "<form>Sign in</form>", "ok"),
            (
                Endpoint::Refresh,
                500,
                r#"{"error":"server_error"}"#,
                "server_error",
            ),
            (
                Endpoint::Authorize,
                401,
                "<p>Client authentication failed due to unknown client, …</p>",
                "invalid_client",
            ),
            (
                Endpoint::Authorize,
                302,
                r#"{"error":"access_denied"}"#,
                "access_denied",
            ),
            (
                Endpoint::Refresh,
                403,
                "<html>Request blocked</html>",
                "unexpected-html",
            ),
            (Endpoint::Refresh, 502, "", "http-502"),
            (Endpoint::Api, 401, "{}", "token-rejected"),
            (
                Endpoint::Api,
                403,
                r#"{"errors":["App is not connected to this company."]}"#,
                "app-not-connected",
            ),
            (
                Endpoint::Api,
                403,
                r#"{"errors":["You do not have permission"]}"#,
                "forbidden",
            ),
            (
                Endpoint::Api,
                400,
                r#"{"errors":"Missing Procore-Company-Id header!"}"#,
                "company-id-missing",
            ),
            (
                Endpoint::Api,
                403,
                r#"{"errors":"Missing Procore-Company-Id header!"}"#,
                "company-id-missing",
            ),
            (Endpoint::Api, 404, "{}", "not-found"),
            (Endpoint::Api, 422, "{}", "http-422"),
            (Endpoint::Api, 429, "{}", "rate-limited"),
            (Endpoint::Api, 503, "<html>", "http-503"),
            (Endpoint::Api, 200, "{}", "ok"),
        ] {
            assert_eq!(
                seen(endpoint, status, body).code,
                code,
                "{endpoint:?} {status} {body}"
            );
        }
    }

    #[test]
    fn me_on_the_wrong_api_host_is_named() {
        let diagnosis = seen_at(
            Endpoint::Api,
            Some("https://api.procore.com/rest/v1.0/me"),
            401,
            "{}",
        );
        assert_eq!(diagnosis.code, "wrong-host");
        assert!(diagnosis.remedy.contains("https://sandbox.procore.com"));
    }

    #[test]
    fn an_exchange_at_the_wrong_login_host_is_named() {
        let diagnosis = seen_at(
            Endpoint::Exchange,
            Some("https://login.procore.com/oauth/token"),
            401,
            r#"{"error":"invalid_client"}"#,
        );
        assert_eq!(diagnosis.code, "wrong-host");
        assert!(
            diagnosis
                .remedy
                .contains("https://login-sandbox.procore.com")
        );
        assert!(
            diagnosis
                .evidence
                .iter()
                .any(|fact| fact.contains("invalid_client"))
        );
    }

    #[test]
    fn the_challenge_header_is_read() {
        let headers = [Header::new(
            "WWW-Authenticate",
            r#"Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token expired""#,
        )];
        let error = OAuthError::read(&headers, b"");
        assert_eq!(
            (error.code.as_str(), error.description.as_str()),
            ("invalid_token", "The access token expired")
        );
    }

    #[test]
    fn a_host_that_is_none_is_not_told_at_length() {
        let url = format!("https://{}.example/oauth/token", "a".repeat(2000));
        let told = seen_at(Endpoint::Refresh, Some(&url), 404, "");
        assert_eq!(told.code, "http-404");
    }

    #[test]
    fn a_redirect_of_the_login_host_is_no_success() {
        for status in [301, 302, 303, 307, 308] {
            for endpoint in [
                Endpoint::Exchange,
                Endpoint::Refresh,
                Endpoint::ClientCredentials,
            ] {
                assert_eq!(seen(endpoint, status, "").code, "redirected");
            }
            // The API answers so where a file lies elsewhere.
            assert_eq!(seen(Endpoint::Api, status, "").code, "ok");
        }
    }

    #[test]
    fn what_a_server_echoes_is_not_repeated() {
        let token = "eyJhbGciOiJFUzUxMiJ9.eyJhbXIiOltdLCJhaWQiOiJ0b2tlbiJ9";
        let body = serde_json::json!({"error": "invalid_grant", "error_description": format!("bad token {token}")}).to_string();
        let text = format!("{:?}", seen(Endpoint::Refresh, 400, &body));
        assert!(
            !text.contains(token) && text.contains("bad token ****"),
            "{text}"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_answer_gets_an_explanation(status in 0u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..60), challenge in ".{0,60}") {
            for endpoint in [Endpoint::Authorize, Endpoint::Exchange, Endpoint::Refresh, Endpoint::ClientCredentials, Endpoint::Api] {
                let headers = [Header::new("www-authenticate", &challenge)];
                let environment = Environment::Production;
                let diagnosis = explain(&Observation { environment, endpoint, url: Some("https://a"), status, headers: &headers, body: &body });
                proptest::prop_assert!(!diagnosis.code.is_empty() && !diagnosis.remedy.is_empty());
            }
        }
    }

    /// What is told goes to terminals: a server's words must not be commands there.
    #[test]
    fn a_servers_words_hold_nothing_that_a_terminal_obeys() {
        let body = br#"{"error":"invalid_scope","error_description":"\u001b]0;a\u0007 b\u009b2J"}"#;
        let told = OAuthError::from_body(body).expect("an error").description;
        assert_eq!(told, "\u{fffd}]0;a\u{fffd} b\u{fffd}2J");
    }
}
