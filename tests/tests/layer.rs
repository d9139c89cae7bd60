//! Calls through the tower layer, around an HTTP client that is the program's own: the rules of section C hold there too.

use std::sync::Arc;

use fake_procore::{Answer, Fault, Role, Target, bulk};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use procore_auth_host::{
    CallOptions, Connection, Delivery, Error, ErrorKind, MemoryStore, OutgoingBody, ProcoreLayer,
    RequestBody, ResponseBody,
};
use procore_auth_tests::{Rig, rig::SANDBOX, stored};
use tower::{ServiceBuilder, ServiceExt as _, util::BoxCloneService};

const ME: &str = "/rest/v1.0/me";
const PROJECTS: &str = "/rest/v1.0/projects";

async fn signed_in(rig: &Rig) -> Connection {
    let connection = rig.signed_in(SANDBOX).await;
    rig.procore.clear_requests();
    connection
}

/// A client of somebody else's, which knows the way to the fake.
fn client(rig: &Rig) -> reqwest::Client {
    // Whoever installed one first, it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(rig.procore.ca_pem().as_bytes());
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tls_certs_only([authority.expect("a certificate")]);
    for (from, _) in rig.procore.connect_to() {
        let (host, _) = from.split_once(':').expect("host:port");
        builder = builder.resolve(host, rig.procore.address());
    }
    builder.build().expect("a client")
}

async fn call(
    rig: &Rig,
    connection: &Connection,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, Error> {
    let service = ServiceBuilder::new()
        .layer(ProcoreLayer::new(connection.clone()))
        .map_request(|request: Request<OutgoingBody>| {
            let request = request.map(reqwest::Body::wrap);
            reqwest::Request::try_from(request).expect("permitted")
        })
        .map_response(Response::<reqwest::Body>::from)
        .service(client(rig));
    service.oneshot(request).await
}

fn get(address: &str) -> Request<RequestBody> {
    let request = Request::get(address).body(RequestBody::empty());
    request.expect("a request")
}

fn create() -> Request<RequestBody> {
    Request::post(PROJECTS)
        .header("Content-Type", "application/json")
        .body(r#"{"project":{"name":"Tower"}}"#.into())
        .expect("a request")
}

fn delivery(response: &Response<ResponseBody>) -> &Delivery {
    response.extensions().get().expect("always there")
}

#[tokio::test]
async fn a_request_is_signed_and_its_answer_delivered() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    let token = connection.access_token().await.expect("a token");
    for address in [ME, "https://sandbox.procore.com/rest/v1.0/me"] {
        let response = call(&rig, &connection, get(address)).await.expect("sent");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(delivery(&response).attempts, 1);
        let body = response.into_body().collect().await.expect("whole");
        let body = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert!(body.contains("login"), "{body}");
    }
    let bearer = format!("Bearer {}", token.bearer().expose());
    for request in rig.procore.requests() {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()));
        assert_eq!(request.header("procore-company-id"), Some("4001"));
    }
}

#[tokio::test]
async fn s29_a_rejected_token_is_renewed_once_and_the_request_sent_again() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let token = stored::access_token(&store).await;
    assert!(
        rig.procore
            .revoke_access_token(procore_auth_tests::rig::fake(SANDBOX), &token)
    );
    let response = call(&rig, &connection, create()).await.expect("sent");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(delivery(&response).attempts, 2);
    assert_eq!(rig.procore.executions(&format!("POST {PROJECTS}")), 1);
    assert_eq!(rig.procore.rotations(), 1);
}

#[tokio::test]
async fn s33_what_may_have_been_executed_is_not_sent_again() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    rig.procore
        .inject(Target::Api, Fault::committed(Answer::Close));
    let error = call(&rig, &connection, create()).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    assert_eq!(rig.procore.executions(&format!("POST {PROJECTS}")), 1);

    rig.procore
        .inject(Target::Api, Fault::committed(Answer::Close));
    let mut request = create();
    let mut options = CallOptions::default();
    options.idempotent = Some(true);
    request.extensions_mut().insert(options);
    let response = call(&rig, &connection, request).await.expect("again");
    assert_eq!(delivery(&response).attempts, 2);
}

#[tokio::test]
async fn what_was_never_sent_is_sent_again() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    rig.procore.refuse_connections(1);
    let response = call(&rig, &connection, create()).await.expect("sent");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(delivery(&response).attempts, 2);
    assert_eq!(rig.procore.executions(&format!("POST {PROJECTS}")), 1);
}

#[tokio::test]
async fn s59_no_token_leaves_for_another_origin() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    for address in [
        "https://login-sandbox.procore.com/oauth/token",
        "https://api.procore.com/rest/v1.0/me",
        "https://sandbox.procore.com:8443/rest/v1.0/me",
        "http://sandbox.procore.com/rest/v1.0/me",
        "https://sandbox.procore.com.example/rest/v1.0/me",
        "https://127.0.0.1/rest/v1.0/me",
    ] {
        let error = call(&rig, &connection, get(address)).await;
        let error = error.expect_err(address);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}");
    }
    let mut own = get(ME);
    let given = http::HeaderValue::from_static("Bearer of-my-own");
    own.headers_mut().insert("authorization", given);
    let error = call(&rig, &connection, own).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(rig.procore.requests().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_refusal_is_delivered_with_what_it_means() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    let request = get("/rest/v1.0/projects/1");
    let response = call(&rig, &connection, request).await.expect("sent");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let diagnosis = delivery(&response).diagnosis.as_ref();
    assert_eq!(diagnosis.expect("explained").code, "not-found");
    assert_eq!(
        rig.procore
            .requests()
            .iter()
            .filter(|r| r.role == Some(Role::Api))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_large_body_goes_up_in_pieces() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    let body = vec![7; 8 << 20];
    let request = Request::builder()
        .method(Method::PUT)
        .uri(bulk::PATH)
        .header("Content-Type", "application/octet-stream")
        .body(RequestBody::once(None, std::io::Cursor::new(body)));
    let response = call(&rig, &connection, request.expect("a request")).await;
    assert!(response.expect("sent").status().is_success());
}

/// Clients that are put into a box may be sent to another thread, and not shared.
#[tokio::test]
async fn a_client_in_a_box_will_do_and_the_length_may_be_given() {
    let rig = Rig::start().await;
    let connection = signed_in(&rig).await;
    let client = ServiceBuilder::new()
        .map_request(|request: Request<OutgoingBody>| {
            let request = request.map(reqwest::Body::wrap);
            reqwest::Request::try_from(request).expect("permitted")
        })
        .map_response(Response::<reqwest::Body>::from)
        .service(client(&rig));
    let client = BoxCloneService::new(client);
    let service = ServiceBuilder::new()
        .layer(ProcoreLayer::new(connection))
        .service(client);
    let mut request = create();
    request.headers_mut().insert("content-length", 7.into());
    let response = service.oneshot(request).await.expect("sent");
    assert_eq!(response.status(), StatusCode::CREATED);
}

/// A connection whose own client cannot stream does not need to: the one below the layer does.
#[tokio::test]
async fn the_client_below_is_the_one_that_is_used() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    rig.sign_in(&rig.on_store(store.clone())).await;
    let without_streaming = procore_auth_tests::Padding {
        http: rig.another_client(),
        under: "/never",
    };
    let connection = rig
        .builder(Rig::settings(SANDBOX))
        .http(Arc::new(without_streaming))
        .store(Arc::new(store))
        .build()
        .expect("complete");
    let response = call(&rig, &connection, get(ME)).await.expect("sent");
    assert_eq!(response.status(), StatusCode::OK);
}
