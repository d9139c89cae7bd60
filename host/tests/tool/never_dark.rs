//! A refresh token that a real Doorkeeper revokes under a keeper: one alert, no request in vain, and nothing of the work is lost.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fake_procore::VirtualClock;
use procore_auth_host::alerts::{
    Courier, Format, Outbox, Route, Sink, SinkName, Webhook as WebhookSink,
};
use procore_auth_host::{
    ApiRequest, Clock, ConnectTo, Connection, ConnectionName, Environment, FileStore, Grant,
    Health, HttpsClient, Keeper, Outcome, Secret, Settings, Visitor,
};
use procore_auth_tests::doorkeeper::{Doorkeeper, Options, Rotation};
use procore_auth_tests::rig::RigClock;
use procore_auth_tests::{plugin, tool::OUT_OF_BAND};
use tokio::sync::{oneshot, watch};

use crate::doorkeeper::{log_in, start};
use crate::webhook::{Answer, Webhook};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// 2026-11-23T00:00:00Z.
const BEGIN: u64 = 1_795_392_000_000;

/// How many requests are parked.
const PARKED: usize = 50;

/// What a step may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// A clock that goes on by itself from one moment that the keeper waits for to the next, as far as the test lets it.
#[derive(Clone)]
struct BoundedClock {
    time: VirtualClock,
    bound: Arc<watch::Sender<u64>>,
    /// The bound at which the keeper waits for a later moment: no visit is due or under way.
    rests_at: Arc<watch::Sender<u64>>,
}

