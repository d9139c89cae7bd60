//! The running server, and what a test asks and does to it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::environment::{CredentialPair, Environment, hosts};
use crate::fault::{Fault, Target};
use crate::ledger::{Grant, RowId};
use crate::policy::{Options, Policy};
use crate::procore::Procore;
use crate::projects::Project;
use crate::registry::{App, AppId, registrable};
use crate::request_log::{Commit, Recorded};
use crate::server;
use crate::tls;
use crate::world::World;

/// Runs a fake Procore. Stops, and closes all connections, when it is dropped.
///
/// What a test asks and does to it are the methods of [`Procore`]. All methods return at once; none of them waits for a request.
pub struct FakeProcore {
    procore: Procore,
    address: SocketAddr,
    ca_pem: String,
    accepting: JoinHandle<()>,
}

/// Says that no such app or user is registered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such app or user is registered there")]
pub struct NotRegistered;

/// Holds tokens as the token endpoint would have issued them. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// The seconds that the access token lives.
    pub expires_in: u64,
    /// When it was issued, in Unix seconds.
    pub created_at: u64,
}

impl TokenPair {
    /// Returns the pair as the reply of the token endpoint: the content of a `procore_token.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
            "created_at": self.created_at,
        })
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("expires_in", &self.expires_in)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Start and addresses.
impl FakeProcore {
    /// Starts a server on a free port of 127.0.0.1, in the current tokio runtime.
    ///
    /// # Errors
    /// Fails with `InvalidInput` if an app has a redirect URI that Procore would not register, and if no port or no certificate can
    /// be had.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        if let Some(uri) = options
            .apps
            .iter()
            .flat_map(|app| &app.redirect_uris)
            .find(|uri| !registrable(uri))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("Procore would not register the redirect URI {uri}"),
            ));
        }
        let (acceptor, ca_pem) = tls::acceptor()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let procore = Procore::new(options);
        let accepting = tokio::spawn(server::accept(listener, acceptor, procore.world.clone()));
        Ok(Self {
            procore,
            address,
            ca_pem,
            accepting,
        })
    }

    /// Returns the certificate of the authority to trust, in PEM. Each server has its own.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the address on which all hosts are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lists for each host, as `host:443`, the `address:port` to which to connect in its place.
    #[must_use]
    pub fn connect_to(&self) -> Vec<(String, String)> {
        hosts()
            .map(|host| (format!("{host}:443"), self.address.to_string()))
            .collect()
    }
}

/// Behaviour and faults.
impl Procore {
    /// Returns how the server behaves now.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.world.lock().policy.clone()
    }

    /// Changes how the server behaves from now on. Tokens that were issued keep their lifetime.
    pub fn set_policy(&self, change: impl FnOnce(&mut Policy)) {
        let mut policy = self.policy();
        change(&mut policy);
        self.world.lock().policy = policy;
    }

    /// Scripts a failure of the next request that matches. Of several, the oldest that matches is taken, and each only once.
    pub fn inject(&self, target: Target, fault: Fault) {
        self.world.lock().faults.add(target, fault);
    }

    /// Scripts the same failure of the next `times` requests that match.
    pub fn inject_times(&self, times: usize, target: &Target, fault: &Fault) {
        for _ in 0..times {
            self.inject(target.clone(), fault.clone());
        }
    }

    /// Returns how many scripted failures still wait for their request.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        self.world.lock().faults.len()
    }

    /// Forgets all scripted failures that still wait.
    pub fn clear_faults(&self) {
        self.world.lock().faults.clear();
    }

    /// Closes the next connections before their TLS handshake: the client's request is certainly not sent. Connections that are open
    /// already stay open.
    pub fn refuse_connections(&self, count: usize) {
        self.world.lock().refused_connections = count;
    }
}

