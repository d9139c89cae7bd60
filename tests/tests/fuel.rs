//! How much each operation of the plugin computes, in wasmtime's fuel: roughly one for each instruction. The counts do not depend on
//! the machine or on its load, so a regression fails here and not on somebody's dashboard.
//!
//! The operations run in an engine that meters, lent what is simplest: memory, a standing clock, canned replies.

use std::collections::BTreeMap;

use procore_auth_tests::component;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store};

use bindings::Plugin;
use bindings::exports::procore::auth::advice::{Endpoint, EndpointSet, Observation};
use bindings::exports::procore::auth::api::{Attempt, NoReply, Outcome, Reply, Request};
use bindings::procore::auth::types::Environment;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "plugin" });
}

mod lent {
    //! What the operations are lent.

    use super::Lent;
    use super::bindings::procore::auth::connection::{ConnectionSettings, Grant, Policy};
    use super::bindings::procore::auth::store::{Entry, Provenance, Write};
    use super::bindings::procore::auth::types::{Environment, Header};
    use super::bindings::procore::auth::{clock, connection, http, journal, random, store, types};

    impl types::Host for Lent {}

    impl connection::Host for Lent {
        fn settings(&mut self) -> ConnectionSettings {
            let redirect_uri = "http://localhost:8377/callback".to_owned();
            ConnectionSettings {
                name: "fuel".to_owned(),
                environment: Environment::Sandbox,
                client_id: "client-id".to_owned(),
                secret_fingerprint: Some("0123456789abcdef".to_owned()),
                grant: Grant::AuthorizationCode(redirect_uri),
                company_id: Some(4711),
                actor: "machine/1".to_owned(),
                policy: Policy {
                    refresh_percent: 80,
                    refresh_jitter: 0,
                    token_timeout: 30_000,
                    lock_wait: 60_000,
                    call_timeout: 120_000,
                    parked_count: 1_000,
                    parked_bytes: 64 << 20,
                    parked_age: 604_800_000,
                    pkce: false,
                },
            }
        }
    }

    impl http::Host for Lent {
        fn send(&mut self, request: http::Request) -> Result<http::Response, http::Failure> {
            if self.is_offline {
                return Err(http::Failure {
                    code: "connect".to_owned(),
                    message: "refused".to_owned(),
                    sent: false,
                });
            }
            let body = if request.url.ends_with("/oauth/token") {
                token_reply()
            } else {
                ME.to_vec()
            };
            let json = Header {
                name: "content-type".to_owned(),
                value: "application/json".to_owned(),
            };
            Ok(http::Response {
                status: 200,
                headers: vec![json],
                body,
            })
        }
    }

    const ME: &[u8] = br#"{"id":42,"login":"agent@example.com","name":"Agent"}"#;

    /// Tokens as long as Procore's.
    pub(super) fn token_reply() -> Vec<u8> {
        let access = "a".repeat(900);
        let refresh = "r".repeat(43);
        format!(
            r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":5400,"refresh_token":"{refresh}","created_at":0}}"#
        )
        .into_bytes()
    }

    impl clock::Host for Lent {
        fn now(&mut self) -> u64 {
            self.now
        }

        fn elapsed(&mut self) -> u64 {
            self.now
        }

        fn sleep(&mut self, duration: u64) {
            self.now += duration;
        }
    }

    impl random::Host for Lent {
        fn bytes(&mut self, count: u32) -> Vec<u8> {
            self.draws += 1;
            let first = self.draws;
            (0..count)
                .map(|index| (first + index).to_le_bytes()[0])
                .collect()
        }
    }

    impl journal::Host for Lent {
        fn record(&mut self, _: journal::Event) {}
    }

    impl store::Host for Lent {
        fn get(&mut self, key: String) -> Result<Option<Entry>, store::Failure> {
            Ok(self.entry(&key))
        }

        fn put(
            &mut self,
            key: String,
            value: Vec<u8>,
            expected: Option<u64>,
        ) -> Result<Write, store::Failure> {
            let current = self.entry(&key);
            if current.as_ref().map(|entry| entry.revision) != expected {
                return Ok(Write::Conflict(current));
            }
            let revision = expected.unwrap_or(0) + 1;
            self.entries.insert(key, (revision, value));
            Ok(Write::Stored(revision))
        }

        fn hold(&mut self, _: String, _: Vec<u8>, _: Option<u64>) -> u64 {
            unreachable!("each write succeeds")
        }