impl BoundedClock {
    fn new() -> Self {
        Self {
            time: VirtualClock::at(BEGIN),
            bound: Arc::new(watch::Sender::new(BEGIN)),
            rests_at: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Lets the time go on for so many milliseconds, with all visits that fall due.
    async fn go_on(&self, span: u64) {
        let bound = self.time.now() + span;
        let mut rests_at = self.rests_at.subscribe();
        self.bound.send_replace(bound);
        let rests = rests_at.wait_for(|at| *at == bound);
        let rests = tokio::time::timeout(DEADLINE, rests).await;
        rests.expect("in time").expect("it lives");
        self.time.set(bound.max(self.time.now()));
    }
}

#[async_trait]
impl Clock for BoundedClock {
    fn now(&self) -> u64 {
        self.time.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.time.now() - BEGIN)
    }

    async fn sleep(&self, duration: Duration) {
        let moment = self.now() + u64::try_from(duration.as_millis()).expect("short");
        self.sleep_until(moment).await;
    }

    async fn sleep_until(&self, moment: u64) {
        let mut bound = self.bound.subscribe();
        loop {
            let bounded = *bound.borrow_and_update();
            if moment <= bounded {
                self.time.set(moment.max(self.now()));
                return;
            }
            self.rests_at.send_replace(bounded);
            bound.changed().await.expect("it lives");
        }
    }
}

/// The keeper's part of `run`, on any clock.
struct Visits(Connection);

#[async_trait]
impl Visitor for Visits {
    async fn visit(&self, _: &ConnectionName) -> u64 {
        let visit = self.0.upkeep(None).await;
        visit.expect("a store that works").come_back_at
    }
}

fn name() -> ConnectionName {
    "acme".parse().expect("a name")
}

fn https(server: &Doorkeeper) -> HttpsClient {
    let overrides = server.connect_to();
    let overrides = overrides.iter().map(|text| text.parse::<ConnectTo>());
    HttpsClient::builder()
        .connect_to(overrides.map(|parsed| parsed.expect("an override")))
        .build()
        .expect("a client")
}

fn create(number: usize) -> ApiRequest {
    let body = format!(r#"{{"project":{{"name":"{number}"}}}}"#);
    let mut request = ApiRequest::new("POST", "/rest/v1.0/projects")
        .header("Content-Type", "application/json")
        .body(body);
    request.park = true;
    request
}

async fn park_all(agent: &Connection) {
    for number in 0..PARKED {
        let outcome = agent.send(create(number)).await.expect("an outcome");
        assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
    }
}

fn all_in_order() -> Vec<String> {
    (0..PARKED).map(|number| number.to_string()).collect()
}

/// Processes with one store, one outbox and one time.
struct Site {
    server: Doorkeeper,
    folder: tempfile::TempDir,
    clock: BoundedClock,
    outbox: Arc<Outbox>,
}

impl Site {
    fn new(server: Doorkeeper) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sink: SinkName = "ops".parse().expect("a name");
        let outbox = Outbox::builder(folder.path().join("alerts"))
            .route(Route::to(sink))
            .environment(&name(), Environment::Sandbox)
            .build();
        Self {
            server,
            folder,
            clock: BoundedClock::new(),
            outbox,
        }
    }

    fn process(&self) -> Connection {
        let store = FileStore::open(&self.folder.path().join("state"), &name());
        Connection::builder(plugin(), settings(&self.server, OUT_OF_BAND))
            .http(Arc::new(https(&self.server)))
            .store(Arc::new(store.expect("a store")))
            .clock(Arc::new(RigClock::new(&self.clock.time)))
            .journal(self.outbox.clone())
            .build()
            .expect("complete")
    }

    async fn sign_in(&self) {
        let process = self.process();
        let login = process.begin_login().await.expect("a link");
        let code = self.server.authorize(&login.authorize_url).await;
        let code = Secret::new(code.expect("a code"));
        process.finish_login(code).await.expect("signed in");
    }

    fn courier(&self, webhook: &Webhook) -> Courier {
        let url = webhook.url();
        let http = https(&self.server).with_plain_loopback();
        let sink = WebhookSink::new(
            "ops".parse().expect("a name"),
            move || Ok(Secret::new(url.clone())),
            Format::Generic,
            Arc::new(http),
        );
        let sink: Arc<dyn Sink> = Arc::new(sink.with_first_pause(Duration::from_millis(10)));
        Courier::new(self.outbox.clone(), [sink])
    }

    async fn posts(&self) -> usize {
        self.server.token_posts().await.expect("counted")
    }
}

fn settings(server: &Doorkeeper, redirect_uri: &str) -> Settings {
    Settings::new(
        name(),
        Environment::Sandbox,
        server.client_id(),
        Secret::new(server.client_secret()),
        Grant::AuthorizationCode {
            redirect_uri: redirect_uri.to_owned(),
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn s39_a_day_with_a_revoked_token_is_one_alert_no_request_and_no_lost_work() {
    let server = match Doorkeeper::start(Rotation::Strict, Options::default()).await {
        Ok(server) => server,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let webhook = Webhook::start((0..3).map(|_| Answer::Status(503))).await;
    let site = Site::new(server);
    site.sign_in().await;

    let keeper = Keeper::new(Arc::new(site.clock.clone()), None);
    keeper.add(&name());
    let (stop, stopped) = oneshot::channel::<()>();
    let (end, ended) = oneshot::channel::<()>();
    let visits = Arc::new(Visits(site.process()));
    let keeping =
        tokio::spawn(async move { keeper.run(visits, async { drop(stopped.await) }).await });
    let courier = site.courier(&webhook);
    let delivering = tokio::spawn(async move { courier.run(async { drop(ended.await) }).await });
    site.clock.go_on(4 * HOUR).await;
    let before = site.posts().await;
    assert!(before >= 4, "refreshed as usual: {before} requests");

    site.server.revoke_all().await.expect("revoked");
    park_all(&site.process()).await;
    site.clock.go_on(MINUTE).await;
    webhook.heard(4).await;
    assert_eq!(webhook.taken(), ["alert invalid_grant"]);
    assert_eq!(site.posts().await, before + 1, "the one that was refused");

    site.clock.go_on(24 * HOUR - 2 * MINUTE).await;
    assert_eq!(site.posts().await, before + 1);
    assert_eq!(webhook.taken(), ["alert invalid_grant"]);
    // A day after the alert, there is a reminder.
    site.clock.go_on(2 * MINUTE).await;
    webhook.heard(5).await;
    assert_eq!(webhook.got()[4].body["fields"]["told"], "reminder");
    assert_eq!(site.posts().await, before + 1);
    assert!(
        site.server
            .created_projects()
            .await
            .expect("listed")
            .is_empty()
    );

    site.sign_in().await;
    site.clock.go_on(2 * MINUTE).await;
    assert_eq!(
        site.server.created_projects().await.expect("listed"),
        all_in_order()
    );
    webhook.heard(6).await;
    site.clock.go_on(2 * HOUR).await;
    let agent = site.process();
    assert!(agent.parked().await.expect("listed").is_empty());
    let status = agent.status().await.expect("a status");
    assert!(status.health <= Health::Unverified, "{status:?}");
    drop((stop, end));
    keeping.await.expect("ended");
    delivering.await.expect("ended");
    assert_eq!(
        webhook.taken(),
        [
            "alert invalid_grant",
            "alert invalid_grant",
            "recovery recovered"
        ]
    );
    let created = site.server.created_projects().await.expect("listed");
    assert_eq!(created.len(), PARKED, "each exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn s56_what_waits_for_a_login_is_sent_in_order_by_the_program_that_kept_running() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    log_in(&server, &tool).await;
    let webhook = Webhook::start((0..3).map(|_| Answer::Status(503))).await;
    let sink = "[alerts.ops]\nwebhook = { env = \"OPS_WEBHOOK\" }\nretry = \"10ms\"\n";
    tool.reconfigure(
        "[connections.acme]\n",
        &format!("{sink}\n[connections.acme]\n"),
    );
    let tool = tool.with("OPS_WEBHOOK", &webhook.url());
    let mut keeper = tool.start(&["run"]);
    keeper.says("visited").await;
    let before = server.token_posts().await.expect("counted");

    server.revoke_all().await.expect("revoked");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(4);
    park_all(&embedded(&server, &tool.path("state"), tool.port())).await;
    webhook.heard(4).await;
    assert_eq!(webhook.taken(), ["alert invalid_grant"]);
    assert_eq!(server.token_posts().await.expect("counted"), before + 1);

    log_in(&server, &tool).await;
    keeper.says(&format!("replayed={PARKED}")).await;
    assert_eq!(
        server.created_projects().await.expect("listed"),
        all_in_order()
    );
    webhook.heard(5).await;
    assert!(keeper.is_running());
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    assert_eq!(
        webhook.taken(),
        ["alert invalid_grant", "recovery recovered"]
    );
}

/// An agent's own process with the library, on the program's store.
fn embedded(server: &Doorkeeper, state: &Path, port: u16) -> Connection {
    let redirect_uri = format!("http://localhost:{port}/callback");
    let store = FileStore::open(state, &name()).expect("a store");
    Connection::builder(plugin(), settings(server, &redirect_uri))
        .http(Arc::new(https(server)))
        .store(Arc::new(store))
        .build()
        .expect("complete")
}
