//! The bindings: the only file that sees the contract.
#![allow(
    missing_docs,
    reason = "the contract in `wit/` documents what is generated here"
)]

use std::{cell::RefCell, panic, sync::Once, time::Duration};

use form_urlencoded::Serializer;
use http::{HeaderValue, header::CONTENT_TYPE};
use procore_auth_lending::{
    Entry, Environment, Grant, Key, Policy, Provenance, Secret, Settings, StoreFailure, Write,
    egress::{Destination, Egress},
    hex::hex,
};

use crate::{
    folder,
    journal::{self as lines, Journal, Severity},
    outgoing::{self, Failure, Reply},
    settings::{self, MAX_SECRET, Variables},
    storage::Storage,
    time,
};

wit_bindgen::generate!({
    inline: "
        package procore-auth:wasi;
        world adapter {
            export procore:auth/connection@0.1.0;
            export procore:auth/http@0.1.0;
            export procore:auth/clock@0.1.0;
            export procore:auth/random@0.1.0;
            export procore:auth/store@0.1.0;
            export procore:auth/journal@0.1.0;
        }
    ",
    path: "../wit",
    world: "procore-auth:wasi/adapter",
    generate_all,
});

use exports::procore::auth::{clock, connection, http as contract, journal, random, store};
use procore::auth::types;

/// The adapter.
struct Adapter;

export!(Adapter);

/// What the contract's `random` gives at most.
const MOST_RANDOM: u32 = 1024;

/// What the keys of entries that may be sent begin with: no other entry, and so no token, leaves the store this way.
const BODY_PREFIX: &str = "body-";

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Everything that is lent for the connection. Made at the first use, and constant from then on but for the storage.
struct Lent {
    settings: Settings,
    actor: String,
    egress: Egress,
    journal: Journal,
    root: Option<String>,
    storage: Option<Storage>,
}

thread_local! {
    static LENT: RefCell<Option<Lent>> = const { RefCell::new(None) };
}

/// Gives the work what is lent.
///
/// # Panics
///
/// Where the settings are not complete: the contract has no word for that. What is missing stands on standard error.
fn with<T>(work: impl FnOnce(&mut Lent) -> T) -> T {
    tell_panics();
    LENT.with_borrow_mut(|lent| match lent {
        Some(lent) => work(lent),
        None => work(lent.insert(Lent::new().unwrap_or_else(|error| panic!("{error}")))),
    })
}

/// A panic traps, and its message would be lost.
fn tell_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("no message");
            lines::to_stderr(format!("procore-auth (wasi): {message}\n").as_bytes());
        }));
    });
}

impl Lent {
    fn new() -> Result<Self, String> {
        let variables = wasi::cli::environment::get_environment();
        let variables = Variables(&variables);
        let settings = settings::read(variables, |path| {
            folder::read_file(path, MAX_SECRET).map_err(|failure| failure.message)
        })?;
        Ok(Self {
            actor: format!("wasi/{}", hex(&time::random(4))),
            egress: Egress::for_environment(settings.environment),
            journal: Journal::new(&settings.name, variables.get("PROCORE_AUTH_JOURNAL")),
            root: variables.get("PROCORE_AUTH_STORE").map(str::to_owned),
            storage: None,
            settings,
        })
    }

    fn storage(&mut self) -> Result<&mut Storage, StoreFailure> {
        match &mut self.storage {
            Some(storage) => Ok(storage),
            none => Ok(none.insert(Storage::open(self.root.as_deref(), &self.settings.name)?)),
        }
    }

    fn lock(&mut self, wait: Duration) -> Result<bool, StoreFailure> {
        self.storage()?;
        match &mut self.storage {
            Some(storage) => storage.lock(wait, &self.journal),
            None => Ok(false),
        }
    }

    /// Makes the lock, where it is held, last for a wait. Returns `false` where it was held and is lost.
    fn keep_lock(&mut self, span: Duration) -> bool {
        match &mut self.storage {
            Some(storage) if storage.is_locked() => storage.extend(span).unwrap_or(false),
            _ => true,
        }
    }

