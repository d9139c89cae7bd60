//! Section H, and S56: requests that wait survive, keep their order, and drain once somebody signed in.

use std::{sync::Arc, time::Duration};

use fake_procore::{Answer, Fault, Recorded, Reply, Role, Target};
use procore_auth_host::{
    ApiRequest, Connection, EncryptedStore, EncryptionKey, FileStore, Key, MemoryStore, Outcome,
    ParkedState, Store, SystemRandom,
};
use procore_auth_tests::{
    Rig,
    mortal::{Life, Mortal},
    rig::{SANDBOX, fake, parked},
    stored,
};
use serde_json::json;

fn create(name: &str) -> ApiRequest {
    let body = json!({"project": {"name": name}}).to_string();
    let mut request = ApiRequest::new("POST", "/rest/v1.0/projects")
        .header("Content-Type", "application/json")
        .body(body);
    request.park = true;
    request
}

fn in_order_of(key: &str, name: &str) -> ApiRequest {
    let mut request = create(name);
    request.order_key = Some(key.to_owned());
    request
}

/// Returns how many alerts have the code.
fn alerts(rig: &Rig, code: &str) -> usize {
    let alerts = rig.journal.alerts();
    alerts.iter().filter(|alert| alert.code == code).count()
}

/// Returns what reached the API hosts.
fn api_requests(rig: &Rig) -> Vec<Recorded> {
    let mut requests = rig.procore.requests();
    requests.retain(|request| request.role == Some(Role::Api));
    requests
}

fn names(rig: &Rig) -> Vec<String> {
    let projects = rig.procore.projects();
    projects.into_iter().map(|project| project.name).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("Project {n}")).collect()
}

/// Leaves a connection without a grant, and parks some requests.
async fn park_behind_a_dead_grant(rig: &Rig, connection: &Connection, refresh: &str, count: usize) {
    assert!(rig.procore.kill_refresh_token(fake(SANDBOX), refresh));
    rig.advance_to_expiry();
    for name in numbered(count) {
        let kept = parked(connection.send(create(&name)).await);
        assert_eq!(kept.state, ParkedState::Queued);
    }
}

#[tokio::test]
async fn s56_after_a_new_sign_in_waiting_processes_resume_and_the_queue_drains_in_order() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let (agent, keeper) = (rig.on_store(store.clone()), rig.on_store(store.clone()));
    rig.sign_in(&agent).await;
    let refresh = stored::refresh_token(&store).await;
    park_behind_a_dead_grant(&rig, &agent, &refresh, 5).await;
    assert!(keeper.access_token().await.is_err());
    rig.sign_in(&rig.on_store(store)).await;
    agent.access_token().await.expect("resumed");
    let visit = keeper.upkeep(None).await.expect("a visit");
    assert_eq!((visit.replayed, visit.status.parked), (5, 0));
    assert_eq!(names(&rig), numbered(5));
}

#[tokio::test]
async fn s61_parked_requests_survive_a_restart_in_order_and_without_duplicates() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let name = Rig::settings(SANDBOX).name;
    let open = || FileStore::open(folder.path(), &name).expect("a store");
    let before = rig.on_store(open());
    rig.sign_in(&before).await;
    let refresh = stored::refresh_token(&open()).await;
    park_behind_a_dead_grant(&rig, &before, &refresh, 12).await;
    drop(before);
    let after = rig.on_store(open());
    assert_eq!(after.parked().await.expect("a list").len(), 12);
    rig.sign_in(&after).await;
    let report = after.replay(None).await.expect("a report");
    assert_eq!((report.replayed.len(), report.remaining), (12, 0));
    after.replay(None).await.expect("a report");
    assert_eq!(names(&rig), numbered(12));
}

