//! Proof of the fixture: what a real Doorkeeper answers, with nothing of this project in between.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::time::Duration;

use procore_auth_tests::doorkeeper::{Doorkeeper, Options, Rotation};
use reqwest::StatusCode;
use serde_json::Value;
use url::form_urlencoded;

const CALLBACK: &str = "http://localhost:9876/callback";
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does not match the redirection \
    URI used in the authorization request, or was issued to another client.";
const INVALID_CLIENT: &str = "Client authentication failed due to unknown client, no client authentication included, or \
    unsupported authentication method.";

/// A server and a client that knows its app.
struct Peer {
    server: Doorkeeper,
    http: reqwest::Client,
}

/// A pair of tokens.
struct Pair {
    access: String,
    refresh: String,
}

impl Peer {
    /// `None`, with a word why, where the server cannot be had.
    async fn start(rotation: Rotation) -> Option<Self> {
        let server = match Doorkeeper::start(rotation, Options::default()).await {
            Ok(server) => server,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { server, http })
    }

    fn authorize_url(&self, redirect_uri: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", self.server.client_id())
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", "xyz")
            .finish();
        format!("https://login-sandbox.procore.com/oauth/authorize?{query}")
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let url = format!("http://{}{path}", self.server.address());
        let request = self.http.post(url).body(form);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "login-sandbox.procore.com");
        let reply = request.send().await.unwrap();
        let status = reply.status();
        (
            status,
            serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap(),
        )
    }

    /// A request of the token endpoint, with the app's credentials.
    async fn token(&self, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut all = vec![
            ("client_id", self.server.client_id()),
            ("client_secret", self.server.client_secret()),
        ];
        all.extend(fields);
        self.post("/oauth/token", &all).await
    }

    async fn exchange(&self, code: &str, redirect_uri: &str) -> (StatusCode, Value) {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
        ];
        self.token(&fields).await
    }

    async fn refresh(&self, refresh_token: &str) -> (StatusCode, Value) {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        self.token(&fields).await
    }

    async fn sign_in(&self) -> Pair {
        let callback = self
            .server
            .authorize(&self.authorize_url(CALLBACK))
            .await
            .unwrap();
        let (status, reply) = self.exchange(&code_in(&callback), CALLBACK).await;
        assert_eq!(status, 200, "{reply}");
        pair(&reply)
    }

    /// The status of `me`, and the challenge of its refusal.
    async fn me(&self, access_token: &str) -> (StatusCode, String) {
        let url = format!("http://{}/rest/v1.0/me", self.server.address());
        let request = self.http.get(url).bearer_auth(access_token);
        let reply = request
            .header("host", "sandbox.procore.com")
            .send()
            .await
            .unwrap();
        let challenge = reply.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        (reply.status(), challenge.unwrap_or_default())
    }
}

fn code_in(callback: &str) -> String {
    let url = url::Url::parse(callback).unwrap();
    let code = url.query_pairs().find(|(name, _)| name == "code");
    code.unwrap().1.into_owned()
}

fn pair(reply: &Value) -> Pair {
    let field = |name: &str| reply[name].as_str().unwrap().to_owned();
    Pair {
        access: field("access_token"),
        refresh: field("refresh_token"),
    }
}

#[track_caller]
fn assert_refused(
    (status, reply): &(StatusCode, Value),
    expected: u16,
    error: &str,
    description: &str,
) {
    assert_eq!(*status, expected, "{reply}");
    assert_eq!(reply["error"], error);
    assert_eq!(reply["error_description"], description);
}

#[tokio::test]
async fn a_code_is_exchanged_once() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let callback = peer
        .server
        .authorize(&peer.authorize_url(CALLBACK))
        .await
        .unwrap();
    assert!(
        callback.starts_with(CALLBACK) && callback.ends_with("state=xyz"),
        "{callback}"
    );
    let code = code_in(&callback);

    let elsewhere = peer.exchange(&code, OUT_OF_BAND).await;
    assert_refused(&elsewhere, 400, "invalid_grant", INVALID_GRANT);
    let (status, reply) = peer.exchange(&code, CALLBACK).await;
    assert_eq!(status, 200);
    assert_eq!(reply["token_type"], "Bearer");
    assert_eq!(reply["expires_in"], 5400);
    assert!(reply["created_at"].is_u64());
    let again = peer.exchange(&code, CALLBACK).await;
    assert_refused(&again, 400, "invalid_grant", INVALID_GRANT);

    assert_eq!(peer.me(&pair(&reply).access).await.0, 200);
}

#[tokio::test]
async fn an_out_of_band_code_stands_on_a_page() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let code = peer
        .server
        .authorize(&peer.authorize_url(OUT_OF_BAND))
        .await
        .unwrap();
    let (status, reply) = peer.exchange(&code, OUT_OF_BAND).await;
    assert_eq!(status, 200, "{reply}");

    let wrong = peer.authorize_url("http://localhost:9876/callback/");
    let error = peer.server.authorize(&wrong).await.unwrap_err().to_string();
    assert!(
        error.contains("200 OK: The requested redirect uri is malformed"),
        "{error}"
    );
}