        fn delete(&mut self, key: String, expected: u64) -> Result<Write, store::Failure> {
            match self.entry(&key) {
                Some(entry) if entry.revision == expected => {
                    self.entries.remove(&key);
                    Ok(Write::Stored(expected))
                }
                current => Ok(Write::Conflict(current)),
            }
        }

        fn list(&mut self, prefix: String) -> Result<Vec<String>, store::Failure> {
            let keys = self.entries.keys();
            Ok(keys
                .filter(|key| key.starts_with(&prefix))
                .cloned()
                .collect())
        }

        fn lock(&mut self, _: u64) -> Result<bool, store::Failure> {
            Ok(true)
        }

        fn unlock(&mut self) {}
    }

    impl Lent {
        fn entry(&self, key: &str) -> Option<Entry> {
            self.entries.get(key).map(|(revision, value)| Entry {
                value: value.clone(),
                revision: *revision,
                provenance: Provenance::Newest,
            })
        }
    }
}

/// A connection's world: what is stored, what time it is, whether Procore answers.
#[derive(Clone, Default)]
struct Lent {
    entries: BTreeMap<String, (u64, Vec<u8>)>,
    now: u64,
    is_offline: bool,
    /// How often randomness was asked for: each time it is another, and each run the same.
    draws: u32,
}

/// 2026-01-01T00:00:00Z.
const SIGNED_IN_AT: u64 = 1_767_225_600_000;
const HOUR: u64 = 3_600_000;

impl Lent {
    /// Before any sign-in.
    fn new() -> Self {
        Self {
            now: SIGNED_IN_AT,
            ..Self::default()
        }
    }

    /// Signed in right now.
    fn signed_in(plugin: &Metered) -> Self {
        plugin.after(Self::new(), sign_in)
    }

    /// With requests that were parked in an outage that is over, and a fresh token.
    fn with_parked(plugin: &Metered, count: usize) -> Self {
        let mut lent = Self::signed_in(plugin).later(2 * HOUR).offline();
        for _ in 0..count {
            lent = plugin.after(lent, park);
        }
        lent.is_offline = false;
        plugin.after(lent.later(HOUR), access_token)
    }

    fn later(mut self, span: u64) -> Self {
        self.now += span;
        self
    }

    fn offline(mut self) -> Self {
        self.is_offline = true;
        self
    }
}

/// The component, in an engine that meters.
struct Metered {
    engine: Engine,
    component: Component,
    linker: Linker<Lent>,
}

impl Metered {
    fn load() -> Self {
        component::assert_current();
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config).expect("an engine");
        let component = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/procore-auth.wasm");
        let component = Component::from_file(&engine, component).expect("the component");
        let mut linker = Linker::new(&engine);
        Plugin::add_to_linker::<_, HasSelf<Lent>>(&mut linker, |lent| lent).expect("linked");
        Self {
            engine,
            component,
            linker,
        }
    }

    fn instantiate(&self, lent: Lent) -> (Store<Lent>, Plugin) {
        let mut store = Store::new(&self.engine, lent);
        store.set_fuel(u64::MAX).expect("metered");
        let plugin = Plugin::instantiate(&mut store, &self.component, &self.linker);
        (store, plugin.expect("an instance"))
    }

    /// Returns the world after an operation.
    fn after(&self, lent: Lent, operation: Operation) -> Lent {
        let (mut store, instance) = self.instantiate(lent);
        operation(&mut store, &instance);
        store.into_data()
    }

    /// Returns what a fresh instance and one operation cost together.
    fn cost(&self, lent: Lent, operation: Operation) -> u64 {
        let (mut store, instance) = self.instantiate(lent);
        operation(&mut store, &instance);
        u64::MAX - store.get_fuel().expect("metered")
    }
}

/// Panics where the operation does not end as it should: a refusal is cheap.
type Operation = fn(&mut Store<Lent>, &Plugin);