    fn send(&mut self, request: contract::Request) -> Result<Reply, Failure> {
        let asks_for_secret = matches!(&request.body, contract::Body::Form(fields)
            if fields.iter().any(|field| matches!(field.value, contract::FieldValue::ClientSecret)));
        let permit = self
            .egress
            .permit(&request.method, &request.url, asks_for_secret)?;
        let given = request.headers.iter();
        let given = given.map(|header| (header.name.as_str(), header.value.as_str()));
        let mut headers = self.egress.permit_headers(given)?;
        let body = match request.body {
            contract::Body::Empty => Vec::new(),
            contract::Body::Bytes(bytes) => bytes,
            contract::Body::Form(fields) => {
                headers.insert(CONTENT_TYPE, FORM);
                // The policy has said so already; the secret itself is handed out on this line's word alone.
                let is_login = permit.destination == Destination::Login;
                encoded(fields, is_login.then_some(&self.settings.client_secret))?
            }
            contract::Body::Stored(key) => self.stored_body(key, permit.destination)?,
        };
        let timeout = Duration::from_millis(request.timeout);
        if timeout.is_zero() {
            return Err(Failure::unsent(
                "timeout",
                "no time was left for the request",
            ));
        }
        if !self.keep_lock(timeout) {
            self.tell_of_lost_lock(Severity::Warning, "Nothing was sent.");
            let message =
                "this program was stopped for so long that another one may have the lock by now";
            return Err(Failure::unsent("lock-lost", message));
        }
        let reply = outgoing::send(&permit, &headers, &body, timeout);
        if self.storage.as_ref().is_some_and(Storage::was_overtaken) {
            let message = "Another program took the connection's lock over while a request was under way: it may have spent the same \
                           refresh token.";
            self.tell_of_lost_lock(Severity::Alert, message);
        }
        reply
    }

    fn tell_of_lost_lock(&self, severity: Severity, message: &str) {
        self.journal.tell(
            severity,
            "lock-lost",
            message,
            "This program was stopped for longer than its lease lasts, or the clock jumped.",
            "Let one program alone refresh, or give it more of the machine. If `invalid_grant` follows: sign in again.",
        );
    }

    fn stored_body(&mut self, key: String, destination: Destination) -> Result<Vec<u8>, Failure> {
        if destination != Destination::Api || !key.starts_with(BODY_PREFIX) {
            let message = "only a stored body may be sent, and only to the API";
            return Err(Failure::unsent("invalid-request", message));
        }
        let read = Key::new(key).and_then(|key| self.storage()?.get(&key));
        match read {
            Ok(Some(entry)) => Ok(entry.value),
            Ok(None) => Err(Failure::unsent(
                "no-such-entry",
                "the stored body does not exist",
            )),
            Err(refused) => Err(Failure::unsent("store", refused.to_string())),
        }
    }
}

/// Encodes a form; `secret` is `None` where it must not be sent.
fn encoded(fields: Vec<contract::FormField>, secret: Option<&Secret>) -> Result<Vec<u8>, Failure> {
    let mut form = Serializer::new(String::new());
    for field in fields {
        match field.value {
            contract::FieldValue::Text(text) => form.append_pair(&field.name, &text),
            contract::FieldValue::ClientSecret => {
                let refused = || {
                    Failure::unsent(
                        "secret-not-permitted",
                        "the client secret goes to the login origin only",
                    )
                };
                form.append_pair(&field.name, secret.ok_or_else(refused)?.expose())
            }
        };
    }
    Ok(form.finish().into_bytes())
}

impl connection::Guest for Adapter {
    fn settings() -> connection::ConnectionSettings {
        with(|lent| {
            let settings = &lent.settings;
            connection::ConnectionSettings {
                name: settings.name.to_string(),
                environment: settings.environment.into(),
                client_id: settings.client_id.clone(),
                secret_fingerprint: Some(settings.client_secret.fingerprint()),
                grant: match &settings.grant {
                    Grant::AuthorizationCode { redirect_uri } => {
                        connection::Grant::AuthorizationCode(redirect_uri.clone())
                    }
                    Grant::ClientCredentials => connection::Grant::ClientCredentials,
                },
                company_id: settings.company_id,
                actor: lent.actor.clone(),
                policy: (&settings.policy).into(),
            }
        })
    }
}

impl contract::Guest for Adapter {
    fn send(request: contract::Request) -> Result<contract::Response, contract::Failure> {
        let reply = with(|lent| lent.send(request));
        reply.map(Into::into).map_err(|failure| contract::Failure {
            code: failure.code.to_owned(),
            message: failure.message,
            sent: failure.sent,
        })
    }
}

