//! `[connections.NAME.fallback]`: a service account that stands in while the user must sign in.

use fake_procore::Environment::Sandbox;

use crate::{expired, fresh, signed_in};

const ALLOWED: (&str, &str) = (
    "[connections.acme]\n",
    "[connections.acme.fallback]\nallow = true\n\n[connections.acme]\n",
);

#[tokio::test]
async fn fallback_makes_the_calls_of_a_user_whose_grant_is_dead_and_says_so() {
    let (rig, tool, _) = signed_in().await;
    tool.reconfigure(ALLOWED.0, ALLOWED.1);
    let before = tool.run(&["call", "/rest/v1.0/me", "--json"]).await;
    assert_eq!(before.code_is(0).json()["fallback"], false);

    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", 101)
        .expect("registered");
    let call = tool.run(&["call", "/rest/v1.0/me"]).await;
    call.code_is(0).says("as the service account (fallback)");
    let call = tool.run(&["call", "/rest/v1.0/me", "--json"]).await;
    assert_eq!(call.code_is(0).json()["fallback"], true);
    let token = tool.run(&["token", "--json"]).await.code_is(0).json();
    assert_eq!(token["fallback"], true);
    assert!(tool.path("state/acme.fallback/acme").is_dir());

    let status = tool.run(&["status"]).await;
    status
        .code_is(4)
        .says("meanwhile calls are made as the service account");
    let status = tool.run(&["status", "--json"]).await.code_is(4).json();
    assert_eq!(status["connections"][0]["fallback_in_use"], true);
    let journal = std::fs::read_to_string(tool.path("state/journal.jsonl")).expect("there");
    assert_eq!(journal.matches("\"fallback-in-use\"").count(), 1);
}

#[tokio::test]
async fn fallback_tokens_are_encrypted_along_with_the_others() {
    let (rig, tool, pair) = expired().await;
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    tool.reconfigure(ALLOWED.0, ALLOWED.1);
    tool.run(&["token"]).await.code_is(0).says("(fallback)");
    let path = tool.path("store.key");
    let path = path.to_str().expect("UTF-8");
    tool.run(&["key", "generate", "--file", path])
        .await
        .code_is(0);
    let encryption = format!("[encryption]\nkey = {{ file = {path:?} }}\n\n[network]");
    tool.reconfigure("[network]", &encryption);
    let refused = tool.run(&["token"]).await;
    assert_ne!(
        refused.code,
        Some(0),
        "nothing is read that should be encrypted"
    );
    tool.run(&["store", "encrypt"]).await.code_is(0);
    tool.run(&["token"]).await.code_is(0).says("(fallback)");
}

#[tokio::test]
async fn fallback_is_refused_where_it_is_not_said_or_cannot_be() {
    for (from, to, says) in [
        (
            ALLOWED.1,
            "[connections.acme.fallback]\n\n[connections.acme]\n",
            "allow",
        ),
        (
            "allow = true",
            "allow = true\nclient_id = \"other\"",
            "belong together",
        ),
    ] {
        let (_rig, tool) = fresh().await;
        tool.reconfigure(ALLOWED.0, ALLOWED.1);
        tool.reconfigure(from, to);
        tool.run(&["status"]).await.code_is(3).says(says);
    }
    let (rig, tool, _) = signed_in().await;
    tool.reconfigure(ALLOWED.0, ALLOWED.1);
    tool.reconfigure("allow = true", "allow = false");
    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", 101)
        .expect("registered");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(4);
}

#[tokio::test]
async fn fallback_serves_neither_before_a_sign_in_nor_after_a_logout() {
    let (_rig, tool) = fresh().await;
    tool.reconfigure(ALLOWED.0, ALLOWED.1);
    tool.run(&["token"]).await.code_is(4);

    let (rig, tool, pair) = expired().await;
    tool.reconfigure(ALLOWED.0, ALLOWED.1);
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    tool.run(&["token"]).await.code_is(0).says("(fallback)");
    tool.run(&["logout", "--local"]).await.code_is(0);
    tool.run(&["token"]).await.code_is(4);
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(4);
    let status = tool.run(&["status", "--json"]).await.code_is(4).json();
    assert_eq!(status["connections"][0]["fallback_in_use"], false);
}
