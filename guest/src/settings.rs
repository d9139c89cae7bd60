//! The connection's settings, as the host states them.

use crate::environment::Environment;

/// How the connection gets its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A user signs in; holds the redirect URI as configured.
    AuthorizationCode(String),
    /// A service account.
    ClientCredentials,
}

/// The numbers of the token policy; all times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// When to refresh, in per cent of the received lifetime.
    pub refresh_percent: u8,
    /// The most by which a refresh is moved forward.
    pub refresh_jitter: u64,
    /// How long one request to the token endpoint may take.
    pub token_timeout: u64,
    /// How long to wait for the lock.
    pub lock_wait: u64,
    /// How long one API call may take.
    pub call_timeout: u64,
    /// The most parked requests.
    pub parked_count: u32,
    /// The most bytes of parked requests.
    pub parked_bytes: u64,
    /// How old a parked request may become.
    pub parked_age: u64,
    /// Whether to send a PKCE challenge.
    pub pkce: bool,
}

impl Policy {
    /// Returns how long a replay may be at one request: a call, with a refresh before it.
    pub fn longest_replay(&self) -> u64 {
        self.call_timeout
            .saturating_add(self.token_timeout)
            .saturating_add(self.lock_wait)
    }

    /// Whether somebody who said that they may be sending until that moment may still be at it. A moment further away than a replay
    /// takes comes from a clock that was set back since; twice that, since theirs may be another policy.
    pub fn may_be_sending(&self, until: u64, now: u64) -> bool {
        until > now && until - now <= self.longest_replay().saturating_mul(2)
    }
}

/// The connection's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The connection's name, for messages.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// The OAuth client id.
    pub client_id: String,
    /// Changes when the client secret changes.
    pub secret_fingerprint: Option<String>,
    /// How tokens are got.
    pub grant: Grant,
    /// The company that calls are for.
    pub company_id: Option<u64>,
    /// Who acts, for records.
    pub actor: String,
    /// The policy.
    pub policy: Policy,
}

impl Settings {
    /// Returns what a verdict of the server on this client's credentials depends on: it is void once this changes.
    pub fn credentials(&self) -> String {
        let fingerprint = self.secret_fingerprint.as_deref().unwrap_or("-");
        format!(
            "{} {} {fingerprint}",
            self.environment.name(),
            self.client_id
        )
    }
}