#[test]
fn no_operation_computes_more_than_its_budget() {
    let plugin = Metered::load();
    let fresh = || Lent::signed_in(&plugin);
    let due = || fresh().later(HOUR + HOUR / 4);
    let expired = || fresh().later(2 * HOUR);
    let queue = |length| Lent::with_parked(&plugin, length);
    let measured: [(&str, u64, Lent, Operation); 27] = [
        ("an instance alone", 1, fresh(), |_, _| {}),
        ("auth.access-token, fresh", 70_000, fresh(), access_token),
        (
            "auth.access-token, refresh due",
            574_000,
            due(),
            access_token,
        ),
        ("auth.renew-rejected", 689_000, fresh(), renew_rejected),
        ("auth.status", 98_000, fresh(), status),
        ("auth.upkeep, nothing due", 170_000, fresh(), upkeep),
        ("auth.upkeep, refresh due", 674_000, due(), upkeep),
        (
            "auth.upkeep, offline and dark",
            720_000,
            expired().offline(),
            upkeep,
        ),
        ("auth.begin-login", 67_000, fresh(), begin_login),
        (
            "auth.begin-login, finish-login",
            566_000,
            Lent::new(),
            sign_in,
        ),
        ("auth.verify", 235_000, fresh(), verify),
        ("auth.revoke", 107_000, fresh(), revoke),
        ("auth.forget", 72_000, fresh(), forget),
        ("auth.adopt", 798_000, fresh(), adopt),
        ("api.send", 157_000, fresh(), send),
        ("api.send, parked", 593_000, expired().offline(), park),
        ("api.assess", 10_000, fresh(), assess),
        ("api.parked, 1", 36_000, queue(1), parked),
        ("api.parked, 10", 292_000, queue(10), parked),
        ("api.replay, 1", 215_000, queue(1), replay),
        ("api.replay, 10", 2_037_000, queue(10), replay),
        ("api.parked, discard, of 10", 578_000, queue(10), discard),
        (
            "advice.check-redirect-uri",
            41_000,
            fresh(),
            check_redirect_uri,
        ),
        ("advice.check-endpoints", 65_000, fresh(), check_endpoints),
        ("advice.endpoints", 11_000, fresh(), endpoints),
        ("advice.explain", 19_000, fresh(), explain),
        ("advice.diagnose", 154_000, fresh(), diagnose),
    ];
    let mut deviations = Vec::new();
    for (name, budget, lent, operation) in measured {
        let cost = plugin.cost(lent, operation);
        println!("{name:<32} {cost:>9} of {budget}");
        // What a change saves becomes the budget, or the next one may waste it unseen.
        if cost > budget || cost < budget / 10 * 7 {
            deviations.push(format!("{name}: {cost}, and the budget is {budget}"));
        }
    }
    assert!(deviations.is_empty(), "{deviations:#?}");
}

#[test]
fn an_operation_costs_the_same_each_time() {
    let plugin = Metered::load();
    let cost = || plugin.cost(Lent::signed_in(&plugin), access_token);
    assert_eq!(cost(), cost());
}

fn access_token(store: &mut Store<Lent>, plugin: &Plugin) {
    let token = plugin.procore_auth_auth().call_access_token(store);
    token.expect("no trap").expect("a token");
}

fn renew_rejected(store: &mut Store<Lent>, plugin: &Plugin) {
    let rejected = "a".repeat(900);
    let token = plugin
        .procore_auth_auth()
        .call_renew_rejected(store, &rejected);
    token.expect("no trap").expect("a token");
}

fn status(store: &mut Store<Lent>, plugin: &Plugin) {
    let status = plugin.procore_auth_auth().call_status(store);
    status.expect("no trap").expect("a status");
}

fn upkeep(store: &mut Store<Lent>, plugin: &Plugin) {
    let visit = plugin.procore_auth_auth().call_upkeep(store, None, None);
    visit.expect("no trap").expect("a visit");
}

fn begin_login(store: &mut Store<Lent>, plugin: &Plugin) {
    let login = plugin.procore_auth_auth().call_begin_login(store);
    login.expect("no trap").expect("a login");
}

fn sign_in(store: &mut Store<Lent>, plugin: &Plugin) {
    let auth = plugin.procore_auth_auth();
    let login = auth.call_begin_login(&mut *store).expect("no trap");
    let url = login.expect("begun").authorize_url;
    let (_, state) = url.split_once("state=").expect("a state");
    let state = state.split('&').next().expect("its value");
    let callback = format!("http://localhost:8377/callback?code=code&state={state}");
    let finished = auth.call_finish_login(store, &callback);
    finished.expect("no trap").expect("signed in");
}

fn revoke(store: &mut Store<Lent>, plugin: &Plugin) {
    let revoked = plugin.procore_auth_auth().call_revoke(store);
    revoked.expect("no trap").expect("signed out");
}

fn forget(store: &mut Store<Lent>, plugin: &Plugin) {
    let forgotten = plugin.procore_auth_auth().call_forget(store);
    forgotten.expect("no trap").expect("forgotten");
}

