//! The egress policy: where a connection's requests may go, and what they may carry there.
//!
//! | request to | permitted | client secret | `authorization` |
//! |---|---|---|---|
//! | the environment's login origin | any method below, any path | in `POST /oauth/token` and `POST /oauth/revoke` without a query | yes |
//! | an API origin of the environment | any method below, any path | no | yes |
//! | another environment's login origin | `GET /oauth/token/info` without a query, and only with [`Egress::with_token_info_probes`] | no | yes |
//! | anything else | no | no | no |
//!
//! | environment | login origin | API origins |
//! |---|---|---|
//! | production | `login.procore.com` | `api.procore.com` |
//! | sandbox | `login-sandbox.procore.com` | `sandbox.procore.com` |
//! | monthly sandbox | `login-sandbox-monthly.procore.com` | `monthly-sandbox.procore.com`, `api-monthly.procore.com` |
//! | federal | `login.procoregov.com` | `api.procoregov.com` |
//!
//! | part | rule |
//! |---|---|
//! | method | one of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, in capitals |
//! | scheme | `https` |
//! | user information, fragment | none |
//! | host | a name, written plainly: no address, no trailing dot, no escapes, no other alphabet; letter case does not matter |
//! | port | none, or `:443` |
//! | the text of a URL | visible ASCII without `\`: parsers disagree about everything else |
//! | path | sent in its normal form: `/a/../b` goes out as `/b`, and is judged as that |
//! | header name | a token (RFC 9110, section 5.1), and not one that the host or the connection owns: `host`, `content-length`, `transfer-encoding`, `connection`, `keep-alive`, `proxy-…`, `te`, `trailer`, `upgrade`, `expect`, `user-agent` |
//! | header value | visible ASCII, spaces and tabs: no CR, LF or NUL |
//! | `authorization` | once at most |
//!
//! Other languages have their own code for this: `tests/conformance/egress.json` has the cases that all of them are tested with.
//!
//! A refusal happens before a socket is opened, and names its reason without repeating what was refused: that text may hold a
//! token.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use url::Url;

use crate::Environment;

/// The path of the probe that tells what a token is, and spends nothing.
const TOKEN_INFO_PATH: &str = "/oauth/token/info";

/// Where tokens come from, and where they are revoked: these forms carry the client secret, and no others.
const SECRET_PATHS: [&str; 2] = ["/oauth/token", "/oauth/revoke"];

/// An origin (RFC 6454, section 4) with the scheme `https`: a host name in lower case, and a port.
/// Equality is the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    fn named(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            port: 443,
        }
    }

    fn of(url: &Url) -> Option<Self> {
        match (url.scheme(), url.host()?) {
            ("https", url::Host::Domain(host)) => Some(Self {
                host: host.to_owned(),
                port: url.port_or_known_default()?,
            }),
            _ => None,
        }
    }
}

/// Where a permitted request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The environment's login origin.
    Login,
    /// One of the environment's API origins.
    Api,
    /// Another environment's `token/info`, for a diagnosis. Send no body there.
    TokenInfoProbe,
}

/// A request line that the policy permits. Send this, not the text it was made from: what was checked is what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The method.
    pub method: Method,
    /// The absolute URI, in its normal form.
    pub uri: Uri,
    /// Whose it is.
    pub destination: Destination,
}

/// The policy of one connection, as the tables of this module tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    login: Origin,
    api: Vec<Origin>,
    token_info_probes: bool,
}

impl Egress {
    /// Makes the policy of an environment.
    pub fn for_environment(environment: Environment) -> Self {
        let (login, api): (_, &[_]) = hosts(environment);
        Self {
            login: Origin::named(login),
            api: api.iter().copied().map(Origin::named).collect(),
            token_info_probes: false,
        }
    }

    /// Permits to ask every environment's login origin what a token is. For `advice.diagnose` only: the token in question
    /// is shown to a login host that did not issue it.
    #[must_use]
    pub fn with_token_info_probes(self) -> Self {
        Self {
            token_info_probes: true,
            ..self
        }
    }

    /// Returns the API origin where the environment has one only, such as `https://api.procore.com`.
    pub fn only_api_origin(&self) -> Option<String> {
        match self.api.as_slice() {
            [only] => Some(format!("https://{}", only.host)),
            _ => None,
        }
    }

