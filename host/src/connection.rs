//! One connection to Procore.

use std::{fmt, process, sync::Arc, time::Duration};

use wasmtime::Store as Instantiated;

use crate::{
    AccessToken, ApiRequest, Attempt, Clock, Decision, Diagnosis, Error, ErrorKind, Health,
    HttpClient, Identity, Journal, Limits, Login, Outcome, ParkedRequest, Plugin, Policy, Random,
    ReplayReport, Secret, Settings, Status, Store, SystemClock, SystemRandom, Visit,
    bindings::{
        exports::procore::auth::{advice, api, auth},
        procore::auth::types,
    },
    call::{Answer, Call, Ended},
    capabilities::CallState,
    egress::Egress,
    exports::Interface,
    fallback::{self, Fallback, UnfitFallback},
    holding_store::HoldingStore,
    lent::{self, Lent},
    limits::{least_host_calls, least_memory, room_for_body},
    pause::Pause,
    recorder::Recorder,
    single_flight::{Joined, Leader, SingleFlight, Wanted},
    time::millis,
    token_cache::TokenCache,
};

/// One connection: one environment, one client id, one user or service account. Clones share it.
///
/// The methods need a tokio runtime with time. A call runs in its caller's task until it first has to wait, and from then on in a task
/// of its own: a caller that gives up, or whose future is dropped, does not cut a refresh in half. A runtime that shuts down does; wait
/// for open calls before. A store or an HTTP client that blocks its thread blocks the caller.
///
/// All of them fail with [`crate::ErrorKind::Internal`] where the plugin is at fault, with [`crate::ErrorKind::Storage`] and
/// [`crate::ErrorKind::Busy`] where the store is or where too many calls run at once, and further as they say.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    plugin: Plugin,
    settings: Settings,
    lent: Arc<Lent>,
    cache: TokenCache,
    token_calls: SingleFlight,
    pause: Pause,
    fallback: Option<Fallback>,
}

impl Connection {
    /// Begins a connection. [`ConnectionBuilder::http`] and [`ConnectionBuilder::store`] must be given.
    pub fn builder(plugin: &Plugin, settings: Settings) -> ConnectionBuilder {
        ConnectionBuilder {
            plugin: plugin.clone(),
            settings,
            http: None,
            store: None,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            journals: Vec::new(),
            limits: Limits::default(),
            actor: None,
            fallback: None,
        }
    }