#[tokio::test]
async fn s61_a_replay_stops_at_the_first_failure_of_authentication() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let refresh = stored::refresh_token(&store).await;
    park_behind_a_dead_grant(&rig, &connection, &refresh, 4).await;
    rig.sign_in(&connection).await;
    let refused = Fault::uncommitted(Reply::json(401, &json!({"errors": "unauthorized"})));
    rig.procore.inject_times(100, &Target::Api, &refused);
    let sent = rig.procore.requests().len();
    let report = connection.replay(None).await.expect("a report");
    assert_eq!((report.replayed.len(), report.remaining), (0, 4));
    assert_eq!(report.stopped.expect("why").code, "token-rejected");
    // The first request twice, with one renewal in between.
    assert_eq!(rig.procore.requests().len(), sent + 3);
    rig.procore.clear_faults();
    rig.advance(Duration::from_secs(3600));
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), numbered(4));
}

#[tokio::test]
async fn s62_overflow_is_an_alert_and_an_error_and_drops_nothing() {
    for settings in [
        Rig::settings_with(|settings| settings.policy.parked_count = 3),
        // A request and its body take about 320 bytes.
        Rig::settings_with(|settings| settings.policy.parked_bytes = 1200),
    ] {
        let rig = Rig::start().await;
        let connection = rig.process(settings, MemoryStore::new());
        let mut kept = 0;
        let error = loop {
            match connection.send(create("Tower")).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.diagnosis().code, "parked-full");
        assert_eq!(kept, 3);
        assert_eq!(connection.parked().await.expect("a list").len(), 3);
        // One outage, one alert, however many are refused.
        for _ in 0..50 {
            assert!(connection.send(create("Tower")).await.is_err());
        }
        assert_eq!(alerts(&rig, "parked-full"), 1);
        let alert = rig.journal.alerts();
        let alert = alert.iter().find(|alert| alert.code == "parked-full");
        let told = format!("{:?}", alert.expect("an alert").fields);
        assert!(told.contains("are parked already") && told.contains("parked list"));
    }
}

#[tokio::test]
async fn s62_what_is_too_old_is_set_aside_and_not_sent() {
    let rig = Rig::start().await;
    let settings =
        Rig::settings_with(|settings| settings.policy.parked_age = Duration::from_secs(3600));
    let connection = rig.process(settings, MemoryStore::new());
    parked(connection.send(create("Old")).await);
    rig.advance(Duration::from_secs(3601));
    rig.sign_in(&connection).await;
    let report = connection.replay(None).await.expect("a report");
    assert!(report.replayed.is_empty());
    let listed = connection.parked().await.expect("a list");
    assert_eq!(listed[0].state, ParkedState::DeadLetter);
    assert!(names(&rig).is_empty());
}

#[tokio::test]
async fn s62_a_refused_request_is_set_aside_and_does_not_hold_up_the_others() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let mut poison = create("Poison");
    poison.body = b"no JSON".to_vec();
    parked(connection.send(poison).await);
    parked(connection.send(create("Project 0")).await);
    rig.sign_in(&connection).await;
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), numbered(1));
    let listed = connection.parked().await.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].state, ParkedState::DeadLetter);
    let alerts = rig.journal.alerts();
    assert!(
        alerts
            .iter()
            .any(|alert| alert.code == "request-dead-letter")
    );
}

/// How a queue came out of a process's death.
struct Aftermath {
    died: bool,
    undecided: usize,
}

/// Three requests are parked and replayed by a process that dies at the given moment; another one goes on.
async fn die_at(moment: usize) -> Aftermath {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let left_over = store.clone();
    let heir = rig.on_store(store.clone());
    rig.sign_in(&heir).await;
    let refresh = stored::refresh_token(&store).await;
    assert!(rig.procore.kill_refresh_token(fake(SANDBOX), &refresh));
    rig.advance_to_expiry();
    assert!(heir.access_token().await.is_err());
    let life = Life::until(moment);
    let mortal = rig
        .builder(Rig::settings(SANDBOX))
        .http(Arc::new(Mortal::new(rig.another_client(), &life)))
        .store(Arc::new(Mortal::new(store, &life)))
        .build()
        .expect("complete");
    let mut promised = Vec::new();
    for name in numbered(3) {
        match mortal.send(create(&name)).await {
            Ok(Outcome::Parked(_)) => promised.push(name),
            outcome => assert!(life.is_over(), "{outcome:?}"),
        }
    }
    rig.sign_in(&heir).await;
    let _ = mortal.replay(None).await;
    rig.advance(Duration::from_secs(1800));
    heir.replay(None).await.expect("a report");
    let mut waiting = heir.parked().await.expect("a list");
    waiting.retain(|request| request.state != ParkedState::Queued);
    let undecided = waiting.len();
    for request in waiting {
        assert_eq!(request.state, ParkedState::UnknownOutcome);
        heir.discard(&request.id).await.expect("discarded");
    }
    heir.replay(None).await.expect("a report");
    assert_eq!(heir.parked().await.expect("a list"), []);
    rig.advance(Duration::from_secs(3600));
    heir.replay(None).await.expect("a report");
    let left = stored::keys(&left_over, "body-").await;
    assert!(left.is_empty(), "dies at {moment}: {left:?} stay behind");
    let done = names(&rig);
    assert!(
        done.is_sorted_by(|one, next| one < next),
        "dies at {moment}: {done:?} is out of order, or holds one twice"
    );
    let missing = promised.iter().filter(|name| !done.contains(name)).count();
    assert!(
        missing <= undecided,
        "dies at {moment}: of {promised:?}, {done:?} were executed, and {undecided} were left to a person"
    );
    Aftermath {
        died: life.is_over(),
        undecided,
    }
}