/// What reached the server.
impl Procore {
    /// Lists all requests since the start or the last [`Self::clear_requests`], in the order in which their heads arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.world.lock().log.records().to_vec()
    }

    /// Forgets the requests so far; the counters begin anew. A request in progress is not recorded again.
    pub fn clear_requests(&self) {
        self.world.lock().log.forget();
    }

    /// Counts `POST /oauth/token` on all login hosts, also those that failed.
    #[must_use]
    pub fn token_posts(&self) -> usize {
        self.count(Recorded::is_token_post)
    }

    /// Counts the refresh tokens that were used up, whether or not the client learned of it.
    #[must_use]
    pub fn rotations(&self) -> usize {
        self.count(|request| request.commit == Some(Commit::Rotation))
    }

    /// Counts the API calls that were executed, given as `"POST /rest/v1.0/projects"`: method and exact path, without the query.
    #[must_use]
    pub fn executions(&self, call: &str) -> usize {
        self.count(|request| {
            request.commit == Some(Commit::Execution)
                && call.split_once(' ') == Some((request.method.as_str(), request.path.as_str()))
        })
    }

    fn count(&self, chosen: impl Fn(&Recorded) -> bool) -> usize {
        self.world
            .lock()
            .log
            .records()
            .iter()
            .filter(|request| chosen(request))
            .count()
    }

    /// Lists every access token, refresh token, code and client secret that was ever issued or configured, oldest first.
    #[must_use]
    pub fn secrets_issued(&self) -> Vec<String> {
        self.world.lock().mint.issued().to_vec()
    }
}

/// Tokens.
impl Procore {
    /// Issues a pair as if this user had signed in, without any request.
    ///
    /// # Errors
    /// Fails if the environment does not know the client id, or nobody the user.
    pub fn issue_pair(
        &self,
        environment: Environment,
        client_id: &str,
        user: u64,
    ) -> Result<TokenPair, NotRegistered> {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        let app = world
            .registry
            .find(environment, client_id)
            .ok_or(NotRegistered)?;
        let user = world.registry.user(user).ok_or(NotRegistered)?.id;
        let grant = Grant {
            environment,
            app,
            user: Some(user),
        };
        let now = world.now_ms();
        let row = world
            .ledger
            .issue(&mut world.mint, &world.policy, grant, true, now);
        let row = world.ledger.row(row);
        Ok(TokenPair {
            access_token: row.access_token().to_owned(),
            refresh_token: row.refresh_token().unwrap_or_default().to_owned(),
            expires_in: row.remaining_seconds(now),
            created_at: now / 1000,
        })
    }

    /// Tells whether a refresh token would be accepted there.
    #[must_use]
    pub fn refresh_token_is_live(&self, environment: Environment, token: &str) -> bool {
        self.world
            .lock()
            .ledger
            .find_live_refresh(environment, token)
            .is_some()
    }

    /// Returns the newest refresh token that would be accepted there: the one that nobody may lose.
    #[must_use]
    pub fn newest_refresh_token(&self, environment: Environment) -> Option<String> {
        let world = self.world.lock();
        let newest = world.ledger.newest_live_refresh(environment);
        newest.map(str::to_owned)
    }

    /// Returns the refresh token that was issued last in exchange for this one; none while it was never used.
    #[must_use]
    pub fn successor_of(&self, environment: Environment, token: &str) -> Option<String> {
        let world = self.world.lock();
        let successor = world.ledger.successor(environment, token);
        successor.map(str::to_owned)
    }

    /// Tells whether an access token would be accepted there now.
    #[must_use]
    pub fn access_token_is_live(&self, environment: Environment, token: &str) -> bool {
        let world = self.world.lock();
        world
            .ledger
            .accept(environment, token, world.now_ms())
            .is_ok()
    }

    /// Ends the life of an access token now; its refresh token lives on. Says whether the token is known there.
    pub fn expire_access_token(&self, environment: Environment, token: &str) -> bool {
        self.on_access(environment, token, |world, row| {
            world.ledger.expire_access(row, world.now_ms());
        })
    }

    /// Revokes an access token; its refresh token lives on. Says whether the token is known there.
    pub fn revoke_access_token(&self, environment: Environment, token: &str) -> bool {
        self.on_access(environment, token, |world, row| {
            world.ledger.revoke_access(row);
        })
    }

    fn on_access(
        &self,
        environment: Environment,
        token: &str,
        change: impl FnOnce(&mut World, RowId),
    ) -> bool {
        let mut world = self.world.lock();
        let row = world.ledger.find_access(environment, token);
        row.map(|row| change(&mut world, row)).is_some()
    }

