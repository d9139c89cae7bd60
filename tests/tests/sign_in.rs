//! Signing in and out, where something else is going on.

use std::time::Duration;

use fake_procore::{Answer, Fault, Gate, Target};
use procore_auth_host::{Health, MemoryStore, Secret, Store as _};
use procore_auth_tests::{
    RecordingStore, Rig,
    rig::{SANDBOX, fake},
    stored,
};

#[tokio::test]
async fn a_refused_code_leaves_an_earlier_sign_in_as_it_was() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let before = stored::refresh_token(&store).await;

    let login = connection.begin_login().await.expect("a link");
    let callback = rig.browse(&login.authorize_url).await;
    let (address, _) = callback.split_once("code=").expect("a code");
    let (_, state) = callback.split_once("state=").expect("a state");
    let forged = format!("{address}code=guessed&state={state}");
    let error = connection
        .finish_login(Secret::new(forged))
        .await
        .expect_err("refused");
    assert_eq!(
        (error.code(), error.is_invalid_input()),
        ("invalid_grant", true)
    );

    assert_eq!(stored::refresh_token(&store).await, before);
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::Healthy);
    connection
        .finish_login(Secret::new(callback))
        .await
        .expect("the right answer still counts");
    rig.advance_to_refresh();
    connection.access_token().await.expect("refreshed");
}

#[tokio::test]
async fn a_code_whose_exchange_was_not_sent_can_be_tried_again() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let login = connection.begin_login().await.expect("a link");
    let callback = rig.browse(&login.authorize_url).await;
    rig.procore
        .inject(Target::Token, Fault::uncommitted(Answer::Close));
    let error = connection
        .finish_login(Secret::new(callback.clone()))
        .await
        .expect_err("no answer");
    assert!(error.is_unavailable(), "{error}");
    let status = connection.status().await.expect("a status");
    assert_eq!(
        status.health,
        Health::SignInRequired,
        "nobody is signed in yet"
    );
    connection
        .finish_login(Secret::new(callback))
        .await
        .expect("signed in");
}

#[tokio::test]
async fn a_used_code_is_told_from_an_unknown_one() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    let login = connection.begin_login().await.expect("a link");
    let callback = rig.browse(&login.authorize_url).await;
    connection
        .finish_login(Secret::new(callback.clone()))
        .await
        .expect("signed in");
    let again = connection
        .finish_login(Secret::new(callback))
        .await
        .expect_err("used");
    assert_eq!(again.code(), "code-already-used");
    let other = "http://localhost:9876/callback?code=other&state=x";
    let unknown = connection
        .finish_login(Secret::new(other))
        .await
        .expect_err("unknown");
    assert_eq!(unknown.code(), "no-pending-login");
}

/// A crash after the reply was saved and before it was read: the new pair is what must be revoked.
#[tokio::test]
async fn signing_out_revokes_a_pair_that_was_received_and_not_yet_read() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_refresh();
    // The intent and the reply are written; the third write, of the tokens, and what follows fail for good.
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let refreshing = tokio::spawn({
        let connection = connection.clone();
        async move { connection.access_token().await }
    });
    gate.arrived(1).await;
    store.fail_writes_after(1, 1000);
    gate.open();
    let _ = refreshing.await.expect("no panic");
    store.fail_writes(0);

    let restarted = rig.on_store(store.clone());
    restarted.revoke().await.expect("signed out");
    let live = rig
        .procore
        .requests()
        .iter()
        .filter(|request| request.path == "/oauth/revoke")
        .count();
    assert_eq!(live, 2, "the new pair");
    for token in rig.procore.secrets_issued() {
        assert!(!rig.procore.refresh_token_is_live(fake(SANDBOX), &token));
    }
}

/// An agent that cannot work because nobody is signed in must not stay silent.
#[tokio::test]
async fn the_keeper_tells_once_that_nobody_is_signed_in() {
    let rig = Rig::start().await;
    let connection = rig.connection(SANDBOX);
    for _ in 0..3 {
        connection.upkeep(None).await.expect("a visit");
        rig.advance(Duration::from_secs(3600));
    }
    let codes: Vec<_> = rig
        .journal
        .alerts()
        .into_iter()
        .map(|alert| alert.code)
        .collect();
    assert_eq!(codes, ["not-signed-in"]);
    rig.sign_in(&connection).await;
    assert!(rig.journal.codes().contains(&"recovered".to_owned()));
}

#[tokio::test]
async fn s19_while_the_token_lives_a_store_that_cannot_be_written_does_not_stop_the_agent() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_refresh();
    rig.procore.clear_requests();
    store.fail_writes(1000);
    connection
        .access_token()
        .await
        .expect("the token that still lives");
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s52_a_wrong_answer_is_refused_whoever_holds_the_lock() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    connection.begin_login().await.expect("a link");
    let held = store.lock(Duration::ZERO).await.expect("works");
    assert!(held.is_some());
    let wrong = "http://localhost:9876/callback?code=guessed&state=guessed";
    let error = connection.finish_login(Secret::new(wrong)).await;
    assert_eq!(error.expect_err("refused").code(), "state-mismatch");
}
