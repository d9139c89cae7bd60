//! What the story is played on: the stand-in for Procore, two agents on one store in files, and a person with a browser.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use fake_procore::{FakeProcore, NotRegistered, Options};
use procore_auth_host::{
    ConnectTo, Connection, Environment, FileStore, Grant, HttpClient as _, HttpsClient, Key,
    Plugin, RequestLimits, Secret, Settings, Store as _,
};
use tempfile::TempDir;

use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::clock::StoryClock;
use super::journal::Reported;

/// The environment that the story is set in, in the host's word and in the server's.
const ENVIRONMENT: Environment = Environment::Sandbox;
const AT_SERVER: fake_procore::Environment = fake_procore::Environment::Sandbox;

const REDIRECT_URI: &str = "http://localhost:9876/callback";

/// The scenery.
pub(super) struct Stage {
    /// The server.
    pub(super) procore: FakeProcore,
    /// The time of all.
    pub(super) clock: StoryClock,
    /// What the agents reported.
    pub(super) reported: Arc<Reported>,
    /// Two agents that share a store, as two processes would. One is enough for most steps.
    pub(super) agents: [Connection; 2],
    store: FileStore,
    browser: HttpsClient,
    _folder: TempDir,
}

impl Stage {
    /// Starts the server with a policy, and opens the agents. Nobody is signed in.
    pub(super) async fn set_up(policy: fake_procore::Policy) -> Result<Self, Failure> {
        let clock = StoryClock::new();
        let options = Options {
            time: clock.time_source(),
            policy,
            ..Options::demo()
        };
        let procore = FakeProcore::start(options).await.map_err(broken)?;
        let plugin = Plugin::bundled().map_err(broken)?;
        let browser = client(&procore)?;
        let reported = Arc::<Reported>::default();
        let folder = tempfile::tempdir().map_err(broken)?;
        let open_store = || FileStore::open(folder.path(), &settings()?.name).map_err(broken);
        let agent = |actor: &str| {
            Connection::builder(&plugin, settings()?)
                .http(Arc::new(client(&procore)?))
                .store(Arc::new(open_store()?))
                .clock(Arc::new(clock.clone()))
                .journal(reported.clone())
                .actor(actor)
                .build()
                .map_err(broken)
        };
        Ok(Self {
            agents: [agent("agent-a/1")?, agent("agent-b/2")?],
            store: open_store()?,
            procore,
            clock,
            reported,
            browser,
            _folder: folder,
        })
    }

    /// Returns the agent that does what needs only one.
    pub(super) fn agent(&self) -> &Connection {
        &self.agents[0]
    }

    /// Opens a link as a person with a browser does, who allows the app. Returns where the browser ends: a secret.
    pub(super) async fn browse(&self, url: &str) -> Result<Secret, Failure> {
        let request = http::Request::get(url).body(Vec::new()).map_err(broken)?;
        let limits = RequestLimits {
            timeout: Duration::from_secs(10),
            reply_size: 1 << 20,
        };
        let reply = self.browser.send(request, limits).await.map_err(broken)?;
        let location = reply.headers().get(http::header::LOCATION);
        location
            .and_then(|location| location.to_str().ok())
            .map(Secret::new)
            .ok_or_else(|| broken(format!("the sign-in page answered {}", reply.status())))
    }

    /// Lists the refresh tokens that the server would accept.
    pub(super) fn live_refresh_tokens(&self) -> Vec<String> {
        let mut tokens = self.procore.secrets_issued();
        tokens.retain(|token| self.procore.refresh_token_is_live(AT_SERVER, token));
        tokens
    }

    /// Lists the access tokens that the server would accept.
    pub(super) fn live_access_tokens(&self) -> Vec<String> {
        let mut tokens = self.procore.secrets_issued();
        tokens.retain(|token| self.procore.access_token_is_live(AT_SERVER, token));
        tokens
    }

    /// Returns those of the tokens that are in the store.
    pub(super) async fn saved(&self, tokens: &[String]) -> Result<Vec<String>, Failure> {
        let mut content = String::new();
        for key in self.store.list("").await.map_err(broken)? {
            content += &self.read(&key).await?;
        }
        let saved = tokens.iter().filter(|token| content.contains(*token));
        Ok(saved.cloned().collect())
    }

    async fn read(&self, key: &Key) -> Result<String, Failure> {
        let entry = self.store.get(key).await.map_err(broken)?;
        let value = entry.map(|entry| entry.value).unwrap_or_default();
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    /// Revokes an access token at the server; its refresh token lives on.
    pub(super) fn revoke_early(&self, access_token: &Secret) {
        self.procore
            .revoke_access_token(AT_SERVER, access_token.expose());
    }

    /// Does what a user does with *My Connected Apps → Revoke*.
    pub(super) fn revoke_app(&self) -> Result<(), Failure> {
        let id = Options::demo_client_id(AT_SERVER.credential_pair());
        self.procore
            .revoke_grant(AT_SERVER, id, Options::DEMO_USER)
            .map_err(|error: NotRegistered| broken(error))
    }
}

fn settings() -> Result<Settings, Failure> {
    let pair = AT_SERVER.credential_pair();
    let mut settings = Settings::new(
        "demo".parse().map_err(broken)?,
        ENVIRONMENT,
        Options::demo_client_id(pair),
        Secret::new(Options::demo_client_secret(pair)),
        Grant::AuthorizationCode {
            redirect_uri: REDIRECT_URI.to_owned(),
        },
    );
    settings.company_id = Some(Options::DEMO_COMPANY);
    // So that the refresh is due to the minute.
    settings.policy.refresh_jitter = Duration::ZERO;
    Ok(settings)
}

/// Makes a client that finds the server under Procore's host names and trusts its certificate.
fn client(procore: &FakeProcore) -> Result<HttpsClient, Failure> {
    let connect_to: Result<Vec<ConnectTo>, _> = procore
        .connect_to()
        .into_iter()
        .map(|(from, to)| format!("{from}={to}").parse())
        .collect();
    HttpsClient::builder()
        .extra_ca_pem(procore.ca_pem())
        .connect_to(connect_to.map_err(broken)?)
        .build()
        .map_err(broken)
}

/// Explains that this machine does not let the demo do something.
pub(super) fn broken(error: impl Display) -> Failure {
    Explained::new(
        Exit::Internal,
        "demo-stage",
        format!("The demo cannot go on: {error}."),
        "It needs a free port on 127.0.0.1 and a temporary folder on a local disk (TMPDIR).",
    )
    .into()
}
