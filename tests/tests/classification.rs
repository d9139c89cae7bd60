//! Section D: what is dead, what passes, and who is told how often.

use std::time::Duration;

use fake_procore::{Answer, Fault, Options, Reply, Target};
use procore_auth_host::{
    ApiRequest, Connection, Error, Event, Health, MemoryStore, ParkedState, Secret, Settings,
    Severity,
};
use procore_auth_tests::{
    Rig,
    rig::{SANDBOX, answered, fake, parked},
    stored,
};
use serde_json::json;

const ME: &str = "/rest/v1.0/me";

async fn signed_in(rig: &Rig) -> (Connection, MemoryStore) {
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    (connection, store)
}

async fn kill(rig: &Rig, store: &MemoryStore) {
    let token = stored::refresh_token(store).await;
    assert!(rig.procore.kill_refresh_token(fake(SANDBOX), &token));
}

async fn refused(connection: &Connection) -> Error {
    connection.access_token().await.expect_err("no token")
}

fn recoveries(rig: &Rig) -> Vec<Event> {
    let mut events = rig.journal.events();
    events.retain(|event| event.code == "recovered");
    events
}

#[tokio::test]
async fn s35_a_dead_grant_is_posted_once_and_requests_park() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let token = stored::refresh_token(&store).await;
    kill(&rig, &store).await;
    rig.advance_to_expiry();
    let first = refused(&connection).await;
    assert!(first.is_sign_in_required(), "{first}");
    for _ in 0..100 {
        rig.advance(Duration::from_secs(600));
        assert!(refused(&connection).await.is_sign_in_required());
        connection.upkeep(None).await.expect("a visit");
    }
    let restarted = rig.on_store(store.clone());
    assert!(refused(&restarted).await.is_sign_in_required());
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(stored::refresh_token(&store).await, token);
    let mut request = ApiRequest::new("POST", "/rest/v1.0/projects");
    request.park = true;
    let kept = parked(connection.send(request).await);
    assert_eq!(kept.state, ParkedState::Queued);
    assert_eq!(kept.reason, "invalid_grant");
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
}

#[tokio::test]
async fn s35_both_statuses_and_both_wordings_mean_the_same() {
    for status in [400, 401] {
        let rig = Rig::start().await;
        rig.procore.set_policy(|policy| {
            policy.invalid_grant_status = status;
            policy.dialect = fake_procore::Dialect::Old;
        });
        let (connection, store) = signed_in(&rig).await;
        kill(&rig, &store).await;
        rig.advance_to_expiry();
        let error = refused(&connection).await;
        assert!(error.is_sign_in_required(), "{status}: {error}");
        refused(&connection).await;
        assert_eq!(rig.procore.token_posts(), 1);
    }
}

#[tokio::test]
async fn s35_new_credentials_end_the_verdict() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    kill(&rig, &store).await;
    rig.advance_to_expiry();
    refused(&connection).await;
    rig.sign_in(&connection).await;
    connection.access_token().await.expect("a token");
    assert_eq!(recoveries(&rig).len(), 1);
}

/// What gateways, firewalls and hotels say in the server's place.
fn passing_troubles() -> Vec<Answer> {
    vec![
        Answer::Close,
        Reply::gateway_error(500).into(),
        Reply::gateway_error(502).into(),
        Reply::gateway_error(504).into(),
        Reply::unavailable(None).into(),
        Reply::firewall_block().into(),
        Reply::captive_portal().into(),
        Reply::empty(200).into(),
        Reply::empty(400).into(),
        Reply::empty(401).into(),
        Reply::empty(404).into(),
        Reply::empty(500).into(),
        Reply::html(401, "<html>Please log in to the proxy</html>").into(),
        Reply::html(200, "<html>maintenance</html>").into(),
        Reply::redirect(302, "https://login.hotel.example/").into(),
        Reply::json(500, &json!({"error": "server_error"})).into(),
        Reply::json(503, &json!({"error": "temporarily_unavailable"})).into(),
        Reply::giant(64 << 20).into(),
    ]
}

#[tokio::test]
async fn s36_what_passes_wipes_nothing_and_asks_nobody_to_sign_in() {
    for trouble in passing_troubles() {
        let rig = Rig::start().await;
        let (connection, store) = signed_in(&rig).await;
        let token = stored::refresh_token(&store).await;
        rig.advance_to_expiry();
        let fault = Fault::uncommitted(trouble.clone());
        rig.procore.inject(Target::Token, fault);
        let error = refused(&connection).await;
        assert!(error.is_unavailable(), "{trouble:?}: {error}");
        let retry_at = error.retry_at().expect("a moment");
        assert!(retry_at > rig.clock.now() && retry_at <= rig.clock.now() + 300_000);
        assert_eq!(stored::refresh_token(&store).await, token);
        // Within the backoff nothing is sent.
        refused(&connection).await;
        assert_eq!(rig.procore.token_posts(), 1, "{trouble:?}");
        rig.clock.set(retry_at);
        connection.access_token().await.expect("a token");
        assert_eq!(rig.procore.token_posts(), 2, "{trouble:?}");
    }
}