    /// Returns the settings that the connection was built with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn lent(&self) -> &Lent {
        &self.0.lent
    }

    /// Returns an access token that is good now, and refreshes it first where that is due.
    ///
    /// While the token is not due for a refresh, this takes no lock, does no I/O and does not enter the plugin. Otherwise all
    /// who ask at once share one plugin call. Where a refresh fails and the old token still lives, the old token is returned.
    /// Where the user grant has died and there is a [`ConnectionBuilder::fallback`], the token is the fallback's and says so.
    ///
    /// Errors: `SignInRequired`, `Configuration` or `Unavailable` where there is no token.
    pub async fn access_token(&self) -> Result<AccessToken, Error> {
        match self.cached_token() {
            Some(token) => Ok(token),
            // In a box, so that there is little to move where there is nothing to wait for.
            None => Box::pin(self.asked_token()).await,
        }
    }

    fn cached_token(&self) -> Option<AccessToken> {
        self.0.cache.current(&*self.0.lent.clock)
    }

    /// Returns the token as [`Connection::access_token`] does, but from the store and not from the cache: one that another process
    /// has stored meanwhile is seen.
    ///
    /// Errors: as [`Connection::access_token`].
    pub async fn stored_access_token(&self) -> Result<AccessToken, Error> {
        self.0.cache.clear();
        self.access_token().await
    }

    /// Returns a token to use instead of `rejected`, which the server answered with 401. All who report the same token at once
    /// share one plugin call, and at most one refresh is made for one token.
    ///
    /// Errors: as [`Connection::access_token`]; `Configuration` where a freshly refreshed token is rejected too.
    pub async fn renew_rejected(&self, rejected: &Secret) -> Result<AccessToken, Error> {
        self.0.cache.clear_where(|token| token.bearer() == rejected);
        let own = self.shared_token(Some(rejected.clone())).await;
        self.or_of_fallback(own, Some(rejected)).await
    }

    /// Gets a token from the plugin, or from the fallback.
    async fn asked_token(&self) -> Result<AccessToken, Error> {
        let own = self.own_token().await;
        self.or_of_fallback(own, None).await
    }

    /// Gets a token of this connection itself. Where it had to be asked for, a fallback is not in use any more.
    async fn own_token(&self) -> Result<AccessToken, Error> {
        if let Some(token) = self.cached_token() {
            return Ok(token);
        }
        let token = self.shared_token(None).await?;
        self.end_fallback().await;
        Ok(token)
    }

    /// Has the fallback serve where the user grant has died, and nowhere else.
    async fn or_of_fallback(
        &self,
        own: Result<AccessToken, Error>,
        rejected: Option<&Secret>,
    ) -> Result<AccessToken, Error> {
        match (own, &self.0.fallback) {
            (Err(dead), Some(fallback)) if fallback::is_called_for(&dead) => {
                Box::pin(fallback.token(rejected, dead)).await
            }
            (own, _) => own,
        }
    }

    async fn end_fallback(&self) {
        if let Some(fallback) = &self.0.fallback {
            fallback.end().await;
        }
    }

    /// Shows in the status that a fallback is in use.
    async fn with_fallback(&self, mut status: Status) -> Status {
        if let Some(fallback) = &self.0.fallback {
            status.fallback_in_use = fallback.is_in_use().await;
        }
        status
    }

    /// Begins a sign-in and remembers its `state`. A later call replaces an earlier one.
    ///
    /// Errors: `Configuration` where the grant needs no sign-in or the redirect URI cannot work.
    pub async fn begin_login(&self) -> Result<Login, Error> {
        self.run(self.call("begin-login"), |auth: &auth::Guest, store| {
            Box::pin(auth.call_begin_login(store))
        })
        .await
        .map(Into::into)
    }

    /// Finishes the sign-in with what came back: the whole callback URL, its query, or the code alone where the redirect URI is
    /// out-of-band.
    ///
    /// Errors: `InvalidInput` where `state` does not match, the person refused, or the code was used or has expired;
    /// `Configuration` where the server does not know the client; `Unavailable` where it could not be reached.
    pub async fn finish_login(&self, callback: Secret) -> Result<Status, Error> {
        let finished = self.change(
            self.call("finish-login"),
            move |auth: &auth::Guest, store| {
                Box::pin(async move { auth.call_finish_login(store, callback.expose()).await })
            },
        );
        let status = finished.await.map(Status::from);
        if status.is_ok() {
            self.end_fallback().await;
        }
        status
    }

    /// Asks Procore who the token acts as, and keeps the answer as evidence.
    ///
    /// Errors: as [`Connection::access_token`].
    pub async fn verify(&self) -> Result<Identity, Error> {
        self.run(self.call("verify"), |auth: &auth::Guest, store| {
            Box::pin(auth.call_verify(store))
        })
        .await
        .map(Into::into)
    }

    /// Signs out: revokes the tokens at the server, then deletes them from the store. Where the server cannot be reached the
    /// tokens stay, so that it can be tried again.
    ///
    /// Errors: `Unavailable`; `Configuration` where the server does not know the client, or the secret is wrong.
    pub async fn revoke(&self) -> Result<(), Error> {
        self.change(self.call("revoke"), |auth: &auth::Guest, store| {
            Box::pin(auth.call_revoke(store))
        })
        .await?;
        self.end_fallback().await;
        Ok(())
    }

    /// Deletes the tokens from the store without telling the server.
    pub async fn forget(&self) -> Result<(), Error> {
        self.change(self.call("forget"), |auth: &auth::Guest, store| {
            Box::pin(auth.call_forget(store))
        })
        .await?;
        self.end_fallback().await;
        Ok(())
    }

    /// Takes over tokens from elsewhere: the bytes of a token endpoint's reply as a script saved it. Nothing is spent by this.
    /// Existing tokens are replaced only where `replace` is true.
    ///
    /// Errors: `InvalidInput` where the bytes are no such reply.
    pub async fn adopt(&self, reply: Vec<u8>, replace: bool) -> Result<Status, Error> {
        self.change(self.call("adopt"), move |auth: &auth::Guest, store| {
            Box::pin(async move { auth.call_adopt(store, &reply, replace).await })
        })
        .await
        .map(Into::into)
    }

    /// Tells how the connection is. Sends nothing, and takes no lock while what is stored is what was written last. Where it is an
    /// older version or a copy, that is noted in the store under the lock, and told once.
    pub async fn status(&self) -> Result<Status, Error> {
        let status = self.run(self.call("status"), |auth: &auth::Guest, store| {
            Box::pin(auth.call_status(store))
        });
        let status = self.with_what_is_held(status.await?.into());
        Ok(self.with_fallback(status).await)
    }

    /// Waits until all tokens that were received are saved: at once, unless the store fails.
    ///
    /// To be waited for before the process ends. Where the store cannot be written after a refresh, the new tokens live in
    /// this process alone and the save is tried again until it works; a process that ends before loses the sign-in. What waits
    /// here is told by the alert `tokens-not-saved`.
    pub async fn saved(&self) {
        self.0.lent.store.settled().await;
    }

    /// Returns whether all tokens that were received are saved. Never waits: a refresh that is under way may yet bring some.
    pub fn is_saved(&self) -> bool {
        !self.0.lent.store.holds()
    }

    /// Shows in the status that tokens live in this process alone.
    fn with_what_is_held(&self, status: Status) -> Status {
        if !self.0.lent.store.holds() || status.health > Health::AtRisk {
            return status;
        }
        Status {
            health: Health::AtRisk,
            ..status
        }
    }

    /// Does what is due: refreshes, replays parked requests, raises and clears the incident. `next_visit` is how long it takes
    /// until the keeper comes by again; `None` where it comes back at the moment that it is told.
    ///
    /// A visit that meets trouble at the server is no error: the trouble stands in the status.
    ///
    /// Errors: `Storage`, also where a refresh is due that cannot be begun and the old token still serves; `Busy`.
    pub async fn upkeep(&self, next_visit: Option<Duration>) -> Result<Visit, Error> {
        let next_visit = next_visit.map(millis);
        let not_before = self.paused_until();
        let visit = self.run(
            self.replaying("upkeep"),
            move |auth: &auth::Guest, store| {
                Box::pin(auth.call_upkeep(store, next_visit, not_before))
            },
        );
        let visit = visit.await?;
        self.note_pause(visit.pause_until);
        let visit = Visit::from(visit);
        if visit.status.health <= Health::Unverified {
            self.0.lent.recorder.forget();
        }
        if visit.status.health <= Health::AtRisk {
            self.end_fallback().await;
        }
        let status = self.with_what_is_held(visit.status);
        Ok(Visit {
            status: self.with_fallback(status).await,
            ..visit
        })
    }

    /// Sends a request with a fresh token: answers one 401 with one renewal and one resend, waits as 429 and 503 ask, and repeats
    /// only what is safe to repeat. Where an earlier reply said that the rate limit's window is used up, or nearly, the request waits
    /// for that first; clones of the connection share what they know of it, processes do not.
    ///
    /// Errors: `InvalidInput` for an unacceptable request, and for one that may be parked with a body that is larger than
    /// [`Connection::largest_parkable`]; those of [`Connection::access_token`] where there is no token;
    /// `Unavailable` where no attempt was answered and none was executed, with the code `rate-limited` and the moment to come back where
    /// the window ends after the request's time; `UnknownOutcome` where one may have been.
    ///
    /// Where the user grant has died and there is a [`ConnectionBuilder::fallback`], the request is sent by that, and the answer says
    /// so. It is parked only where the fallback cannot send it either, and then waits for the user.
    pub async fn send(&self, request: ApiRequest) -> Result<Outcome, Error> {
        if request.park && request.body.len() as u64 > self.largest_parkable() {
            return Err(too_large_to_park(&request, self.largest_parkable()));
        }
        let Some(fallback) = &self.0.fallback else {
            return self.send_own(request).await;
        };
        // Asked for before: without a token, the plugin would park a request that the fallback can send.
        let dead = match self.own_token().await {
            Err(dead) if fallback::is_called_for(&dead) => dead,
            _ => match self.send_own(request.clone()).await {
                // It was answered with 401 and not executed.
                Err(dead) if fallback::is_called_for(&dead) => dead,
                outcome => return outcome,
            },
        };
        match Box::pin(fallback.send(request.clone(), &dead)).await {
            Some(outcome) => outcome,
            None => self.send_own(request).await,
        }
    }

    /// Sends a request with this connection's own token.
    async fn send_own(&self, request: ApiRequest) -> Result<Outcome, Error> {
        let own = request
            .timeout
            .unwrap_or(self.0.settings.policy.call_timeout);
        let call = self
            .call("send")
            .within(self.0.lent.limits.deadline.saturating_add(own));
        let not_before = self.paused_until();
        let outcome = self
            .run(call, move |api: &api::Guest, store| {
                Box::pin(async move {
                    let mut request = api::Request::from(request);
                    request.not_before = not_before;
                    api.call_send(store, &request).await
                })
            })
            .await;
        match &outcome {
            Ok(api::Outcome::Answered(reply)) => self.note_pause(reply.pause_until),
            Ok(api::Outcome::Parked(kept)) => self.note_pause(kept.pause_until),
            // It would be so again.
            Err(error) if error.code() == "rate-limited" => self.note_pause(error.retry_at()),
            _ => {}
        }
        outcome.map(Outcome::from).inspect(|outcome| {
            if matches!(outcome, Outcome::Answered(_)) {
                self.0.lent.recorder.forget();
            }
        })
    }

    /// Returns how many bytes a body that may be parked has at most: [`Policy::parked_bytes`], or what [`Limits::memory`] has room for.
    pub fn largest_parkable(&self) -> u64 {
        let policy = &self.0.settings.policy;
        policy.parked_bytes.min(room_for_body(&self.0.lent.limits))
    }

    /// Returns until when the next request is to wait so that the rate limit is not hit, in milliseconds since 1970; `None` where it
    /// may go at once. [`Connection::send`] and [`Connection::stream`] wait by themselves; this is for callers with an HTTP client of their own.
    ///
    /// Known to this process alone, from the replies that [`Connection::send`], [`Connection::assess`] and replays have seen, those to
    /// requests that were parked included.
    pub fn paused_until(&self) -> Option<u64> {
        self.0.pause.until(&*self.0.lent.clock)
    }

    fn note_pause(&self, until: Option<u64>) {
        self.0.pause.note(until, &*self.0.lent.clock);
    }

    /// Decides what to do after an attempt of a caller with an HTTP client of its own: the same policy as in
    /// [`Connection::send`]. Sends nothing and reads nothing. How long a reply asks the next request to wait is noted, see
    /// [`Connection::paused_until`].
    pub async fn assess(&self, attempt: Attempt) -> Result<Decision, Error> {
        let decision = self
            .call("assess")
            .run(move |api: &api::Guest, store| {
                Box::pin(async move {
                    let attempt = attempt.into();
                    api.call_assess(store, &attempt).await
                })
            })
            .await?;
        self.note_pause(match &decision {
            api::Decision::Deliver(delivery) => delivery.pause_until,
            api::Decision::GiveUp(obstacle) => obstacle.pause_until,
            _ => None,
        });
        Ok(decision.into())
    }

    /// Lists the parked requests in the order in which they were parked.
    pub async fn parked(&self) -> Result<Vec<ParkedRequest>, Error> {
        self.run(self.call("parked"), |api: &api::Guest, store| {
            Box::pin(api.call_parked(store))
        })
        .await
        .map(|requests| requests.into_iter().map(Into::into).collect())
    }

    /// Replays the queued requests in order, or the one that is named, whatever its state. Keeps to the pause that an earlier reply
    /// asked for ([`Connection::paused_until`]), and what the replies to replays ask for holds for other calls too.
    ///
    /// Errors: `InvalidInput` where there is no such request.
    pub async fn replay(&self, id: Option<&str>) -> Result<ReplayReport, Error> {
        let id = id.map(ToOwned::to_owned);
        let not_before = self.paused_until();
        let report = self.run(self.replaying("replay"), move |api: &api::Guest, store| {
            Box::pin(async move { api.call_replay(store, id.as_deref(), not_before).await })
        });
        let report = report.await?;
        self.note_pause(report.pause_until);
        Ok(report.into())
    }

    /// Deletes a parked request.
    ///
    /// Errors: `InvalidInput` where there is no such request.
    pub async fn discard(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.run(self.call("discard"), move |api: &api::Guest, store| {
            Box::pin(async move { api.call_discard(store, &id).await })
        })
        .await
    }

    /// Looks for the cause of trouble with this connection, and returns what it found, most likely first; empty where all is
    /// well. Asks the environments' `token/info` and `/rest/v1.0/me`; spends nothing.
    pub async fn diagnose(&self) -> Result<Vec<Diagnosis>, Error> {
        self.run(
            self.call("diagnose").probing(),
            |advice: &advice::Guest, store| Box::pin(advice.call_diagnose(store)),
        )
        .await
        .map(|found| found.into_iter().map(Into::into).collect())
    }

    fn call(&self, function: &'static str) -> Call {
        let Shared { plugin, lent, .. } = &*self.0;
        Call::new(plugin.clone(), Arc::clone(lent), function)
    }

    fn replaying(&self, function: &'static str) -> Call {
        self.call(function)
            .within(self.0.lent.limits.replay_deadline)
    }

    /// Makes a call that may refresh on its way; where it did, or saw a token refused, the cached one is dropped.
    async fn run<I, T, F>(&self, call: Call, entry: F) -> Result<T, Error>
    where
        I: Interface,
        T: Send + 'static,
        F: for<'a> FnOnce(
                &'a I,
                &'a mut Instantiated<CallState>,
            ) -> Answer<'a, Result<T, types::Error>>
            + Send
            + 'static,
    {
        let shared = Arc::clone(&self.0);
        call.patience()
            .detached(async move {
                let Ended {
                    result,
                    tokens_in_doubt,
                } = call.execute(entry).await;
                if tokens_in_doubt {
                    shared.cache.clear();
                }
                flat(result)
            })
            .await
    }

    /// Makes a call that changes whose tokens they are: nothing from before it is served during it or after it.
    async fn change<I, T, F>(&self, call: Call, entry: F) -> Result<T, Error>
    where
        I: Interface,
        T: Send + 'static,
        F: for<'a> FnOnce(
                &'a I,
                &'a mut Instantiated<CallState>,
            ) -> Answer<'a, Result<T, types::Error>>
            + Send
            + 'static,
    {
        let shared = Arc::clone(&self.0);
        call.patience()
            .detached(async move {
                shared.cache.clear();
                let result = call.execute(entry).await.result;
                shared.cache.clear();
                flat(result)
            })
            .await
    }

    /// Gets a token from the plugin, in one call for all who want the same.
    async fn shared_token(&self, instead_of: Option<Secret>) -> Result<AccessToken, Error> {
        let wanted = Wanted {
            generation: self.0.cache.generation(),
            instead_of,
        };
        let call = self.call(match wanted.instead_of {
            None => "access-token",
            Some(_) => "renew-rejected",
        });
        let patience = call.patience();
        match self.0.token_calls.join(wanted) {
            Joined::Leader(leader) => {
                let fetched = Arc::clone(&self.0).fetch_token(call, leader);
                patience.detached(fetched).await
            }
            Joined::Follower(follower) => {
                let died = || Err(patience.host_panicked());
                let outcome = async { follower.outcome().await.unwrap_or_else(died) };
                patience.wait(outcome).await
            }
        }
    }
}