#[tokio::test]
async fn s61_wherever_a_process_dies_the_queue_loses_nothing_and_repeats_nothing() {
    let (mut moment, mut undecided) = (0, 0);
    loop {
        let aftermath = die_at(moment).await;
        if !aftermath.died {
            break;
        }
        assert!(aftermath.undecided <= 1, "dies at {moment}");
        undecided += aftermath.undecided;
        moment += 1;
    }
    println!("{moment} moments, {undecided} left to a person");
    // At least: listing, three requests and three bodies written, and each sent, noted and deleted with its body.
    assert!(moment > 2 * (1 + 6 + 3 * 4), "{moment}");
    assert!(undecided > 0);
}

#[tokio::test]
async fn s62_a_large_body_is_parked_and_replayed_to_the_byte() {
    const SIZE: usize = 40 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let name = Rig::settings(SANDBOX).name;
    let plain = FileStore::open(folder.path(), &name).expect("a store");
    let other = tempfile::tempdir().expect("a folder");
    let sealed = FileStore::open(other.path(), &name).expect("a store");
    let sealed = EncryptedStore::new(sealed, &name, EncryptionKey::generate(&SystemRandom));
    let stores: [Arc<dyn Store>; 2] = [Arc::new(plain), Arc::new(sealed)];
    for store in stores {
        let rig = Rig::start().await;
        let connection = rig
            .builder(Rig::settings(SANDBOX))
            .http(Arc::new(rig.another_client()))
            .store(Arc::clone(&store))
            .build()
            .expect("complete");
        let mut request = create("Tower");
        let plan = "T".repeat(SIZE);
        let sent = format!(r#"{{"project":{{"name":"Tower"}},"plan":"{plan}"}}"#).into_bytes();
        request.body.clone_from(&sent);
        let kept = parked(connection.send(request).await);
        assert_eq!(kept.size, sent.len() as u64);
        assert_eq!(stored::keys(&*store, "body-").await.len(), 1);
        rig.sign_in(&connection).await;
        rig.procore.clear_requests();
        let report = connection.replay(None).await.expect("a report");
        assert_eq!((report.replayed.len(), report.remaining), (1, 0));
        assert!(api_requests(&rig)[0].body == sent, "another body");
        assert!(stored::keys(&*store, "body-").await.is_empty());
    }
}

#[tokio::test]
async fn s62_what_is_parked_and_not_replayed_in_time_has_its_body_deleted_with_it() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    let kept = parked(connection.send(create("Tower")).await);
    assert_eq!(stored::keys(&store, "body-").await.len(), 1);
    connection.discard(&kept.id).await.expect("discarded");
    assert!(stored::keys(&store, "body-").await.is_empty());
}

