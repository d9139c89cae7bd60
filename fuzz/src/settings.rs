//! A connection as it may be configured.

use procore_auth_guest::environment::Environment;
use procore_auth_guest::settings::{Grant, Policy, Settings};

/// The redirect URI that the connection has.
pub const REDIRECT_URI: &str = "http://localhost:9876/callback";

/// Returns the settings of a connection in an environment.
pub fn settings(environment: Environment) -> Settings {
    Settings {
        name: "acme".to_owned(),
        environment,
        client_id: "client".to_owned(),
        secret_fingerprint: Some("0011223344556677".to_owned()),
        grant: Grant::AuthorizationCode(REDIRECT_URI.to_owned()),
        company_id: None,
        actor: "fuzz/1".to_owned(),
        policy: Policy {
            refresh_percent: 80,
            refresh_jitter: 30_000,
            token_timeout: 30_000,
            lock_wait: 45_000,
            call_timeout: 60_000,
            parked_count: 1000,
            parked_bytes: 1 << 26,
            parked_age: 7 * 86_400_000,
            pkce: true,
        },
    }
}
