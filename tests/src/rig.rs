//! A connection under test: the real component in its real host, against the fake Procore, over real sockets and TLS under
//! Procore's own host names. Time is the fake's virtual clock: a wait of the plugin's moves it on.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fake_procore::{FakeProcore, Options, VirtualClock};
use procore_auth_host::{
    ApiResponse, Clock, ConnectTo, Connection, ConnectionBuilder, Environment, Error, Event, Grant,
    HttpClient, HttpsClient, Journal, MemoryStore, Outcome, ParkedRequest, Plugin, RequestLimits,
    Secret, Settings, Store,
};

use crate::plugin;

/// The redirect URI of the rig's connections.
pub const REDIRECT_URI: &str = "http://localhost:9876/callback";

/// Where most scenarios play.
pub const SANDBOX: Environment = Environment::Sandbox;
/// How long the fake's access tokens live unless told otherwise.
pub const LIFETIME: Duration = Duration::from_secs(5400);
/// The moment at which the virtual clock starts: 2026-11-23T00:00:00Z.
const START: u64 = 1_795_392_000_000;

/// The fake Procore, a clock, and what a connection needs.
pub struct Rig {
    /// The server.
    pub procore: Arc<FakeProcore>,
    /// The time of both sides.
    pub clock: VirtualClock,
    /// What the plugin recorded.
    pub journal: Arc<Recording>,
    /// The client that knows the way to the fake.
    pub http: HttpsClient,
}

impl Rig {
    /// Starts the fake with its usual apps and users.
    pub async fn start() -> Self {
        let clock = VirtualClock::at(START);
        let options = Options {
            time: clock.time_source(),
            ..Options::demo()
        };
        Self::with(options, clock).await
    }

    /// Starts the fake as told.
    pub async fn with(options: Options, clock: VirtualClock) -> Self {
        let procore = FakeProcore::start(options).await.expect("the fake starts");
        let http = client(&procore);
        let journal = Arc::default();
        Self {
            procore: Arc::new(procore),
            clock,
            journal,
            http,
        }
    }

    /// Returns the ways to the fake, each as a configuration names it.
    pub fn connect_to(&self) -> Vec<String> {
        let ways = self.procore.connect_to().into_iter();
        ways.map(|(from, to)| format!("{from}={to}")).collect()
    }

    /// Returns another client, which shares no connection with the first.
    pub fn another_client(&self) -> HttpsClient {
        client(&self.procore)
    }

    /// Returns the settings of the demo app in an environment, for a user who signs in.
    pub fn settings(environment: Environment) -> Settings {
        let pair = fake(environment).credential_pair();
        let mut settings = Settings::new(
            "acme".parse().expect("a name"),
            environment,
            Options::demo_client_id(pair),
            Secret::new(Options::demo_client_secret(pair)),
            Grant::AuthorizationCode {
                redirect_uri: REDIRECT_URI.to_owned(),
            },
        );
        settings.company_id = Some(Options::DEMO_COMPANY);
        settings.policy.refresh_jitter = Duration::ZERO;
        settings
    }

    /// Returns the settings of the demo app in the sandbox, with a change.
    pub fn settings_with(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Self::settings(SANDBOX);
        change(&mut settings);
        settings
    }

    /// Begins a connection with a store in memory.
    pub fn builder(&self, settings: Settings) -> ConnectionBuilder {
        self.builder_on(plugin(), settings)
    }

    /// Begins a connection on another component, with a store in memory.
    pub fn builder_on(&self, plugin: &Plugin, settings: Settings) -> ConnectionBuilder {
        Connection::builder(plugin, settings)
            .http(Arc::new(self.http.clone()))
            .store(Arc::new(MemoryStore::new()))
            .clock(Arc::new(RigClock::new(&self.clock)))
            .journal(self.journal.clone())
            .actor("test/1")
    }

    /// Returns a connection of one more process on a store.
    pub fn on_store(&self, store: impl Store + 'static) -> Connection {
        self.process(Self::settings(SANDBOX), store)
    }

    /// Returns a connection of one more process on a store, with these settings.
    pub fn process(&self, settings: Settings, store: impl Store + 'static) -> Connection {
        let builder = self.builder(settings).store(Arc::new(store));
        builder.build().expect("complete")
    }

    /// Returns a connection that nobody has signed in on.
    pub fn connection(&self, environment: Environment) -> Connection {
        let settings = Self::settings(environment);
        self.builder(settings).build().expect("complete")
    }

    /// Returns a connection on which the demo user has signed in.
    pub async fn signed_in(&self, environment: Environment) -> Connection {
        let connection = self.connection(environment);
        self.sign_in(&connection).await;
        connection
    }

    /// Signs the demo user in, as a person with a browser would.
    pub async fn sign_in(&self, connection: &Connection) {
        self.try_to_sign_in(connection).await.expect("signed in");
    }