impl Shared {
    async fn fetch_token(
        self: Arc<Self>,
        call: Call,
        leader: Leader,
    ) -> Result<AccessToken, Error> {
        let rejected = leader.wanted().instead_of.clone();
        let ended = call
            .execute(move |auth: &auth::Guest, store| {
                Box::pin(async move {
                    match rejected {
                        None => auth.call_access_token(store).await,
                        Some(rejected) => auth.call_renew_rejected(store, rejected.expose()).await,
                    }
                })
            })
            .await;
        let result = flat(ended.result).map(AccessToken::from);
        self.keep(&result, leader.wanted());
        self.token_calls.complete(leader, result.clone());
        result
    }

    /// Puts a call's token into the cache. What it was to replace leaves it: a call that began before may have put it there.
    fn keep(&self, result: &Result<AccessToken, Error>, wanted: &Wanted) {
        match (result, &wanted.instead_of) {
            (Ok(token), rejected) => {
                self.lent.recorder.forget();
                if let Some(rejected) = rejected {
                    self.cache.clear_where(|kept| kept.bearer() == rejected);
                }
                let clock = &*self.lent.clock;
                self.cache.fill(token.clone(), wanted.generation, clock);
            }
            // Calls that still run may have read the rejected token.
            (Err(_), Some(_)) => self.cache.clear(),
            (Err(_), None) => {}
        }
    }
}

