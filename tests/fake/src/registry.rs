//! Who is known: apps and people.

use std::collections::BTreeSet;
use std::fmt;

use crate::environment::{CredentialPair, Environment};

/// The redirect URI of headless apps: Procore shows the code on a page, for a person to paste.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// Names a grant of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrantType {
    /// `authorization_code`
    AuthorizationCode,
    /// `refresh_token`
    RefreshToken,
    /// `client_credentials`
    ClientCredentials,
}

impl GrantType {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "authorization_code" => Some(Self::AuthorizationCode),
            "refresh_token" => Some(Self::RefreshToken),
            "client_credentials" => Some(Self::ClientCredentials),
            _ => None,
        }
    }
}

/// Describes the service account of an app (a Developer Managed Service Account).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAccount {
    /// The projects that an admin permitted to it; all of the company's if `None`.
    pub permitted_projects: Option<BTreeSet<u64>>,
}

/// Describes a registered app. `Debug` does not show the client secret.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// The credential pair, and so the environments in which the app is known.
    pub pair: CredentialPair,
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: String,
    /// The registered redirect URIs, matched exactly.
    pub redirect_uris: Vec<String>,
    /// Whether the app may use `authorization_code`.
    pub authorization_code_allowed: bool,
    /// Whether the app is given refresh tokens, and may use them.
    pub refresh_allowed: bool,
    /// The service account, without which there is no `client_credentials`.
    pub service_account: Option<ServiceAccount>,
    /// The companies to which the app is connected.
    pub companies: BTreeSet<u64>,
}

impl App {
    /// Describes an app for user tokens: no redirect URI, no company, no service account yet.
    #[must_use]
    pub fn new(
        pair: CredentialPair,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        Self {
            pair,
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            redirect_uris: Vec::new(),
            authorization_code_allowed: true,
            refresh_allowed: true,
            service_account: None,
            companies: BTreeSet::new(),
        }
    }

    /// Registers a redirect URI. A server refuses to start with one that Procore would not register.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Connects the app to a company.
    #[must_use]
    pub fn company(mut self, id: u64) -> Self {
        self.companies.insert(id);
        self
    }

    /// Adds a service account that may see all projects.
    #[must_use]
    pub fn with_service_account(mut self) -> Self {
        self.service_account = Some(ServiceAccount::default());
        self
    }

    pub(crate) fn allows(&self, grant: GrantType) -> bool {
        match grant {
            GrantType::AuthorizationCode => self.authorization_code_allowed,
            GrantType::RefreshToken => self.refresh_allowed,
            GrantType::ClientCredentials => self.service_account.is_some(),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("pair", &self.pair)
            .field("client_id", &self.client_id)
            .field("redirect_uris", &self.redirect_uris)
            .field("service_account", &self.service_account)
            .field("companies", &self.companies)
            .finish_non_exhaustive()
    }
}

/// Describes a person who can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id that `/rest/v1.0/me` returns.
    pub id: u64,
    /// The email address.
    pub login: String,
    /// The name.
    pub name: String,
    /// The companies that the person can see.
    pub companies: BTreeSet<u64>,
}

impl User {
    /// Describes a person who sees no company yet.
    #[must_use]
    pub fn new(id: u64, login: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id,
            login: login.into(),
            name: name.into(),
            companies: BTreeSet::new(),
        }
    }

    /// Lets the person see a company.
    #[must_use]
    pub fn company(mut self, id: u64) -> Self {
        self.companies.insert(id);
        self
    }
}

/// An app's place in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AppId(usize);

/// Holds who is known.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    apps: Vec<App>,
    users: Vec<User>,
}

impl Registry {
    pub(crate) fn new(apps: Vec<App>, users: Vec<User>) -> Self {
        Self { apps, users }
    }

    /// Finds an app by its client id among those that the environment knows.
    pub(crate) fn find(&self, environment: Environment, client_id: &str) -> Option<AppId> {
        self.apps
            .iter()
            .position(|app| app.pair == environment.credential_pair() && app.client_id == client_id)
            .map(AppId)
    }

    /// Finds an app by its client id and secret; `None` does not tell which of them is wrong.
    pub(crate) fn authenticate(
        &self,
        environment: Environment,
        client_id: &str,
        secret: &str,
    ) -> Option<AppId> {
        self.find(environment, client_id)
            .filter(|&id| self.app(id).client_secret == secret)
    }

    pub(crate) fn app(&self, id: AppId) -> &App {
        &self.apps[id.0]
    }

    pub(crate) fn app_mut(&mut self, id: AppId) -> &mut App {
        &mut self.apps[id.0]
    }

    pub(crate) fn user(&self, id: u64) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(crate) fn first_user(&self) -> Option<&User> {
        self.users.first()
    }
}

/// Tells whether Procore lets an app register a redirect URI: `https`, `http://localhost` by name, or [`OUT_OF_BAND`].
pub(crate) fn registrable(uri: &str) -> bool {
    if uri == OUT_OF_BAND {
        return true;
    }
    let Ok(parsed) = url::Url::parse(uri) else {
        return false;
    };
    match parsed.scheme() {
        "https" => parsed.fragment().is_none(),
        "http" => parsed.host_str() == Some("localhost") && parsed.fragment().is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_https_localhost_and_out_of_band_only() {
        for good in [
            "https://agent.example.com/cb",
            "http://localhost",
            "http://localhost:9876/callback",
            OUT_OF_BAND,
        ] {
            assert!(registrable(good), "{good}");
        }
        for bad in [
            "http://192.168.8.124:9876/callback",
            "http://127.0.0.1/",
            "http://agent.local/",
            "ftp://localhost",
            "nonsense",
            "",
        ] {
            assert!(!registrable(bad), "{bad}");
        }
    }

    #[test]
    fn knows_a_client_only_where_its_pair_is_valid() {
        let registry = Registry::new(
            vec![App::new(CredentialPair::Production, "id", "secret")],
            vec![],
        );
        assert!(registry.find(Environment::Production, "id").is_some());
        assert!(registry.find(Environment::Monthly, "id").is_some());
        assert!(registry.find(Environment::Sandbox, "id").is_none());
        assert!(
            registry
                .authenticate(Environment::Production, "id", "wrong")
                .is_none()
        );
    }
}