    /// Kills a refresh token; its access token lives on. Says whether the token was live there.
    pub fn kill_refresh_token(&self, environment: Environment, token: &str) -> bool {
        let mut world = self.world.lock();
        let row = world.ledger.find_live_refresh(environment, token);
        row.map(|row| world.ledger.kill_refresh(row)).is_some()
    }

    /// Does what a person does with *My Connected Apps → Revoke*: kills all tokens and codes of this user and app in one environment.
    ///
    /// # Errors
    /// Fails if the environment does not know the client id.
    pub fn revoke_grant(
        &self,
        environment: Environment,
        client_id: &str,
        user: u64,
    ) -> Result<(), NotRegistered> {
        let mut world = self.world.lock();
        let app = world
            .registry
            .find(environment, client_id)
            .ok_or(NotRegistered)?;
        world.ledger.revoke_where(|grant| {
            *grant
                == Grant {
                    environment,
                    app,
                    user: Some(user),
                }
        });
        Ok(())
    }

    /// Does what Procore does to the monthly sandbox each month: kills all its tokens and codes.
    pub fn overwrite_monthly_sandbox(&self) {
        self.world
            .lock()
            .ledger
            .revoke_where(|grant| grant.environment == Environment::Monthly);
    }
}

/// Apps and projects.
impl Procore {
    /// Resets the secret of an app and returns the new one. Kills its access tokens; its refresh tokens live on.
    ///
    /// # Errors
    /// Fails if no such app is registered.
    pub fn reset_client_secret(
        &self,
        pair: CredentialPair,
        client_id: &str,
    ) -> Result<String, NotRegistered> {
        let mut world = self.world.lock();
        let app = find(&world, pair, client_id)?;
        let secret = world.mint.secret();
        world
            .registry
            .app_mut(app)
            .client_secret
            .clone_from(&secret);
        world.ledger.revoke_access_of(app);
        Ok(secret)
    }

    /// Connects an app to a company.
    ///
    /// # Errors
    /// Fails if no such app is registered.
    pub fn connect_company(
        &self,
        pair: CredentialPair,
        client_id: &str,
        company: u64,
    ) -> Result<(), NotRegistered> {
        self.change_app(pair, client_id, |app| {
            app.companies.insert(company);
        })
    }

    /// Disconnects an app from a company, as its admin can. No token dies of that.
    ///
    /// # Errors
    /// Fails if no such app is registered.
    pub fn disconnect_company(
        &self,
        pair: CredentialPair,
        client_id: &str,
        company: u64,
    ) -> Result<(), NotRegistered> {
        self.change_app(pair, client_id, |app| {
            app.companies.remove(&company);
        })
    }

    /// Changes the registration of an app: its redirect URIs, its grants, its service account. Kills no token.
    ///
    /// `change` must not call this server: it would wait for itself.
    ///
    /// # Errors
    /// Fails if no such app is registered.
    pub fn change_app(
        &self,
        pair: CredentialPair,
        client_id: &str,
        change: impl FnOnce(&mut App),
    ) -> Result<(), NotRegistered> {
        let mut world = self.world.lock();
        let id = find(&world, pair, client_id)?;
        change(world.registry.app_mut(id));
        let secret = world.registry.app(id).client_secret.clone();
        world.mint.keep(secret);
        Ok(())
    }

    /// Adds a project, and returns its id.
    pub fn add_project(&self, environment: Environment, company: u64, name: &str) -> u64 {
        self.world
            .lock()
            .projects
            .create(environment, company, name)
            .id
    }

    /// Lists all projects of all environments and companies, oldest first.
    #[must_use]
    pub fn projects(&self) -> Vec<Project> {
        self.world.lock().projects.all().to_vec()
    }
}

fn find(world: &World, pair: CredentialPair, client_id: &str) -> Result<AppId, NotRegistered> {
    let known = Environment::ALL
        .into_iter()
        .find(|environment| environment.credential_pair() == pair);
    known
        .and_then(|environment| world.registry.find(environment, client_id))
        .ok_or(NotRegistered)
}

impl fmt::Debug for FakeProcore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeProcore")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Deref for FakeProcore {
    type Target = Procore;

    fn deref(&self) -> &Procore {
        &self.procore
    }
}

impl Drop for FakeProcore {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