fn adopt(store: &mut Store<Lent>, plugin: &Plugin) {
    let reply = lent::token_reply();
    let adopted = plugin.procore_auth_auth().call_adopt(store, &reply, true);
    adopted.expect("no trap").expect("taken over");
}

fn verify(store: &mut Store<Lent>, plugin: &Plugin) {
    let identity = plugin.procore_auth_auth().call_verify(store);
    identity.expect("no trap").expect("an identity");
}

fn send(store: &mut Store<Lent>, plugin: &Plugin) {
    let outcome = plugin.procore_auth_api().call_send(store, &request("GET"));
    let outcome = outcome.expect("no trap").expect("an outcome");
    assert!(matches!(outcome, Outcome::Answered(_)));
}

fn park(store: &mut Store<Lent>, plugin: &Plugin) {
    let outcome = plugin.procore_auth_api().call_send(store, &request("POST"));
    let outcome = outcome.expect("no trap").expect("an outcome");
    assert!(matches!(outcome, Outcome::Parked(_)));
}

fn parked(store: &mut Store<Lent>, plugin: &Plugin) {
    let requests = plugin.procore_auth_api().call_parked(store);
    assert!(!requests.expect("no trap").expect("a list").is_empty());
}

fn replay(store: &mut Store<Lent>, plugin: &Plugin) {
    let report = plugin.procore_auth_api().call_replay(store, None, None);
    let report = report.expect("no trap").expect("a report");
    assert_eq!(report.remaining, 0, "{report:?}");
}

fn discard(store: &mut Store<Lent>, plugin: &Plugin) {
    let api = plugin.procore_auth_api();
    let requests = api.call_parked(&mut *store).expect("no trap");
    let id = &requests.expect("a list")[0].id;
    let discarded = api.call_discard(store, id);
    discarded.expect("no trap").expect("discarded");
}

/// A request with 1 KiB in it, unless it is a `GET`.
fn request(method: &str) -> Request {
    let size = if method == "GET" { 0 } else { 1 << 10 };
    Request {
        method: method.to_owned(),
        path: "/rest/v1.0/projects".to_owned(),
        headers: Vec::new(),
        body: vec![b' '; size],
        company_id: None,
        timeout: None,
        idempotent: None,
        park: true,
        order_key: None,
        not_before: None,
    }
}

fn assess(store: &mut Store<Lent>, plugin: &Plugin) {
    let attempt = Attempt {
        method: "GET".to_owned(),
        number: 1,
        idempotent: None,
        reply: Reply::Unanswered(NoReply {
            code: "timeout".to_owned(),
            sent: true,
        }),
        renewed: false,
        time_left: 60_000,
    };
    let decision = plugin.procore_auth_api().call_assess(store, &attempt);
    decision.expect("no trap");
}

fn check_redirect_uri(store: &mut Store<Lent>, plugin: &Plugin) {
    let advice = plugin.procore_auth_advice();
    let uri = "http://localhost:8377/callback/";
    let registered = "http://localhost:8377/callback";
    let checked = advice.call_check_redirect_uri(store, uri, Some(registered));
    checked.expect("no trap").expect_err("a slash too many");
}

fn endpoints(store: &mut Store<Lent>, plugin: &Plugin) {
    let advice = plugin.procore_auth_advice();
    let urls = advice.call_endpoints(store, Environment::Sandbox);
    urls.expect("no trap");
}

fn diagnose(store: &mut Store<Lent>, plugin: &Plugin) {
    let found = plugin.procore_auth_advice().call_diagnose(store);
    found.expect("no trap").expect("an answer");
}

fn check_endpoints(store: &mut Store<Lent>, plugin: &Plugin) {
    let urls = EndpointSet {
        authorize_url: Some("https://login-sandbox.procore.com/oauth/authorize".to_owned()),
        token_url: Some("https://login.procore.com/oauth/token".to_owned()),
        api_base: Some("https://sandbox.procore.com".to_owned()),
    };
    let checked = plugin
        .procore_auth_advice()
        .call_check_endpoints(store, &urls);
    checked.expect("no trap").expect_err("mixed");
}

fn explain(store: &mut Store<Lent>, plugin: &Plugin) {
    let observation = Observation {
        environment: Environment::Sandbox,
        endpoint: Endpoint::Refresh,
        url: None,
        status: 401,
        headers: Vec::new(),
        body: br#"{"error":"invalid_grant"}"#.to_vec(),
    };
    let diagnosis = plugin
        .procore_auth_advice()
        .call_explain(store, &observation);
    diagnosis.expect("no trap");
}