#[tokio::test]
async fn s36_a_long_outage_is_never_given_up_and_never_a_storm() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let down = Fault::uncommitted(Reply::gateway_error(502));
    rig.procore.inject_times(100_000, &Target::Token, &down);
    rig.advance_to_expiry();
    let hours = 12;
    for _ in 0..hours * 360 {
        rig.advance(Duration::from_secs(10));
        assert!(refused(&connection).await.is_unavailable());
    }
    // The longest wait is five minutes, half of it on average.
    let posts = rig.procore.token_posts();
    assert!((100..=hours * 60).contains(&posts), "{posts} posts");
    rig.procore.clear_faults();
    rig.advance(Duration::from_secs(301));
    connection.access_token().await.expect("a token");
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
    assert_eq!(recoveries(&rig).len(), 1);
}

#[tokio::test]
async fn s37_a_200_without_a_token_is_no_success() {
    for body in [
        json!({}),
        json!({"access_token": ""}),
        json!({"access_token": null, "refresh_token": "x"}),
        json!({"access_token": 5}),
        json!({"access_token": "a b\nc"}),
        json!({"error": "server_error", "access_token": "t"}),
        json!({"error": "something_new"}),
        json!([{"access_token": "t"}]),
        json!("access_token"),
    ] {
        let rig = Rig::start().await;
        let (connection, store) = signed_in(&rig).await;
        let token = stored::refresh_token(&store).await;
        rig.advance_to_expiry();
        let reply = Reply::json(200, &body);
        rig.procore.inject(Target::Token, Fault::uncommitted(reply));
        let error = refused(&connection).await;
        assert!(error.is_unavailable(), "{body}: {error}");
        assert_eq!(stored::refresh_token(&store).await, token);
        rig.clock.set(error.retry_at().expect("a moment"));
        connection.access_token().await.expect("a token");
    }
}

#[tokio::test]
async fn s38_while_the_token_lives_a_failed_refresh_serves_it_on() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let old = stored::access_token(&store).await;
    let down = Fault::uncommitted(Reply::gateway_error(502));
    rig.procore.inject_times(1000, &Target::Token, &down);
    rig.advance_to_refresh();
    for _ in 0..17 {
        let served = connection.access_token().await.expect("the old token");
        assert_eq!(served.bearer().expose(), old);
        assert_eq!(
            answered(connection.send(ApiRequest::get(ME)).await).status,
            200
        );
        rig.advance(Duration::from_secs(60));
    }
    assert!(rig.procore.token_posts() > 1);
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::AtRisk);
    rig.advance(Duration::from_secs(120));
    assert!(refused(&connection).await.is_unavailable());
}

#[tokio::test]
async fn s39_one_outage_one_alert_one_recovery_notice() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let other = rig.on_store(store);
    let down = Fault::uncommitted(Reply::gateway_error(502));
    rig.procore.inject_times(1000, &Target::Token, &down);
    rig.advance_to_expiry();
    for _ in 0..50 {
        refused(&connection).await;
        refused(&other).await;
        rig.advance(Duration::from_secs(120));
    }
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
    let status = connection.status().await.expect("a status");
    assert!(status.incident.is_some());
    rig.procore.clear_faults();
    rig.advance(Duration::from_secs(301));
    connection.access_token().await.expect("a token");
    other.access_token().await.expect("a token");
    assert_eq!(recoveries(&rig).len(), 1);
    assert_eq!(rig.journal.alerts().len(), 1);
}

#[tokio::test]
async fn s39_an_outage_that_shows_itself_in_several_ways_is_one_outage() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    for _ in 0..20 {
        for status in [500, 502, 503, 504] {
            let down = Fault::uncommitted(Reply::gateway_error(status));
            rig.procore.inject(Target::Token, down);
        }
        let portal = Fault::uncommitted(Reply::captive_portal());
        rig.procore.inject(Target::Token, portal);
    }
    rig.advance_to_expiry();
    for _ in 0..20 {
        refused(&connection).await;
        rig.advance(Duration::from_secs(301));
    }
    assert_eq!(rig.procore.token_posts(), 20);
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
}

#[tokio::test]
async fn s39_an_outage_in_which_replies_are_lost_too_is_told_twice_at_most() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    for _ in 0..10 {
        let down = Fault::uncommitted(Reply::gateway_error(502));
        rig.procore.inject(Target::Token, down);
        let lost = Fault::uncommitted(Answer::Close);
        rig.procore.inject(Target::Token, lost);
    }
    rig.advance_to_expiry();
    for _ in 0..20 {
        refused(&connection).await;
        rig.advance(Duration::from_secs(301));
    }
    let codes: Vec<_> = rig.journal.alerts().into_iter().map(|a| a.code).collect();
    assert_eq!(codes, ["unexpected-html", "refresh-outcome-unknown"]);
}