    /// Tries to sign the demo user in.
    pub async fn try_to_sign_in(&self, connection: &Connection) -> Result<(), Error> {
        let login = connection.begin_login().await.expect("a link");
        let callback = self.browse(&login.authorize_url).await;
        connection.finish_login(Secret::new(callback)).await?;
        Ok(())
    }

    /// Opens the link and returns the address that the browser would end on.
    pub async fn browse(&self, url: &str) -> String {
        let reply = self.get(url).await;
        let location = reply.headers().get("location");
        let location = location.unwrap_or_else(|| panic!("no redirect, but {}", reply.status()));
        location.to_str().expect("text").to_owned()
    }

    /// Opens the link of an out-of-band sign-in and returns the code that the page shows.
    pub async fn browse_out_of_band(&self, url: &str) -> String {
        let page = self.browse(url).await;
        let (_, code) = page.split_once("code=").expect("a code");
        code.to_owned()
    }

    /// Gets a URL of the fake's as anyone could.
    pub async fn get(&self, url: &str) -> http::Response<Vec<u8>> {
        let request = http::Request::get(url).body(vec![]);
        self.request(request.expect("a request")).await
    }

    /// Sends a request to the fake as a script could.
    pub async fn request(&self, request: http::Request<Vec<u8>>) -> http::Response<Vec<u8>> {
        let limits = RequestLimits {
            timeout: Duration::from_secs(10),
            reply_size: 1 << 20,
        };
        self.http.send(request, limits).await.expect("a reply")
    }

    /// Moves the time on to where a token that was issued now is due for a refresh.
    pub fn advance_to_refresh(&self) {
        self.advance(LIFETIME * 8 / 10);
    }

    /// Moves the time on to where a token that was issued now has expired.
    pub fn advance_to_expiry(&self) {
        self.advance(LIFETIME);
    }

    /// Moves the time on.
    pub fn advance(&self, duration: Duration) {
        self.clock.advance_seconds(duration.as_secs());
    }
}

/// Makes a client that knows the way to the fake.
fn client(procore: &FakeProcore) -> HttpsClient {
    let connect_to = procore.connect_to().into_iter().map(|(from, to)| {
        let both = format!("{from}={to}");
        both.parse::<ConnectTo>().expect("an override")
    });
    HttpsClient::builder()
        .extra_ca_pem(procore.ca_pem().as_bytes().to_vec())
        .connect_to(connect_to)
        .build()
        .expect("a client")
}

/// Returns the answer of a call that was not parked.
pub fn answered(outcome: Result<Outcome, Error>) -> ApiResponse {
    match outcome.expect("an outcome") {
        Outcome::Answered(response) => response,
        other => panic!("not answered: {other:?}"),
    }
}

/// Returns the parked request of a call that was not answered.
pub fn parked(outcome: Result<Outcome, Error>) -> ParkedRequest {
    match outcome.expect("an outcome") {
        Outcome::Parked(parked) => parked,
        other => panic!("not parked: {other:?}"),
    }
}

/// Returns the fake's word for an environment.
pub fn fake(environment: Environment) -> fake_procore::Environment {
    match environment {
        Environment::Production => fake_procore::Environment::Production,
        Environment::Sandbox => fake_procore::Environment::Sandbox,
        Environment::MonthlySandbox => fake_procore::Environment::Monthly,
        Environment::Federal => fake_procore::Environment::Federal,
    }
}

/// The virtual clock, as the host wants it. A sleep moves it on instead of waiting.
pub struct RigClock {
    clock: VirtualClock,
    start: Instant,
    began: u64,
}

impl RigClock {
    /// Shows the given clock.
    pub fn new(clock: &VirtualClock) -> Self {
        Self {
            clock: clock.clone(),
            start: Instant::now(),
            began: clock.now(),
        }
    }
}

#[async_trait::async_trait]
impl Clock for RigClock {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        // Real time as well, so that a defect ends at a deadline and not never.
        self.start.elapsed() + Duration::from_millis(self.clock.now().saturating_sub(self.began))
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.advance_seconds(duration.as_secs().max(1));
    }
}

/// A journal that remembers.
#[derive(Default)]
pub struct Recording(Mutex<Vec<Event>>);

impl Recording {
    /// Returns the codes of all events, in order.
    pub fn codes(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.code).collect()
    }

    /// Returns all events, in order.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// Returns the alerts alone.
    pub fn alerts(&self) -> Vec<Event> {
        let mut events = self.events();
        events.retain(|event| event.severity == procore_auth_host::Severity::Alert);
        events
    }
}

impl Journal for Recording {
    fn record(&self, _connection: &str, event: &Event) {
        self.0.lock().expect("not poisoned").push(event.clone());
    }
}
