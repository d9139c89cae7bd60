//! Everything that the server knows, as plain data.

use serde_json::json;

use crate::clock::TimeSource;
use crate::environment::Place;
use crate::fault::Faults;
use crate::ledger::Ledger;
use crate::mint::Mint;
use crate::policy::{Options, Policy};
use crate::projects::Projects;
use crate::rate_limit::RateCounter;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::{Commit, RequestLog};
use crate::token_endpoint::Issuing;
use crate::{api, authorize, revoke, token_endpoint, token_info};

/// Everything that the server knows.
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) mint: Mint,
    pub(crate) projects: Projects,
    pub(crate) rates: RateCounter,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    /// How many connections are still to be closed before their TLS handshake.
    pub(crate) refused_connections: usize,
    time: TimeSource,
}

/// What handling a request came to.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) reply: Reply,
    /// What changed for good, whether or not the reply arrives.
    pub(crate) commit: Option<Commit>,
}

impl Handled {
    pub(crate) fn committed(reply: Reply, commit: Commit) -> Self {
        Self {
            reply,
            commit: Some(commit),
        }
    }
}

impl From<Reply> for Handled {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            commit: None,
        }
    }
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let mut mint = Mint::new(options.seed);
        for app in &options.apps {
            mint.keep(app.client_secret.clone());
        }
        Self {
            policy: options.policy,
            registry: Registry::new(options.apps, options.users),
            ledger: Ledger::default(),
            mint,
            projects: Projects::default(),
            rates: RateCounter::default(),
            faults: Faults::default(),
            log: RequestLog::default(),
            refused_connections: 0,
            time: options.time,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.time)()
    }

    /// Handles a request as Procore would; `issuing` bends the token endpoint only.
    pub(crate) fn handle(&mut self, request: &Request, issuing: Issuing) -> Handled {
        match request.place {
            Place::Api(environment) => api::call(self, environment, request),
            Place::Stranger => Reply::new(200, "text/plain", "not Procore").into(),
            Place::Login(environment) => match (request.method.as_str(), request.path.as_str()) {
                ("GET", "/oauth/authorize") => authorize::authorize(self, environment, request),
                ("GET", "/oauth/authorize/native") => authorize::native(request).into(),
                ("POST", "/oauth/token") => {
                    token_endpoint::token(self, environment, request, issuing)
                }
                ("GET", "/oauth/token/info") => {
                    token_info::token_info(self, environment, request).into()
                }
                ("POST", "/oauth/revoke") => revoke::revoke(self, environment, request),
                _ => not_found().into(),
            },
        }
    }
}

pub(crate) fn not_found() -> Reply {
    Reply::json(404, &json!({"errors": "Not Found"}))
}

#[cfg(test)]
impl World {
    /// Returns the demo's world on this clock, the same each time.
    pub(crate) fn demo(clock: &crate::clock::VirtualClock) -> Self {
        Self::new(Options {
            time: clock.time_source(),
            seed: 7,
            ..Options::demo()
        })
    }
}