#[tokio::test]
async fn s39_an_alert_escalates_when_the_time_is_up() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    kill(&rig, &store).await;
    rig.advance_to_refresh();
    connection.access_token().await.expect("the old token");
    let first = rig.journal.alerts();
    assert_eq!(first.len(), 1);
    let state = |event: &Event| {
        let state = event.fields.iter().find(|(name, _)| name == "state");
        state.expect("a state").1.clone()
    };
    assert!(state(&first[0]).contains("still work"), "{first:?}");
    rig.advance_to_expiry();
    for _ in 0..10 {
        refused(&connection).await;
        rig.advance(Duration::from_secs(3600));
    }
    let alerts = rig.journal.alerts();
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    assert!(state(&alerts[1]).contains("do not work"), "{alerts:?}");
}

#[tokio::test]
async fn s40_healthy_needs_recent_evidence_and_says_when() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::SignInRequired);
    assert_eq!(status.last_evidence, None);
    let began = rig.clock.now();
    rig.sign_in(&connection).await;
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::Healthy);
    assert_eq!(status.last_evidence, Some(began));
    rig.advance_to_expiry();
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::Unverified);
    assert_eq!(status.last_evidence, Some(began));
}

#[tokio::test]
async fn s40_tokens_from_elsewhere_are_unverified_until_the_server_says_so() {
    let rig = Rig::start().await;
    let pair = rig
        .procore
        .issue_pair(
            fake(SANDBOX),
            Options::demo_client_id(fake(SANDBOX).credential_pair()),
            Options::DEMO_USER,
        )
        .expect("registered");
    let unreachable = Fault::uncommitted(Reply::gateway_error(502));
    rig.procore.inject(Target::TokenInfo, unreachable);
    let connection = rig.connection(SANDBOX);
    let saved = pair.to_json().to_string().into_bytes();
    let status = connection.adopt(saved, false).await.expect("adopted");
    assert_eq!(
        (status.health, status.last_evidence),
        (Health::Unverified, None)
    );
    connection.verify().await.expect("verified");
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::Healthy);
}

#[tokio::test]
async fn s41_the_servers_error_code_and_words_survive_to_the_user() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    kill(&rig, &store).await;
    rig.advance_to_expiry();
    let error = refused(&connection).await;
    let diagnosis = error.diagnosis();
    assert_eq!(diagnosis.code, "invalid_grant");
    assert!(error.to_string().contains("[invalid_grant]"), "{error}");
    let evidence = diagnosis.evidence.join("\n");
    assert!(evidence.contains("error: invalid_grant"), "{evidence}");
    assert!(
        evidence.contains("The provided authorization grant"),
        "{evidence}"
    );
    let same = connection.send(ApiRequest::get(ME)).await;
    let same = same.expect_err("no token");
    assert_eq!(same.diagnosis(), diagnosis);
}

fn with_secret(secret: &str) -> Settings {
    Rig::settings_with(|settings| settings.client_secret = Secret::new(secret))
}

#[tokio::test]
async fn s42_a_wrong_secret_is_a_matter_of_configuration_and_costs_no_login() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let token = stored::refresh_token(&store).await;
    drop(connection);
    rig.advance_to_expiry();
    let wrong = rig.process(with_secret("mistyped"), store.clone());
    for _ in 0..20 {
        let error = refused(&wrong).await;
        assert!(error.is_configuration(), "{error}");
        assert_eq!(error.diagnosis().code, "invalid_client");
        rig.advance(Duration::from_secs(3600));
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(stored::refresh_token(&store).await, token);
    assert!(rig.procore.refresh_token_is_live(fake(SANDBOX), &token));
    let status = wrong.status().await.expect("a status");
    assert_eq!(status.health, Health::Misconfigured);
    let right = rig.on_store(store);
    right.access_token().await.expect("no login needed");
    assert_eq!(rig.procore.token_posts(), 2);
    assert_eq!(rig.journal.alerts().len(), 1);
    assert_eq!(recoveries(&rig).len(), 1);
}

#[tokio::test]
async fn s42_a_reset_secret_is_cured_by_the_new_one() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let pair = fake(SANDBOX).credential_pair();
    let secret = rig
        .procore
        .reset_client_secret(pair, Options::demo_client_id(pair))
        .expect("registered");
    let error = connection.send(ApiRequest::get(ME)).await;
    let error = error.expect_err("the reset killed the token");
    assert!(error.is_configuration(), "{error}");
    let cured = rig.process(with_secret(&secret), store);
    assert_eq!(answered(cured.send(ApiRequest::get(ME)).await).status, 200);
    assert!(
        rig.journal
            .events()
            .iter()
            .all(|event| { event.severity < Severity::Alert || event.code == "invalid_client" })
    );
}