/// Makes one error of the plugin's own and of its being stopped.
fn flat<T>(result: Result<Result<T, types::Error>, Error>) -> Result<T, Error> {
    result?.map_err(Error::from)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// Collects what a [`Connection`] needs.
#[must_use]
pub struct ConnectionBuilder {
    plugin: Plugin,
    settings: Settings,
    http: Option<Arc<dyn HttpClient>>,
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    journals: Vec<Arc<dyn Journal>>,
    limits: Limits,
    actor: Option<String>,
    fallback: Option<Fallback>,
}

/// A connection was built without something that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection needs {0}")]
pub struct IncompleteConnection(&'static str);

impl ConnectionBuilder {
    /// Sets the client that carries out HTTP requests.
    pub fn http(mut self, http: Arc<dyn HttpClient>) -> Self {
        self.http = Some(http);
        self
    }

    /// Sets the store of this connection's tokens and parked requests. No other connection may use the same.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the clock; by default the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness; by default the machine's.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Adds a sink for events. Each gets every event.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journals.push(journal);
        self
    }

    /// Sets what one call may take.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Names who acts, for records; by default the machine's name and the process id, such as `agent-host/4121`.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Permits calls as a service account while the user grant is dead: [`Connection::access_token`] and [`Connection::send`] are
    /// served by `fallback` where a person must sign in because the grant has died, and for no other reason: neither before the first
    /// sign-in nor after a sign-out. Who the calls act as is another account then, with
    /// permissions of its own. All that it gives and records says so; the trouble of the user grant is told as ever.
    ///
    /// `fallback` is a connection with client credentials in the same environment and a store of its own. It is asked for a token
    /// when one is needed, and not kept alive before.
    ///
    /// Errors: where `fallback` cannot be one: see [`UnfitFallback`].
    pub fn fallback(mut self, fallback: Connection) -> Result<Self, UnfitFallback> {
        self.fallback = Some(Fallback::new(fallback, &self.settings)?);
        Ok(self)
    }

    /// Makes the connection. Sends nothing and reads nothing.
    pub fn build(mut self) -> Result<Connection, IncompleteConnection> {
        make_room(&mut self.limits, &self.settings.policy);
        let egress = Egress::for_environment(self.settings.environment);
        let actor = self.actor.unwrap_or_else(default_actor);
        let store = self.store.ok_or(IncompleteConnection("a store"))?;
        let recorder = Arc::new(Recorder::new(
            self.settings.name.to_string(),
            Arc::clone(&self.clock),
            self.journals,
        ));
        let lent = Lent {
            settings: lent::settings(&self.settings, actor),
            client_secret: self.settings.client_secret.clone(),
            probing_egress: egress.clone().with_token_info_probes(),
            egress,
            http: self.http.ok_or(IncompleteConnection("an HTTP client"))?,
            store: HoldingStore::new(store, Arc::clone(&self.clock), Arc::clone(&recorder)),
            recorder,
            clock: self.clock,
            random: self.random,
            limits: self.limits,
            faulty: std::sync::Mutex::default(),
        };
        Ok(Connection(Arc::new(Shared {
            plugin: self.plugin,
            settings: self.settings,
            lent: Arc::new(lent),
            cache: TokenCache::default(),
            token_calls: SingleFlight::default(),
            pause: Pause::default(),
            fallback: self.fallback,
        })))
    }
}

/// Raises limits that leave no room for what the policy allows: the wait for the lock and two requests for a token within the
/// deadlines, a replay of all that may be parked within the host calls, and the largest body that may be parked within the memory.
fn make_room(limits: &mut Limits, policy: &Policy) {
    let least = policy
        .token_timeout
        .saturating_mul(2)
        .saturating_add(policy.lock_wait);
    limits.deadline = limits.deadline.max(least);
    limits.replay_deadline = limits.replay_deadline.max(least);
    limits.host_calls = limits.host_calls.max(least_host_calls(policy.parked_count));
    limits.memory = limits.memory.max(least_memory(policy.parked_bytes));
}

fn too_large_to_park(request: &ApiRequest, largest: u64) -> Error {
    let size = request.body.len();
    let summary =
        format!("The body has {size} bytes, and one that may be parked has at most {largest}.");
    let diagnosis = Diagnosis {
        code: "too-large-to-park".to_owned(),
        summary,
        cause: "A parked body is kept in the store, and is whole in the plugin's memory when it is sent.".to_owned(),
        remedy: "Send it without leave to be parked, streamed, or allow more `parked_bytes`.".to_owned(),
        evidence: Vec::new(),
    };
    Error::new(ErrorKind::InvalidInput, diagnosis)
}

/// Names this process, for others: its machine and its id.
pub(crate) fn default_actor() -> String {
    format!("{}/{}", machine(), process::id())
}

#[cfg(unix)]
fn machine() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(unix))]
fn machine() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unnamed".to_owned())
}
