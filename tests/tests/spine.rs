//! The main job: sign in, stay signed in, call.

use std::time::Duration;

use procore_auth_host::{ApiRequest, Environment, Outcome};
use procore_auth_tests::{Rig, rig::fake};

const ALL: [Environment; 4] = [
    Environment::Production,
    Environment::Sandbox,
    Environment::MonthlySandbox,
    Environment::Federal,
];

#[tokio::test]
async fn signs_in_verifies_and_refreshes_in_every_environment() {
    for environment in ALL {
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