#[tokio::test]
async fn strict_rotation_kills_both_tokens_at_once() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let old = peer.sign_in().await;
    let (status, reply) = peer.refresh(&old.refresh).await;
    assert_eq!(status, 200, "{reply}");

    assert_refused(
        &peer.refresh(&old.refresh).await,
        400,
        "invalid_grant",
        INVALID_GRANT,
    );
    let (status, challenge) = peer.me(&old.access).await;
    assert_eq!(status, 401);
    assert!(
        challenge
            .contains(r#"error="invalid_token", error_description="The access token was revoked""#)
    );
    assert_eq!(peer.me(&pair(&reply).access).await.0, 200);
    assert_eq!(peer.server.tokens().await.unwrap().len(), 2);
}

#[tokio::test]
async fn strict_rotation_gives_one_of_many_concurrent_refreshes_a_pair() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let refresh = peer.sign_in().await.refresh;
    let (one, two, three, four) = tokio::join!(
        peer.refresh(&refresh),
        peer.refresh(&refresh),
        peer.refresh(&refresh),
        peer.refresh(&refresh),
    );
    let refused: Vec<_> = [one, two, three, four]
        .into_iter()
        .filter(|(status, _)| *status != 200)
        .collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    for reply in refused {
        assert_refused(&reply, 400, "invalid_grant", INVALID_GRANT);
    }
}

#[tokio::test]
async fn grace_lasts_until_the_new_access_token_is_used() {
    let Some(peer) = Peer::start(Rotation::Grace).await else {
        return;
    };
    let old = peer.sign_in().await;
    let (status, lost) = peer.refresh(&old.refresh).await;
    assert_eq!(status, 200, "{lost}");
    assert_eq!(
        peer.me(&old.access).await.0,
        200,
        "the old access token works on"
    );
    let (status, reply) = peer.refresh(&old.refresh).await;
    assert_eq!(status, 200, "{reply}");

    assert_eq!(peer.me(&pair(&reply).access).await.0, 200);
    assert_refused(
        &peer.refresh(&old.refresh).await,
        400,
        "invalid_grant",
        INVALID_GRANT,
    );
    assert_eq!(peer.me(&old.access).await.0, 401);
}

#[tokio::test]
async fn a_wrong_secret_does_not_spend_the_refresh_token() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let old = peer.sign_in().await;
    let wrong = [
        ("client_id", peer.server.client_id()),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
        ("refresh_token", &old.refresh),
    ];
    let refused = peer.post("/oauth/token", &wrong).await;
    assert_refused(&refused, 401, "invalid_client", INVALID_CLIENT);
    assert_eq!(peer.refresh(&old.refresh).await.0, 200);
}

#[tokio::test]
async fn an_unknown_token_is_refused_before_an_unknown_client() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let strange = [
        ("client_id", "of another environment"),
        ("client_secret", "of another environment"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "of another environment"),
    ];
    let refused = peer.post("/oauth/token", &strange).await;
    assert_refused(&refused, 400, "invalid_grant", INVALID_GRANT);
}

#[tokio::test]
async fn a_refresh_token_outlives_its_access_token_and_dies_when_the_user_revokes() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let old = peer.sign_in().await;
    peer.server
        .age_tokens(Duration::from_secs(90 * 24 * 3600))
        .await
        .unwrap();
    let (status, challenge) = peer.me(&old.access).await;
    assert_eq!(status, 401);
    assert!(
        challenge.contains("The access token expired"),
        "{challenge}"
    );
    let (status, reply) = peer.refresh(&old.refresh).await;
    assert_eq!(status, 200, "{reply}");

    peer.server.revoke_all().await.unwrap();
    let dead = pair(&reply).refresh;
    assert_refused(
        &peer.refresh(&dead).await,
        400,
        "invalid_grant",
        INVALID_GRANT,
    );
    assert!(
        peer.server
            .tokens()
            .await
            .unwrap()
            .iter()
            .all(|row| row.revoked)
    );
}

/// The tokens of one sign-in are one row, and Doorkeeper 5.5 revokes no row whose access token has expired, by either token.
#[tokio::test]
async fn an_expired_row_cannot_be_revoked_by_its_client() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    for (aged, still_refreshes) in [(Duration::ZERO, false), (Duration::from_secs(5401), true)] {
        let pair = peer.sign_in().await;
        peer.server.age_tokens(aged).await.unwrap();
        let fields = [
            ("client_id", peer.server.client_id()),
            ("client_secret", peer.server.client_secret()),
            ("token", &pair.refresh),
        ];
        assert_eq!(peer.post("/oauth/revoke", &fields).await.0, 200);
        let (status, reply) = peer.refresh(&pair.refresh).await;
        assert_eq!(status == 200, still_refreshes, "{reply}");
    }
}

#[tokio::test]
async fn a_service_account_gets_no_refresh_token() {
    let Some(peer) = Peer::start(Rotation::Strict).await else {
        return;
    };
    let (status, reply) = peer.token(&[("grant_type", "client_credentials")]).await;
    assert_eq!(status, 200, "{reply}");
    assert!(reply.get("refresh_token").is_none());
    assert!(peer.server.tokens().await.unwrap()[0].service_account);
    assert_eq!(
        peer.me(reply["access_token"].as_str().unwrap()).await.0,
        200
    );
}
