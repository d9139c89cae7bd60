//! The program against a real Doorkeeper, the engine whose messages and routes Procore's are.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::time::Duration;

use procore_auth_tests::Tool;
use procore_auth_tests::doorkeeper::{Doorkeeper, Options, Rotation, Unavailable};
use procore_auth_tests::tool::{OUT_OF_BAND, free_port, visit};

use crate::{LONG_AGO, PROGRAM};

/// `None`, with a word why, where there can be no server.
pub(crate) async fn start(rotation: Rotation) -> Option<(Doorkeeper, Tool)> {
    let redirect_uri = format!("http://localhost:{}/callback", free_port());
    let options = Options {
        redirect_uris: vec![redirect_uri.clone(), OUT_OF_BAND.to_owned()],
        ..Options::default()
    };
    match Doorkeeper::start(rotation, options).await {
        Ok(server) => {
            let tool = Tool::on_doorkeeper(PROGRAM, &server, &redirect_uri);
            Some((server, tool))
        }
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

/// Says why there is no server.
pub(crate) fn skip(reason: &Unavailable) {
    eprintln!("skipped: {reason}");
}

pub(crate) async fn log_in(server: &Doorkeeper, tool: &Tool) {
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = server
        .authorize(&login.link().await)
        .await
        .expect("consent");
    let (status, page) = visit(&callback).await;
    assert_eq!(status, 200, "{page}");
    login
        .end()
        .await
        .code_is(0)
        .says("signed in to sandbox as Ada Agent, ada@example.com");
}

async fn rows(server: &Doorkeeper) -> usize {
    server.tokens().await.expect("listed").len()
}

async fn me(tool: &Tool) {
    tool.run(&["call", "/rest/v1.0/me"])
        .await
        .code_is(0)
        .says("ada@example.com");
}

async fn the_whole_life(rotation: Rotation) {
    let Some((server, tool)) = start(rotation).await else {
        return;
    };
    log_in(&server, &tool).await;
    me(&tool).await;
    tool.run(&["status"])
        .await
        .code_is(0)
        .says("healthy")
        .says("ada@example.com");
    let first = tool.token().await;
    assert_eq!(rows(&server).await, 1, "nothing was due");

    let mut tokens = vec![first];
    for refreshes in 1..=3 {
        let tick = tool.run(&["tick", "--next-visit", "2h", "--json"]).await;
        let status = tick.code_is(0).json();
        assert_eq!(status["connections"][0]["refreshes"], refreshes, "{tick}");
        tokens.push(tool.token().await);
        me(&tool).await;
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), rows(&server).await), (4, 4));

    server.age_tokens(LONG_AGO).await.expect("aged");
    let answered = tool.run(&["call", "/rest/v1.0/me", "--json"]).await;
    assert_eq!(
        answered.code_is(0).json()["attempts"],
        2,
        "a 401, one refresh, one resend"
    );
    assert_eq!(rows(&server).await, 5);

    tool.run(&["logout"]).await.code_is(0);
    let rows = server.tokens().await.expect("listed");
    assert!(rows.last().expect("some").revoked);
    tool.run(&["token"]).await.code_is(4);
}

#[tokio::test]
async fn login_refreshes_calls_and_logout_under_strict_rotation() {
    the_whole_life(Rotation::Strict).await;
}

#[tokio::test]
async fn login_refreshes_calls_and_logout_under_grace() {
    the_whole_life(Rotation::Grace).await;
}

#[tokio::test]
async fn a_code_that_doorkeeper_shows_is_pasted() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    let localhost = format!("http://localhost:{}/callback", tool.port());
    tool.reconfigure(&localhost, OUT_OF_BAND);
    let mut login = tool.start(&["login", "--paste"]);
    let code = server.authorize(&login.link().await).await.expect("a code");
    login.write(&format!("{code}\n")).await;
    login.end().await.code_is(0);
    me(&tool).await;
}

#[tokio::test]
async fn processes_share_one_refresh_of_doorkeepers() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    log_in(&server, &tool).await;
    server.age_tokens(LONG_AGO).await.expect("aged");
    let calls: Vec<_> = (0..4)
        .map(|_| tool.start(&["call", "/rest/v1.0/me"]))
        .collect();
    for call in calls {
        call.end().await.code_is(0);
    }
    assert_eq!(rows(&server).await, 2, "four 401s, one refresh");
}

#[tokio::test]
async fn a_revoked_grant_asks_for_a_person_once() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    log_in(&server, &tool).await;
    server.revoke_all().await.expect("revoked");
    tool.run(&["call", "/rest/v1.0/me"])
        .await
        .code_is(4)
        .says("invalid_grant");
    log_in(&server, &tool).await;
    me(&tool).await;
}

#[tokio::test]
async fn a_service_account_needs_nobody() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    tool.use_service_account();
    tool.run(&["call", "/rest/v1.0/me"])
        .await
        .code_is(0)
        .says("service-account");
    for _ in 0..3 {
        tool.run(&["tick", "--next-visit", "2h"]).await;
    }
    assert_eq!(rows(&server).await, 4);
    server
        .age_tokens(Duration::from_secs(6000))
        .await
        .expect("aged");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(0);
    let rows = server.tokens().await.expect("listed");
    assert!(
        rows.iter()
            .all(|row| row.service_account && !row.refreshable)
    );
    tool.run(&["logout"]).await.code_is(0);
}

#[tokio::test]
async fn a_wrong_secret_is_a_mistake_of_the_configuration_and_kills_nothing() {
    let Some((server, tool)) = start(Rotation::Strict).await else {
        return;
    };
    log_in(&server, &tool).await;
    tool.write("client.secret", "wrong\n");
    tool.run(&["tick", "--next-visit", "2h"]).await;
    tool.run(&["status"]).await.says("invalid_client");
    tool.write("client.secret", server.client_secret());
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    assert_eq!(rows(&server).await, 2);
}
