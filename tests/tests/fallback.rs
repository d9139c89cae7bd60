//! A service account that stands in while the user grant is dead: only then, and never silently.

use std::sync::Arc;

use fake_procore::{Answer, Environment::Sandbox, Fault, Options, Reply, Target};
use procore_auth_host::{
    ApiRequest, Connection, Environment, ErrorKind, Grant, Health, MemoryStore, Settings,
    UnfitFallback,
};
use procore_auth_tests::{
    Padding, Rig,
    rig::{SANDBOX, answered, parked},
};

fn service_account(environment: Environment) -> Settings {
    let mut settings = Rig::settings(environment);
    settings.grant = Grant::ClientCredentials;
    settings
}

/// One more process with a user's connection and its fallback, on these stores.
fn process(rig: &Rig, user: &MemoryStore, service: &MemoryStore) -> Connection {
    let fallback = rig.process(service_account(SANDBOX), service.clone());
    rig.builder(Rig::settings(SANDBOX))
        .store(Arc::new(user.clone()))
        .fallback(fallback)
        .expect("fit")
        .build()
        .expect("complete")
}

/// A connection with a fallback, on which the demo user has signed in.
async fn signed_in(rig: &Rig) -> Connection {
    let connection = process(rig, &MemoryStore::new(), &MemoryStore::new());
    rig.sign_in(&connection).await;
    connection
}

/// Kills all that the user has granted.
fn kill_grant(rig: &Rig) {
    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", Options::DEMO_USER)
        .expect("registered");
}

fn count(rig: &Rig, code: &str) -> usize {
    rig.journal.codes().iter().filter(|c| *c == code).count()
}

#[tokio::test]
async fn fallback_serves_calls_and_tokens_once_the_grant_is_dead_and_says_so() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    let token = connection.access_token().await.expect("the user's");
    assert!(!token.acts_as_fallback());
    let me = answered(connection.send(ApiRequest::get("/rest/v1.0/me")).await);
    assert!(!me.acts_as_fallback);

    kill_grant(&rig);
    let request = ApiRequest::get("/rest/v1.0/me").header("Procore-Company-Id", "4001");
    for _ in 0..2 {
        let me = answered(connection.send(request.clone()).await);
        assert_eq!((me.status, me.acts_as_fallback), (200, true));
    }
    let other = connection.access_token().await.expect("the fallback's");
    assert!(other.acts_as_fallback());
    assert_ne!(other.bearer(), token.bearer());

    assert_eq!(count(&rig, "fallback-in-use"), 1);
    let events = rig.journal.events();
    let begun = events.iter().find(|e| e.code == "fallback-in-use");
    let fields = &begun.expect("told").fields;
    assert!(fields.contains(&("fallback".to_owned(), "acme".to_owned())));
    assert!(
        rig.journal.alerts().len() >= 2,
        "the dead grant is told too"
    );

    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::SignInRequired);
    assert!(status.fallback_in_use);
}

#[tokio::test]
async fn fallback_is_told_once_by_all_processes_and_its_end_too() {
    let rig = Rig::start().await;
    let (user, service) = (MemoryStore::new(), MemoryStore::new());
    let first = process(&rig, &user, &service);
    rig.sign_in(&first).await;
    kill_grant(&rig);
    rig.advance_to_expiry();
    for _ in 0..3 {
        let process = process(&rig, &user, &service);
        assert!(
            process
                .access_token()
                .await
                .expect("a token")
                .acts_as_fallback()
        );
    }
    assert_eq!(count(&rig, "fallback-in-use"), 1);
    assert_eq!(count(&rig, "fallback-ended"), 0);

    rig.sign_in(&process(&rig, &user, &service)).await;
    assert_eq!(count(&rig, "fallback-ended"), 1);
    let token = first.access_token().await.expect("the user's");
    assert!(!token.acts_as_fallback());
    assert_eq!(count(&rig, "fallback-ended"), 1);
    assert!(!first.status().await.expect("a status").fallback_in_use);
}

#[tokio::test]
async fn fallback_serves_nobody_who_did_not_sign_in_or_who_signed_out() {
    let rig = Rig::start().await;
    let connection = process(&rig, &MemoryStore::new(), &MemoryStore::new());
    let error = connection.access_token().await.expect_err("no token");
    assert_eq!(error.code(), "not-signed-in");
    rig.sign_in(&connection).await;
    kill_grant(&rig);
    rig.advance_to_expiry();
    let token = connection.access_token().await.expect("a token");
    assert!(token.acts_as_fallback());
    connection.forget().await.expect("forgotten");
    assert_eq!(count(&rig, "fallback-ended"), 1);
    let mut request = ApiRequest::get("/rest/v1.0/me");
    request.park = true;
    parked(connection.send(request).await);
    connection.access_token().await.expect_err("signed out");
    assert!(!connection.status().await.expect("a status").fallback_in_use);
}

