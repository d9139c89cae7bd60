//! A connection's settings, as the embedder gives them.

use std::{fmt, str::FromStr, time::Duration};

use crate::Secret;

/// A Procore environment: all URLs follow from this one value, inside the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// `login.procore.com` and `api.procore.com`.
    Production,
    /// The developer sandbox, with the app's sandbox credential pair.
    Sandbox,
    /// The monthly sandbox, with the app's production credential pair.
    MonthlySandbox,
    /// The federal zone, with an app of its own.
    Federal,
}

impl Environment {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Production,
        Self::Sandbox,
        Self::MonthlySandbox,
        Self::Federal,
    ];

    /// Returns the word for it in a configuration, such as `monthly-sandbox`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
            Self::MonthlySandbox => "monthly-sandbox",
            Self::Federal => "federal",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.as_str() == word).ok_or(UnknownEnvironment)
    }
}

/// A word names no environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an environment is production, sandbox, monthly-sandbox or federal")]
pub struct UnknownEnvironment;

/// How a connection gets its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A user signs in.
    AuthorizationCode {
        /// Exactly as registered in the developer portal.
        redirect_uri: String,
    },
    /// A Developer Managed Service Account: no browser.
    ClientCredentials,
}

/// One connection: one environment, one client id, one user or service account.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The connection's name, for messages and for its folder in a store.
    pub name: ConnectionName,
    /// The environment.
    pub environment: Environment,
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret. Stays in the host.
    pub client_secret: Secret,
    /// How tokens are got.
    pub grant: Grant,
    /// The company that API calls are for, where the caller names none.
    pub company_id: Option<u64>,
    /// The numbers of the token policy.
    pub policy: Policy,
}

impl Settings {
    /// Makes the settings of a connection that names no company and has the default policy.
    pub fn new(
        name: ConnectionName,
        environment: Environment,
        client_id: impl Into<String>,
        client_secret: Secret,
        grant: Grant,
    ) -> Self {
        Self {
            name,
            environment,
            client_id: client_id.into(),
            client_secret,
            grant,
            company_id: None,
            policy: Policy::default(),
        }
    }
}

/// The numbers of the token policy. Made by `Policy::default()`; each number can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// When to refresh, in per cent of the lifetime that the server gave: 1 to 99, and what is outside counts as the nearer of these.
    /// Default: 80.
    pub refresh_percent: u8,
    /// The most by which a refresh is moved forward at random. Default: 30 s.
    pub refresh_jitter: Duration,
    /// How long one request to the token endpoint may take. Default: 30 s.
    pub token_timeout: Duration,
    /// How long to wait for the connection's lock: longer than `token_timeout`, or who waits gives up on a refresh that is about to
    /// succeed. Default: 45 s.
    pub lock_wait: Duration,
    /// How long one API call may take, all attempts together. Default: 60 s.
    pub call_timeout: Duration,
    /// The most requests that may be parked. Default: 1000.
    pub parked_count: u32,
    /// The most bytes that all parked requests together may take. Default: 64 MiB.
    pub parked_bytes: u64,
    /// How old a parked request may become before it is set aside instead of replayed. Default: 7 days.
    pub parked_age: Duration,
    /// Whether to send a PKCE challenge (RFC 7636). Default: no.
    pub pkce: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            refresh_percent: 80,
            refresh_jitter: Duration::from_secs(30),
            token_timeout: Duration::from_secs(30),
            lock_wait: Duration::from_secs(45),
            call_timeout: Duration::from_secs(60),
            parked_count: 1000,
            parked_bytes: 64 << 20,
            parked_age: Duration::from_secs(7 * 24 * 3600),
            pkce: false,
        }
    }
}

/// A connection's name: 1 to 64 characters of `a`-`z`, `0`-`9`, `-` and `_`, beginning with a letter or a digit. It cannot
/// name another folder than its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionName(String);

impl ConnectionName {
    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionName {
    type Err = InvalidConnectionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let valid = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            && name.as_bytes()[0].is_ascii_alphanumeric();
        if valid {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidConnectionName)
        }
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a connection is not acceptable.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "a connection name is 1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or a digit"
)]
pub struct InvalidConnectionName;
