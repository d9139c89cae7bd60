//! What goes to the token endpoint and what does not: no other style of authentication, no repetition, no redirect.

use fake_procore::{Alteration, Answer, Fault, Reply, Role, STRANGER_HOST, Target};
use procore_auth_host::MemoryStore;
use procore_auth_tests::{
    Rig,
    rig::{SANDBOX, fake},
    stored,
};

#[tokio::test]
async fn s28_credentials_go_in_the_body_and_no_style_is_probed() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(SANDBOX).await;
    rig.advance_to_expiry();
    connection.access_token().await.expect("a token");
    rig.advance_to_expiry();
    let refusal = serde_json::json!({"error": "invalid_client"});
    let refusal = Fault::uncommitted(Reply::json(401, &refusal));
    rig.procore.inject(Target::Token, refusal);
    connection.access_token().await.expect_err("refused");
    let posts = rig.procore.requests();
    let posts: Vec<_> = posts.iter().filter(|r| r.is_token_post()).collect();
    assert_eq!(posts.len(), 3);
    for post in posts {
        assert_eq!(post.header("authorization"), None);
        let form = post.form.as_ref().expect("a form");
        for field in ["client_id", "client_secret", "grant_type"] {
            assert_eq!(form.iter().filter(|(name, _)| *name == field).count(), 1);
        }
    }
}

#[tokio::test]
async fn s28_no_failure_of_the_token_endpoint_is_retried_by_the_http_client() {
    let faults = [
        Fault::unread(),
        Fault::uncommitted(Answer::Close),
        Fault::committed(Answer::Close),
        Fault::uncommitted(Reply::gateway_error(502)),
        Fault::uncommitted(Reply::too_many_requests(Some(1), None)),
        Fault::uncommitted(Reply::unavailable(Some(1))),
        Fault::altered(Alteration::Truncated(10)),
    ];
    for fault in faults {
        let rig = Rig::start().await;
        let connection = rig.signed_in(SANDBOX).await;
        rig.advance_to_expiry();
        rig.procore.clear_requests();
        rig.procore.inject(Target::Token, fault.clone());
        let error = connection.access_token().await.expect_err("failed");
        assert!(error.is_unavailable(), "{fault:?}: {error}");
        assert_eq!(rig.procore.token_posts(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn s28_no_redirect_of_the_token_endpoint_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        for elsewhere in [
            format!("https://{STRANGER_HOST}/oauth/token"),
            "https://login.procore.com/oauth/token".to_owned(),
            "/oauth/token".to_owned(),
        ] {
            let rig = Rig::start().await;
            let store = MemoryStore::new();
            let connection = rig.on_store(store.clone());
            rig.sign_in(&connection).await;
            rig.advance_to_expiry();
            rig.procore.clear_requests();
            let redirect = Reply::redirect(status, &elsewhere);
            rig.procore
                .inject(Target::Token, Fault::uncommitted(redirect));
            let error = connection.access_token().await.expect_err("redirected");
            assert!(error.is_unavailable(), "{error}");
            assert_eq!(error.code(), "redirected");
            let requests = rig.procore.requests();
            assert_eq!(requests.len(), 1, "{requests:?}");
            assert!(requests.iter().all(|r| r.role == Some(Role::Login)));
            let token = stored::refresh_token(&store).await;
            assert!(rig.procore.refresh_token_is_live(fake(SANDBOX), &token));
        }
    }
}
