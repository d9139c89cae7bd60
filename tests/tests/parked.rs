//! Section H, and S56: requests that wait survive, keep their order, and drain once somebody signed in.

use std::{sync::Arc, time::Duration};

use fake_procore::{Fault, Reply, Target};
use procore_auth_host::{
    ApiRequest, Connection, FileStore, MemoryStore, Outcome, ParkedState, Policy, Settings,
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

fn with_policy(change: impl FnOnce(&mut Policy)) -> Settings {
    let mut settings = Rig::settings(SANDBOX);
    change(&mut settings.policy);
    settings
}

#[tokio::test]
async fn s62_overflow_is_an_alert_and_an_error_and_drops_nothing() {
    for settings in [
        with_policy(|policy| policy.parked_count = 3),
        with_policy(|policy| policy.parked_bytes = 1000),
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
        let alerts = rig.journal.alerts();
        assert!(alerts.iter().any(|alert| alert.code == "parked-full"));
    }
}

#[tokio::test]
async fn s62_what_is_too_old_is_set_aside_and_not_sent() {
    let rig = Rig::start().await;
    let settings = with_policy(|policy| policy.parked_age = Duration::from_secs(3600));
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
    // At least: listing, three entries written, and each sent, noted and deleted.
    assert!(moment > 2 * (1 + 3 + 3 * 3), "{moment}");
    assert!(undecided > 0);
}