    /// Checks a request line. `uses_secret` tells whether the body is to hold the client secret.
    pub fn permit(&self, method: &str, url: &str, uses_secret: bool) -> Result<Permit, Refusal> {
        let method = permitted_method(method)?;
        let url = plain_url(url)?;
        let destination = self.destination(&method, &url)?;
        if uses_secret && !(destination == Destination::Login && takes_secret(&method, &url)) {
            return Err(Refusal::SecretElsewhere);
        }
        // A second parser must see the same host, since it is the one that the client uses.
        let uri: Uri = url.as_str().parse().map_err(|_| Refusal::Malformed)?;
        if uri.authority().map(http::uri::Authority::as_str) != url.host_str() {
            return Err(Refusal::Malformed);
        }
        Ok(Permit {
            method,
            uri,
            destination,
        })
    }

    fn destination(&self, method: &Method, url: &Url) -> Result<Destination, Refusal> {
        let origin = Origin::of(url).ok_or(Refusal::OtherOrigin)?;
        if origin == self.login {
            Ok(Destination::Login)
        } else if self.api.contains(&origin) {
            Ok(Destination::Api)
        } else if self.token_info_probes && is_token_info_probe(method, url, &origin) {
            Ok(Destination::TokenInfoProbe)
        } else {
            Err(Refusal::OtherOrigin)
        }
    }

    /// Checks the headers that the plugin asks for. `authorization` comes back marked as sensitive.
    pub fn permit_headers<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<HeaderMap, Refusal> {
        let mut permitted = HeaderMap::new();
        for (name, value) in headers {
            let name = permitted_name(name)?;
            let mut value = permitted_value(value)?;
            if name == header::AUTHORIZATION {
                value.set_sensitive(true);
                if permitted.contains_key(&name) {
                    return Err(Refusal::AuthorizationTwice);
                }
            }
            permitted
                .try_append(name, value)
                .map_err(|_| Refusal::TooManyHeaders)?;
        }
        Ok(permitted)
    }
}

fn hosts(environment: Environment) -> (&'static str, &'static [&'static str]) {
    match environment {
        Environment::Production => ("login.procore.com", &["api.procore.com"]),
        Environment::Sandbox => ("login-sandbox.procore.com", &["sandbox.procore.com"]),
        Environment::MonthlySandbox => (
            "login-sandbox-monthly.procore.com",
            &["monthly-sandbox.procore.com", "api-monthly.procore.com"],
        ),
        Environment::Federal => ("login.procoregov.com", &["api.procoregov.com"]),
    }
}

fn is_token_info_probe(method: &Method, url: &Url, origin: &Origin) -> bool {
    *method == Method::GET
        && url.path() == TOKEN_INFO_PATH
        && url.query().is_none()
        && Environment::ALL
            .iter()
            .any(|environment| *origin == Origin::named(hosts(*environment).0))
}

fn takes_secret(method: &Method, url: &Url) -> bool {
    *method == Method::POST && url.query().is_none() && SECRET_PATHS.contains(&url.path())
}

/// `CONNECT` and `TRACE` are left out: the one opens a tunnel, the other echoes `authorization`.
fn permitted_method(method: &str) -> Result<Method, Refusal> {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ]
    .into_iter()
    .find(|known| known.as_str() == method)
    .ok_or(Refusal::Method)
}

/// Parses a URL that reads the same to every parser.
fn plain_url(text: &str) -> Result<Url, Refusal> {
    if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
        return Err(Refusal::Malformed);
    }
    let (scheme, authority, rest) = split(text)?;
    if authority.contains('@') {
        return Err(Refusal::UserInformation);
    }
    // Looked at as written: a parser would decode escapes in a host.
    if !authority.bytes().all(is_plain_in_authority) {
        return Err(Refusal::Malformed);
    }
    let authority = authority.to_ascii_lowercase();
    let url =
        Url::parse(&format!("{scheme}://{authority}{rest}")).map_err(|_| Refusal::Malformed)?;
    if url.scheme() != "https" {
        return Err(Refusal::Scheme);
    }
    if url.fragment().is_some() {
        return Err(Refusal::Fragment);
    }
    let Some(url::Host::Domain(host)) = url.host() else {
        return Err(Refusal::Address);
    };
    if url.port().is_some() {
        return Err(Refusal::Port);
    }
    if host.ends_with('.') {
        return Err(Refusal::TrailingDot);
    }
    if authority.strip_suffix(":443").unwrap_or(&authority) != host {
        return Err(Refusal::Malformed);
    }
    Ok(url)
}

/// A name, an address or a port, and nothing that needs decoding.
fn is_plain_in_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']')
}

