//! The adapter holds the plugin to the egress policy, whatever the runtime would permit.

use fake_procore::{Fault, Reply, Target};
use procore_auth_wasi_tests::{
    World,
    lent::{
        exports::procore::auth::http::{Body, Failure, FieldValue, FormField, Request, Response},
        procore::auth::types::Header,
    },
    secret,
};

const LOGIN: &str = "https://login-sandbox.procore.com/oauth/token";
const API: &str = "https://sandbox.procore.com/rest/v1.0/me";

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Body) -> Request {
    let header = |(name, value): &(&str, &str)| Header {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: headers.iter().map(header).collect(),
        body,
        timeout: 5_000,
    }
}

fn with_secret() -> Body {
    Body::Form(vec![FormField {
        name: "client_secret".to_owned(),
        value: FieldValue::ClientSecret,
    }])
}

async fn send(world: &World, request: &Request) -> Result<Response, Failure> {
    let mut it = world.adapter().await;
    let http = it.given.procore_auth_http();
    http.call_send(&mut it.store, request)
        .await
        .expect("no trap")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_for_another_origin() {
    let world = World::with_service_account().await;
    for url in [
        "https://storage.example/",
        "https://evil.example/oauth/token",
        "https://api.procore.com/rest/v1.0/me",
        "https://login.procore.com/oauth/token/info",
        "http://sandbox.procore.com/",
        "https://sandbox.procore.com@storage.example/",
        "https://sandbox.procore.com.storage.example/",
        "https://sandbox.procore.com:8443/",
        "https://sandbox.procore.com./",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://sandbox.procore.com\\@storage.example/",
    ] {
        let failure = send(&world, &request("GET", url, &[], Body::Empty))
            .await
            .expect_err(url);
        assert!(
            ["origin-not-permitted", "invalid-request"].contains(&&*failure.code),
            "{url}: {failure:?}"
        );
        assert!(!failure.sent, "{url}");
    }
    assert_eq!(world.procore.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_secret_goes_to_the_login_origin_alone() {
    let world = World::with_service_account().await;
    let failure = send(&world, &request("POST", API, &[], with_secret()))
        .await
        .expect_err("refused");
    assert_eq!(
        (failure.code.as_str(), failure.sent),
        ("secret-not-permitted", false)
    );
    assert_eq!(world.procore.requests(), []);

    send(&world, &request("POST", LOGIN, &[], with_secret()))
        .await
        .expect("a reply");
    let requests = world.procore.requests();
    let [sent] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let form = sent.form.as_ref().expect("a form");
    assert_eq!(form.get("client_secret"), Some(secret()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_is_smuggled_in() {
    let world = World::with_service_account().await;
    for (name, value) in [
        ("accept", "a\r\nx-injected: b"),
        ("accept", "a\nb"),
        ("accept\r\nx-injected", "b"),
        ("Host", "storage.example"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "0"),
        ("Proxy-Authorization", "a"),
        ("user-agent", "a"),
    ] {
        let request = request("GET", API, &[(name, value)], Body::Empty);
        let failure = send(&world, &request).await.expect_err(name);
        assert_eq!(
            (failure.code.as_str(), failure.sent),
            ("invalid-request", false),
            "{name:?}"
        );
    }
    for method in ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\n"] {
        let failure = send(&world, &request(method, API, &[], Body::Empty))
            .await
            .expect_err(method);
        assert_eq!(failure.code, "invalid-request");
    }
    assert_eq!(world.procore.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_but_a_stored_body_is_sent() {
    let world = World::with_service_account().await;
    let mut it = world.adapter().await;
    let store = it.given.procore_auth_store();
    for key in ["session", "body-1"] {
        let written = store
            .call_put(&mut it.store, key, b"value", None)
            .await
            .expect("no trap");
        written.expect("stored");
    }
    let stored = |key: &str| Body::Stored(key.to_owned());
    for (url, key, code) in [
        (API, "session", "invalid-request"),
        (LOGIN, "body-1", "invalid-request"),
        (API, "body-2", "no-such-entry"),
    ] {
        let failure = send(&world, &request("POST", url, &[], stored(key)))
            .await
            .expect_err(key);
        assert_eq!((failure.code.as_str(), failure.sent), (code, false));
    }
    assert_eq!(world.procore.requests(), []);
    send(&world, &request("POST", API, &[], stored("body-1")))
        .await
        .expect("a reply");
    assert_eq!(world.procore.requests()[0].body, b"value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_reply_and_a_giant_is_cut_off() {
    let world = World::with_service_account().await;
    let away = Reply::redirect(302, "https://storage.example/");
    world.procore.inject(Target::Api, Fault::uncommitted(away));
    let reply = send(&world, &request("GET", API, &[], Body::Empty))
        .await
        .expect("a reply");
    assert_eq!(reply.status, 302);
    assert_eq!(world.procore.requests().len(), 1);

    world
        .procore
        .inject(Target::Api, Fault::uncommitted(Reply::giant(9 << 20)));
    let failure = send(&world, &request("GET", API, &[], Body::Empty))
        .await
        .expect_err("a giant");
    assert_eq!(
        (failure.code.as_str(), failure.sent),
        ("reply-too-large", true)
    );
}