#[tokio::test]
async fn fallback_is_not_said_to_be_in_use_while_it_cannot_serve() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    kill_grant(&rig);
    rig.advance_to_expiry();
    connection.access_token().await.expect("the fallback's");
    assert!(connection.status().await.expect("a status").fallback_in_use);
    rig.advance_to_expiry();
    let broken = Fault::uncommitted(Answer::Close);
    rig.procore.inject_times(50, &Target::Token, &broken);
    connection.access_token().await.expect_err("no token");
    assert!(!connection.status().await.expect("a status").fallback_in_use);
}

#[tokio::test]
async fn fallback_does_not_serve_what_passes_by_itself() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    rig.advance_to_expiry();
    let broken = Fault::uncommitted(Reply::empty(503));
    rig.procore.inject_times(50, &Target::Token, &broken);
    let error = connection.access_token().await.expect_err("no token");
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(count(&rig, "fallback-in-use"), 0);
}

#[tokio::test]
async fn fallback_keeps_requests_from_being_parked_and_what_it_cannot_send_waits_for_the_user() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    kill_grant(&rig);
    rig.advance_to_expiry();
    let mut request = ApiRequest::get("/rest/v1.0/me").header("Procore-Company-Id", "4001");
    request.park = true;
    assert!(answered(connection.send(request.clone()).await).acts_as_fallback);
    assert!(connection.parked().await.expect("a list").is_empty());

    rig.advance_to_expiry();
    let broken = Fault::uncommitted(Answer::Close);
    rig.procore.inject_times(50, &Target::Token, &broken);
    parked(connection.send(request).await);
    assert_eq!(connection.parked().await.expect("a list").len(), 1);
}

#[tokio::test]
async fn fallback_that_is_stopped_behind_an_answer_leaves_nothing_for_the_user_to_send_again() {
    let rig = Rig::start().await;
    let mut settings = service_account(SANDBOX);
    settings.policy.parked_bytes = 1024;
    let padding = Padding {
        http: rig.another_client(),
        under: "/rest/",
    };
    let fallback = rig
        .builder(settings)
        .http(Arc::new(padding))
        .limits(Padding::limits())
        .build()
        .expect("complete");
    let connection = rig
        .builder(Rig::settings(SANDBOX))
        .fallback(fallback)
        .expect("fit")
        .build()
        .expect("complete");
    rig.sign_in(&connection).await;
    kill_grant(&rig);
    rig.advance_to_expiry();

    let mut request = ApiRequest::new("POST", "/rest/v1.0/projects")
        .header("Content-Type", "application/json")
        .body(r#"{"project":{"name":"Tower"}}"#);
    request.park = true;
    let error = connection.send(request).await.expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(rig.procore.executions("POST /rest/v1.0/projects"), 1);
    assert!(connection.parked().await.expect("a list").is_empty());
}

#[tokio::test]
async fn fallback_renews_its_own_rejected_token() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    kill_grant(&rig);
    rig.advance_to_expiry();
    let rejected = connection.access_token().await.expect("the fallback's");
    rig.procore
        .expire_access_token(Sandbox, rejected.bearer().expose());
    let renewed = connection.renew_rejected(rejected.bearer()).await;
    let renewed = renewed.expect("another");
    assert!(renewed.acts_as_fallback());
    assert_ne!(renewed.bearer(), rejected.bearer());
}

#[tokio::test]
async fn fallback_must_be_a_service_account_of_the_same_environment_and_of_one_connection() {
    let rig = Rig::start().await;
    let connection = |settings| rig.process(settings, MemoryStore::new());
    let of = |settings, fallback: &Connection| {
        let fitted = rig.builder(settings).fallback(fallback.clone());
        fitted.err()
    };
    let service = connection(service_account(SANDBOX));
    let user = Rig::settings(SANDBOX);
    assert_eq!(
        of(service_account(SANDBOX), &service),
        Some(UnfitFallback::NoUserGrant)
    );
    assert_eq!(
        of(user.clone(), &connection(user.clone())),
        Some(UnfitFallback::NotClientCredentials)
    );
    assert_eq!(
        of(
            user.clone(),
            &connection(service_account(Environment::Production))
        ),
        Some(UnfitFallback::OtherEnvironment)
    );
    assert_eq!(of(user.clone(), &service), None);
    assert_eq!(of(user, &service), Some(UnfitFallback::Taken));
}