/// Splits a URL into its scheme, its authority (RFC 3986, section 3.2) and the rest, as written.
fn split(text: &str) -> Result<(&str, &str, &str), Refusal> {
    let (scheme, hierarchy) = text.split_once("://").ok_or(Refusal::Malformed)?;
    let end = hierarchy.find(['/', '?', '#']).unwrap_or(hierarchy.len());
    let (authority, rest) = hierarchy.split_at(end);
    Ok((scheme, authority, rest))
}

fn permitted_name(name: &str) -> Result<HeaderName, Refusal> {
    let name: HeaderName = name.parse().map_err(|_| Refusal::HeaderName)?;
    let owned = matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "upgrade"
            | "expect"
            | "user-agent"
    );
    if owned || name.as_str().starts_with("proxy-") {
        return Err(Refusal::ReservedHeader);
    }
    Ok(name)
}

/// Bytes beyond ASCII are opaque to HTTP (RFC 9110, section 5.5), and servers guess at what they mean.
fn permitted_value(value: &str) -> Result<HeaderValue, Refusal> {
    if value.is_ascii() {
        HeaderValue::from_str(value).map_err(|_| Refusal::HeaderValue)
    } else {
        Err(Refusal::HeaderValue)
    }
}

/// Why a request is not permitted. Repeats nothing of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The origin is neither the connection's login origin nor one of its API origins.
    #[error("the URL's origin is neither the connection's login origin nor its API origin")]
    OtherOrigin,
    /// Not `https`.
    #[error("the URL's scheme is not https")]
    Scheme,
    /// The URL holds a user name or a password.
    #[error("the URL has user information")]
    UserInformation,
    /// The URL holds a fragment.
    #[error("the URL has a fragment")]
    Fragment,
    /// The URL names a port other than 443.
    #[error("the URL names a port")]
    Port,
    /// The host is an IP address.
    #[error("the URL's host is an address, not a name")]
    Address,
    /// The host ends with a dot.
    #[error("the URL's host ends with a dot")]
    TrailingDot,
    /// The text is no URL, or one that parsers read differently.
    #[error("the URL is not an absolute URL in plain ASCII")]
    Malformed,
    /// The client secret was to go elsewhere than to the token and the revocation endpoint.
    #[error(
        "the client secret is sent in a POST to the connection's token or revocation endpoint only"
    )]
    SecretElsewhere,
    /// The method is not in the policy's list.
    #[error("the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")]
    Method,
    /// A header's name is no token.
    #[error("a header's name is not a token")]
    HeaderName,
    /// A header belongs to the host or to the connection.
    #[error("a header is the host's to set")]
    ReservedHeader,
    /// A header's value holds more than visible ASCII, spaces and tabs.
    #[error("a header's value has a character that is not permitted")]
    HeaderValue,
    /// There are two `authorization` headers.
    #[error("there is more than one authorization header")]
    AuthorizationTwice,
    /// There are thousands of headers.
    #[error("there are too many headers")]
    TooManyHeaders,
}

impl Refusal {
    /// Returns the code that the contract lists at `http.failure`.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherOrigin
            | Self::Scheme
            | Self::UserInformation
            | Self::Port
            | Self::Address
            | Self::TrailingDot => "origin-not-permitted",
            Self::SecretElsewhere => "secret-not-permitted",
            Self::Fragment
            | Self::Malformed
            | Self::Method
            | Self::HeaderName
            | Self::ReservedHeader
            | Self::HeaderValue
            | Self::AuthorizationTwice
            | Self::TooManyHeaders => "invalid-request",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::{Destination, Egress, Refusal};
    use crate::Environment;

    /// What the policy says, for every host alike.
    #[derive(Deserialize)]
    struct Cases {
        requests: Vec<Request>,
        headers: Vec<Headers>,
    }

    #[derive(Deserialize)]
    struct Request {
        #[serde(default = "production_by_name")]
        environment: String,
        #[serde(default = "get")]
        method: String,
        url: String,
        #[serde(default)]
        uses_secret: bool,
        #[serde(default)]
        probing: bool,
        code: Option<String>,
        destination: Option<String>,
        uri: Option<String>,
    }

    #[derive(Deserialize)]
    struct Headers {
        headers: Vec<(String, String)>,
        code: Option<String>,
        permitted: Option<Vec<(String, String)>>,
    }

    fn production_by_name() -> String {
        "production".to_owned()
    }

    fn get() -> String {
        "GET".to_owned()
    }

