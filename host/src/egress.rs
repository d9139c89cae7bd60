//! Where the plugin may send requests.

use http::{HeaderName, HeaderValue};
use url::{Host, Url};

use crate::Environment;

/// The origins that one connection may reach.
#[derive(Debug, Clone)]
pub(crate) struct Egress {
    environment: Environment,
    probes: bool,
}

/// What a permitted URL belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The connection's own login origin: the client secret may go there.
    Login,
    /// Another environment's `token/info`.
    TokenInfoProbe,
    /// The REST API.
    Api,
}

/// Why a request is not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl Egress {
    pub(crate) fn for_environment(environment: Environment) -> Self {
        Self {
            environment,
            probes: false,
        }
    }

    /// Permits the other environments' `token/info` too.
    pub(crate) fn with_token_info_probes(self) -> Self {
        Self {
            probes: true,
            ..self
        }
    }

    pub(crate) fn permit(&self, url: &str, secret: bool) -> Result<(Url, Destination), Refusal> {
        let url = Url::parse(url)
            .map_err(|error| Refusal::new("invalid-request", format!("the URL: {error}")))?;
        let Some(Host::Domain(host)) = url.host() else {
            return Err(not_permitted());
        };
        if url.scheme() != "https" || url.port().is_some() || !url.username().is_empty() {
            return Err(not_permitted());
        }
        let (login, api) = hosts(self.environment);
        let destination = if host == login {
            Destination::Login
        } else if api.contains(&host) {
            Destination::Api
        } else if self.probes && url.path() == "/oauth/token/info" && is_login(host) {
            Destination::TokenInfoProbe
        } else {
            return Err(not_permitted());
        };
        if secret && destination != Destination::Login {
            return Err(Refusal::new(
                "secret-not-permitted",
                "the client secret goes to the login origin only",
            ));
        }
        Ok((url, destination))
    }
}

fn not_permitted() -> Refusal {
    Refusal::new(
        "origin-not-permitted",
        "the URL is not of the connection's environment",
    )
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

fn is_login(host: &str) -> bool {
    [
        Environment::Production,
        Environment::Sandbox,
        Environment::MonthlySandbox,
        Environment::Federal,
    ]
    .iter()
    .any(|&environment| hosts(environment).0 == host)
}

/// Parses a header that the plugin wants to set.
pub(crate) fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let invalid = || Refusal::new("invalid-request", "a header is malformed");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    value.set_sensitive(name == http::header::AUTHORIZATION);
    Ok((name, value))
}