#[tokio::test]
async fn s61_a_request_that_an_earlier_version_parked_is_replayed() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    // {"project":{"name":"Earlier"}}
    let earlier = json!({
        "state": "queued", "method": "POST", "path": "/rest/v1.0/projects",
        "headers": [{"name": "Content-Type", "value": "application/json"}],
        "body": "eyJwcm9qZWN0Ijp7Im5hbWUiOiJFYXJsaWVyIn19",
        "company_id": null, "idempotent": null, "parked_at": rig.clock.now(), "replays": 0, "reason": "dns",
    });
    let key = Key::new("parked-0000000001-0000000300").expect("a key");
    let entry = earlier.to_string();
    store
        .put(&key, entry.as_bytes(), None)
        .await
        .expect("written");
    parked(connection.send(create("Later")).await);
    let listed = connection.parked().await.expect("a list");
    assert_eq!(listed[0].size, 30);
    rig.sign_in(&connection).await;
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), ["Earlier", "Later"]);
}

#[tokio::test]
async fn s62_a_body_that_is_gone_is_set_aside_and_never_sent_empty() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    parked(connection.send(create("Tower")).await);
    let key = Key::new(stored::keys(&store, "body-").await.remove(0)).expect("a key");
    let entry = store.get(&key).await.expect("readable").expect("a body");
    store.delete(&key, entry.revision).await.expect("deleted");
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    connection.replay(None).await.expect("a report");
    let listed = connection.parked().await.expect("a list");
    assert_eq!(
        (listed[0].state, listed[0].reason.as_str()),
        (ParkedState::DeadLetter, "no-such-entry")
    );
    assert!(api_requests(&rig).is_empty());
}

#[tokio::test]
async fn s62_a_request_that_cannot_be_read_holds_up_nobody_and_is_told_and_keeps_its_body() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    for name in ["Damaged", "Sound"] {
        parked(connection.send(create(name)).await);
    }
    let id = stored::keys(&store, "parked-").await.remove(0);
    let key = Key::new(&id).expect("a key");
    let entry = store.get(&key).await.expect("readable").expect("a request");
    let written = store.put(&key, b"no JSON", Some(entry.revision)).await;
    written.expect("written");
    rig.sign_in(&connection).await;
    let status = connection.status().await.expect("a status");
    assert_eq!((status.parked, status.undecided), (1, 1));

    let alerts_before = alerts(&rig, "request-unreadable");
    for _ in 0..2 {
        let report = connection.replay(None).await.expect("a report");
        assert_eq!((report.remaining, report.stopped), (0, None));
    }
    assert_eq!(names(&rig), ["Sound"]);
    assert_eq!((alerts_before, alerts(&rig, "request-unreadable")), (0, 1));
    let listed = connection.parked().await.expect("a list");
    let [left] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!((&left.id, left.state), (&id, ParkedState::DeadLetter));
    assert_eq!(
        (left.method.as_str(), left.reason.as_str()),
        ("", "request-unreadable")
    );
    let named = connection.replay(Some(&id)).await.expect_err("unreadable");
    assert_eq!(named.code(), "request-unreadable");

    rig.advance(Duration::from_secs(2 * 3600));
    connection.replay(None).await.expect("a report");
    assert_eq!(stored::keys(&store, "body-").await.len(), 1);
    connection.discard(&id).await.expect("discarded");
    connection.replay(None).await.expect("a report");
    assert!(stored::keys(&store, "body-").await.is_empty());
}

#[tokio::test]
async fn s61_requests_of_one_key_wait_for_the_earlier_one_and_hold_up_nobody_else() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let mut poison = in_order_of("rfi-7", "Poison");
    poison.body = b"no JSON".to_vec();
    let first = parked(connection.send(poison).await);
    parked(connection.send(in_order_of("rfi-7", "Second")).await);
    parked(connection.send(in_order_of("rfi-8", "Project 0")).await);
    parked(connection.send(create("Project 1")).await);
    rig.sign_in(&connection).await;
    for _ in 0..2 {
        connection.replay(None).await.expect("a report");
        assert_eq!(names(&rig), numbered(2));
    }
    let listed = connection.parked().await.expect("a list");
    let waits = |at: usize| (listed[at].state, listed[at].order_key.as_deref());
    assert_eq!(waits(0), (ParkedState::DeadLetter, Some("rfi-7")));
    assert_eq!(waits(1), (ParkedState::Queued, Some("rfi-7")));
    // A person has decided.
    connection.discard(&first.id).await.expect("discarded");
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), ["Project 0", "Project 1", "Second"]);
}

