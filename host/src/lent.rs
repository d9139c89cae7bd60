//! Everything that the host lends to the plugin for one connection.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    Clock, Entry, Environment, Error, Grant, HttpClient, HttpFailure, Key, Limits, LockGuard,
    Random, RequestLimits, Secret, Settings, Severity, Store, StoreFailure, SystemClock,
    Write as Written, bindings::procore::auth::connection as contract, egress::Egress,
    holding_store::HoldingStore, recorder::Recorder, time::millis,
};

/// Everything that the host lends to the plugin for one connection.
pub(crate) struct Lent {
    pub(crate) settings: contract::ConnectionSettings,
    pub(crate) client_secret: Secret,
    pub(crate) egress: Egress,
    /// Also permits to ask the other environments about a token, for a diagnosis.
    pub(crate) probing_egress: Egress,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) store: HoldingStore,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) limits: Limits,
    /// The functions whose last call ended with a fault, so that a fault that lasts is one alert.
    pub(crate) faulty: Mutex<BTreeSet<&'static str>>,
}

impl Lent {
    /// Lends the clock and nothing else, for advice that needs nothing.
    pub(crate) fn nothing() -> Arc<Self> {
        let egress = Egress::for_environment(Environment::Production);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let name = "advice";
        let recorder = Recorder::new(name.to_owned(), Arc::clone(&clock), Vec::new());
        let recorder = Arc::new(recorder);
        Arc::new(Self {
            settings: contract::ConnectionSettings {
                name: name.to_owned(),
                environment: Environment::Production.into(),
                client_id: String::new(),
                secret_fingerprint: None,
                grant: contract::Grant::ClientCredentials,
                company_id: None,
                actor: name.to_owned(),
                policy: policy(&crate::Policy::default()),
            },
            client_secret: Secret::new(""),
            probing_egress: egress.clone(),
            egress,
            http: Arc::new(Nothing),
            random: Arc::new(Nothing),
            store: HoldingStore::new(Arc::new(Nothing), Arc::clone(&clock), Arc::clone(&recorder)),
            recorder,
            clock,
            limits: Limits::default(),
            faulty: Mutex::default(),
        })
    }
}

/// How a call of one function ended is told to the journals once when it goes wrong, and once when it is right again.
impl Lent {
    /// Notes that a call of `function` ended with a defect of the plugin or its host.
    pub(crate) fn note_fault(&self, function: &'static str, error: &Error) {
        let first = self.faulty().insert(function);
        let severity = if first {
            Severity::Alert
        } else {
            Severity::Warning
        };
        self.recorder.record(
            severity,
            error.code(),
            &*error.diagnosis().summary,
            vec![("function".to_owned(), function.to_owned())],
        );
    }

    /// Notes that a call of `function` ended as it should, be it with a result or with an error of the plugin.
    pub(crate) fn note_success(&self, function: &'static str) {
        let recovered = self.faulty().remove(function);
        if recovered {
            self.recorder.record(
                Severity::Info,
                "plugin-recovered",
                "the plugin works again",
                vec![("function".to_owned(), function.to_owned())],
            );
        }
    }

    fn faulty(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.faulty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Translates the embedder's settings for the plugin.
pub(crate) fn settings(settings: &Settings, actor: String) -> contract::ConnectionSettings {
    contract::ConnectionSettings {
        name: settings.name.to_string(),
        environment: settings.environment.into(),
        client_id: settings.client_id.clone(),
        secret_fingerprint: Some(settings.client_secret.fingerprint()),
        grant: match &settings.grant {
            Grant::AuthorizationCode { redirect_uri } => {
                contract::Grant::AuthorizationCode(redirect_uri.clone())
            }
            Grant::ClientCredentials => contract::Grant::ClientCredentials,
        },
        company_id: settings.company_id,
        actor,
        policy: policy(&settings.policy),
    }
}

fn policy(policy: &crate::Policy) -> contract::Policy {
    contract::Policy {
        refresh_percent: policy.refresh_percent,
        refresh_jitter: millis(policy.refresh_jitter),
        token_timeout: millis(policy.token_timeout),
        lock_wait: millis(policy.lock_wait),
        call_timeout: millis(policy.call_timeout),
        parked_count: policy.parked_count,
        parked_bytes: policy.parked_bytes,
        parked_age: millis(policy.parked_age),
        pkce: policy.pkce,
    }
}

/// Lends nothing: every use is a failure.
struct Nothing;

const NOTHING: &str = "nothing is lent to a call without a connection";

fn no_store() -> StoreFailure {
    StoreFailure::new("permission-denied", NOTHING)
}

#[async_trait]
impl HttpClient for Nothing {
    async fn send(
        &self,
        _: http::Request<Vec<u8>>,
        _: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        Err(HttpFailure::new("origin-not-permitted", NOTHING, false))
    }
}

#[async_trait]
impl Store for Nothing {
    async fn get(&self, _: &Key) -> Result<Option<Entry>, StoreFailure> {
        Err(no_store())
    }

    async fn put(&self, _: &Key, _: &[u8], _: Option<u64>) -> Result<Written, StoreFailure> {
        Err(no_store())
    }

    async fn delete(&self, _: &Key, _: u64) -> Result<Written, StoreFailure> {
        Err(no_store())
    }

    async fn list(&self, _: &str) -> Result<Vec<Key>, StoreFailure> {
        Err(no_store())
    }

    async fn lock(&self, _: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        Err(no_store())
    }
}

impl Random for Nothing {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}
