//! Signing in.

use crate::bindings::exports::procore::auth::auth as contract;

/// A sign-in that was begun.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Login {
    /// Where the person signs in. Holds no secret; it may be opened on any machine.
    pub authorize_url: String,
    /// Where the answer goes. `urn:ietf:wg:oauth:2.0:oob` means that Procore shows a code.
    pub redirect_uri: String,
    /// When this sign-in stops being acceptable, in milliseconds since 1970-01-01T00:00:00Z. The code itself lives 10 minutes
    /// from its issue.
    pub expires_at: u64,
}

impl From<contract::Login> for Login {
    fn from(login: contract::Login) -> Self {
        let contract::Login {
            authorize_url,
            redirect_uri,
            expires_at,
        } = login;
        Self {
            authorize_url,
            redirect_uri,
            expires_at,
        }
    }
}
