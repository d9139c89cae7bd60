//! What a person needs to know about Procore's OAuth, without a connection.

use std::fmt;

use crate::{
    Diagnosis, Environment, Error, Plugin,
    api::{to_contract_headers, without_query},
    bindings::{exports::procore::auth::advice, procore::auth::types},
    call::Call,
    lent::Lent,
};

/// The plugin's pure advice: sends nothing and reads nothing. Made by [`Plugin::advice`].
///
/// Every function fails with [`crate::ErrorKind::Internal`] alone, where the plugin is at fault; what it has to say about
/// its argument is in the inner result. They need a tokio runtime.
#[derive(Debug, Clone)]
pub struct Advice {
    plugin: Plugin,
}

impl Advice {
    pub(crate) fn new(plugin: Plugin) -> Self {
        Self { plugin }
    }

    fn call(&self, name: &'static str) -> Call {
        Call::new(self.plugin.clone(), Lent::nothing(), name)
    }

    /// Returns the environment's URLs.
    pub async fn endpoints(&self, environment: Environment) -> Result<EndpointUrls, Error> {
        self.call("endpoints")
            .run(move |advice: &advice::Guest, store| {
                Box::pin(async move {
                    advice
                        .call_endpoints(store, environment.into())
                        .await
                        .map(EndpointUrls::from)
                })
            })
            .await
    }

    /// Checks that the URLs belong to one environment, and returns it. Otherwise the diagnosis names the URL that stands out
    /// and what to put there.
    pub async fn check_endpoints(
        &self,
        urls: EndpointSet,
    ) -> Result<Result<Environment, Diagnosis>, Error> {
        self.call("check-endpoints")
            .run(move |advice: &advice::Guest, store| {
                Box::pin(async move {
                    let urls = urls.into();
                    advice
                        .call_check_endpoints(store, &urls)
                        .await
                        .map(|checked| checked.map(Into::into).map_err(Into::into))
                })
            })
            .await
    }

    /// Checks a redirect URI by Procore's rules, and against the one that is registered where that is known. The remedy of a
    /// refusal holds the exact string to register or to configure.
    pub async fn check_redirect_uri(
        &self,
        uri: &str,
        registered: Option<&str>,
    ) -> Result<Result<Redirect, Diagnosis>, Error> {
        let uri = uri.to_owned();
        let registered = registered.map(ToOwned::to_owned);
        self.call("check-redirect-uri")
            .run(move |advice: &advice::Guest, store| {
                Box::pin(async move {
                    advice
                        .call_check_redirect_uri(store, &uri, registered.as_deref())
                        .await
                        .map(|checked| checked.map(Into::into).map_err(Into::into))
                })
            })
            .await
    }

    /// Explains what a server said: classified by its `error` code, never by its status or wording alone.
    pub async fn explain(&self, observation: Observation) -> Result<Diagnosis, Error> {
        self.call("explain")
            .run(move |advice: &advice::Guest, store| {
                Box::pin(async move {
                    let observation = observation.into();
                    advice
                        .call_explain(store, &observation)
                        .await
                        .map(Into::into)
                })
            })
            .await
    }
}

/// All URLs of one environment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct EndpointUrls {
    /// Where a person signs in.
    pub authorize_url: String,
    /// The token endpoint.
    pub token_url: String,
    /// Tells about a token without spending it.
    pub token_info_url: String,
    /// The revocation endpoint.
    pub revoke_url: String,
    /// Scheme and host, without a trailing slash.
    pub api_base: String,
    /// Further API bases on record for this environment.
    pub api_alternates: Vec<String>,
    /// Which credential pair of the app belongs to it, in words.
    pub credentials: String,
}

/// URLs that someone uses together. `None` where one is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSet {
    /// Where a person signs in.
    pub authorize_url: Option<String>,
    /// The token endpoint.
    pub token_url: Option<String>,
    /// The base of the REST API.
    pub api_base: Option<String>,
}

/// How the answer to a sign-in reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RedirectKind {
    /// `http://localhost`: a callback server on this machine.
    Localhost,
    /// HTTPS: somebody's web server; the person pastes the address that the browser ends on.
    Https,
    /// `urn:ietf:wg:oauth:2.0:oob`: Procore shows the code; the person pastes it.
    OutOfBand,
}

/// A redirect URI that can work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Redirect {
    /// How the answer reaches us.
    pub kind: RedirectKind,
    /// The exact string that must stand in the developer portal.
    pub register: String,
    /// Where the callback server listens; `None` unless [`RedirectKind::Localhost`].
    pub port: Option<u16>,
    /// The path that the browser calls; empty where out-of-band.
    pub path: String,
}

/// What was called when a server said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Endpoint {
    /// The authorize page, in the browser.
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

/// What a server said.
#[derive(Clone, PartialEq, Eq)]
pub struct Observation {
    /// The environment that was meant.
    pub environment: Environment,
    /// What was called.
    pub endpoint: Endpoint,
    /// The URL that was called; `None` where it is the environment's own.
    pub url: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Prints no query, no header value and no body: they may hold a code or a token.
impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation")
            .field("environment", &self.environment)
            .field("endpoint", &self.endpoint)
            .field("url", &self.url.as_deref().map(without_query))
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl From<Environment> for types::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Sandbox => Self::Sandbox,
            Environment::MonthlySandbox => Self::MonthlySandbox,
            Environment::Federal => Self::Federal,
        }
    }
}

impl From<types::Environment> for Environment {
    fn from(environment: types::Environment) -> Self {
        match environment {
            types::Environment::Production => Self::Production,
            types::Environment::Sandbox => Self::Sandbox,
            types::Environment::MonthlySandbox => Self::MonthlySandbox,
            types::Environment::Federal => Self::Federal,
        }
    }
}

impl From<advice::EndpointUrls> for EndpointUrls {
    fn from(urls: advice::EndpointUrls) -> Self {
        let advice::EndpointUrls {
            authorize_url,
            token_url,
            token_info_url,
            revoke_url,
            api_base,
            api_alternates,
            credentials,
        } = urls;
        Self {
            authorize_url,
            token_url,
            token_info_url,
            revoke_url,
            api_base,
            api_alternates,
            credentials,
        }
    }
}

impl From<EndpointSet> for advice::EndpointSet {
    fn from(urls: EndpointSet) -> Self {
        let EndpointSet {
            authorize_url,
            token_url,
            api_base,
        } = urls;
        Self {
            authorize_url,
            token_url,
            api_base,
        }
    }
}

impl From<advice::Redirect> for Redirect {
    fn from(redirect: advice::Redirect) -> Self {
        Self {
            kind: match redirect.kind {
                advice::RedirectKind::Localhost => RedirectKind::Localhost,
                advice::RedirectKind::Https => RedirectKind::Https,
                advice::RedirectKind::OutOfBand => RedirectKind::OutOfBand,
            },
            register: redirect.register,
            port: redirect.port,
            path: redirect.path,
        }
    }
}

impl From<Observation> for advice::Observation {
    fn from(observation: Observation) -> Self {
        Self {
            environment: observation.environment.into(),
            endpoint: match observation.endpoint {
                Endpoint::Authorize => advice::Endpoint::Authorize,
                Endpoint::Exchange => advice::Endpoint::Exchange,
                Endpoint::Refresh => advice::Endpoint::Refresh,
                Endpoint::ClientCredentials => advice::Endpoint::ClientCredentials,
                Endpoint::Api => advice::Endpoint::Api,
            },
            url: observation.url,
            status: observation.status,
            headers: to_contract_headers(observation.headers),
            body: observation.body,
        }
    }
}