#[tokio::test]
async fn s61_a_request_goes_behind_those_of_its_key_rather_than_overtaking_them() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    parked(connection.send(in_order_of("rfi-7", "Project 0")).await);
    rig.sign_in(&connection).await;
    let kept = parked(connection.send(in_order_of("rfi-7", "Project 1")).await);
    assert_eq!(kept.reason, "waits-its-turn");
    let other = connection.send(in_order_of("rfi-8", "Other")).await;
    assert!(matches!(other, Ok(Outcome::Answered(_))), "{other:?}");
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), ["Other", "Project 0", "Project 1"]);
    let next = connection.send(in_order_of("rfi-7", "Project 2")).await;
    assert!(matches!(next, Ok(Outcome::Answered(_))), "{next:?}");
}

#[tokio::test]
async fn s62_a_poison_request_is_set_aside_after_five_tries_and_told_once() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let mut poison = create("Poison");
    poison.idempotent = Some(true);
    parked(connection.send(poison).await);
    rig.sign_in(&connection).await;
    let broken = Fault::uncommitted(Reply::json(500, &json!({})));
    for tries in 1..=5 {
        rig.advance(Duration::from_secs(6 * 3600));
        rig.procore.inject_times(4, &Target::Api, &broken);
        let report = connection.replay(None).await.expect("a report");
        assert!(report.stopped.is_some());
        let listed = connection.parked().await.expect("a list");
        assert_eq!(listed[0].replays, tries);
        let dead = listed[0].state == ParkedState::DeadLetter;
        assert_eq!(dead, tries == 5, "after {tries}");
    }
    assert_eq!(alerts(&rig, "request-dead-letter"), 1);
}

#[tokio::test]
async fn s62_an_outage_makes_no_dead_letter_of_a_request_that_waits_alone() {
    let json_500 = Fault::uncommitted(Reply::json(500, &json!({})));
    let gateway = Fault::uncommitted(Reply::gateway_error(502));
    let silence = Fault::uncommitted(Answer::Close);
    // What looks like the request's own fault counts once in six hours, and the rest never.
    for (down, visits, every, counted) in [
        (json_500, 60, 300, 1),
        (gateway, 30, 6 * 3600, 0),
        (silence, 30, 6 * 3600, 0),
    ] {
        let rig = Rig::start().await;
        let mut settings = Rig::settings(SANDBOX);
        settings.policy.parked_age = Duration::from_secs(30 * 86_400);
        let connection = rig.process(settings, MemoryStore::new());
        let mut request = create("Project 0");
        request.idempotent = Some(true);
        parked(connection.send(request).await);
        rig.sign_in(&connection).await;
        rig.procore.inject_times(1000, &Target::Api, &down);
        for _ in 0..visits {
            rig.advance(Duration::from_secs(every));
            connection.replay(None).await.expect("a report");
        }
        let listed = connection.parked().await.expect("a list");
        assert_eq!(
            (listed[0].state, listed[0].replays),
            (ParkedState::Queued, counted)
        );
        assert_eq!(alerts(&rig, "request-dead-letter"), 0);
        rig.procore.clear_faults();
        connection.replay(None).await.expect("a report");
        assert_eq!(names(&rig), numbered(1));
    }
}

#[tokio::test]
async fn s62_what_fails_while_others_pass_is_to_blame_whatever_it_fails_with() {
    // The poison comes first or last: it is the first or the last four attempts of each replay that fail.
    for poison_first in [true, false] {
        let rig = Rig::start().await;
        let connection = rig.connection(SANDBOX);
        rig.sign_in(&connection).await;
        let broken = Fault::uncommitted(Reply::gateway_error(502));
        let poison_path = Target::Call("PUT".to_owned(), "/rest/v1.0/poison".to_owned());
        rig.procore.inject_times(1000, &poison_path, &broken);
        let limited = || Fault::uncommitted(Reply::too_many_requests(Some(300), None));
        for tries in 1..=5 {
            rig.procore.inject(Target::Api, limited());
            let mut poison = ApiRequest::new("PUT", "/rest/v1.0/poison").body("{}");
            poison.park = true;
            let mut both = vec![create(&format!("Project {tries}"))];
            if tries == 1 {
                both.insert(usize::from(!poison_first), poison);
            }
            for request in both {
                parked(connection.send(request).await);
            }
            rig.advance(Duration::from_secs(6 * 3600));
            connection.replay(None).await.expect("a report");
            let listed = connection.parked().await.expect("a list");
            assert_eq!((listed.len(), listed[0].replays), (1, tries));
            let dead = listed[0].state == ParkedState::DeadLetter;
            assert_eq!(dead, tries == 5, "after {tries}");
        }
    }
}

