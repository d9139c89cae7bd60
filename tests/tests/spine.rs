//! The main job: sign in, stay signed in, call.

use std::time::Duration;

use procore_auth_host::{ApiRequest, Environment, Health, Outcome};
use procore_auth_tests::{Rig, rig::fake};

#[tokio::test]
async fn signs_in_verifies_and_refreshes_in_every_environment() {
    for environment in Environment::ALL {
        let rig = Rig::start().await;
        let connection = rig.signed_in(environment).await;
        connection.verify().await.expect("verified");
        for refreshes in 1..=3 {
            let before = connection.access_token().await.expect("a token");
            rig.advance(Duration::from_secs(5400 * 8 / 10));
            let after = connection.access_token().await.expect("a token");
            assert_ne!(before.bearer(), after.bearer());
            let status = connection.status().await.expect("a status");
            assert_eq!(status.refreshes, refreshes);
        }
        assert_eq!(rig.procore.token_posts(), 4, "{environment:?}");
    }
}

#[tokio::test]
async fn a_401_is_answered_with_one_refresh_and_one_resend() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(Environment::Sandbox).await;
    let token = connection.access_token().await.expect("a token");
    rig.procore
        .expire_access_token(fake(Environment::Sandbox), token.bearer().expose());
    let outcome = connection
        .send(ApiRequest::get("/rest/v1.0/me"))
        .await
        .expect("an outcome");
    let Outcome::Answered(response) = outcome else {
        panic!("parked")
    };
    assert_eq!((response.status, response.attempts), (200, 2));
    assert_eq!(rig.procore.token_posts(), 2);
}

/// The server says 200 to the revocation of an expired pair and revokes nothing, so an expired pair is renewed first.
#[tokio::test]
async fn signing_out_ends_an_expired_pair_too() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(Environment::Sandbox).await;
    rig.advance(Duration::from_secs(2 * 5400));
    connection.revoke().await.expect("signed out");
    let environment = fake(Environment::Sandbox);
    for request in rig.procore.requests() {
        if let Some(token) = request.refresh_token() {
            assert!(!rig.procore.refresh_token_is_live(environment, token));
        }
    }
    let revoked: Vec<_> = rig
        .procore
        .requests()
        .into_iter()
        .filter(|request| request.path == "/oauth/revoke")
        .collect();
    let token = revoked[0]
        .form
        .as_ref()
        .and_then(|form| form.get("token"))
        .expect("a token");
    assert!(
        !rig.procore.refresh_token_is_live(environment, token),
        "the newest pair is dead"
    );
    assert_eq!(rig.procore.token_posts(), 2);
    let error = connection.access_token().await.expect_err("signed out");
    assert!(error.is_sign_in_required(), "{error}");
}

/// A token that the API rejected is not handed out again, however long it was to live, once its refresh is refused.
#[tokio::test]
async fn a_rejected_token_with_a_dead_refresh_token_is_not_served_on() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(Environment::Sandbox).await;
    rig.advance(Duration::from_secs(60));
    let sandbox = fake(Environment::Sandbox);
    let client_id = connection.settings().client_id.clone();
    let user = fake_procore::Options::DEMO_USER;
    rig.procore
        .revoke_grant(sandbox, &client_id, user)
        .expect("registered");

    let error = connection
        .send(ApiRequest::get("/rest/v1.0/me"))
        .await
        .expect_err("no token");
    assert!(error.is_sign_in_required(), "{error}");
    let error = connection.access_token().await.expect_err("no token");
    assert!(error.is_sign_in_required(), "{error}");
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::SignInRequired);
    let alerts = rig.journal.alerts();
    assert_eq!(alerts.len(), 1);
    let state = ("state".to_owned(), "calls do not work".to_owned());
    assert!(alerts[0].fields.contains(&state), "{alerts:?}");
    assert_eq!(rig.procore.token_posts(), 2);
}