    fn cases() -> Cases {
        let text = include_str!("../../tests/conformance/egress.json");
        let cases: Cases = serde_json::from_str(text).expect("cases");
        assert!(cases.requests.len() > 150 && cases.headers.len() > 40);
        cases
    }

    fn named(environment: &str) -> Environment {
        match environment {
            "production" => Environment::Production,
            "sandbox" => Environment::Sandbox,
            "monthly-sandbox" => Environment::MonthlySandbox,
            "federal" => Environment::Federal,
            other => panic!("no environment: {other}"),
        }
    }

    fn name(destination: Destination) -> &'static str {
        match destination {
            Destination::Login => "login",
            Destination::Api => "api",
            Destination::TokenInfoProbe => "token-info-probe",
        }
    }

    fn production() -> Egress {
        Egress::for_environment(Environment::Production)
    }

    #[test]
    fn requests_are_as_the_cases_say() {
        let wrong: Vec<_> = cases().requests.iter().filter_map(disagreement).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Tells what is answered to a request, where the case says something else.
    fn disagreement(case: &Request) -> Option<String> {
        let mut egress = Egress::for_environment(named(&case.environment));
        if case.probing {
            egress = egress.with_token_info_probes();
        }
        let permit = egress.permit(&case.method, &case.url, case.uses_secret);
        let agrees = match &permit {
            Ok(permit) => {
                case.code.is_none()
                    && permit.method.as_str() == case.method
                    && Some(name(permit.destination)) == case.destination.as_deref()
                    && Some(permit.uri.to_string()) == case.uri
            }
            Err(refusal) => Some(refusal.code()) == case.code.as_deref(),
        };
        (!agrees).then(|| format!("{} {:?}: {permit:?}", case.method, case.url))
    }

    #[test]
    fn headers_are_as_the_cases_say() {
        for case in cases().headers {
            let given = case.headers.iter().map(|(name, value)| (&**name, &**value));
            let told = production().permit_headers(given);
            let refused = told.as_ref().err().map(|refusal| refusal.code());
            assert_eq!(refused, case.code.as_deref(), "{:?}", case.headers);
            let sent = told.ok().map(|headers| {
                let pairs = headers.iter();
                let pairs = pairs.map(|(name, value)| {
                    (name.to_string(), value.to_str().expect("ASCII").to_owned())
                });
                sorted(pairs.collect())
            });
            assert_eq!(sent, case.permitted.map(sorted), "{:?}", case.headers);
        }
    }

    /// The order of different headers says nothing.
    fn sorted(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        headers
    }

    #[test]
    fn a_refusal_names_its_reason() {
        use Refusal::*;
        for (url, why) in [
            ("http://api.procore.com/", Scheme),
            ("https://evil.example/", OtherOrigin),
            ("https://user@api.procore.com/", UserInformation),
            ("https://api.procore.com/#a", Fragment),
            ("https://api.procore.com:444/", Port),
            ("https://127.0.0.1/", Address),
            ("https://api.procore.com./", TrailingDot),
            ("https://api.procore.com:/", Malformed),
        ] {
            let refused = production().permit("GET", url, false);
            assert_eq!(refused, Err(why), "{url:?}");
        }
    }

    #[test]
    fn keeps_the_authorization_header_out_of_debug_output() {
        let headers = production()
            .permit_headers([("Authorization", "Bearer abc"), ("Accept", "a\tb")])
            .expect("permitted");
        assert!(!format!("{headers:?}").contains("abc"));
    }

    #[test]
    fn refuses_a_flood_of_headers() {
        let names: Vec<_> = (0..40_000).map(|n| format!("a{n}")).collect();
        let headers = names.iter().map(|name| (name.as_str(), "b"));
        assert_eq!(
            production().permit_headers(headers),
            Err(Refusal::TooManyHeaders)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_permitted_goes_to_a_permitted_host(
            scheme in "(https?)|[a-z]{1,4}",
            slashes in "[:/\\\\]{1,4}",
            host in "((api|login)\\.procore\\.com)?(XN--)?[-a-zA-Z0-9.@:%/\\\\#?\\[\\] \u{e4}]{0,8}((api|login)\\.procore\\.com)?",
            rest in "\\PC{0,12}",
        ) {
            let url = format!("{scheme}{slashes}{host}{rest}");
            if let Ok(permit) = production().permit("GET", &url, false) {
                prop_assert_eq!(permit.uri.scheme_str(), Some("https"));
                prop_assert!(matches!(
                    permit.uri.authority().map(http::uri::Authority::as_str),
                    Some("api.procore.com" | "login.procore.com")
                ));
            }
        }
    }
}
