//! What a server is started with, and how it behaves where Procore is silent or may change.

use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use crate::clock::{TimeSource, system_time};
use crate::environment::CredentialPair;
use crate::registry::{App, OUT_OF_BAND, User};

/// Holds what a server is started with.
#[derive(Clone)]
pub struct Options {
    /// The apps that are registered.
    pub apps: Vec<App>,
    /// The people who can sign in.
    pub users: Vec<User>,
    /// How the server behaves; can be changed while it runs.
    pub policy: Policy,
    /// The server's time.
    pub time: TimeSource,
    /// Determines all tokens, codes and ids. Two servers with one seed issue the same tokens.
    pub seed: u64,
}

impl Default for Options {
    /// Returns a server without apps or users, on the system's clock, with a random seed.
    fn default() -> Self {
        Self {
            apps: Vec::new(),
            users: Vec::new(),
            policy: Policy::default(),
            time: system_time(),
            seed: RandomState::new().hash_one("fake-procore"),
        }
    }
}

impl Options {
    /// The client id of the demo app for a credential pair.
    #[must_use]
    pub fn demo_client_id(pair: CredentialPair) -> &'static str {
        match pair {
            CredentialPair::Production => "demo-client-production",
            CredentialPair::Sandbox => "demo-client-sandbox",
            CredentialPair::Federal => "demo-client-federal",
        }
    }

    /// The client secret of the demo app for a credential pair.
    #[must_use]
    pub fn demo_client_secret(pair: CredentialPair) -> &'static str {
        match pair {
            CredentialPair::Production => "demo-secret-production-5uXh2mQ9",
            CredentialPair::Sandbox => "demo-secret-sandbox-8rTk4wZ1",
            CredentialPair::Federal => "demo-secret-federal-3yLc7vB6",
        }
    }

    /// The company to which the demo apps are connected.
    pub const DEMO_COMPANY: u64 = 4001;

    /// The id of the demo user.
    pub const DEMO_USER: u64 = 101;

    /// Returns a server with one app for each credential pair and one user, all of them in [`Self::DEMO_COMPANY`].
    ///
    /// Each app has a service account and is registered for `http://localhost`, `http://localhost:9876/callback` and [`OUT_OF_BAND`].
    #[must_use]
    pub fn demo() -> Self {
        let app = |pair| {
            App::new(
                pair,
                Self::demo_client_id(pair),
                Self::demo_client_secret(pair),
            )
            .redirect_uri("http://localhost")
            .redirect_uri("http://localhost:9876/callback")
            .redirect_uri(OUT_OF_BAND)
            .company(Self::DEMO_COMPANY)
            .with_service_account()
        };
        Self {
            apps: [
                CredentialPair::Production,
                CredentialPair::Sandbox,
                CredentialPair::Federal,
            ]
            .map(app)
            .to_vec(),
            users: vec![
                User::new(Self::DEMO_USER, "demo@example.com", "Demo User")
                    .company(Self::DEMO_COMPANY),
            ],
            ..Self::default()
        }
    }
}

/// Tells how the server behaves where Procore is silent or may change. The default assumes the worse of two unknowns.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What happens to a used refresh token.
    pub rotation: Rotation,
    /// What a refresh does to the access token before it.
    pub old_access_token: OldAccessToken,
    /// How long new access tokens live, in seconds.
    pub lifetime_seconds: u64,
    /// What replies say about that.
    pub reported_expiry: ReportedExpiry,
    /// The least length of access tokens, in bytes. Procore's may exceed 1 kB.
    pub access_token_bytes: usize,
    /// What the person at the consent page says.
    pub consent: Consent,
    /// Whether PKCE parameters are ignored or enforced.
    pub pkce: Pkce,
    /// The status of `invalid_grant`: 400, or 401 as Doorkeeper up to 5.0.
    pub invalid_grant_status: u16,
    /// The status of a missing company header: 400 or 403.
    pub missing_company_status: u16,
    /// The wording of errors.
    pub dialect: Dialect,
    /// How many API calls are allowed to one app in one environment.
    pub rate_limit: RateLimit,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            old_access_token: OldAccessToken::Revoked,
            lifetime_seconds: 5400,
            reported_expiry: ReportedExpiry::Remaining,
            access_token_bytes: 1100,
            consent: Consent::GivenByFirstUser,
            pkce: Pkce::Ignored,
            invalid_grant_status: 400,
            missing_company_status: 400,
            dialect: Dialect::Current,
            rate_limit: RateLimit::default(),
        }
    }
}

/// Tells what happens to a used refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It is dead at once, also if the reply is lost.
    Strict,
    /// It works until the new access token is first used (Doorkeeper's `previous_refresh_token`).
    Grace,
}

/// Tells what a refresh does to the access token before it. In grace mode it lives until the new one is first used, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldAccessToken {
    /// It is revoked together with its refresh token, as in Doorkeeper.
    Revoked,
    /// It lives to its expiry.
    Survives,
}

/// Tells what replies of the token endpoint say in `expires_in`. The token's real life is [`Policy::lifetime_seconds`] in any case.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportedExpiry {
    /// The seconds that remain.
    Remaining,
    /// No such field.
    Missing,
    /// This value, whatever it is.
    Raw(Value),
}

/// Tells what the person at the consent page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Yes, says the first registered user.
    GivenByFirstUser,
    /// Yes, says the user with this id.
    GivenBy(u64),
    /// No.
    Denied,
}

/// Tells whether PKCE parameters (RFC 7636) count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pkce {
    /// They are ignored, as in a Doorkeeper without the columns for them.
    Ignored,
    /// A challenge by S256 is required, and checked.
    RequireS256,
}

/// Names a wording of error descriptions and of `token/info`. Clients must depend on neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// As in Doorkeeper 5: `scope` and `expires_in` in `token/info`, `token_type` is `Bearer`.
    Current,
    /// As before and in some pages: `scopes` and `expires_in_seconds` in `token/info`, `token_type` is `bearer`.
    Old,
}

/// Tells how many API calls are allowed, in Procore's two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls in each clock hour.
    pub hourly: u32,
    /// Calls in each ten seconds.
    pub ten_seconds: u32,
}

impl Default for RateLimit {
    /// Returns 3600 an hour and no limit on spikes.
    fn default() -> Self {
        Self {
            hourly: 3600,
            ten_seconds: u32::MAX,
        }
    }
}
