//! S61 and S62 where several are at the queue, where a replay takes long, and where a person must decide.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fake_procore::{Answer, Fault, Gate, Target};
use procore_auth_host::{
    ApiRequest, Connection, Entry, HttpClient, HttpFailure, HttpsClient, Key, LockGuard,
    MemoryStore, Outcome, ParkedState, RequestLimits, Store, StoreFailure, Write,
};
use procore_auth_tests::{
    Rig,
    rig::{SANDBOX, fake, parked},
    stored,
};

fn create(name: &str) -> ApiRequest {
    let mut request = ApiRequest::new("POST", "/rest/v1.0/projects")
        .header("Content-Type", "application/json")
        .body(format!(r#"{{"project":{{"name":"{name}"}}}}"#));
    request.park = true;
    request
}

fn alerts(rig: &Rig, code: &str) -> usize {
    let alerts = rig.journal.alerts();
    alerts.iter().filter(|alert| alert.code == code).count()
}

/// Sends a request whose answer is lost: it may have been executed.
async fn lose_an_answer(
    rig: &Rig,
    connection: &Connection,
) -> Result<Outcome, procore_auth_host::Error> {
    rig.procore
        .inject(Target::Api, Fault::committed(Answer::Close));
    connection.send(create("Tower")).await
}

/// Parks some requests while nobody is signed in, and signs in.
async fn waiting(rig: &Rig, store: &MemoryStore, count: usize) {
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let refresh = stored::refresh_token(store).await;
    assert!(rig.procore.kill_refresh_token(fake(SANDBOX), &refresh));
    rig.advance_to_expiry();
    for n in 0..count {
        parked(connection.send(create(&format!("Project {n}"))).await);
    }
    rig.sign_in(&connection).await;
}

#[tokio::test]
async fn s33_an_unknown_outcome_is_told_as_one_where_it_cannot_be_parked() {
    let rig = Rig::start().await;
    let mut settings = Rig::settings(SANDBOX);
    settings.policy.parked_count = 0;
    let connection = rig.process(settings, MemoryStore::new());
    rig.sign_in(&connection).await;
    let error = lose_an_answer(&rig, &connection).await.expect_err("full");
    assert!(error.is_unknown_outcome(), "{error}");
    let evidence = &error.diagnosis().evidence;
    assert!(
        evidence.iter().any(|fact| fact.contains("parked-full")),
        "{evidence:?}"
    );
}

/// A network on which every request takes its time.
struct Slow {
    inner: HttpsClient,
    clock: fake_procore::VirtualClock,
}

#[async_trait]
impl HttpClient for Slow {
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        self.clock.advance_seconds(20);
        self.inner.send(request, limits).await
    }
}

#[tokio::test]
async fn s62_a_replay_that_takes_long_goes_on_with_the_next_visit_and_cuts_nothing_short() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    waiting(&rig, &store, 40).await;
    let slow = Slow {
        inner: rig.another_client(),
        clock: rig.clock.clone(),
    };
    let connection = rig
        .builder(Rig::settings(SANDBOX))
        .store(Arc::new(store))
        .http(Arc::new(slow))
        .build()
        .expect("a connection");
    let report = connection.replay(None).await.expect("a report");
    let replayed = report.replayed.len();
    assert!((10..=16).contains(&replayed), "{replayed} in five minutes");
    assert_eq!(report.stopped.expect("why").code, "replay-unfinished");
    let mut visits = 0;
    loop {
        let visit = connection.upkeep(None).await.expect("a visit");
        visits += 1;
        assert_eq!(visit.status.undecided, 0);
        if visit.status.parked == 0 {
            break;
        }
        let now = rig.clock.now();
        assert!(visit.come_back_at <= now + 300_000, "soon");
    }
    assert!(visits >= 2, "{visits}");
    assert_eq!(rig.procore.projects().len(), 40);
}

#[tokio::test]
async fn s61_what_another_process_is_sending_is_looked_at_again_when_that_must_be_done() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    waiting(&rig, &store, 3).await;
    let (sender, keeper) = (rig.on_store(store.clone()), rig.on_store(store));
    let gate = Gate::closed();
    rig.procore
        .inject(Target::Api, Fault::none().held_before(&gate));
    let sending = tokio::spawn(async move { sender.replay(None).await });
    gate.arrived(1).await;
    let report = keeper.replay(None).await.expect("a report");
    assert_eq!(report.stopped.expect("why").code, "replayed-elsewhere");
    let visit = keeper.upkeep(None).await.expect("a visit");
    let done_by = rig.clock.now() + 135_000;
    assert!(
        visit.come_back_at <= done_by,
        "no later than that must be done"
    );
    gate.open();
    let report = sending.await.expect("ends").expect("a report");
    assert_eq!(report.replayed.len(), 3);
}

#[tokio::test]
async fn s39_what_a_person_must_decide_about_is_told_for_each_decision_and_daily() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    rig.sign_in(&connection).await;
    let first = parked(lose_an_answer(&rig, &connection).await);
    assert_eq!(first.state, ParkedState::UnknownOutcome);
    assert_eq!(alerts(&rig, "request-unknown-outcome"), 1);
    connection.discard(&first.id).await.expect("discarded");

    parked(lose_an_answer(&rig, &connection).await);
    assert_eq!(
        alerts(&rig, "request-unknown-outcome"),
        2,
        "another trouble"
    );
    connection.upkeep(None).await.expect("a visit");
    assert_eq!(alerts(&rig, "request-unknown-outcome"), 2, "within a day");
    rig.advance(Duration::from_secs(25 * 3600));
    connection.upkeep(None).await.expect("a visit");
    assert_eq!(alerts(&rig, "request-unknown-outcome"), 3, "a day later");
}

/// A store in which somebody changes each parked request between its reading and what follows.
#[derive(Clone, Default)]
struct Contended {
    inner: MemoryStore,
    armed: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Contended {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let entry = self.inner.get(key).await?;
        if let Some(entry) = &entry
            && key.as_str().starts_with("parked-")
            && self.armed.load(Ordering::SeqCst)
        {
            self.inner
                .put(key, &entry.value, Some(entry.revision))
                .await?;
        }
        Ok(entry)
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        self.inner.put(key, value, expected).await
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.inner.delete(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.inner.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.inner.lock(wait).await
    }
}

#[tokio::test]
async fn s61_a_request_that_is_changed_while_it_is_discarded_keeps_its_body_and_is_carried_out() {
    let rig = Rig::start().await;
    let store = Contended::default();
    let connection = rig.on_store(store.clone());
    let kept = parked(connection.send(create("Tower")).await);
    store.armed.store(true, Ordering::SeqCst);
    let error = connection.discard(&kept.id).await.expect_err("changed");
    assert!(error.is_busy(), "{error}");
    assert_eq!(error.code(), "request-changed");
    store.armed.store(false, Ordering::SeqCst);
    assert!(
        !rig.journal
            .codes()
            .contains(&"request-discarded".to_owned())
    );
    rig.sign_in(&connection).await;
    connection.replay(None).await.expect("a report");
    assert_eq!(rig.procore.projects()[0].name, "Tower");
}

#[tokio::test]
async fn ids_of_parked_requests_do_not_come_again() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let first = parked(connection.send(create("Tower")).await);
    connection.discard(&first.id).await.expect("discarded");
    rig.advance(Duration::from_secs(1));
    let second = parked(connection.send(create("Tower")).await);
    assert_ne!(first.id, second.id);
}
