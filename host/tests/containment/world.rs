//! What a hostile component meets: capabilities that do nothing and note everything.

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
    HttpFailure, Journal, Key, Limits, LockGuard, Plugin, Policy, RequestLimits, Secret, Settings,
    Severity, Store, StoreFailure, SystemClock, Write,
};

use crate::hostile::{Hostile, OK, load};

/// The connection's client secret.
pub(crate) const CLIENT_SECRET: &str = "hunter2-hunter2-hunter2";

/// Counts how often it slept and how many locks are held, notes what is sent, and stores nothing.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) slept: AtomicUsize,
    pub(crate) locks: Arc<AtomicUsize>,
    pub(crate) journal: Mutex<Vec<Event>>,
    /// Every request that got through.
    pub(crate) sent: Mutex<Vec<http::Request<Vec<u8>>>>,
    /// What every request is answered with.
    pub(crate) reply: Mutex<http::Response<Vec<u8>>>,
    clock: SystemClock,
}

impl World {
    /// Returns the severities and codes of all events, in order.
    pub(crate) fn events(&self) -> Vec<(Severity, String)> {
        let journal = self.journal.lock().expect("unpoisoned");
        let events = journal.iter();
        events.map(|e| (e.severity, e.code.clone())).collect()
    }

    /// Returns the codes of all events, in order.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.events().into_iter().map(|(_, code)| code).collect()
    }
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
        request: http::Request<Vec<u8>>,
        _: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        self.sent.lock().expect("unpoisoned").push(request);
        Ok(self.reply.lock().expect("unpoisoned").clone())
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

pub(crate) fn connect(plugin: &Plugin, limits: Limits) -> (Connection, Arc<World>) {
    let mut policy = Policy::default();
    policy.token_timeout = Duration::ZERO;
    policy.lock_wait = Duration::ZERO;
    policy.parked_count = 0;
    connect_with(plugin, limits, policy)
}

pub(crate) fn connect_with(
    plugin: &Plugin,
    limits: Limits,
    policy: Policy,
) -> (Connection, Arc<World>) {
    let (builder, world) = builder(plugin, limits, policy);
    (builder.build().expect("complete"), world)
}

pub(crate) fn builder(
    plugin: &Plugin,
    limits: Limits,
    policy: Policy,
) -> (ConnectionBuilder, Arc<World>) {
    let world = Arc::new(World::default());
    let name = "acme".parse().expect("a name");
    let secret = Secret::new(CLIENT_SECRET);
    let grant = Grant::ClientCredentials;
    let mut settings = Settings::new(name, Environment::Sandbox, "id", secret, grant);
    settings.policy = policy;
    let builder = Connection::builder(plugin, settings)
        .http(world.clone())
        .store(world.clone())
        .clock(world.clone())
        .journal(world.clone())
        .limits(limits);
    (builder, world)
}

pub(crate) fn quick() -> Limits {
    let mut limits = Limits::default();
    limits.compute = Duration::from_millis(300);
    limits.host_calls = 1000;
    limits
}

/// Calls `status` with this body, and expects it to be stopped with this code, and the next call to work.
pub(crate) async fn is_stopped(body: &str, code: &str) {
    let bodies = [("auth.status", body), ("auth.forget", OK)];
    stops(&load(&Hostile::new(&bodies)), code).await;
}

/// Calls `status`, and expects it to be stopped with this code, and `forget` to work after it. Returns what happened meanwhile.
pub(crate) async fn stops(plugin: &Plugin, code: &str) -> Arc<World> {
    let (connection, world) = connect(plugin, quick());
    let error = connection.status().await.expect_err("stopped");
    assert_eq!((error.code(), error.is_internal()), (code, true), "{error}");
    let (severity, told) = world.events().pop().expect("an event");
    assert_eq!((severity, &*told), (Severity::Alert, code));
    connection.forget().await.expect("the next call works");
    let locks = world.locks.load(Ordering::SeqCst);
    assert_eq!(locks, 0, "no lock stays behind");
    world
}
