//! A component that misbehaves costs its caller one typed error, and harms nothing else.
//!
//! The components are written here, in WebAssembly text: every export traps, but for the one that a test is about.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use procore_auth_host::{
    Clock, Connection, ConnectionBuilder, Entry, Environment, Event, Grant, HttpClient,
    HttpFailure, Journal, Key, Limits, LoadError, LockGuard, Plugin, Policy, Random, RequestLimits,
    Secret, Settings, Severity, Store, StoreFailure, SystemClock, Write,
};
use procore_auth_tests::hand_written::{component, encoded};
use wit_parser::Resolve;

/// Returns a healthy status, all zeros.
const OK: &str = "(i32.const 1024)";

/// Returns a token that is good for ever.
const TOKEN: &str = "(i64.store (i32.const 1040) (i64.const 0x7fffffffffff))
    (i64.store (i32.const 1048) (i64.const 0x7fffffffffff))
    (i32.const 1024)";

/// Counts how often it slept and how many locks are held; stores and sends nothing.
#[derive(Default)]
struct World {
    slept: AtomicUsize,
    locks: Arc<AtomicUsize>,
    journal: Mutex<Vec<Event>>,
    clock: SystemClock,
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
        self.slept.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl HttpClient for World {
    async fn send(
        &self,
        _: http::Request<Vec<u8>>,
        _: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        unreachable!("nothing may be sent")
    }
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for World {
    async fn get(&self, _: &Key) -> Result<Option<Entry>, StoreFailure> {
        Ok(None)
    }

    async fn put(&self, _: &Key, _: &[u8], _: Option<u64>) -> Result<Write, StoreFailure> {
        Ok(Write::Conflict(None))
    }

    async fn delete(&self, _: &Key, _: u64) -> Result<Write, StoreFailure> {
        Ok(Write::Conflict(None))
    }

    async fn list(&self, _: &str) -> Result<Vec<Key>, StoreFailure> {
        Ok(Vec::new())
    }

    async fn lock(&self, _: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.locks.fetch_add(1, Ordering::SeqCst);
        Ok(Some(LockGuard::new(Held(Arc::clone(&self.locks)))))
    }
}

impl Journal for World {
    fn record(&self, _: &str, event: &Event) {
        self.journal.lock().expect("unpoisoned").push(event.clone());
    }
}

fn plugin(bodies: &[(&str, &str)]) -> Plugin {
    Plugin::from_bytes(&component(bodies)).expect("keeps the contract")
}

fn connect(plugin: &Plugin, limits: Limits) -> (Connection, Arc<World>) {
    let policy = Policy {
        token_timeout: Duration::ZERO,
        lock_wait: Duration::ZERO,
        parked_count: 0,
        ..Policy::default()
    };
    connect_with(plugin, limits, policy)
}

fn connect_with(plugin: &Plugin, limits: Limits, policy: Policy) -> (Connection, Arc<World>) {
    let (builder, world) = builder(plugin, limits, policy);
    (builder.build().expect("complete"), world)
}

fn builder(plugin: &Plugin, limits: Limits, policy: Policy) -> (ConnectionBuilder, Arc<World>) {
    let world = Arc::new(World::default());
    let settings = Settings {
        name: "acme".parse().expect("a name"),
        environment: Environment::Sandbox,
        client_id: "id".to_owned(),
        client_secret: Secret::new("hunter2"),
        grant: Grant::ClientCredentials,
        company_id: None,
        policy,
    };
    let builder = Connection::builder(plugin, settings)
        .http(world.clone())
        .store(world.clone())
        .clock(world.clone())
        .journal(world.clone())
        .limits(limits);
    (builder, world)
}

fn quick() -> Limits {
    let mut limits = Limits::default();
    limits.compute = Duration::from_millis(300);
    limits.host_calls = 1000;
    limits
}

/// Calls `status` with this body, and expects it to be stopped with this code, and the next call to work.
async fn is_stopped(body: &str, code: &str) {
    let plugin = plugin(&[("auth.status", body), ("auth.forget", OK)]);
    let (connection, world) = connect(&plugin, quick());
    let error = connection.status().await.expect_err("stopped");
    assert_eq!((error.code(), error.is_internal()), (code, true), "{error}");
    connection.forget().await.expect("the next call works");
    assert_eq!(
        world.locks.load(Ordering::SeqCst),
        0,
        "no lock stays behind"
    );
    let journal = world.journal.lock().expect("unpoisoned");
    assert_eq!(
        (journal[0].severity, &*journal[0].code),
        (Severity::Alert, code)
    );
}

#[tokio::test]
async fn s63_an_endless_loop_is_stopped() {
    is_stopped("(loop (br 0)) unreachable", "plugin-out-of-time").await;
}

#[tokio::test]
async fn s63_an_endless_loop_starves_nobody() {
    let plugin = plugin(&[("auth.status", "(loop (br 0)) unreachable")]);
    let (connection, _) = connect(&plugin, quick());
    // On the single thread of this test, the timer can only win if the loop yields.
    let looping = connection.status();
    let timer = tokio::time::timeout(Duration::from_millis(150), looping).await;
    assert!(timer.is_err());
}

#[tokio::test]
async fn s63_a_memory_bomb_is_stopped() {
    is_stopped(
        "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable",
        "plugin-out-of-memory",
    )
    .await;
}

#[tokio::test]
async fn s63_a_trap_is_one_error() {
    is_stopped("unreachable", "plugin-trapped").await;
}

#[tokio::test]
async fn s63_a_flood_of_host_calls_is_stopped() {
    is_stopped(
        "(loop (drop (call $clock.now)) (br 0)) unreachable",
        "too-many-host-calls",
    )
    .await;
}

/// Sends an empty request, expects it to fail with a code of this length, unsent, and goes on.
fn sends_in_vain(code: &str) -> String {
    let zeros = "(i32.const 0) ".repeat(9);
    let length = code.len();
    format!(
        "(call $http.send {zeros} (i64.const 1000) (i32.const 2048))
        (if (i32.ne (i32.load (i32.const 2056)) (i32.const {length})) (then unreachable))
        (if (i32.load8_u (i32.const 2068)) (then unreachable))"
    )
}

/// Calls the host so many times.
fn host_calls(count: u32) -> String {
    format!(
        "(i32.store (i32.const 4096) (i32.const {count}))
        (loop
            (drop (call $clock.now))
            (i32.store (i32.const 4096) (i32.sub (i32.load (i32.const 4096)) (i32.const 1)))
            (br_if 0 (i32.load (i32.const 4096))))"
    )
}

#[tokio::test]
async fn what_is_sent_leaves_enough_host_calls_to_save_what_came_of_it() {
    let body = [
        host_calls(700),
        sends_in_vain("invalid-request"),
        host_calls(200),
        sends_in_vain("too-many-host-calls"),
        host_calls(90),
        OK.to_owned(),
    ]
    .concat();
    let plugin = plugin(&[("auth.status", &body)]);
    let (connection, _) = connect(&plugin, quick());
    connection.status().await.expect("enough calls are left");
}

#[tokio::test]
async fn every_parked_request_has_its_host_calls() {
    let body = host_calls(30_000) + OK;
    let plugin = plugin(&[("auth.status", &body)]);
    let policy = Policy {
        parked_count: 1000,
        ..Policy::default()
    };
    let (connection, _) = connect_with(&plugin, quick(), policy);
    connection.status().await.expect("enough calls");
}

#[tokio::test]
async fn s63_a_request_for_too_much_randomness_traps() {
    is_stopped(
        "(call $random.bytes (i32.const 1025) (i32.const 0)) unreachable",
        "plugin-trapped",
    )
    .await;
}

#[tokio::test]
async fn s63_locking_twice_traps_and_frees_the_lock() {
    is_stopped(
        "(call $store.lock (i64.const 1) (i32.const 0)) (call $store.lock (i64.const 1) (i32.const 0)) unreachable",
        "plugin-trapped",
    )
    .await;
}

#[tokio::test]
async fn s63_a_garbage_string_is_one_error() {
    // A token whose text is not UTF-8.
    let body =
        "(i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 4))
        (i32.store (i32.const 2048) (i32.const -1)) (i32.const 1024)";
    let plugin = plugin(&[("auth.access-token", body)]);
    let (connection, _) = connect(&plugin, quick());
    let error = connection.access_token().await.expect_err("no text");
    assert_eq!(error.code(), "plugin-trapped");
}

#[tokio::test]
async fn waiting_for_the_host_is_not_computing() {
    let body = "(call $clock.sleep (i64.const 900)) (i32.const 1024)";
    let plugin = plugin(&[("auth.status", body)]);
    let (connection, _) = connect(&plugin, quick());
    connection.status().await.expect("in time");
}

#[tokio::test]
async fn a_sleep_ends_with_the_deadline() {
    let body = "(call $clock.sleep (i64.const 3600000)) (i32.const 1024)";
    let plugin = plugin(&[("auth.status", body)]);
    let mut limits = quick();
    limits.deadline = Duration::from_millis(200);
    let (connection, _) = connect(&plugin, limits);
    let ended = tokio::time::timeout(Duration::from_secs(5), connection.status()).await;
    ended.expect("in time").expect("no error");
}

#[tokio::test]
async fn s3_all_callers_share_one_call_and_then_the_cached_token() {
    let body = format!("(call $clock.sleep (i64.const 100)) {TOKEN}");
    let plugin = plugin(&[("auth.access-token", &body)]);
    let (connection, world) = connect(&plugin, quick());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let connection = connection.clone();
        callers.spawn(async move { connection.access_token().await });
    }
    for token in callers.join_all().await {
        token.expect("a token");
    }
    connection.access_token().await.expect("the cached token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn s22_a_caller_that_gives_up_cuts_nothing_in_half() {
    let body = format!("(call $clock.sleep (i64.const 200)) {TOKEN}");
    let plugin = plugin(&[("auth.access-token", &body)]);
    let (connection, world) = connect(&plugin, quick());
    let asking = connection.access_token();
    let given_up = tokio::time::timeout(Duration::from_millis(50), asking).await;
    assert!(given_up.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "the call went on");
    connection.access_token().await.expect("the cached token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "its token was kept");
}

#[tokio::test]
async fn a_rejected_token_is_not_handed_out_again() {
    let renewed = format!("(call $clock.sleep (i64.const 20)) {TOKEN}");
    let plugin = plugin(&[
        ("auth.access-token", TOKEN),
        ("auth.renew-rejected", &renewed),
    ]);
    let (connection, world) = connect(&plugin, quick());
    let rejected = connection.access_token().await.expect("a token");
    let (one, two) = tokio::join!(
        connection.renew_rejected(rejected.bearer()),
        connection.renew_rejected(rejected.bearer()),
    );
    one.and(two).expect("a token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "one call for both");
}

/// A fetch of a token and a renewal that take so many milliseconds, both begun on an empty cache; `renewed` ends the
/// renewal. Returns whether the plugin is asked for the next token.
async fn asks_anew_after(fetch: u32, renewal: u32, renewed: &str) -> bool {
    let fetched = format!("(call $clock.sleep (i64.const {fetch})) {TOKEN}");
    let renewed = format!("(call $clock.sleep (i64.const {renewal})) {renewed}");
    let plugin = plugin(&[
        ("auth.access-token", &fetched),
        ("auth.renew-rejected", &renewed),
    ]);
    let (connection, world) = connect(&plugin, quick());
    let rejected = Secret::new("");
    let (fetched, _) = tokio::join!(
        connection.access_token(),
        connection.renew_rejected(&rejected)
    );
    assert_eq!(fetched.expect("a token").bearer(), &rejected);
    let before = world.slept.load(Ordering::SeqCst);
    connection.access_token().await.expect("a token");
    world.slept.load(Ordering::SeqCst) > before
}

#[tokio::test]
async fn a_rejected_token_that_another_call_read_is_not_kept() {
    let other = format!("(i32.store (i32.const 1036) (i32.const 1)) {TOKEN}");
    assert!(asks_anew_after(20, 200, &other).await);
    // The renewal's token is kept, and what was read before it is not.
    assert!(!asks_anew_after(200, 20, &other).await);
}

#[tokio::test]
async fn a_renewal_that_fails_keeps_no_rejected_token_either() {
    assert!(asks_anew_after(20, 200, "unreachable").await);
    assert!(asks_anew_after(200, 20, "unreachable").await);
}

struct Panicking;

impl Random for Panicking {
    fn fill(&self, _: &mut [u8]) {
        panic!("no randomness");
    }
}

#[tokio::test]
async fn a_panic_of_the_host_while_a_token_is_fetched_is_an_alert() {
    let body = "(call $random.bytes (i32.const 8) (i32.const 0)) unreachable";
    let plugin = plugin(&[("auth.access-token", body)]);
    let (builder, world) = builder(&plugin, quick(), Policy::default());
    let connection = builder.random(Arc::new(Panicking)).build();
    let connection = connection.expect("complete");
    let error = connection.access_token().await.expect_err("panicked");
    assert_eq!(error.code(), "host-panicked");
    let journal = world.journal.lock().expect("unpoisoned");
    let events: Vec<_> = journal.iter().map(|e| (e.severity, &*e.code)).collect();
    assert_eq!(events, [(Severity::Alert, "host-panicked")]);
}

#[tokio::test]
async fn a_fault_that_lasts_is_one_alert() {
    let plugin = plugin(&[]);
    let (connection, world) = connect(&plugin, quick());
    for _ in 0..3 {
        connection.status().await.expect_err("stopped");
    }
    let journal = world.journal.lock().expect("unpoisoned");
    let alerts = journal
        .iter()
        .filter(|event| event.severity == Severity::Alert);
    assert_eq!((journal.len(), alerts.count()), (3, 1));
}

#[tokio::test]
async fn advice_reaches_nothing() {
    // Settings are lent, for there is nothing in them; the store says no.
    let body = r#"(call $store.get (i32.const 0) (i32.const 0) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
        (i32.const 1024)"#;
    let plugin = plugin(&[("advice.endpoints", body)]);
    let advice = plugin.advice();
    let urls = advice.endpoints(Environment::Federal).await;
    assert_eq!(urls.expect("no trap").token_url, "");
}

fn refusal(wit: &str) -> LoadError {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("plugin.wit", wit).expect("a contract");
    Plugin::from_bytes(&encoded(&resolve, package, &[])).expect_err("refused")
}

#[test]
fn s64_another_version_of_the_contract_is_refused_with_both_versions() {
    let error = refusal(
        "package procore:auth@0.2.0; interface auth { ping: func(); } world plugin { export auth; }",
    );
    assert!(
        matches!(error, LoadError::ContractVersion { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("0.2.0") && message.contains("0.1.0"),
        "{message}"
    );
}

#[test]
fn an_import_beyond_the_contract_is_refused_by_name() {
    let error = refusal(
        "package procore:auth@0.1.0; interface auth { ping: func(); }
        package wasi:sockets@1.0.0 { interface tcp { connect: func(); } }
        world plugin { import wasi:sockets/tcp@1.0.0; export auth; }",
    );
    assert!(matches!(error, LoadError::ForeignImport { .. }), "{error}");
    assert!(
        error.to_string().contains("wasi:sockets/tcp@1.0.0"),
        "{error}"
    );
}

#[test]
fn a_component_that_lacks_an_export_is_refused() {
    let error = refusal(
        "package procore:auth@0.1.0; interface auth { ping: func(); } world plugin { export auth; }",
    );
    assert!(matches!(error, LoadError::Contract { .. }), "{error}");
}

#[test]
fn what_is_no_component_is_refused() {
    let error = Plugin::from_bytes(b"no component").expect_err("refused");
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}
