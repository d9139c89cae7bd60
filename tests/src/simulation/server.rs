//! The fake Procore of a run, in virtual time and without sockets.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fake_procore::{Handled, Options, Policy, Procore, RateLimit};
use procore_auth_host::{Environment, Secret};
use sha2::{Digest as _, Sha256};

use super::{
    machine::START,
    scenario::{SECOND, Scenario},
};
use crate::rig::fake;

/// The fake Procore of a run.
pub(crate) struct Server {
    procore: Procore,
    clock: Arc<AtomicU64>,
    pub(crate) environment: Environment,
    /// How long access tokens live, in milliseconds.
    lifetime: u64,
}

/// Tokens as the server issued them.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Server {
    /// Starts the server that the scenario wants.
    pub(crate) fn of(scenario: &Scenario, seed: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let time = Arc::clone(&clock);
        let procore = Procore::new(Options {
            time: Arc::new(move || time.load(Ordering::Relaxed)),
            seed,
            policy: Policy {
                rotation: scenario.rotation,
                lifetime_seconds: scenario.lifetime,
                access_token_bytes: scenario.access_token_bytes,
                rate_limit: RateLimit {
                    hourly: u32::MAX,
                    ten_seconds: u32::MAX,
                },
                ..Policy::default()
            },
            ..Options::demo()
        });
        Self {
            procore,
            clock,
            environment: scenario.environment,
            lifetime: scenario.lifetime * SECOND,
        }
    }

    /// Handles a request at this moment of the run.
    pub(crate) fn handle(&self, now: u64, request: http::Request<Vec<u8>>) -> Handled {
        self.clock.store(START + now, Ordering::Relaxed);
        let handled = self.procore.handle(request);
        // Nobody asks for the log, and it would hold every token twice.
        self.procore.clear_requests();
        handled
    }

    /// Returns when a token that is issued now expires.
    pub(crate) fn expiry(&self, now: u64) -> u64 {
        now + self.lifetime
    }

    pub(crate) fn client_id(&self) -> &'static str {
        Options::demo_client_id(fake(self.environment).credential_pair())
    }

    pub(crate) fn first_secret(&self) -> Secret {
        Secret::new(Options::demo_client_secret(
            fake(self.environment).credential_pair(),
        ))
    }

    /// Whether the server would accept the refresh token.
    pub(crate) fn is_live(&self, refresh_token: &str) -> bool {
        self.procore
            .refresh_token_is_live(fake(self.environment), refresh_token)
    }

    pub(crate) fn reset_secret(&self) -> Option<Secret> {
        let pair = fake(self.environment).credential_pair();
        let secret = self.procore.reset_client_secret(pair, self.client_id());
        secret.ok().map(Secret::new)
    }

    pub(crate) fn kill_refresh_token(&self, refresh_token: &str) {
        self.procore
            .kill_refresh_token(fake(self.environment), refresh_token);
    }

    /// Kills all tokens of the user in this environment.
    pub(crate) fn revoke_grant(&self) {
        let environment = fake(self.environment);
        // The demo app is registered everywhere.
        let _ = self
            .procore
            .revoke_grant(environment, self.client_id(), Options::DEMO_USER);
    }
}

/// Reads the tokens of a successful reply.
pub(crate) fn issued(handled: &Handled) -> Option<Issued> {
    let reply: serde_json::Value = serde_json::from_slice(handled.response.body()).ok()?;
    let text = |name: &str| Some(reply.get(name)?.as_str()?.to_owned());
    Some(Issued {
        access: text("access_token")?,
        refresh: text("refresh_token")?,
    })
}

/// Returns the name by which the plugin's records call a secret.
pub(crate) fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}