#[tokio::test]
async fn s62_where_the_server_fails_at_everything_no_request_is_to_blame() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    for name in numbered(3) {
        let mut request = create(&name);
        request.idempotent = Some(true);
        parked(connection.send(request).await);
    }
    rig.sign_in(&connection).await;
    let down = Fault::uncommitted(Reply::gateway_error(502));
    for _ in 0..7 {
        rig.procore.inject_times(100, &Target::Api, &down);
        rig.procore.clear_requests();
        let report = connection.replay(None).await.expect("a report");
        assert_eq!(report.stopped.expect("why").code, "http-502");
        // Two requests with four attempts each.
        assert_eq!(api_requests(&rig).len(), 8);
    }
    rig.procore.clear_faults();
    let listed = connection.parked().await.expect("a list");
    assert!(listed.iter().all(|request| request.replays == 0));
    connection.replay(None).await.expect("a report");
    assert_eq!(names(&rig), numbered(3));
}

#[tokio::test]
async fn s62_three_hundred_replays_stay_under_the_rate_limit() {
    const PARKED: usize = 300;
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    for name in numbered(PARKED) {
        parked(connection.send(create(&name)).await);
    }
    rig.sign_in(&connection).await;
    rig.procore.set_policy(|policy| {
        policy.rate_limit.hourly = 400;
        policy.rate_limit.ten_seconds = 20;
    });
    rig.procore.clear_requests();
    let mut least_left = u32::MAX;
    for _ in 0..200 {
        let visit = connection.upkeep(None).await.expect("a visit");
        if visit.status.parked == 0 {
            break;
        }
        let now = rig.clock.now();
        let wait = visit.come_back_at.saturating_sub(now).div_ceil(1000);
        rig.advance(Duration::from_secs(wait.max(1)));
    }
    assert_eq!(names(&rig), numbered(PARKED));
    let requests = api_requests(&rig);
    assert_eq!(requests.len(), PARKED, "some were refused, or sent twice");
    for hour in requests.chunk_by(|a, b| a.at_ms / 3_600_000 == b.at_ms / 3_600_000) {
        least_left = least_left.min(400 - u32::try_from(hour.len()).expect("few"));
    }
    assert!(
        least_left > 50,
        "{least_left} of 400 were left to the agent"
    );
}

#[tokio::test]
async fn s39_an_outage_that_parks_requests_is_told_once_and_the_next_one_again() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    rig.sign_in(&connection).await;
    for outage in 1..=2 {
        let limited = Fault::uncommitted(Reply::too_many_requests(Some(3000), None));
        // The first is refused, and the others are held back.
        rig.procore.inject(Target::Api, limited);
        for name in numbered(5) {
            parked(connection.send(create(&name)).await);
        }
        assert_eq!(alerts(&rig, "requests-wait"), outage);
        rig.advance(Duration::from_secs(3000));
        let report = connection.replay(None).await.expect("a report");
        assert_eq!((report.replayed.len(), report.remaining), (5, 0));
    }
}

#[tokio::test]
async fn s33_unknown_outcomes_are_told_once_and_told() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    rig.sign_in(&connection).await;
    for name in numbered(5) {
        rig.procore
            .inject(Target::Api, Fault::committed(Answer::Close));
        let kept = parked(connection.send(create(&name)).await);
        assert_eq!(kept.state, ParkedState::UnknownOutcome);
        connection.upkeep(None).await.expect("a visit");
    }
    assert_eq!(alerts(&rig, "request-unknown-outcome"), 1);
}