impl clock::Guest for Adapter {
    fn now() -> u64 {
        time::now()
    }

    fn elapsed() -> u64 {
        millis(time::elapsed())
    }

    fn sleep(duration: u64) {
        let span = Duration::from_millis(duration);
        // Where the lock is lost by then, the request that follows is not sent.
        with(|lent| lent.keep_lock(span));
        time::sleep(span);
    }
}

impl random::Guest for Adapter {
    fn bytes(count: u32) -> Vec<u8> {
        tell_panics();
        assert!(count <= MOST_RANDOM, "more than {MOST_RANDOM} random bytes");
        time::random(count as usize)
    }
}

impl store::Guest for Adapter {
    fn get(key: String) -> Result<Option<store::Entry>, store::Failure> {
        let entry = with(|lent| lent.storage()?.get(&Key::new(key)?));
        answer(entry.map(|entry| entry.map(Into::into)))
    }

    fn put(
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<store::Write, store::Failure> {
        let write = with(|lent| lent.storage()?.put(&Key::new(key)?, &value, expected));
        answer(write.map(Into::into))
    }

    fn hold(key: String, value: Vec<u8>, expected: Option<u64>) -> u64 {
        with(|lent| match (Key::new(key), &mut lent.storage) {
            (Ok(key), Some(storage)) => storage.hold(key, value, expected, &lent.journal),
            _ => panic!("an entry was held without the lock, or under an invalid key"),
        })
    }

    fn delete(key: String, expected: u64) -> Result<store::Write, store::Failure> {
        let write = with(|lent| lent.storage()?.delete(&Key::new(key)?, expected));
        answer(write.map(Into::into))
    }

    fn list(prefix: String) -> Result<Vec<String>, store::Failure> {
        let keys = with(|lent| lent.storage()?.list(&prefix));
        let texts = |keys: Vec<Key>| keys.iter().map(|key| key.as_str().to_owned()).collect();
        answer(keys.map(texts))
    }

    fn lock(wait: u64) -> Result<bool, store::Failure> {
        answer(with(|lent| lent.lock(Duration::from_millis(wait))))
    }

    fn unlock() {
        with(|lent| {
            if let Some(storage) = &mut lent.storage {
                storage.unlock(&lent.journal);
            }
        });
    }
}

impl journal::Guest for Adapter {
    fn record(event: journal::Event) {
        let severity = match event.severity {
            journal::Severity::Debug => Severity::Debug,
            journal::Severity::Info => Severity::Info,
            journal::Severity::Warning => Severity::Warning,
            journal::Severity::Alert => Severity::Alert,
        };
        let fields: Vec<_> = event
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        with(|lent| {
            lent.journal
                .record(severity, &event.code, &event.message, &fields);
        });
    }
}

fn answer<T>(result: Result<T, StoreFailure>) -> Result<T, store::Failure> {
    result.map_err(|failure| store::Failure {
        code: failure.code.to_owned(),
        message: failure.message,
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl From<Environment> for types::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Sandbox => Self::Sandbox,
            Environment::MonthlySandbox => Self::MonthlySandbox,
            Environment::Federal => Self::Federal,
        }
    }
}

impl From<&Policy> for connection::Policy {
    fn from(policy: &Policy) -> Self {
        Self {
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
}

impl From<Reply> for contract::Response {
    fn from(reply: Reply) -> Self {
        let header = |(name, value): (String, Vec<u8>)| types::Header {
            name,
            value: String::from_utf8_lossy(&value).into_owned(),
        };
        Self {
            status: reply.status,
            headers: reply.headers.into_iter().map(header).collect(),
            body: reply.body,
        }
    }
}

impl From<Entry> for store::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            value: entry.value,
            revision: entry.revision,
            provenance: match entry.provenance {
                Provenance::Newest => store::Provenance::Newest,
                Provenance::Previous => store::Provenance::Previous,
                Provenance::Copied => store::Provenance::Copied,
            },
        }
    }
}

impl From<Write> for store::Write {
    fn from(write: Write) -> Self {
        match write {
            Write::Stored(revision) => Self::Stored(revision),
            Write::Conflict(entry) => Self::Conflict(entry.map(Into::into)),
        }
    }
}
